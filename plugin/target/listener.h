/* SPDX-License-Identifier: GPL-2.0-only */
/* The worker's main thread, and what only it knows of the server. */
#ifndef MFD_LISTENER_H
#define MFD_LISTENER_H

#include "error.h"
#include "server.h"

struct mfd_by_ssh;

struct mfd_listener {
	struct mfd_server server;
	int listen_fd;		/* connections; -1: no more are accepted */
	int request_fd;		/* DIR/.serve.sock */
	int reread_fd;		/* eventfd: SIGHUP came */
	int stop_fd;		/* eventfd: the supervisor asks to end; its counter is how often */
	struct mfd_by_ssh *ssh; /* NULL: not started by it */
	char **words;		/* of the command line, for a new program; serve.c's */
	unsigned stopping;	/* how often the supervisor has asked */
	int held_back;		/* a greeting has come and must wait: poll() says so all the time */
};

/* Run the worker; return its exit code. */
int mfd_listener_run(struct mfd_listener *l);

/* requests.c: *fd listens on DIR/.serve.sock */
int mfd_requests_listen(struct mfd_server *sv, int *fd, struct mfd_error *err);
void mfd_requests_accept(struct mfd_server *sv, int fd);

#endif
