// SPDX-License-Identifier: GPL-2.0-only
/*
 * Bulk work: which chunk of which task a thread fills next.  Each thread takes a stripe, the pages
 * of one page table, and of that a chunk at a time.
 */
#include <errno.h>
#include <unistd.h>

#include "pager_int.h"

/*
 * Return the end of the page table that holds `bit`, by the address that the page had when the task
 * was dumped: most pages have it still, and it is known without the task's lock.  A stripe that
 * reaches over the end of an interval goes on with as many pages of the next, wherever those end.
 */
static uint64_t stripe_end(const struct pager_task *t, uint64_t bit)
{
	const struct mfd_range *r = mfd_ranges_from_bit(&t->fam->img, bit);
	uint64_t page = r ? r->img / PAGER_PAGE + (bit - r->bit) : 0,
		 end = bit + PAGER_STRIPE - page % PAGER_STRIPE;

	return end < t->fam->img.bits ? end : t->fam->img.bits;
}

static int has_stripe(const struct mfd_pager *p, const struct pager_stripe *mine)
{
	return mine->t && mine->left.bit < mine->left.end && mine->restore == p->forgotten;
}

/*
 * What was put back goes first, so that each thread has put back one chunk at most.  pager->lock
 * held.
 */
static int take(struct pager_task *t, struct pager_stripe *mine, struct pager_span *s)
{
	uint64_t bits = t->fam->img.bits, n;

	if (!atomic_load(&t->left)) {
		t->cursor = bits;
		t->redos = 0;
		mine->t = NULL;
		return 0;
	}
	mfd_assert(t->redos <= PAGER_MAX_THREADS && t->cursor <= bits);
	if (t->redos) {
		*s = t->redo[--t->redos];
		return 1;
	}
	if (!has_stripe(t->p, mine)) {
		if (t->cursor >= bits)
			return 0;
		*mine = (struct pager_stripe){ t,
					       { t->cursor, stripe_end(t, t->cursor) },
					       t->p->forgotten };
		t->cursor = mine->left.end;
	}
	n = mine->left.end - mine->left.bit;
	s->bit = mine->left.bit;
	s->end = mine->left.bit += n < PAGER_CHUNK ? n : PAGER_CHUNK;
	mfd_assert(s->bit < s->end && s->end <= bits);
	return 1;
}

/* Bulk work may be handed out.  pager->lock held. */
static int is_sweeping(const struct mfd_pager *p)
{
	enum pager_phase phase = mfd_pager_phase(p);

	return phase >= PAGER_STOPPED && !mfd_pager_has_failed(p);
}

/*
 * Take the next chunk; a new stripe is of another task than the last if possible: two threads in
 * one address space get in each other's way.
 */
static struct pager_task *pick(struct mfd_pager *p, struct pager_stripe *mine, struct pager_span *s)
{
	struct pager_task *t = NULL, *first;

	mfd_assert(mfd_pager_mine);
	mfd_assert(!mine->t || mine->t->p == p);
	pthread_mutex_lock(&p->lock);
	if (is_sweeping(p) && p->tasks) {
		t = first = has_stripe(p, mine) ? mine->t : p->turn ? p->turn : p->tasks;
		while (!take(t, mine, s)) {
			t = t->next ? t->next : p->tasks;
			if (t == first) {
				t = NULL;
				break;
			}
		}
	}
	if (t) {
		p->turn = t->next;
	} else if (p->work_set) {
		uint64_t n;

		p->work_set = 0;
		(void)!read(p->work, &n, sizeof(n));
	}
	pthread_mutex_unlock(&p->lock);
	return t;
}

/*
 * A chunk could not be finished: read the event that is in the way, then let any thread try again.
 */
static void put_back(struct pager_task *t, const struct pager_span *s)
{
	mfd_pager_serve(t);
	usleep(PAGER_CHANGING_US);
	pthread_mutex_lock(&t->p->lock);
	mfd_assert(t->redos < PAGER_MAX_THREADS);
	mfd_assert(s->bit < s->end && s->end <= t->fam->img.bits);
	t->redo[t->redos++] = *s;
	pthread_mutex_unlock(&t->p->lock);
	mfd_pager_wake(t->p);
}

int mfd_pager_chunk(struct mfd_pager *p, struct pager_stripe *mine)
{
	struct pager_span s;
	struct pager_task *t = pick(p, mine, &s);
	int ret;

	mfd_assert(mfd_pager_mine);
	if (!t)
		return 0;
	mfd_counter_add(&mfd_pager_mine->chunks, 1);
	pthread_rwlock_rdlock(&t->lock);
	ret = t->uffd < 0 ? 0 : mfd_pager_fill(t, &s.bit, s.end);
	pthread_rwlock_unlock(&t->lock);
	if (mfd_pager_verdict(t, ret) == -EAGAIN)
		put_back(t, &s);
	return 1;
}
