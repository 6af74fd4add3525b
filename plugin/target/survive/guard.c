// SPDX-License-Identifier: GPL-2.0-only
/*
 * The worker's side of the socket to its supervisor: one request at a time, each acknowledged.
 * When the supervisor is dead what it would hold goes to its standby, which acknowledges only what
 * an heir hands over.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "io.h"
#include "log.h"
#include "server.h"

static int tell_standby(struct mfd_server *sv, struct mfd_guard_msg *m, const int *fds, int nfds)
{
	ssize_t n;

	if (sv->standby_fd < 0 || m->kind == MFD_GUARD_KILL || m->kind == MFD_GUARD_EXEC)
		return -EPIPE;
	m->writer = getpid();
	n = mfd_io_send_fds(sv->standby_fd, m, sizeof(*m), fds, nfds);
	return n < 0 ? (int)n : 0;
}

static int exchange(struct mfd_server *sv, struct mfd_guard_msg *m, const int *fds, int nfds)
{
	struct mfd_guard_msg ack = { 0 };
	int none = 0;
	ssize_t n;

	pthread_mutex_lock(&sv->guard_lock);
	n = mfd_io_send_fds(sv->guard_fd, m, sizeof(*m), fds, nfds);
	if (n >= 0)
		n = mfd_io_recv_fds(sv->guard_fd, &ack, sizeof(ack), NULL, &none);
	pthread_mutex_unlock(&sv->guard_lock);
	if (n == 0 || n == -EPIPE || n == -ECONNRESET)
		return tell_standby(sv, m, fds, nfds);
	if (n < 0)
		return (int)n;
	if (n != sizeof(ack) || ack.kind != MFD_GUARD_ACK)
		return -EPIPE;
	return ack.code;
}

static int request(struct mfd_server *sv, enum mfd_guard_kind kind, const char *session)
{
	struct mfd_guard_msg m = { .kind = kind };
	int ret;

	snprintf(m.session, sizeof(m.session), "%s", session);
	ret = exchange(sv, &m, NULL, 0);
	if (ret)
		mfd_log_error("%s: supervisor: %s", session[0] ? session : "start", strerror(-ret));
	return ret;
}

int mfd_guard_ready(struct mfd_server *sv)
{
	return request(sv, MFD_GUARD_READY, "");
}

int mfd_guard_release(struct mfd_server *sv, const char *session)
{
	return request(sv, MFD_GUARD_RELEASE, session);
}

int mfd_guard_kill(struct mfd_server *sv, const char *session)
{
	return request(sv, MFD_GUARD_KILL, session);
}

int mfd_guard_exec(struct mfd_server *sv)
{
	return request(sv, MFD_GUARD_EXEC, "");
}

int mfd_guard_hold(struct mfd_server *sv, const char *session, uint32_t task, int uffd, int book,
		   int pidfd, int forked)
{
	struct mfd_guard_msg m = { .kind = MFD_GUARD_HOLD, .task = task, .number = uffd };
	int fds[3] = { uffd }, n = 1;

	if (book >= 0) {
		m.flags |= MFD_GUARD_BOOK;
		fds[n++] = book;
	}
	if (pidfd >= 0) {
		m.flags |= MFD_GUARD_PIDFD;
		fds[n++] = pidfd;
	}
	m.flags |= forked ? MFD_GUARD_FORKED : 0;
	snprintf(m.session, sizeof(m.session), "%s", session);
	return exchange(sv, &m, fds, n);
}

int mfd_guard_unhold(struct mfd_server *sv, const char *session, int uffd)
{
	struct mfd_guard_msg m = { .kind = MFD_GUARD_UNHOLD, .number = uffd };

	snprintf(m.session, sizeof(m.session), "%s", session);
	return exchange(sv, &m, NULL, 0);
}
