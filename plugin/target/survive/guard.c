// SPDX-License-Identifier: GPL-2.0-only
/*
 * The worker's side of the socket to its supervisor.  When the supervisor is dead, what it would
 * hold goes to its standby.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "guard.h"
#include "io.h"
#include "log.h"

void mfd_guard_init(struct mfd_guard *g, int fd, int standby_fd)
{
	g->fd = fd;
	g->standby_fd = standby_fd;
	pthread_mutex_init(&g->lock, NULL);
}

static int tell_standby(struct mfd_guard *g, struct mfd_guard_msg *m, const int *fds, int nfds)
{
	ssize_t n;

	if (g->standby_fd < 0 || m->kind == MFD_GUARD_KILL || m->kind == MFD_GUARD_EXEC)
		return -EPIPE;
	m->writer = getpid();
	n = mfd_io_send_fds(g->standby_fd, m, sizeof(*m), fds, nfds);
	return n < 0 ? (int)n : 0;
}

static int exchange(struct mfd_guard *g, struct mfd_guard_msg *m, const int *fds, int nfds)
{
	struct mfd_guard_msg ack = { 0 };
	int none = 0;
	ssize_t n;

	pthread_mutex_lock(&g->lock);
	n = mfd_io_send_fds(g->fd, m, sizeof(*m), fds, nfds);
	if (n >= 0)
		n = mfd_io_recv_fds(g->fd, &ack, sizeof(ack), NULL, &none);
	pthread_mutex_unlock(&g->lock);
	if (n == 0 || n == -EPIPE || n == -ECONNRESET)
		return tell_standby(g, m, fds, nfds);
	if (n < 0)
		return (int)n;
	if (n != sizeof(ack) || ack.kind != MFD_GUARD_ACK)
		return -EPIPE;
	return ack.code;
}

static int request(struct mfd_guard *g, enum mfd_guard_kind kind, const char *session)
{
	struct mfd_guard_msg m = { .kind = kind };
	int ret;

	snprintf(m.session, sizeof(m.session), "%s", session);
	ret = exchange(g, &m, NULL, 0);
	if (ret)
		mfd_log_error("%s: supervisor: %s", session[0] ? session : "start", strerror(-ret));
	return ret;
}

int mfd_guard_ready(struct mfd_guard *g)
{
	return request(g, MFD_GUARD_READY, "");
}

int mfd_guard_withdraw_all(struct mfd_guard *g, struct mfd_warden_link *w, const char *session)
{
	mfd_warden_drop_all(w, session);
	return request(g, MFD_GUARD_WITHDRAW_ALL, session);
}

int mfd_guard_kill(struct mfd_guard *g, const char *session)
{
	return request(g, MFD_GUARD_KILL, session);
}

int mfd_guard_exec(struct mfd_guard *g)
{
	return request(g, MFD_GUARD_EXEC, "");
}

int mfd_guard_deposit(struct mfd_guard *g, struct mfd_warden_link *w, const char *session,
		      uint32_t task, int uffd, int book, int pidfd, int forked)
{
	struct mfd_guard_msg m = { .kind = MFD_GUARD_DEPOSIT, .task = task, .number = uffd };
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
	if (task)
		mfd_warden_keep(w, session, uffd);
	return exchange(g, &m, fds, n);
}

int mfd_guard_withdraw(struct mfd_guard *g, struct mfd_warden_link *w, const char *session,
		       int uffd)
{
	mfd_warden_drop(w, session, uffd);
	return mfd_guard_withdraw_conn(g, session, uffd);
}

int mfd_guard_withdraw_conn(struct mfd_guard *g, const char *session, int conn)
{
	struct mfd_guard_msg m = { .kind = MFD_GUARD_WITHDRAW, .number = conn };

	snprintf(m.session, sizeof(m.session), "%s", session);
	return exchange(g, &m, NULL, 0);
}
