// SPDX-License-Identifier: GPL-2.0-only
/* What becomes of the supervisor's deposits. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "assert.h"
#include "deposits.h"
#include "holder.h"
#include "io.h"
#include "log.h"
#include "uffd.h"
#include "unfinished.h"

/* ---- closing ---- */

/*
 * The connection of a restore, with something unread in it: userfaultfds.  Whether that restore has
 * failed is not known, so they stay where they are, for ever; a task of it that should run waits
 * then instead of reading zeros.
 */
static int must_stay(const struct mfd_deposit *d)
{
	int unread = 0;

	return mfd_deposit_is_connection(d) && !ioctl(d->uffd, FIONREAD, &unread) && unread > 0;
}

static void lose(struct mfd_deposits *l, struct mfd_deposit *d)
{
	mfd_assert(d->owner != MFD_DEPOSIT_LOST || mfd_deposit_is_connection(d));
	mfd_assert(d->uffd >= 0);
	mfd_deposit_disown(d, MFD_DEPOSIT_LOST);
	mfd_standby_add(&l->standby, d);
}

/* Returns where the next one is. */
static struct mfd_deposit **drop(struct mfd_deposits *l, struct mfd_deposit **p)
{
	struct mfd_deposit *d = *p;

	if (must_stay(d)) {
		shutdown(d->uffd, SHUT_RDWR);
		lose(l, d);
		return &d->next;
	}
	mfd_standby_drop(&l->standby, d->id);
	mfd_deposit_drop(p);
	return p;
}

void mfd_deposits_withdraw_all(struct mfd_deposits *l, const char *session)
{
	struct mfd_deposit **p = &l->all;

	while (*p)
		p = mfd_deposit_is_of(*p, session) ? drop(l, p) : &(*p)->next;
}

void mfd_deposits_end_unclaimed(struct mfd_deposits *l)
{
	struct mfd_deposit **p = &l->all;

	while (*p)
		p = (*p)->owner == MFD_DEPOSIT_UNCLAIMED ? drop(l, p) : &(*p)->next;
}

void mfd_deposits_drop_ended(struct mfd_deposits *l)
{
	struct mfd_deposit **p = &l->all;

	while (*p)
		p = (*p)->owner == MFD_DEPOSIT_LOST && mfd_uffd_ended((*p)->uffd) ? drop(l, p) :
										    &(*p)->next;
}

void mfd_deposits_close(struct mfd_deposits *l)
{
	while (l->all)
		mfd_deposit_drop(&l->all);
}

/* ---- the worker's messages ---- */

struct mfd_deposit *mfd_deposits_new(struct mfd_deposits *l)
{
	struct mfd_deposit *d = calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	d->id = ++l->last_id;
	d->uffd = d->book = d->pidfd = -1;
	d->next = l->all;
	l->all = d;
	return d;
}

static int take_fd(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

/* Of the present worker. */
static struct mfd_deposit *add(struct mfd_deposits *l, int number, int *uffd)
{
	struct mfd_deposit *d = mfd_deposits_new(l);

	if (!d)
		return NULL;
	d->uffd = take_fd(uffd);
	d->writer = l->worker;
	d->number = number;
	return d;
}

static struct mfd_deposit *find_unclaimed(struct mfd_deposits *l, int number)
{
	struct mfd_deposit **p = &l->all;

	while (*(p = mfd_deposit_find_number(p, l->worker, number, 0)) &&
	       (*p)->owner != MFD_DEPOSIT_UNCLAIMED)
		p = &(*p)->next;
	return *p;
}

int mfd_deposits_add(struct mfd_deposits *l, const struct mfd_guard_msg *m, int *fds, int nfds)
{
	int more = !!(m->flags & MFD_GUARD_BOOK) + !!(m->flags & MFD_GUARD_PIDFD), n = 1;
	struct mfd_deposit *d;

	mfd_assert(m->kind == MFD_GUARD_DEPOSIT);
	if (nfds != 1 + more || !m->session[0])
		return -EINVAL;
	/*
	 * One that the heir of an earlier worker found has an owner now.  It stays the same
	 * deposit, under the number by which the worker may name it in a message that is underway.
	 */
	d = find_unclaimed(l, m->number);
	if (!d)
		d = add(l, m->number, &fds[0]);
	if (!d)
		return -ENOMEM;
	d->task = m->task;
	if (m->flags & MFD_GUARD_BOOK)
		d->book = take_fd(&fds[n++]);
	if (m->flags & MFD_GUARD_PIDFD)
		d->pidfd = take_fd(&fds[n++]);
	d->forked = !!(m->flags & MFD_GUARD_FORKED);
	mfd_deposit_give(d, m->session);
	mfd_assert(d->uffd >= 0 && n == nfds);
	mfd_standby_add(&l->standby, d);
	return 0;
}

/* Most of what an heir finds is deposited already. */
int mfd_deposits_found(struct mfd_deposits *l, const struct mfd_guard_msg *m, int *fds, int nfds)
{
	struct mfd_deposit *d;

	mfd_assert(m->kind == MFD_GUARD_FOUND);
	if (nfds != 1)
		return -EINVAL;
	if (*mfd_deposit_find_number(&l->all, l->worker, m->number, 0))
		return 0;
	d = add(l, m->number, &fds[0]);
	if (!d)
		return -ENOMEM;
	mfd_assert(d->owner == MFD_DEPOSIT_UNCLAIMED);
	mfd_standby_add(&l->standby, d);
	return 0;
}

int mfd_deposits_withdraw(struct mfd_deposits *l, const char *session, int number)
{
	struct mfd_deposit **p = &l->all;

	while (*(p = mfd_deposit_find_number(p, l->worker, number, 0)) &&
	       !mfd_deposit_is_of(*p, session))
		p = &(*p)->next;
	if (!*p)
		return -ENOENT;
	drop(l, p);
	return 0;
}

/* ---- the end of tasks ---- */

/*
 * The tasks of this session have been killed.  If a task lives all the same, no process that was
 * killed was it, and it waits from now on.
 */
static void keep_lost(struct mfd_deposits *l, const char *session)
{
	unsigned n = 0;

	for (struct mfd_deposit *d = l->all; d; d = d->next) {
		if (!mfd_deposit_is_of(d, session) || !d->task || mfd_uffd_ended(d->uffd))
			continue;
		lose(l, d);
		n++;
	}
	if (n)
		mfd_log_error(
			"%s: %u tasks that lack pages could not be found to be killed; they wait for ever",
			session, n);
}

/* Those that were in the connection of a restore. */
static void number_new(struct mfd_deposits *l)
{
	for (struct mfd_deposit *d = l->all; d && !d->id; d = d->next) {
		d->id = ++l->last_id;
		mfd_standby_add(&l->standby, d);
	}
}

int mfd_deposits_kill(struct mfd_deposits *l, const char *session)
{
	int ret = mfd_unfinished_cut(&l->all, session);

	number_new(l);
	ret = mfd_holder_kill(l->all, session) ?: ret;
	mfd_unfinished_end(l->all, session);
	if (ret)
		return ret;
	mfd_deposits_drop_ended(l);
	keep_lost(l, session);
	mfd_deposits_withdraw_all(l, session);
	return ret;
}

/* A task that lives waits from now on. */
static void lose_unclaimed(struct mfd_deposits *l)
{
	for (struct mfd_deposit *d = l->all; d; d = d->next) {
		if (d->owner != MFD_DEPOSIT_UNCLAIMED || mfd_uffd_ended(d->uffd))
			continue;
		d->task = MFD_DEPOSIT_UNKNOWN;
		lose(l, d);
	}
	mfd_deposits_end_unclaimed(l);
}

void mfd_deposits_kill_all(struct mfd_deposits *l)
{
	struct mfd_deposit *d = l->all;
	char session[sizeof(d->session)];

	while (d) {
		memcpy(session, d->session, sizeof(session));
		/* If it works, no deposit of the session is left, so that this comes to an end. */
		if (d->owner == MFD_DEPOSIT_SESSION && !mfd_deposits_kill(l, session))
			d = l->all;
		else
			d = d->next;
	}
	lose_unclaimed(l);
}

/* ---- the standby ---- */

void mfd_deposits_start_standby(struct mfd_deposits *l, int dirfd)
{
	int ret;

	mfd_assert(l->standby.link < 0);
	ret = mfd_standby_start(&l->standby, dirfd);
	if (ret)
		mfd_log_warn(
			"no standby (%s): should the whole server be killed, restored tasks that lack pages are lost",
			strerror(-ret));
	for (struct mfd_deposit *d = l->all; d && !ret; d = d->next)
		mfd_standby_add(&l->standby, d);
}

void mfd_deposits_end_standby(struct mfd_deposits *l)
{
	int tasks = 0;

	for (struct mfd_deposit *d = l->all; d; d = d->next)
		tasks += !mfd_deposit_is_connection(d);
	if (tasks) /* that do not die: it holds on to their deposits */
		mfd_io_close(&l->standby.link);
	mfd_standby_end(&l->standby);
}

int mfd_deposits_inherit(struct mfd_deposits *l, int dirfd)
{
	int conn = -1, n = mfd_standby_inherit(dirfd, &l->all, &conn);

	for (struct mfd_deposit *d = l->all; n > 0 && d; d = d->next) {
		d->id = ++l->last_id;
		d->writer = d->writer == getpid() ? 0 : d->writer;
	}
	if (n > 0)
		mfd_log_warn(
			"an earlier server was killed; its standby has handed over %d descriptors of restored tasks",
			n);
	else if (n < 0)
		mfd_log_error("the standby of an earlier server cannot be asked: %s", strerror(-n));
	mfd_deposits_start_standby(l, dirfd);
	mfd_standby_relieve(&conn);
	return n > 0 ? n : 0;
}
