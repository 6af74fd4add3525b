// SPDX-License-Identifier: GPL-2.0-only
/* The restore server as a child of the test. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "command.h"
#include "io.h"
#include "pagestore.h"
#include "probe_look.h"
#include "server.h"
#include "session_file.h"

char server_tmp[32], server_dir[64];
int server_root = -1;
pid_t server_pid = -1;
struct mfd_sock_addr server_addr;
static char logfile[64];

static char *read_log(void)
{
	char *text = NULL;

	mfd_io_read_file(AT_FDCWD, logfile, 16 << 20, &text, NULL);
	return text;
}

int server_log_has(const char *what)
{
	char *text = read_log();
	int yes = text && strstr(text, what);

	free(text);
	return yes;
}

static int find_address(void)
{
	char text[72] = "", *all = read_log(), *line = all ? strstr(all, "listening on ") : NULL;
	struct mfd_error err = { 0 };

	if (line && strchr(line, '\n'))
		snprintf(text, sizeof(text), "%.*s", (int)strcspn(line + 13, "\n"), line + 13);
	free(all);
	return text[0] && !mfd_sock_parse(text, 0, &server_addr, &err);
}

static void wait_listening(void)
{
	int i;

	for (i = 0; i < 500; i++, usleep(10000)) {
		if (find_address())
			return;
	}
	fail_msg("the server does not listen");
}

void server_start_with(const char *const *extra, int n)
{
	char *argv[32] = { "serve",    "--listen",    "127.0.0.1:0", "--dir",
			   server_dir, "--log-level", "debug" };
	int fd, argc = 7 + n;

	assert_true(argc < 32);
	for (int i = 0; i < n; i++)
		argv[7 + i] = (char *)(uintptr_t)extra[i];
	unlink(logfile);
	server_pid = fork();
	if (!server_pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (int sig = 1; sig < 32; sig++)
			signal(sig, SIG_DFL); /* cmocka's handlers are not the server's */
		fd = open(logfile, O_WRONLY | O_CREAT | O_APPEND, 0600);
		dup2(fd, 2);
		_exit(mfd_serve_main(argc, argv));
	}
	wait_listening();
	if (server_root < 0)
		server_root = open(server_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(server_root >= 0);
}

void server_start(const char *extra, const char *value)
{
	server_start_with((const char *[]){ extra, value }, !!extra + !!value);
}

int server_wait(void)
{
	int status, i;

	for (i = 0; i < 1000; i++, usleep(10000)) {
		if (waitpid(server_pid, &status, WNOHANG) == server_pid) {
			server_pid = -1;
			return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
		}
	}
	kill(server_pid, SIGKILL);
	fail_msg("the server does not end");
	return -1;
}

int server_stop(void)
{
	kill(server_pid, SIGTERM);
	return server_wait();
}

/* The supervisor's latest child: the keeper is started before the worker. */
pid_t server_worker(void)
{
	char path[64], *text = NULL, *p;
	pid_t pid;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", server_pid, server_pid);
	assert_int_equal(mfd_io_read_file(AT_FDCWD, path, 4096, &text, NULL), 0);
	for (p = text + strlen(text); p > text && p[-1] == ' '; p--)
		p[-1] = 0;
	p = strrchr(text, ' ');
	pid = atoi(p ? p : text);
	free(text);
	assert_true(pid > 0);
	return pid;
}

void server_kill_worker(void)
{
	pid_t pid = server_worker();
	int i;

	kill(pid, SIGKILL);
	for (i = 0; i < 500 && server_worker() == pid; i++)
		usleep(10000);
	assert_int_not_equal(server_worker(), pid);
}

static void dump_log(void)
{
	char *text = read_log();

	fprintf(stderr, "---- server ----\n%s----\n", text ? text : "");
	free(text);
}

int server_setup(void **state)
{
	(void)state;
	snprintf(server_tmp, sizeof(server_tmp), "/tmp/mfd-serve-XXXXXX");
	if (!mkdtemp(server_tmp))
		return -1;
	snprintf(server_dir, sizeof(server_dir), "%s/dir", server_tmp);
	snprintf(logfile, sizeof(logfile), "%s/log", server_tmp);
	return 0;
}

/* Stores of sessions that were left on purpose may lie in /dev/shm. */
static void remove_stores(void)
{
	struct mfd_session_file *list = NULL;
	size_t i, n = 0;
	int fd;

	if (server_root < 0 || mfd_session_file_list(server_root, &list, &n))
		return;
	for (i = 0; i < n; i++) {
		fd = openat(server_root, list[i].name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd < 0)
			continue;
		mfd_pagestore_remove(fd);
		close(fd);
	}
	mfd_session_file_list_free(list, n);
}

int server_teardown(void **state)
{
	char cmd[128];

	(void)state;
	if (server_pid > 0) {
		dump_log();
		kill(server_pid, SIGKILL);
		waitpid(server_pid, NULL, 0);
		server_pid = -1;
	}
	if (server_log_has("ThreadSanitizer") || server_log_has("AddressSanitizer") ||
	    server_log_has("runtime error")) {
		dump_log();
		return -1;
	}
	remove_stores();
	mfd_io_close(&server_root);
	snprintf(cmd, sizeof(cmd), "umount %s 2>/dev/null; rm -rf %s", server_dir, server_tmp);
	if (!getenv("MFD_TEST_KEEP") && system(cmd))
		return -1;
	return 0;
}

void server_tests_init(int argc, char **argv)
{
	signal(SIGPIPE, SIG_IGN);
	if (argc == 3 &&
	    !strcmp(argv[2], MFD_PROBE_LOOK_WORD)) /* the server runs its own program */
		exit(mfd_probe_look_main());
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
}

int server_request(const char *text, char *answer, size_t size)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);
	ssize_t n = -1;

	snprintf(a.sun_path, sizeof(a.sun_path), "%s/.serve.sock", server_dir);
	if (!connect(fd, (struct sockaddr *)&a, sizeof(a)) &&
	    send(fd, text, strlen(text), MSG_NOSIGNAL) == (ssize_t)strlen(text))
		n = recv(fd, answer, size - 1, 0);
	answer[n > 0 ? n : 0] = 0;
	close(fd);
	return n > 0;
}

void server_ask(const char *text, const char *want)
{
	char answer[513];

	assert_true(server_request(text, answer, sizeof(answer)));
	if (strncmp(answer, want, strlen(want)))
		fail_msg("%s: \"%s\" instead of \"%s\"", text, answer, want);
}
