// SPDX-License-Identifier: GPL-2.0-only
/* Rounds beside their end: how they begin, what is kept of them, and IMAGES; see rounds.h. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "assert.h"
#include "image.h"
#include "places.h"
#include "rounds.h"
#include "session.h"

void mfd_rounds_begin(struct mfd_session *s)
{
	mfd_assert(!atomic_load(&s->rounds.now));
	mfd_assert(!atomic_load(&s->thread));
	mfd_assert(!s->rounds.imaged);
	atomic_store(&s->rounds.now, s->limits.precopy ? 1 : 0);
}

int mfd_rounds_enter(struct mfd_rounds *r)
{
	pthread_rwlock_rdlock(&r->gate);
	return r->imaged;
}

void mfd_rounds_leave(struct mfd_rounds *r)
{
	pthread_rwlock_unlock(&r->gate);
}

uint64_t mfd_rounds_pages(struct mfd_session *s)
{
	struct mfd_totals t;

	mfd_session_totals(s, &t);
	return t.pages + t.zero_pages;
}

void mfd_rounds_entry(struct mfd_session *s, Mfd__SessionEntry *e)
{
	uint32_t now = atomic_load_explicit(&s->rounds.now, memory_order_relaxed);

	e->has_precopy = e->precopy = s->limits.precopy;
	if (!now)
		return;
	e->has_rounds = 1;
	e->rounds = now - 1;
	if (s->link.rounds) /* it has come back: what is counted begins anew */
		return;
	e->has_round_pages = 1;
	e->round_pages = mfd_rounds_pages(s) - s->rounds.pages;
}

void mfd_rounds_load(struct mfd_session *s, const Mfd__SessionEntry *e)
{
	mfd_assert(s->phase != MFD_PHASE_NONE);
	mfd_assert(!atomic_load(&s->thread));
	s->limits.precopy = e->precopy;
	s->rounds.imaged = 1;
	if (e->precopy && e->rounds <= MFD_WIRE_MAX_ROUND)
		atomic_store(&s->rounds.now, e->rounds + 1);
}

/* ---- when the images are in ---- */

#define BATCH	   1024U
#define LAST_PAGE  (MFD_WIRE_MAX_VADDR >> MFD_WIRE_PAGE_SHIFT)
#define NO_JOURNAL "page store journal cannot be written"

struct journal {
	struct mfd_pagestore *store;
	struct mfd_pagestore_record r[BATCH];
	unsigned n;
};

static int flush(struct journal *j)
{
	int ret = j->n ? mfd_pagestore_append(j->store, j->r, j->n) : 0;

	j->n = 0;
	return ret;
}

/* One record for pages of one round that lie one after the other. */
static int write_run(struct journal *j, uint32_t task, const struct mfd_pagetable *t, uint64_t page,
		     uint64_t n, uint64_t *done)
{
	uint64_t word, same;

	*done = mfd_pagetable_run(t, page, n, &word);
	if (mfd_page_state(word) == MFD_PAGE_ABSENT)
		return 0;
	same = mfd_pagetable_round(t, page, *done, &word);
	*done = same;
	mfd_pagestore_record_word(&j->r[j->n++], task, page << MFD_WIRE_PAGE_SHIFT, same, word);
	return j->n == BATCH ? flush(j) : 0;
}

static int write_range(struct journal *j, uint32_t task, const struct mfd_pagetable *t,
		       const struct mfd_lazy_range *r)
{
	uint64_t page = r->start >> MFD_WIRE_PAGE_SHIFT, left = r->pages, n;
	int ret = 0;

	for (; !ret && left; page += n, left -= n)
		ret = write_run(j, task, t, page, left, &n);
	return ret;
}

/* Nothing, if it is a zombie or has ended: then all that was sent of it is left over. */
static int lazy_ranges(struct mfd_session *s, uint32_t task, struct mfd_lazy_range **r, size_t *n)
{
	const char *why = NULL;
	int ret = mfd_image_lazy_ranges(s->dirfd, task, r, n, &why);

	if (ret != -ENOENT)
		return ret;
	*r = NULL;
	*n = 0;
	return 0;
}

static int sort_out(struct mfd_session *s, struct journal *j, const struct mfd_tables_entry *e)
{
	struct mfd_lazy_range *r;
	uint64_t page = 0;
	size_t n = 0;
	int ret = lazy_ranges(s, e->task, &r, &n);

	if (ret)
		return ret;
	for (size_t i = 0; !ret && i < n; i++) {
		uint64_t start = r[i].start >> MFD_WIRE_PAGE_SHIFT;

		mfd_assert(start >= page);
		mfd_places_forget(s->store, e->table, page, start - page);
		ret = write_range(j, e->task, e->table, &r[i]);
		page = start + r[i].pages;
	}
	if (!ret)
		mfd_places_forget(s->store, e->table, page, LAST_PAGE - page);
	free(r);
	return ret;
}

static int sort_out_all(struct mfd_session *s, struct journal *j)
{
	const struct mfd_tables_entry *e = mfd_tables_newest(&s->tables);
	int ret = 0;

	for (; !ret && e; e = e->next)
		ret = sort_out(s, j, e);
	return ret ? ret : flush(j);
}

int mfd_rounds_images(struct mfd_session *s, char *text, size_t len)
{
	struct journal *j;
	int ret;

	mfd_assert(s->phase == MFD_PHASE_STREAMING);
	mfd_assert(!atomic_load(&s->pager));
	if (!s->limits.precopy)
		return 0;
	pthread_rwlock_wrlock(&s->rounds.gate);
	s->rounds.imaged = 1;
	pthread_rwlock_unlock(&s->rounds.gate);
	j = calloc(1, sizeof(*j));
	if (!j) {
		snprintf(text, len, "no memory");
		return -ENOMEM;
	}
	j->store = s->store;
	ret = sort_out_all(s, j);
	free(j);
	if (ret)
		snprintf(text, len, "%s: %s", NO_JOURNAL, strerror(-ret));
	return ret;
}
