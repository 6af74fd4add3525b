/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The restore server as a child of the test: a folder and a log of its own for each test, its start
 * and end, its worker, and the requests that `criu-multifd abort`, `resolve` and `set` send to it.
 *
 * The log is kept, with the folder, if MFD_TEST_KEEP is set; a test that fails with the server
 * still running prints it.
 */
#ifndef PLAYERS_SERVER_H
#define PLAYERS_SERVER_H

#include <sys/types.h>

#include "sock.h"

extern char server_tmp[32];		 /* the test's folder */
extern char server_dir[64];		 /* the server's --dir, below it */
extern int server_root;			 /* that folder, open since the first start */
extern pid_t server_pid;		 /* the supervisor; -1: none runs */
extern struct mfd_sock_addr server_addr; /* where it listens */

int server_setup(void **state);
/* Also fails if a sanitizer has written something into the log. */
int server_teardown(void **state);
#define SERVER_TEST(f) cmocka_unit_test_setup_teardown(f, server_setup, server_teardown)
/* First in main(): SIGPIPE is ignored, and argv[1] selects tests by name. */
void server_tests_init(int argc, char **argv);

/* Start the server and wait until it listens; an option and its value, or NULL. */
void server_start(const char *extra, const char *value);
void server_start_with(const char *const *extra, int n); /* n words of the command line */
int server_wait(void); /* until it ends by itself: its exit status, or 128 + signal */
int server_stop(void); /* the same after a SIGTERM */
pid_t server_worker(void);
int server_log_has(const char *what);
void server_kill_worker(void); /* and wait until the next one is there */

/* Send a request. Return nonzero if there is an answer. */
int server_request(const char *text, char *answer, size_t size);
/* Send a request whose answer must begin with `want`. */
void server_ask(const char *text, const char *want);

#endif
