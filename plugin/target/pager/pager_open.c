// SPDX-License-Identifier: GPL-2.0-only
/*
 * From CRIU's last word to bulk work, and the tasks of an early restore that stay stopped in
 * between: until they are, no bulk work begins, for a block of 2 MiB can become a huge page only
 * before a page of it is in (pager_huge.c).
 */
#include <errno.h>

#include "log.h"
#include "pager_int.h"
#include "thp.h"

void mfd_pager_expect_stop(struct mfd_pager *p, int huge)
{
	mfd_assert(mfd_pager_phase(p) != PAGER_NEW);
	if (!huge || !mfd_thp_here())
		return;
	pthread_mutex_lock(&p->sock_lock);
	mfd_assert(p->expect != PAGER_EXPECT_DECISION || mfd_pager_is_open(p));
	if (!mfd_pager_is_open(p))
		p->expect = PAGER_EXPECT_STOP;
	mfd_pager_check_sock(p);
	pthread_mutex_unlock(&p->sock_lock);
}

static int any_huge(struct mfd_pager *p)
{
	int any = 0;

	for (struct pager_task *t = mfd_pager_next_task(p, NULL); t;
	     t = mfd_pager_next_task(p, t)) {
		pthread_rwlock_rdlock(&t->lock);
		any |= t->huge != NULL;
		pthread_rwlock_unlock(&t->lock);
	}
	return any;
}

static void look_for_huge(struct mfd_pager *p)
{
	for (struct pager_task *t = mfd_pager_next_task(p, NULL); t;
	     t = mfd_pager_next_task(p, t)) {
		pthread_rwlock_wrlock(&t->lock);
		mfd_huge_look(t);
		pthread_rwlock_unlock(&t->lock);
	}
}

/* Nonzero: bulk work waits until the tasks have stopped. */
static int has_to_wait(struct mfd_pager *p)
{
	if (p->expect != PAGER_EXPECT_STOP)
		return 0;
	look_for_huge(p);
	return any_huge(p);
}

/*
 * A receiver that brings a page sets the table, takes task->lock for reading and looks at the phase
 * inside (is_due).  If it saw a phase before OPENING there, its section came before that of this
 * thread on the same lock, so the bulk work that starts after OPENING sees the table as it was set.
 */
void mfd_pager_open(struct mfd_pager *p)
{
	int wait = has_to_wait(p);

	mfd_assert(!p->conn_deposited);
	mfd_assert(p->sock.listen < 0);
	if (!wait)
		p->expect = PAGER_EXPECT_RUN;
	mfd_pager_enter_locked(p, PAGER_OPENING);
	for (struct pager_task *t = mfd_pager_next_task(p, NULL); t;
	     t = mfd_pager_next_task(p, t)) {
		pthread_rwlock_wrlock(&t->lock);
		mfd_pager_giveback(t);
		pthread_rwlock_unlock(&t->lock);
	}
	mfd_pager_enter_locked(p, wait ? PAGER_AWAIT_STOP : PAGER_FILLING);
	mfd_pager_wake(p);
}

/*
 * From AWAIT_STOP, or STOPPED if `to` is not that, to `to`.  In DONE nothing is left to do.  Before
 * CRIU's last word has been read, bulk work will not wait any more.
 */
static void end_wait(struct mfd_pager *p, enum pager_phase to)
{
	enum pager_phase phase;

	pthread_mutex_lock(&p->sock_lock);
	pthread_mutex_lock(&p->lock);
	phase = mfd_pager_phase(p);
	mfd_assert(phase != PAGER_NEW);
	mfd_assert(phase != PAGER_OPENING); /* sock_lock */
	if (phase == PAGER_AWAIT_STOP || (phase == PAGER_STOPPED && to != phase))
		mfd_pager_enter(p, to);
	if (p->expect == PAGER_EXPECT_STOP)
		p->expect = PAGER_EXPECT_RUN;
	pthread_mutex_unlock(&p->lock);
	mfd_pager_check_sock(p);
	pthread_mutex_unlock(&p->sock_lock);
	mfd_pager_wake(p);
}

int mfd_pager_tasks_stopped(struct mfd_pager *p)
{
	end_wait(p, PAGER_STOPPED);
	return any_huge(p);
}

/* Put in what has come to the store meanwhile and was not put in with the rest. */
static void fill_open_blocks(struct pager_task *t, struct pager_huge *h)
{
	uint64_t bit;

	for (size_t at = 0; mfd_huge_next_open(h, &at, &bit);)
		mfd_pager_fill_wait(t, bit, bit + MFD_THP_SIZE / PAGER_PAGE, 0);
}

/*
 * No block is opened any more, since the phase is not STOPPED: a thread that was just about to open
 * one has done so when this thread has had the lock.
 */
static void make_whole(struct pager_task *t)
{
	struct pager_huge *h;

	mfd_assert(mfd_pager_phase(t->p) != PAGER_STOPPED);
	pthread_rwlock_wrlock(&t->lock);
	h = t->huge;
	pthread_rwlock_unlock(&t->lock);
	if (h)
		fill_open_blocks(t, h);
	pthread_rwlock_wrlock(&t->lock);
	mfd_assert(t->huge == h);
	mfd_huge_free(t);
	pthread_rwlock_unlock(&t->lock);
}

int mfd_pager_make_whole(struct mfd_pager *p)
{
	end_wait(p, PAGER_FILLING);
	for (struct pager_task *t = mfd_pager_next_task(p, NULL); t; t = mfd_pager_next_task(p, t))
		make_whole(t);
	mfd_log_debug("pager: %llu blocks of 2 MiB were put in as a whole",
		      (unsigned long long)atomic_load(&p->blocks));
	return mfd_pager_has_failed(p) ? -EIO : 0;
}
