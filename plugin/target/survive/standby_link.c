// SPDX-License-Identifier: GPL-2.0-only
/* The standby as the supervisor has it, and how a new server finds the one of an earlier server. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "assert.h"
#include "io.h"
#include "log.h"
#include "standby.h"
#include "standby_msg.h"

#define STANDBY_SOCKET ".standby.sock"
#define ANSWER_SEC     5 /* that a standby has, for each message */

static void address_in(struct sockaddr_un *a, int dirfd)
{
	*a = (struct sockaddr_un){ .sun_family = AF_UNIX };
	snprintf(a->sun_path, sizeof(a->sun_path), "/proc/self/fd/%d/" STANDBY_SOCKET, dirfd);
}

static int listen_in(int dirfd)
{
	struct sockaddr_un a;
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), ret;

	if (fd < 0)
		return -errno;
	unlinkat(dirfd, STANDBY_SOCKET, 0);
	address_in(&a, dirfd);
	if (!bind(fd, (struct sockaddr *)&a, sizeof(a)) && !listen(fd, 4))
		return fd;
	ret = -errno;
	close(fd);
	return ret;
}

/* [0] the supervisor's end, [1] the standby's. */
static int fork_it(struct mfd_standby *s, int listener, int link[2])
{
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, link))
		return -errno;
	s->pid = fork();
	if (!s->pid)
		mfd_standby_run(&(struct mfd_standby_ends){
			.link = link[1], .orphans = s->orphans_end, .listener = listener });
	return s->pid < 0 ? -errno : 0;
}

/* The first standby makes it, for all that follow. */
static int open_orphans(struct mfd_standby *s)
{
	int pair[2];

	if (s->orphans >= 0)
		return 0;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return -errno;
	s->orphans = pair[0];
	s->orphans_end = pair[1];
	return 0;
}

int mfd_standby_start(struct mfd_standby *s, int dirfd)
{
	int link[2] = { -1, -1 }, listener, ret = open_orphans(s);

	mfd_assert(s->link < 0 && s->pid <= 0);
	if (ret)
		return ret;
	listener = listen_in(dirfd);
	if (listener < 0)
		return listener;
	ret = fork_it(s, listener, link);
	mfd_io_close(&listener);
	mfd_io_close(&link[1]);
	if (ret) {
		mfd_io_close(&link[0]);
		s->pid = 0;
	}
	s->link = link[0];
	mfd_assert(ret || (s->link >= 0 && s->orphans >= 0 && s->pid > 0));
	return ret;
}

void mfd_standby_add(struct mfd_standby *s, const struct mfd_deposit *d)
{
	int ret = s->link >= 0 ? mfd_standby_msg_send(s->link, d) : 0;

	if (!ret)
		return;
	mfd_log_warn(
		"the standby is gone (%s): should the whole server be killed, restored tasks that lack pages are lost",
		strerror(-ret));
	mfd_io_close(&s->link);
}

void mfd_standby_drop(struct mfd_standby *s, uint64_t id)
{
	if (s->link >= 0)
		mfd_standby_msg_op(s->link, MFD_STANDBY_DROP, id);
}

int mfd_standby_died(struct mfd_standby *s)
{
	int status;

	if (s->pid <= 0 || waitpid(s->pid, &status, WNOHANG) != s->pid)
		return 0;
	mfd_io_close(&s->link);
	s->pid = 0;
	return 1;
}

void mfd_standby_end(struct mfd_standby *s)
{
	int status;

	if (s->link < 0) {
		/* It is dead, or alone with its copies: another may follow. */
		mfd_standby_died(s);
		s->pid = 0;
		mfd_io_close(&s->orphans);
		mfd_io_close(&s->orphans_end);
		return;
	}
	mfd_assert(s->pid > 0);
	mfd_standby_msg_op(s->link, MFD_STANDBY_END, 0);
	mfd_io_close(&s->link);
	mfd_io_close(&s->orphans);
	mfd_io_close(&s->orphans_end);
	while (waitpid(s->pid, &status, 0) < 0 && errno == EINTR)
		;
	s->pid = 0;
}

static int connect_in(int dirfd)
{
	struct timeval t = { .tv_sec = ANSWER_SEC };
	struct sockaddr_un a;
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), ret;

	if (fd < 0)
		return -errno;
	address_in(&a, dirfd);
	if (!setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t)) &&
	    !connect(fd, (struct sockaddr *)&a, sizeof(a)))
		return fd;
	ret = -errno;
	close(fd);
	return ret;
}

int mfd_standby_inherit(int dirfd, struct mfd_deposit **list, int *conn)
{
	int n = 0, ret;

	*conn = connect_in(dirfd);
	if (*conn < 0)
		return *conn == -ENOENT || *conn == -ECONNREFUSED ? 0 : *conn;
	while ((ret = mfd_standby_msg_receive(*conn, list)) == MFD_STANDBY_ADD)
		n++;
	if (ret == MFD_STANDBY_END)
		return n;
	/* It had nothing to hold and ended while we were asking. */
	mfd_io_close(conn);
	return ret == 0 && !n ? 0 : -EPROTO;
}

void mfd_standby_relieve(int *conn)
{
	if (*conn < 0)
		return;
	mfd_standby_msg_op(*conn, MFD_STANDBY_RELIEVE, 0);
	mfd_io_close(conn);
}
