// SPDX-License-Identifier: GPL-2.0-only
/*
 * How long tasks wait for pages, and how much of that is the network.
 *
 * A wait begins where its fault is answered and ends where the page is settled, which is another
 * thread's work if the page comes from the source: so waits are kept in a list with a lock of its
 * own, which is taken for less than a microsecond, and not at all while no task waits.  The times
 * are noted in a histogram of the thread that has put the page in.
 */
#include "io.h"
#include "pager_int.h"

static int is_empty(const struct pager_waits *w)
{
	return !atomic_load_explicit(&w->n, memory_order_relaxed);
}

static void set_number(struct pager_waits *w, unsigned n)
{
	atomic_store_explicit(&w->n, n, memory_order_relaxed);
}

/* ---- lock held ---- */

static struct pager_wait *find(struct pager_waits *w, const struct pager_task *t, uint64_t bit)
{
	for (unsigned i = 0; i < w->n; i++)
		if (w->wait[i].t == t && w->wait[i].bit == bit)
			return &w->wait[i];
	return NULL;
}

static void add(struct pager_waits *w, struct pager_wait wait)
{
	unsigned n = w->n;

	if (n == PAGER_WAITS)
		return;
	w->wait[n] = wait;
	set_number(w, n + 1);
}

/* The last one takes its place. */
static void take_out(struct pager_waits *w, unsigned i)
{
	mfd_assert(i < w->n && w->n <= PAGER_WAITS);
	w->wait[i] = w->wait[w->n - 1];
	set_number(w, w->n - 1);
}

static uint64_t span(uint64_t from, uint64_t to)
{
	return to > from ? to - from : 0;
}

static void note(struct pager_waits *w, const struct pager_wait *it, uint64_t now)
{
	struct pager_count *mine = mfd_pager_mine;

	mfd_latency_add(mine ? &mine->waited : &w->waited, span(it->read_us, now));
	if (it->asked_us && it->came_us)
		mfd_latency_add(mine ? &mine->network : &w->network,
				span(it->asked_us, it->came_us));
}

static int is_in(const struct pager_wait *it, const struct mfd_wire_run *runs, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (it->img >= runs[i].vaddr &&
		    it->img < runs[i].vaddr + runs[i].pages * PAGER_PAGE)
			return 1;
	return 0;
}

/* ---- the way of a wait ---- */

void mfd_wait_begin(struct pager_task *t, uint64_t bit, uint64_t img, uint64_t read_us)
{
	struct pager_waits *w = &t->p->waits;

	mfd_assert(bit < t->fam->img.bits);
	pthread_mutex_lock(&w->lock);
	if (!find(w, t, bit))
		add(w, (struct pager_wait){ .t = t, .bit = bit, .img = img, .read_us = read_us });
	pthread_mutex_unlock(&w->lock);
}

void mfd_wait_asked(struct pager_task *t, uint64_t bit)
{
	struct pager_waits *w = &t->p->waits;
	struct pager_wait *it;

	pthread_mutex_lock(&w->lock);
	it = find(w, t, bit);
	if (it && !it->asked_us)
		it->asked_us = mfd_io_now_us();
	pthread_mutex_unlock(&w->lock);
}

void mfd_wait_came(struct pager_family *f, const struct mfd_wire_run *runs, unsigned n)
{
	struct pager_waits *w = &f->p->waits;
	uint64_t now;

	if (is_empty(w))
		return;
	now = mfd_io_now_us();
	pthread_mutex_lock(&w->lock);
	for (unsigned i = 0; i < w->n; i++)
		if (w->wait[i].t->fam == f && !w->wait[i].came_us && is_in(&w->wait[i], runs, n))
			w->wait[i].came_us = now;
	pthread_mutex_unlock(&w->lock);
}

void mfd_wait_over(struct pager_task *t, uint64_t bit, uint64_t n, int put)
{
	struct pager_waits *w = &t->p->waits;
	uint64_t now;

	mfd_assert(bit + n <= t->fam->img.bits);
	if (is_empty(w))
		return;
	now = mfd_io_now_us();
	pthread_mutex_lock(&w->lock);
	for (unsigned i = w->n; i-- > 0;) {
		struct pager_wait *it = &w->wait[i];

		if (it->t != t || it->bit < bit || it->bit >= bit + n)
			continue;
		if (put)
			note(w, it, now);
		take_out(w, i);
	}
	pthread_mutex_unlock(&w->lock);
}

void mfd_wait_forget(struct pager_task *t)
{
	if (t->fam->img.bits)
		mfd_wait_over(t, 0, t->fam->img.bits, 0);
}

void mfd_wait_stats(struct mfd_pager *p, struct mfd_pager_stats *st)
{
	mfd_latency_merge(&st->waited, &p->waits.waited);
	mfd_latency_merge(&st->network, &p->waits.network);
	for (unsigned i = 0; i < p->nthreads; i++) {
		mfd_latency_merge(&st->waited, &p->count[i].waited);
		mfd_latency_merge(&st->network, &p->count[i].network);
	}
}
