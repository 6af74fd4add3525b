// SPDX-License-Identifier: GPL-2.0-only
/*
 * A radix tree of four levels from page number to word; nodes are only ever added until the whole
 * tree is freed.
 */
#include <errno.h>
#include <stdlib.h>

#include "pagetable.h"

/* four levels make up the 44 bits of a page number; a leaf of 16 KiB describes 8 MiB */
#define BITS   11
#define SLOTS  (1U << BITS)
#define LEVELS 4
#define LIMIT  (1ULL << (BITS * LEVELS))

struct leaf {
	_Atomic uint64_t word[SLOTS]; /* release in set, acquire in get and run */
};

/*
 * A slot goes from NULL to its child once (compare-and-swap, release); readers load it with
 * acquire.
 */
struct node {
	_Atomic(void *) slot[SLOTS];
};

struct mfd_pagetable {
	struct node root;
	_Atomic uint64_t bytes; /* of it and everything below; a statistic */
};
_Static_assert(sizeof(struct leaf) == sizeof(struct node), "one size for all");

static unsigned slot_of(uint64_t page, unsigned level)
{
	return page >> (BITS * level) & (SLOTS - 1);
}

struct mfd_pagetable *mfd_pagetable_new(void)
{
	struct mfd_pagetable *t = calloc(1, sizeof(*t));

	if (t)
		t->bytes = sizeof(*t);
	return t;
}

static void free_children(struct node *n, unsigned level)
{
	for (unsigned i = 0; i < SLOTS; i++) {
		void *child = atomic_load_explicit(&n->slot[i], memory_order_relaxed);

		if (child && level > 1)
			free_children(child, level - 1);
		free(child);
	}
}

void mfd_pagetable_free(struct mfd_pagetable *t)
{
	if (!t)
		return;
	free_children(&t->root, LEVELS - 1);
	free(t);
}

/* *missing: 0, or how many levels below the last node there are not. */
static const struct leaf *look_up(const struct mfd_pagetable *t, uint64_t page, unsigned *missing)
{
	const struct node *n = &t->root;
	void *child = NULL;

	for (unsigned level = LEVELS - 1; level; level--) {
		child = atomic_load_explicit(&n->slot[slot_of(page, level)], memory_order_acquire);
		*missing = child ? 0 : level;
		if (!child)
			return NULL;
		n = child;
	}
	return child;
}

static const struct leaf *find_leaf(const struct mfd_pagetable *t, uint64_t page)
{
	unsigned missing;

	return look_up(t, page, &missing);
}

/* Return the child at *slot, made if need be; if two threads make it, one of the two is freed. */
static void *get_child(struct mfd_pagetable *t, _Atomic(void *) *slot)
{
	void *old = atomic_load_explicit(slot, memory_order_acquire), *new;

	if (old)
		return old;
	new = calloc(1, sizeof(struct node));
	if (!new)
		return NULL;
	if (atomic_compare_exchange_strong_explicit(slot, &old, new, memory_order_acq_rel,
						    memory_order_acquire)) {
		atomic_fetch_add_explicit(&t->bytes, sizeof(struct node), memory_order_relaxed);
		return new;
	}
	free(new);
	return old;
}

/* Levels that must be made for `page` if `before` is there by then: the nodes above that are. */
static unsigned not_shared(uint64_t page, uint64_t before)
{
	unsigned level = 0;

	while (level < LEVELS - 1 && page >> (BITS * (level + 1)) != before >> (BITS * (level + 1)))
		level++;
	return level;
}

uint64_t mfd_pagetable_cost(const struct mfd_pagetable *t, uint64_t page, uint64_t n,
			    uint64_t *before)
{
	uint64_t bytes = 0, end = page + n;
	unsigned missing, shared;

	if (page >= LIMIT || n > LIMIT - page)
		return 0;
	for (; page < end; page = (page | (SLOTS - 1)) + 1) {
		look_up(t, page, &missing);
		shared = *before == UINT64_MAX ? LEVELS : not_shared(page, *before);
		bytes += (missing < shared ? missing : shared) * sizeof(struct leaf);
		*before = page;
	}
	return bytes;
}

uint64_t mfd_pagetable_bytes(const struct mfd_pagetable *t)
{
	return atomic_load_explicit(&t->bytes, memory_order_relaxed);
}

static struct leaf *make_leaf(struct mfd_pagetable *t, uint64_t page)
{
	struct node *n = &t->root;

	for (unsigned level = LEVELS - 1; n && level; level--)
		n = get_child(t, &n->slot[slot_of(page, level)]);
	return (struct leaf *)n;
}

uint64_t mfd_pagetable_get(const struct mfd_pagetable *t, uint64_t page)
{
	const struct leaf *l = page < LIMIT ? find_leaf(t, page) : NULL;

	return l ? atomic_load_explicit(&l->word[slot_of(page, 0)], memory_order_acquire) : 0;
}

/* By how much the word grows from page to page. */
static uint64_t step_of(uint64_t word)
{
	return mfd_page_state(word) == MFD_PAGE_STORED ? 1ULL << MFD_PAGE_STATE_BITS : 0;
}

int mfd_pagetable_set(struct mfd_pagetable *t, uint64_t page, uint64_t n, uint64_t word)
{
	uint64_t step = step_of(word);

	if (page >= LIMIT || n > LIMIT - page)
		return -EINVAL;
	while (n) {
		struct leaf *l = make_leaf(t, page);
		unsigned i = slot_of(page, 0), end = n < SLOTS - i ? i + (unsigned)n : SLOTS;

		if (!l)
			return -ENOMEM;
		page += end - i;
		n -= end - i;
		for (; i < end; i++, word += step)
			atomic_store_explicit(&l->word[i], word, memory_order_release);
	}
	return 0;
}

_Atomic uint64_t *mfd_pagetable_slot(struct mfd_pagetable *t, uint64_t page)
{
	struct leaf *l = page < LIMIT ? make_leaf(t, page) : NULL;

	return l ? &l->word[slot_of(page, 0)] : NULL;
}

#define WHERE (~0ULL >> MFD_PAGE_ROUND_BITS)
#define ROUND (~WHERE)

/* The length of a run of words that, under `mask`, are the first one plus so many steps. */
static uint64_t run_of(const struct mfd_pagetable *t, uint64_t page, uint64_t max, uint64_t mask,
		       uint64_t *word)
{
	uint64_t want = (*word = mfd_pagetable_get(t, page)) & mask, step = step_of(want), n = 0;

	if (page >= LIMIT)
		return max;
	if (max > LIMIT - page)
		max = LIMIT - page;
	while (n < max) {
		unsigned missing, i = slot_of(page + n, 0),
				  end = max - n < SLOTS - i ? i + (unsigned)(max - n) : SLOTS;
		const struct leaf *l = look_up(t, page + n, &missing);

		if (!l && want)
			break;
		if (!l) { /* as much as the missing node would describe */
			uint64_t span = 1ULL << (BITS * missing);

			span -= (page + n) & (span - 1);
			n += max - n < span ? max - n : span;
			continue;
		}
		/* The first word is the one reported, even if a writer has changed it meanwhile. */
		for (i += !n, n += !n; i < end; i++, n++)
			if ((atomic_load_explicit(&l->word[i], memory_order_acquire) & mask) !=
			    want + n * step)
				return n;
	}
	return n;
}

uint64_t mfd_pagetable_run(const struct mfd_pagetable *t, uint64_t page, uint64_t max,
			   uint64_t *word)
{
	return run_of(t, page, max, WHERE, word);
}

uint64_t mfd_pagetable_round(const struct mfd_pagetable *t, uint64_t page, uint64_t max,
			     uint64_t *word)
{
	return run_of(t, page, max, ROUND, word);
}
