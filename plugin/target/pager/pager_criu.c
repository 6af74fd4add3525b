// SPDX-License-Identifier: GPL-2.0-only
/*
 * The pager's conversation with CRIU: one restore at a time, until one is finished.
 *
 * Runs in whichever thread on call epoll gives the socket to, one at a time (EPOLLONESHOT).  Until
 * CRIU says "finished" nothing is released from the store, so that a restore that dies can be tried
 * again.
 */
#include <errno.h>
#include <signal.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "log.h"
#include "pager_int.h"

/* epoll gives the descriptor to one thread and then forgets it until this call. */
static void listen_again(struct mfd_pager *p)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLONESHOT, .data.ptr = PAGER_SOCK(p) };

	if (p->sock.listen >= 0 && epoll_ctl(p->epfd, EPOLL_CTL_MOD, p->sock.listen, &ev))
		mfd_pager_fail(p, -errno, "cannot wait for %s", MFD_LAZYSOCK_NAME);
}

static void read_again(struct mfd_pager *p)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLONESHOT, .data.ptr = PAGER_SOCK(p) };

	if (epoll_ctl(p->epfd, EPOLL_CTL_MOD, p->sock.conn, &ev))
		mfd_pager_fail(p, -errno, "cannot wait for CRIU's connection");
}

/*
 * What lies unread in the connection are userfaultfds: they must not close should this process die.
 */
static int hold_conn(struct mfd_pager *p)
{
	struct mfd_pager_held h = { .uffd = p->sock.conn, .book = -1 };
	int ret = p->ops.deposit ? p->ops.deposit(p->arg, &h) : 0;

	p->conn_held = !ret;
	return ret;
}

/*
 * The restore is finished, so nothing depends on the connection: CRIU may keep it for as long as
 * what it restored runs.
 */
static void unhold_conn(struct mfd_pager *p)
{
	if (p->conn_held && p->ops.withdraw)
		p->ops.withdraw(p->arg, p->sock.conn);
	p->conn_held = 0;
}

/* In the other process first: what lies unread must not close with the connection. */
static void abandon(struct mfd_pager *p)
{
	if (p->conn_held && p->ops.abandon) {
		p->ops.abandon(p->arg);
		p->conn_held = 0;
	}
	unhold_conn(p);
	mfd_lazysock_hangup(&p->sock);
}

/*
 * In postcopy the restored tasks may only run once the source has agreed that it will not.  CRIU
 * gives no moment to wait in, so the process is stopped while the source is asked.
 */
static int ask_leave(struct mfd_pager *p)
{
	int ret;

	if (!p->postcopy)
		return p->ops.started(p->arg);
	mfd_lazysock_stop(&p->sock);
	ret = p->ops.started(p->arg);
	if (ret)
		abandon(p); /* first, so that it finds the connection gone */
	mfd_lazysock_continue(&p->sock);
	return ret;
}

static void greet(struct mfd_pager *p)
{
	int ret = mfd_lazysock_accept(&p->sock);

	if (ret) {
		if (ret == -EPERM)
			mfd_log_warn("pager: somebody who is not root connected to %s",
				     MFD_LAZYSOCK_NAME);
		else if (ret != -EAGAIN)
			mfd_log_error("pager: cannot accept on %s: error %d", MFD_LAZYSOCK_NAME,
				      -ret);
		listen_again(p);
		return;
	}
	ret = hold_conn(p);
	ret = ret ? ret : ask_leave(p);
	if (!ret)
		ret = mfd_pager_watch(p, p->sock.conn, PAGER_SOCK(p), 1);
	if (ret) {
		mfd_log_warn("pager: restore refused (error %d)", -ret);
		abandon(p);
		listen_again(p);
	}
}

/* Final: before anything is released, a second restore is out of the question. */
static void start_running(struct mfd_pager *p)
{
	mfd_lazysock_unlisten(&p->sock);
	p->ops.restored(p->arg);
	unhold_conn(p);
	mfd_pager_open(p);
}

static int take_message(struct mfd_pager *p, struct mfd_lazysock_msg *m)
{
	const char *why;
	int ret;

	if (p->finished) {
		if (m->uffd >= 0)
			close(m->uffd);
		return -EPROTO;
	}
	switch (m->kind) {
	case MFD_LAZYSOCK_ZOMBIE:
		return 0;
	case MFD_LAZYSOCK_DONE:
		p->finished = 1;
		if (!p->held)
			start_running(p);
		return 0;
	case MFD_LAZYSOCK_TASK:
		ret = mfd_pager_task_add(p, m->task, m->uffd, m->pid, &why);
		if (ret)
			mfd_log_error("pager: task %u cannot be restored: %s", m->task, why);
		return ret;
	}
	return -EPROTO;
}

static void hang_up(struct mfd_pager *p, int ret)
{
	if (p->finished) {
		unhold_conn(p);
		mfd_lazysock_hangup(&p->sock);
		return;
	}
	mfd_log_warn("pager: the restore ended before it was finished%s; waiting for another",
		     ret == -ECONNRESET ? "" : " (refused)");
	abandon(p);
	mfd_pager_forget(p);
	listen_again(p);
}

static void talk(struct mfd_pager *p)
{
	struct mfd_lazysock_msg m;
	int ret;

	while ((ret = mfd_lazysock_read(&p->sock, &m)) > 0) {
		ret = take_message(p, &m);
		if (ret)
			break;
	}
	if (ret)
		hang_up(p, ret);
	else
		read_again(p);
}

void mfd_pager_restore_event(struct mfd_pager *p)
{
	pthread_mutex_lock(&p->sock_lock);
	if (p->sock.conn < 0)
		greet(p);
	else
		talk(p);
	pthread_mutex_unlock(&p->sock_lock);
}

void mfd_pager_provisional(struct mfd_pager *p)
{
	pthread_mutex_lock(&p->sock_lock);
	p->held = 1;
	pthread_mutex_unlock(&p->sock_lock);
}

void mfd_pager_keep(struct mfd_pager *p)
{
	pthread_mutex_lock(&p->sock_lock);
	if (p->held && p->finished)
		start_running(p);
	p->held = 0;
	pthread_mutex_unlock(&p->sock_lock);
}

void mfd_pager_undo(struct mfd_pager *p)
{
	pthread_mutex_lock(&p->sock_lock);
	if (p->held && p->finished) {
		p->finished = 0;
		abandon(p);
		mfd_pager_forget(p);
		listen_again(p);
	}
	p->held = 0;
	pthread_mutex_unlock(&p->sock_lock);
}

int mfd_pager_finished(struct mfd_pager *p)
{
	int finished;

	pthread_mutex_lock(&p->sock_lock);
	finished = p->finished;
	pthread_mutex_unlock(&p->sock_lock);
	return finished;
}
