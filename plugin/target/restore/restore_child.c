// SPDX-License-Identifier: GPL-2.0-only
/*
 * `criu-multifd restore --from-server`: the process between the server and CRIU, in a program of
 * its own because the server's worker has threads.  Sets the namespaces up, runs CRIU, tells how it
 * ended, and stays as warden of what was restored.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "command.h"
#include "held.h"
#include "restore_run.h"
#include "restore_scope.h"
#include "warden.h"

#define LINK 3

static void tell(enum mfd_restore_word word, int value, const char *text)
{
	struct mfd_restore_news m = { .word = word, .value = value };

	snprintf(m.text, sizeof(m.text), "%s", text);

	/* A server that is gone cannot be told anything, and will find or has killed us. */
	(void)!send(LINK, &m, sizeof(m), MSG_NOSIGNAL);
}

static int fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static int fail(const char *fmt, ...)
{
	struct mfd_restore_news m = { .word = MFD_RESTORE_FAILED, .value = -errno };
	int code = errno;
	size_t n;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(m.text, sizeof(m.text), fmt, ap);
	va_end(ap);
	n = strlen(m.text);
	snprintf(m.text + n, sizeof(m.text) - n, ": %s", strerror(code));
	(void)!send(LINK, &m, sizeof(m), MSG_NOSIGNAL);
	return MFD_EXIT_FAILED;
}

static int set_up_process(const char *folder)
{
	char path[4200];
	sigset_t none;
	int null, err;

	if (fcntl(LINK, F_SETFD, FD_CLOEXEC) || close_range(LINK + 1, ~0U, 0))
		return -1;
	setsid();
	for (int i = 1; i < NSIG; i++)
		signal(i, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	snprintf(path, sizeof(path), "%s/" MFD_RESTORE_ERRORS, folder);
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	err = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (null < 0 || err < 0)
		return -1;
	dup2(null, STDIN_FILENO);
	dup2(null, STDOUT_FILENO);
	dup2(err, STDERR_FILENO);
	close(null);
	close(err);
	if (mfd_warden_open())
		return -1;
	return chdir("/");
}

static int enter_network(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), ret;

	if (fd < 0)
		return -1;
	ret = setns(fd, CLONE_NEWNET);
	close(fd);
	return ret;
}

/* Mounts of the host still arrive; ours stay here. */
static int own_proc(void)
{
	if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_SLAVE, NULL))
		return -1;
	return mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
}

/*
 * What the warden keeps ends with it: it has a name of its own, against a kill by name, and is the
 * last that a host without memory takes.  After CRIU's process was forked, which goes its own way.
 */
static void be_warden(char **argv, int argc)
{
	static const char title[] = "mfd-warden: what it has restored ends with it";
	size_t len = (size_t)(argv[argc - 1] + strlen(argv[argc - 1]) - argv[0]);
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	prctl(PR_SET_NAME, "mfd-warden");
	if (fd >= 0 && write(fd, "-999", 4) < 0)
		errno = 0; /* only root's own user namespace may */
	if (fd >= 0)
		close(fd);
	memset(argv[0], 0, len);
	memcpy(argv[0], title, len < sizeof(title) ? len : sizeof(title) - 1);
}

/* The restored tasks hold nothing of the session's folder, neither may we. */
static void criu_ended(int status)
{
	tell(MFD_RESTORE_CRIU_ENDED, status, "");
	close(LINK);
	dup2(STDIN_FILENO, STDERR_FILENO);
}

/* The worker can reach us by now.  Nonzero: it is gone. */
static int await_go(void)
{
	struct mfd_restore_news m;

	return recv(LINK, &m, sizeof(m), 0) != (ssize_t)sizeof(m) || m.word != MFD_RESTORE_GO;
}

/* `words`, `n`: the whole command line, of which CRIU's is the end. */
static int run_criu(char **argv, char **words, int n)
{
	char name[17];
	pid_t pid;

	if (await_go())
		return MFD_EXIT_FAILED;
	mfd_restore_hold_name(name);
	if (setenv(MFD_HELD_ENV, name, 1))
		return fail("no memory");
	pid = fork();
	if (pid < 0)
		return fail("fork");
	if (!pid) {
		execv(argv[0], argv);
		dprintf(STDERR_FILENO, "%s: %s\n", argv[0], strerror(errno));
		_exit(127);
	}
	be_warden(words, n);
	return mfd_warden_live(pid, criu_ended);
}

/* Told with the warden: "" without systemd, the scope, or "-" and why there is none. */
static void enter_scope(const char *folder, char *text, size_t len)
{
	const char *slash = strrchr(folder, '/');
	char name[MFD_RESTORE_SCOPE_NAME], why[200] = "";
	int ret = mfd_restore_scope_enter(slash ? slash + 1 : folder, name, why, sizeof(why));

	snprintf(text, len, "%s%s", ret ? "-" : "", ret ? why : name);
}

static int in_own_namespace(char **argv, char **words, int n, const char *scope)
{
	pid_t pid;

	if (unshare(CLONE_NEWPID))
		return fail("a pid namespace");
	pid = fork();
	if (pid < 0)
		return fail("fork");
	if (pid) {
		tell(MFD_RESTORE_WARDEN, pid, scope);
		return MFD_EXIT_OK;
	}
	if (own_proc())
		return fail("/proc of the new pid namespace");
	return run_criu(argv, words, n);
}

int mfd_restore_child(int argc, char **argv)
{
	char scope[sizeof(((struct mfd_restore_news *)0)->text)];
	int type = 0;
	socklen_t len = sizeof(type);

	if (argc < 7 || getsockopt(LINK, SOL_SOCKET, SO_TYPE, &type, &len) ||
	    type != SOCK_SEQPACKET) {
		fprintf(stderr,
			"criu-multifd restore --from-server is started by criu-multifd serve alone\n");
		return MFD_EXIT_USAGE;
	}
	if (set_up_process(argv[4]))
		return fail("starting in %s", argv[4]);
	enter_scope(argv[4], scope, sizeof(scope));
	if (strcmp(argv[3], "-") && enter_network(argv[3]))
		return fail("network namespace %s", argv[3]);
	if (!strcmp(argv[2], "own"))
		return in_own_namespace(argv + 5, argv, argc, scope);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	tell(MFD_RESTORE_WARDEN, getpid(), scope);
	return run_criu(argv + 5, argv, argc);
}
