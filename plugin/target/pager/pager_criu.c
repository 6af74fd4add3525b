// SPDX-License-Identifier: GPL-2.0-only
/*
 * The pager's conversation with CRIU: one restore at a time, until one is final.
 *
 * It runs in the thread on call that epoll gives the socket to, one at a time (EPOLLONESHOT).
 * Until the restore is final nothing is released from the store, so that a restore that dies, or is
 * undone, can be tried again.
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

	mfd_assert(p->sock.conn < 0);
	if (p->sock.listen >= 0 && epoll_ctl(p->epfd, EPOLL_CTL_MOD, p->sock.listen, &ev))
		mfd_pager_fail(p, -errno, "cannot wait for %s", MFD_LAZYSOCK_NAME);
}

static void read_again(struct mfd_pager *p)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLONESHOT, .data.ptr = PAGER_SOCK(p) };

	mfd_assert(p->sock.conn >= 0);
	if (epoll_ctl(p->epfd, EPOLL_CTL_MOD, p->sock.conn, &ev))
		mfd_pager_fail(p, -errno, "cannot wait for CRIU's connection");
}

/*
 * What lies unread in the connection are userfaultfds: they must not close if this process dies.
 */
static int deposit_conn(struct mfd_pager *p)
{
	struct mfd_pager_deposit h = { .uffd = p->sock.conn, .book = -1 };
	int ret = p->ops.deposit ? p->ops.deposit(p->arg, &h) : 0;

	mfd_assert(p->sock.conn >= 0);
	mfd_assert(!p->conn_deposited);
	p->conn_deposited = !ret;
	return ret;
}

/*
 * The restore is finished, so nothing depends on the connection: CRIU may keep it for as long as
 * what it restored runs.
 */
static void withdraw_conn(struct mfd_pager *p)
{
	mfd_assert(!p->conn_deposited || p->sock.conn >= 0);
	mfd_assert(mfd_pager_phase(p) != PAGER_NEW);
	if (p->conn_deposited && p->ops.withdraw)
		p->ops.withdraw(p->arg, p->sock.conn);
	p->conn_deposited = 0;
}

/* In the other process first: what lies unread must not close with the connection. */
static void abandon(struct mfd_pager *p)
{
	mfd_assert(mfd_pager_phase(p) >= PAGER_RESTORING);
	mfd_assert(!mfd_pager_is_open(p));
	if (p->conn_deposited && p->ops.abandon) {
		p->ops.abandon(p->arg);
		p->conn_deposited = 0;
	}
	withdraw_conn(p);
	mfd_lazysock_hangup(&p->sock);
}

/* The restore has failed, or was refused: wait for another. */
static void give_up_restore(struct mfd_pager *p)
{
	mfd_assert(mfd_pager_phase(p) >= PAGER_RESTORING);
	mfd_assert(!mfd_pager_is_open(p));
	abandon(p);
	mfd_pager_forget(p);
	mfd_pager_enter_locked(p, PAGER_LISTENING);
	listen_again(p);
}

/*
 * In postcopy the restored tasks may only run once the source has agreed that its own will not.
 * CRIU gives no moment to wait in, so its process is stopped while the source is asked.
 */
static int ask_leave(struct mfd_pager *p)
{
	int ret;

	if (!p->postcopy)
		return p->ops.started(p->arg);
	mfd_lazysock_stop(&p->sock);
	ret = p->ops.started(p->arg);
	if (ret)
		abandon(p); /* before it goes on, so that it finds the connection gone */
	mfd_lazysock_continue(&p->sock);
	return ret;
}

static void log_accept(int ret)
{
	if (ret == -EPERM)
		mfd_log_warn("pager: a process that is not root's connected to %s",
			     MFD_LAZYSOCK_NAME);
	else if (ret != -EAGAIN)
		mfd_log_error("pager: cannot accept on %s: error %d", MFD_LAZYSOCK_NAME, -ret);
}

static void greet(struct mfd_pager *p)
{
	int ret = mfd_lazysock_accept(&p->sock);

	mfd_assert(mfd_pager_phase(p) == PAGER_LISTENING);
	mfd_assert(!p->conn_deposited);
	if (ret) {
		log_accept(ret);
		listen_again(p);
		return;
	}
	mfd_pager_enter_locked(p, PAGER_RESTORING);
	ret = deposit_conn(p);
	ret = ret ? ret : ask_leave(p);
	if (!ret)
		ret = mfd_pager_watch(p, p->sock.conn, PAGER_SOCK(p), 1);
	if (ret) {
		mfd_log_warn("pager: restore refused (error %d)", -ret);
		give_up_restore(p);
	}
}

/*
 * The restore is final.  ops->restored comes before anything is released from the store: no second
 * restore is possible after that.
 */
static void open_pager(struct mfd_pager *p)
{
	mfd_assert(!mfd_pager_is_open(p) && p->expect != PAGER_EXPECT_DECISION);
	mfd_lazysock_unlisten(&p->sock);
	p->ops.restored(p->arg);
	withdraw_conn(p);
	mfd_pager_open(p);
}

static int take_task(struct mfd_pager *p, const struct mfd_lazysock_msg *m)
{
	const char *why;
	int ret = mfd_pager_task_add(p, m->task, m->uffd, m->pid, &why);

	if (ret)
		mfd_log_error("pager: task %u cannot be restored: %s", m->task, why);
	return ret;
}

static int take_message(struct mfd_pager *p, struct mfd_lazysock_msg *m)
{
	mfd_assert(p->sock.conn >= 0);
	mfd_assert(mfd_pager_phase(p) >= PAGER_RESTORING);
	if (mfd_pager_phase(p) != PAGER_RESTORING) { /* after CRIU's last word */
		if (m->uffd >= 0)
			close(m->uffd);
		return -EPROTO;
	}
	switch (m->kind) {
	case MFD_LAZYSOCK_ZOMBIE:
		return 0;
	case MFD_LAZYSOCK_DONE:
		if (p->expect == PAGER_EXPECT_DECISION)
			mfd_pager_enter_locked(p, PAGER_PROVISIONAL);
		else
			open_pager(p);
		return 0;
	case MFD_LAZYSOCK_TASK:
		return take_task(p, m);
	}
	return -EPROTO;
}

static void hang_up(struct mfd_pager *p, int ret)
{
	if (mfd_pager_phase(p) != PAGER_RESTORING) {
		withdraw_conn(p);
		mfd_lazysock_hangup(&p->sock);
		return;
	}
	mfd_log_warn("pager: the restore ended before it was finished%s; waiting for another",
		     ret == -ECONNRESET ? "" : " (refused)");
	give_up_restore(p);
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

/*
 * An event may have been overtaken: mfd_pager_undo, and the thread that a newer connection's event
 * went to, read without waiting for it.  What is done is therefore decided by what holds now.
 */
void mfd_pager_restore_event(struct mfd_pager *p)
{
	pthread_mutex_lock(&p->sock_lock);
	if (p->sock.conn >= 0)
		talk(p);
	else if (mfd_pager_phase(p) == PAGER_LISTENING)
		greet(p);
	mfd_pager_check_sock(p);
	pthread_mutex_unlock(&p->sock_lock);
}

/* ---- provisional restores ---- */

void mfd_pager_provisional(struct mfd_pager *p)
{
	mfd_assert(mfd_pager_phase(p) != PAGER_NEW);
	pthread_mutex_lock(&p->sock_lock);
	mfd_assert(p->expect != PAGER_EXPECT_STOP || mfd_pager_is_open(p));
	if (!mfd_pager_is_open(p))
		p->expect = PAGER_EXPECT_DECISION;
	mfd_pager_check_sock(p);
	pthread_mutex_unlock(&p->sock_lock);
}

/* Nonzero: there is a decision to make.  From here on the restore, or the next one, is final. */
static int decide(struct mfd_pager *p)
{
	mfd_assert(!p->conn_deposited || p->sock.conn >= 0);
	if (p->expect != PAGER_EXPECT_DECISION)
		return 0;
	mfd_assert(!mfd_pager_is_open(p));
	p->expect = PAGER_EXPECT_RUN;
	return mfd_pager_phase(p) == PAGER_PROVISIONAL;
}

void mfd_pager_keep(struct mfd_pager *p)
{
	pthread_mutex_lock(&p->sock_lock);
	if (decide(p))
		open_pager(p);
	mfd_pager_check_sock(p);
	pthread_mutex_unlock(&p->sock_lock);
}

/*
 * First read what a CRIU that has been killed had still said: its last word, read after this call,
 * would pass for that of a restore that is final.
 */
void mfd_pager_undo(struct mfd_pager *p)
{
	pthread_mutex_lock(&p->sock_lock);
	if (p->expect == PAGER_EXPECT_DECISION && mfd_pager_phase(p) == PAGER_RESTORING)
		talk(p);
	if (decide(p))
		give_up_restore(p);
	mfd_pager_check_sock(p);
	pthread_mutex_unlock(&p->sock_lock);
}

int mfd_pager_finished(struct mfd_pager *p)
{
	int finished;

	pthread_mutex_lock(&p->sock_lock);
	finished = mfd_pager_phase(p) >= PAGER_PROVISIONAL;
	pthread_mutex_unlock(&p->sock_lock);
	return finished;
}
