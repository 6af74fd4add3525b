// SPDX-License-Identifier: GPL-2.0-only
/* Places for the pages of a packet, with precopy; see places.h. */
#include <errno.h>

#include "assert.h"
#include "places.h"

/* ---- where they go ---- */

static enum mfd_spot_kind kind_of(const struct mfd_places *p, uint64_t word)
{
	if (p->imaged && mfd_page_state(word) != MFD_PAGE_ABSENT)
		return MFD_SPOT_DROP;
	return mfd_page_state(word) == MFD_PAGE_STORED ? MFD_SPOT_OWN : MFD_SPOT_FRESH;
}

static int is_plain(const struct mfd_wire_run *r)
{
	return !r->flags;
}

uint64_t mfd_places_missing(const struct mfd_places *p)
{
	uint64_t missing = 0, word, n;

	for (unsigned i = 0; i < p->n_runs; i++) {
		uint64_t page = p->runs[i].vaddr >> MFD_WIRE_PAGE_SHIFT, left = p->runs[i].pages;

		for (; is_plain(&p->runs[i]) && left; left -= n, page += n) {
			n = mfd_pagetable_run(p->table, page, left, &word);
			if (kind_of(p, word) == MFD_SPOT_FRESH)
				missing += n;
		}
	}
	return missing;
}

static void add(struct mfd_places *p, enum mfd_spot_kind kind, uint64_t page, uint32_t pages,
		uint64_t index, void *mem)
{
	mfd_assert(p->n < MFD_WIRE_MAX_RUNS); /* each has a page at least */
	mfd_assert(pages > 0);
	p->spot[p->n] = (struct mfd_spot){ kind, pages, page, index };
	p->piece[p->n++] = (struct iovec){ mem, (size_t)pages << MFD_WIRE_PAGE_SHIFT };
}

static int add_fresh(struct mfd_places *p, uint64_t page, uint32_t pages)
{
	uint64_t index;
	uint32_t got;
	int ret = 0;

	for (; !ret && pages; pages -= got, page += got) {
		ret = mfd_pagestore_take(p->store, pages, &index, &got);
		if (ret)
			break;
		add(p, MFD_SPOT_FRESH, page, got, index, mfd_pagestore_at(p->store, index));
	}
	return ret;
}

/* Pages of one kind, and if they have places, of places that follow one another. */
static int find_run(struct mfd_places *p, uint64_t page, uint32_t pages, uint64_t word,
		    char *scratch)
{
	uint64_t index = mfd_page_index(word);

	switch (kind_of(p, word)) {
	case MFD_SPOT_OWN:
		add(p, MFD_SPOT_OWN, page, pages, index, mfd_pagestore_at(p->store, index));
		return 0;
	case MFD_SPOT_DROP:
		add(p, MFD_SPOT_DROP, page, pages, 0, scratch);
		return 0;
	case MFD_SPOT_FRESH:
		return add_fresh(p, page, pages);
	}
	return -EINVAL;
}

int mfd_places_find(struct mfd_places *p, void *scratch)
{
	char *at = scratch;
	uint64_t word, n;
	int ret = 0;

	p->n = 0;
	for (unsigned i = 0; !ret && i < p->n_runs; i++) {
		uint64_t page = p->runs[i].vaddr >> MFD_WIRE_PAGE_SHIFT, left = p->runs[i].pages;

		for (; !ret && is_plain(&p->runs[i]) && left; left -= n, page += n) {
			n = mfd_pagetable_run(p->table, page, left, &word);
			ret = find_run(p, page, (uint32_t)n, word, at);
			at += n << MFD_WIRE_PAGE_SHIFT;
		}
	}
	if (ret)
		mfd_places_give_up(p);
	return ret;
}

void mfd_places_give_up(struct mfd_places *p)
{
	for (unsigned i = 0; i < p->n; i++)
		if (p->spot[i].kind == MFD_SPOT_FRESH)
			mfd_pagestore_reuse(p->store, p->spot[i].index, p->spot[i].pages);
	p->n = 0;
}

/* ---- what becomes known ---- */

static uint64_t step_of(uint64_t word)
{
	return mfd_page_state(word) == MFD_PAGE_STORED ? 1ULL << MFD_PAGE_STATE_BITS : 0;
}

/* A page has this word now: one more run for the journal, or one more page of the last. */
static void note(struct mfd_places *p, uint64_t page, uint64_t word)
{
	struct mfd_places_news *r = p->n_news ? &p->news[p->n_news - 1] : NULL;

	if (r && page == r->page + r->pages && word == r->word + r->pages * step_of(word)) {
		r->pages++;
		return;
	}
	mfd_assert(p->n_news < MFD_WIRE_MAX_RUNS);
	p->news[p->n_news++] = (struct mfd_places_news){ page, 1, word };
}

static void give_back(struct mfd_places *p, uint64_t word)
{
	mfd_assert(mfd_page_state(word) == MFD_PAGE_STORED);
	mfd_pagestore_reuse(p->store, mfd_page_index(word), 1);
	p->freed++;
}

/* One page of a round: `word` replaces what there is; if its place is another, that is free. */
static void replace(struct mfd_places *p, _Atomic uint64_t *slot, uint64_t word)
{
	uint64_t old = atomic_exchange_explicit(slot, word, memory_order_acq_rel);

	mfd_assert(!p->imaged);
	if (mfd_page_state(old) != MFD_PAGE_STORED)
		return;
	if (mfd_page_state(word) != MFD_PAGE_STORED || mfd_page_index(old) != mfd_page_index(word))
		give_back(p, old);
}

/* One page behind IMAGES: only what is absent changes. */
static void complete(struct mfd_places *p, _Atomic uint64_t *slot, uint64_t page, uint64_t word)
{
	uint64_t old = 0;

	mfd_assert(p->imaged);
	if (atomic_compare_exchange_strong_explicit(slot, &old, word, memory_order_acq_rel,
						    memory_order_acquire))
		note(p, page, word);
	else if (mfd_page_state(word) == MFD_PAGE_STORED)
		give_back(p, word);
}

static int publish_pages(struct mfd_places *p, uint64_t page, uint64_t n, uint64_t word)
{
	uint64_t step = step_of(word);

	word = mfd_page_in_round(word, p->round);
	for (; n; n--, page++, word += step) {
		_Atomic uint64_t *slot = mfd_pagetable_slot(p->table, page);

		if (!slot)
			return -ENOMEM;
		if (p->imaged)
			complete(p, slot, page, word);
		else
			replace(p, slot, word);
	}
	return 0;
}

/*
 * The last copy of a page may have come before, on another channel: that one stays.  Or it is being
 * received in this very place (publish_own): so the place is not given to another page.
 */
static void make_stale(struct mfd_places *p, uint64_t page)
{
	uint64_t old = mfd_pagetable_get(p->table, page);
	_Atomic uint64_t *slot = old ? mfd_pagetable_slot(p->table, page) : NULL;

	while (slot && old && mfd_page_round(old) != p->round) {
		if (atomic_compare_exchange_weak_explicit(slot, &old, 0, memory_order_acq_rel,
							  memory_order_acquire))
			return;
	}
}

static int publish_flagged(struct mfd_places *p, const struct mfd_wire_run *r)
{
	uint64_t page = r->vaddr >> MFD_WIRE_PAGE_SHIFT;

	if (r->flags & MFD_WIRE_RUN_ZERO)
		return publish_pages(p, page, r->pages, mfd_page_word(MFD_PAGE_ZERO, 0));
	mfd_assert(r->flags & MFD_WIRE_RUN_STALE);
	for (uint32_t i = 0; !p->imaged && i < r->pages; i++)
		make_stale(p, page + i);
	return 0;
}

/*
 * One page in its own place.  While it was received the page may have become stale, and IMAGES may
 * have been taken: its place is its own still, and if there is another copy by now, that one stays.
 */
static void publish_own(struct mfd_places *p, _Atomic uint64_t *slot, uint64_t page, uint64_t word)
{
	uint64_t old = atomic_load_explicit(slot, memory_order_acquire);

	mfd_assert(mfd_page_state(word) == MFD_PAGE_STORED);
	mfd_assert(mfd_page_round(word) == p->round);
	while (!old || (!p->imaged && mfd_page_state(old) == MFD_PAGE_STORED &&
			mfd_page_index(old) == mfd_page_index(word))) {
		if (!atomic_compare_exchange_weak_explicit(slot, &old, word, memory_order_acq_rel,
							   memory_order_acquire))
			continue;
		if (p->imaged)
			note(p, page, word);
		return;
	}
}

static int publish_own_pages(struct mfd_places *p, const struct mfd_spot *s)
{
	for (uint32_t i = 0; i < s->pages; i++) {
		uint64_t word = mfd_page_word(MFD_PAGE_STORED, s->index + i);
		_Atomic uint64_t *slot = mfd_pagetable_slot(p->table, s->page + i);

		if (!slot)
			return -ENOMEM;
		publish_own(p, slot, s->page + i, mfd_page_in_round(word, p->round));
	}
	return 0;
}

static int publish_spot(struct mfd_places *p, const struct mfd_spot *s)
{
	if (s->kind == MFD_SPOT_DROP)
		return 0;
	if (s->kind == MFD_SPOT_OWN)
		return publish_own_pages(p, s);
	return publish_pages(p, s->page, s->pages, mfd_page_word(MFD_PAGE_STORED, s->index));
}

static int publish_direct(struct mfd_places *p, const struct mfd_wire_run *r)
{
	return publish_pages(p, r->vaddr >> MFD_WIRE_PAGE_SHIFT, r->pages,
			     mfd_page_word(MFD_PAGE_DIRECT, 0));
}

int mfd_places_publish(struct mfd_places *p, enum mfd_page_state state)
{
	int ret = 0, direct = state == MFD_PAGE_DIRECT;

	mfd_assert(direct || state == MFD_PAGE_STORED);
	mfd_assert(p->round > 0);
	p->n_news = 0;
	p->freed = 0;
	for (unsigned i = 0; !ret && i < p->n_runs; i++) {
		if (!is_plain(&p->runs[i]))
			ret = publish_flagged(p, &p->runs[i]);
		else if (direct)
			ret = publish_direct(p, &p->runs[i]);
	}
	for (unsigned i = 0; !ret && !direct && i < p->n; i++)
		ret = publish_spot(p, &p->spot[i]);
	return ret;
}

/* ---- what is left over ---- */

void mfd_places_forget(struct mfd_pagestore *store, struct mfd_pagetable *t, uint64_t page,
		       uint64_t n)
{
	uint64_t word, run;

	for (; n; n -= run, page += run) {
		run = mfd_pagetable_run(t, page, n, &word);
		if (!word)
			continue;
		/* No leaf is made: these words are there. */
		(void)mfd_pagetable_set(t, page, run, 0);
		if (mfd_page_state(word) == MFD_PAGE_STORED)
			mfd_pagestore_release(store, mfd_page_index(word), run);
	}
}
