// SPDX-License-Identifier: GPL-2.0-only
/*
 * The heir of the worker's descriptors.
 *
 * When a restored task forks, the kernel makes the child's userfaultfd inside the read(2) that
 * takes the message, in the descriptor table of the reading process.  Until the supervisor has a
 * copy the worker is its only owner; should it die in between, the child would run on with zeros.
 * So the worker shares its table (CLONE_FILES) with a process that only waits for its death, and
 * then hands all userfaultfds to the supervisor, with the numbers they had.  The table lives until
 * that is done, so nothing closes before.
 *
 * If the supervisor is dead, too, its standby gets them (standby.h).  If that is dead as well, no
 * process can serve these tasks any more.  Then the heir keeps the userfaultfds, and nothing else,
 * until the tasks have ended: they wait for their missing pages, which is better than zeros.  A new
 * server on the same folder ends them (reload.c).
 *
 * It is the worker's child: the supervisor knows nothing of it but its messages, and that the link
 * ends when it has ended.
 */
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "guard.h"
#include "heir.h"
#include "io.h"
#include "uffd.h"

#define STACK	262144
#define LOOK_US 100000

struct will {
	int link, standby, pidfd;
	pid_t worker;
};

static int is_uffd(int dir, const char *name)
{
	char link[64];
	ssize_t n = readlinkat(dir, name, link, sizeof(link) - 1);

	if (n <= 0)
		return 0;
	link[n] = 0;
	return !strcmp(link, "anon_inode:[userfaultfd]");
}

/*
 * Nonzero when it has been taken.  One acknowledgement may lie there already, which the worker did
 * not read before it died.
 */
static int tell(int sock, struct mfd_guard_msg *m, int fd)
{
	struct mfd_guard_msg ack;
	int none = 0;

	return mfd_io_send_fds(sock, m, sizeof(*m), &fd, 1) >= 0 &&
	       mfd_io_recv_fds(sock, &ack, sizeof(ack), NULL, &none) > 0;
}

/* What has been sent to a dead supervisor is sent again: its standby knows most of them already. */
static int hand_over(const struct will *w, int fd)
{
	struct mfd_guard_msg m = { .kind = MFD_GUARD_FOUND, .number = fd, .writer = w->worker };

	return tell(w->link, &m, fd) || tell(w->standby, &m, fd) ? 0 : -1;
}

/*
 * One look at the table: close what is no userfaultfd (a new server needs the lock and the
 * listening socket), and the userfaultfds of tasks that have ended.  Return how many are left.
 */
static int keep_last(void)
{
	DIR *d = opendir("/proc/self/fd");
	struct dirent *e;
	int held = 0;

	while (d && (e = readdir(d))) {
		int fd = atoi(e->d_name);

		if (e->d_name[0] == '.' || fd == dirfd(d))
			continue;
		if (!is_uffd(dirfd(d), e->d_name) || mfd_uffd_ended(fd))
			close(fd);
		else
			held++;
	}
	if (d)
		closedir(d);
	return held;
}

static int be_heir(void *arg)
{
	const struct will *w = arg;
	struct pollfd p = { .fd = w->pidfd, .events = POLLIN };
	struct dirent *e;
	DIR *d;

	prctl(PR_SET_NAME, "mfd-heir");
	while (poll(&p, 1, -1) < 0 && errno == EINTR)
		;
	d = opendir("/proc/self/fd");
	while (d && (e = readdir(d)))
		if (is_uffd(dirfd(d), e->d_name) && hand_over(w, atoi(e->d_name)))
			break;
	/* Without an error the supervisor or the standby has them all. */
	if (d && e)
		while (keep_last())
			usleep(LOOK_US);
	return 0; /* which is _exit() for a child of clone() */
}

int mfd_heir_start(int link, int standby)
{
	/* The child has a copy of all memory, its stack and this among it. */
	struct will w = { .link = link,
			  .standby = standby,
			  .pidfd = pidfd_open(getpid(), 0),
			  .worker = getpid() };
	char *stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
	int ret = 0;

	if (w.pidfd < 0 || stack == MAP_FAILED ||
	    clone(be_heir, stack + STACK, CLONE_FILES | SIGCHLD, &w) < 0)
		ret = -errno;
	if (stack != MAP_FAILED)
		munmap(stack, STACK);
	return ret;
}
