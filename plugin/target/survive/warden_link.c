// SPDX-License-Identifier: GPL-2.0-only
/* The worker's side of the warden's socket; see warden_link.h. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include "assert.h"
#include "io.h"
#include "log.h"
#include "restored_notes.h"
#include "warden_link.h"

#define SEND_SEC 2 /* a warden that is stopped reads nothing, and its socket may be full */

void mfd_warden_link_init(struct mfd_warden_link *l)
{
	pthread_mutex_init(&l->lock, NULL);
	l->pidfd = l->sock = -1;
}

int mfd_warden_link_set(struct mfd_warden_link *l, int pidfd)
{
	int copy = fcntl(pidfd, F_DUPFD_CLOEXEC, 0), ret = copy < 0 ? -errno : 0;

	mfd_assert(pidfd >= 0);
	if (ret)
		return ret;
	pthread_mutex_lock(&l->lock);
	mfd_io_close(&l->sock);
	mfd_io_close(&l->pidfd);
	l->pidfd = copy;
	pthread_mutex_unlock(&l->lock);
	return 0;
}

int mfd_warden_link_find(struct mfd_warden_link *l, int dirfd)
{
	pid_t warden = mfd_notes_warden(dirfd);
	int ret = 0, pidfd = warden > 0 ? pidfd_open(warden, 0) : -1;

	mfd_assert(dirfd >= 0);
	if (warden <= 0)
		return warden;
	if (pidfd < 0)
		return errno == ESRCH ? 0 : -errno;
	ret = mfd_warden_link_set(l, pidfd);
	close(pidfd);
	return ret;
}

void mfd_warden_link_close(struct mfd_warden_link *l)
{
	pthread_mutex_lock(&l->lock);
	mfd_io_close(&l->sock);
	mfd_io_close(&l->pidfd);
	pthread_mutex_unlock(&l->lock);
}

/* A warden of an earlier version has no such descriptor. */
static int fetch(struct mfd_warden_link *l)
{
	struct timeval t = { .tv_sec = SEND_SEC };
	int type = 0, ret;
	socklen_t len = sizeof(type);

	mfd_assert(l->pidfd >= 0);
	if (l->sock >= 0)
		return 0;
	l->sock = (int)syscall(SYS_pidfd_getfd, l->pidfd, MFD_WARDEN_END, 0);
	if (l->sock < 0)
		return -errno;
	ret = getsockopt(l->sock, SOL_SOCKET, SO_TYPE, &type, &len) || type != SOCK_SEQPACKET ?
		      -EBADF :
	      setsockopt(l->sock, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t)) ? -errno :
									    0;
	if (ret)
		mfd_io_close(&l->sock);
	return ret;
}

static int holds_nothing(int ret)
{
	return ret == -ESRCH || ret == -EBADF || ret == -EPIPE || ret == -ECONNRESET;
}

/* fd -1: without one. */
static int tell(struct mfd_warden_link *l, enum mfd_warden_word word, int fd)
{
	const struct mfd_warden_msg m = { .word = word };
	int ret = 0;

	pthread_mutex_lock(&l->lock);
	if (l->pidfd >= 0)
		ret = fetch(l);
	if (!ret && l->pidfd >= 0) {
		ssize_t n = mfd_io_send_fds(l->sock, &m, sizeof(m), &fd, fd >= 0);

		ret = n < 0 ? (int)n : 0;
	}
	pthread_mutex_unlock(&l->lock);
	return holds_nothing(ret) ? 0 : ret;
}

int mfd_warden_keep(struct mfd_warden_link *l, const char *session, int uffd)
{
	int ret = tell(l, MFD_WARDEN_KEEP, uffd);

	mfd_assert(uffd >= 0);
	if (ret)
		mfd_log_warn(
			"%s: the warden cannot hold a userfaultfd (%s): should every process of "
			"the server be killed at once, the task's missing pages are zeros",
			session, strerror(-ret));
	return ret;
}

/* What it holds too long makes a task wait for a page that is not to come. */
static int drop(struct mfd_warden_link *l, const char *session, enum mfd_warden_word word, int uffd)
{
	int ret = tell(l, word, uffd);

	mfd_assert((uffd < 0) == (word == MFD_WARDEN_DROP_ALL));
	if (ret)
		mfd_log_error(
			"%s: the warden cannot be told to close a userfaultfd (%s): a task may "
			"wait until the session is done",
			session, strerror(-ret));
	return ret;
}

int mfd_warden_drop(struct mfd_warden_link *l, const char *session, int uffd)
{
	return drop(l, session, MFD_WARDEN_DROP, uffd);
}

int mfd_warden_drop_all(struct mfd_warden_link *l, const char *session)
{
	return drop(l, session, MFD_WARDEN_DROP_ALL, -1);
}
