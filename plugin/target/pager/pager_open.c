// SPDX-License-Identifier: GPL-2.0-only
/* From CRIU's last word to bulk work: when what may be put in. */
#include <errno.h>

#include "log.h"
#include "pager_int.h"
#include "thp.h"

void mfd_pager_expect_stop(struct mfd_pager *p, int huge)
{
	atomic_store(&p->awaits_still, huge && mfd_thp_here());
}

static int look_at_tasks(struct mfd_pager *p)
{
	int any = 0;

	for (struct pager_task *t = mfd_pager_next_task(p, NULL); t;
	     t = mfd_pager_next_task(p, t)) {
		pthread_rwlock_wrlock(&t->lock);
		mfd_huge_look(t);
		any |= t->still != NULL;
		pthread_rwlock_unlock(&t->lock);
	}
	return any;
}

/*
 * Everything may be installed from here on.  Whoever brings a page sets the table, takes task->lock
 * for reading and looks at `running` inside. If that was 0, its section came before ours on that
 * lock, so the bulk work that starts below sees the table as it was set.
 */
void mfd_pager_open(struct mfd_pager *p)
{
	struct pager_task *t;

	if (atomic_load(&p->awaits_still) && !look_at_tasks(p))
		atomic_store(&p->awaits_still, 0);
	atomic_store(&p->running, 1);
	for (t = mfd_pager_next_task(p, NULL); t; t = mfd_pager_next_task(p, t)) {
		pthread_rwlock_wrlock(&t->lock);
		mfd_pager_giveback(t);
		pthread_rwlock_unlock(&t->lock);
	}
	pthread_mutex_lock(&p->lock);
	p->sweeping = !atomic_load(&p->awaits_still);
	pthread_mutex_unlock(&p->lock);
	mfd_pager_wake(p);
}

static void begin_sweep(struct mfd_pager *p)
{
	pthread_mutex_lock(&p->lock);
	if (atomic_exchange(&p->awaits_still, 0))
		p->sweeping = atomic_load(&p->running);
	pthread_mutex_unlock(&p->lock);
	mfd_pager_wake(p);
}

int mfd_pager_tasks_stopped(struct mfd_pager *p)
{
	int any = 0;

	atomic_store(&p->still, 1);
	begin_sweep(p);
	for (struct pager_task *t = mfd_pager_next_task(p, NULL); t;
	     t = mfd_pager_next_task(p, t)) {
		pthread_rwlock_rdlock(&t->lock);
		any |= t->still != NULL;
		pthread_rwlock_unlock(&t->lock);
	}
	return any;
}

/* What has come to the store meanwhile, and was not swept yet. */
static void make_whole(struct pager_task *t, struct pager_still *s)
{
	uint64_t bit;

	for (size_t at = 0; mfd_huge_next_open(s, &at, &bit);)
		mfd_pager_fill_wait(t, bit, bit + MFD_THP_SIZE / PAGER_PAGE, 0);
}

int mfd_pager_make_whole(struct mfd_pager *p)
{
	struct pager_still *s;
	struct pager_task *t;

	begin_sweep(p); /* should nobody have said that they stand still */
	atomic_store(&p->still, 0);
	for (t = mfd_pager_next_task(p, NULL); t; t = mfd_pager_next_task(p, t)) {
		/* Whoever was about to open a block has done so when the lock has been ours. */
		pthread_rwlock_wrlock(&t->lock);
		s = t->still;
		pthread_rwlock_unlock(&t->lock);
		if (s)
			make_whole(t, s);
		pthread_rwlock_wrlock(&t->lock);
		mfd_huge_free(t);
		pthread_rwlock_unlock(&t->lock);
	}
	mfd_log_debug("pager: %llu blocks of 2 MiB were put in as a whole",
		      (unsigned long long)atomic_load(&p->blocks));
	return atomic_load(&p->failed) ? -EIO : 0;
}
