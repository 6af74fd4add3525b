// SPDX-License-Identifier: GPL-2.0-only
/* The warden's life; see warden.h. */
#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "command.h"
#include "io.h"
#include "warden.h"
#include "warden_link.h"

/* Everything from here on is held; the table of descriptors is the only list. */
#define FIRST_HELD (MFD_WARDEN_OWN + 1)
static int last_held = FIRST_HELD - 1;

int mfd_warden_open(void)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return -1;
	if (pair[0] == MFD_WARDEN_END && pair[1] == MFD_WARDEN_OWN)
		return fcntl(MFD_WARDEN_OWN, F_SETFL, O_NONBLOCK);
	errno = EBADF;
	return -1;
}

/* ---- what it holds ---- */

static int is_same(int a, int b)
{
	return !syscall(SYS_kcmp, getpid(), getpid(), KCMP_FILE, a, b);
}

/* Nonzero: held by now under a number of its own.  What could not be found again is not held. */
static int keep(int fd)
{
	if (fd < FIRST_HELD || !is_same(fd, fd))
		return 0;
	for (int i = FIRST_HELD; i <= last_held; i++)
		if (i != fd && is_same(i, fd))
			return 0;
	last_held = fd > last_held ? fd : last_held;
	return 1;
}

/* fd -1: everything. */
static int drop(int fd)
{
	for (int i = FIRST_HELD; i <= last_held; i++)
		if (i != fd && (fd < 0 || is_same(i, fd)))
			close(i);
	return 0;
}

/* Nonzero: the descriptor stays open. */
static int act(uint32_t word, int fd)
{
	if (word == MFD_WARDEN_KEEP)
		return keep(fd);
	if (word == MFD_WARDEN_DROP && fd >= 0)
		return drop(fd);
	return word == MFD_WARDEN_DROP_ALL ? drop(-1) : 0;
}

/* One message.  Zero: none can come any more, though it has both ends: one was shut down. */
static int listen_once(void)
{
	int fd = -1, nfds = 1;
	struct mfd_warden_msg m;
	ssize_t n = mfd_io_recv_fds(MFD_WARDEN_OWN, &m, sizeof(m), &fd, &nfds);

	if (n == (ssize_t)sizeof(m) && act(m.word, nfds ? fd : -1))
		return 1;
	if (n >= 0 && nfds)
		close(fd);
	return n > 0 || n == -EAGAIN || n == -EMSGSIZE;
}

/* ---- its children ---- */

static void wake(int sig)
{
	(void)sig;
}

/* A child's end interrupts the wait, and nothing else. */
static void catch_ends(sigset_t *waiting)
{
	struct sigaction a = { .sa_handler = wake };
	sigset_t ends;

	sigemptyset(&ends);
	sigaddset(&ends, SIGCHLD);
	sigprocmask(SIG_BLOCK, &ends, waiting);
	sigdelset(waiting, SIGCHLD);
	sigaction(SIGCHLD, &a, NULL);
}

/* Zero: no child is left. */
static int reap(pid_t criu, void (*ended)(int status))
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		if (pid == criu)
			ended(status);
	return !pid;
}

/* A descriptor for each task. */
static void raise_limit(void)
{
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l))
		return;
	l.rlim_cur = l.rlim_max;
	setrlimit(RLIMIT_NOFILE, &l);
}

int mfd_warden_live(pid_t criu, void (*ended)(int status))
{
	struct pollfd p = { .fd = MFD_WARDEN_OWN, .events = POLLIN };
	sigset_t waiting;

	raise_limit();
	catch_ends(&waiting);
	while (reap(criu, ended))
		if (ppoll(&p, 1, NULL, &waiting) > 0 && !listen_once())
			p.fd = -1;
	return MFD_EXIT_OK;
}
