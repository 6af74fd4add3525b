/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where each page of one task is on the target: a radix tree from page number to a 64-bit word, as
 * a processor's page table.  Readers and writers need no lock: inner nodes are published with a
 * compare-and-swap (release), leaves hold atomics.
 *
 * A word is 0 (page unknown), or from the low bits up: a state, for STORED the page's index in the
 * page store, and the round of precopy that its last copy came in, 0 without precopy.
 */
#ifndef MFD_PAGETABLE_H
#define MFD_PAGETABLE_H

#include <stdatomic.h>
#include <stdint.h>

enum mfd_page_state {
	MFD_PAGE_ABSENT = 0,
	MFD_PAGE_ZERO = 1,   /* known to be zero, nothing stored */
	MFD_PAGE_STORED = 2, /* in the store at mfd_page_index() */
	MFD_PAGE_DIRECT = 3, /* postcopy: went from the wire into the task, never stored */
};

#define MFD_PAGE_STATE_BITS 3
#define MFD_PAGE_INDEX_BITS 48
#define MFD_PAGE_ROUND_BITS 13
#define MFD_PAGE_MAX_ROUND  ((1U << MFD_PAGE_ROUND_BITS) - 1)
_Static_assert(MFD_PAGE_STATE_BITS + MFD_PAGE_INDEX_BITS + MFD_PAGE_ROUND_BITS == 64,
	       "a word is full");

static inline enum mfd_page_state mfd_page_state(uint64_t w)
{
	return (enum mfd_page_state)(w & 7);
}
static inline uint64_t mfd_page_index(uint64_t w)
{
	return w >> MFD_PAGE_STATE_BITS & ((1ULL << MFD_PAGE_INDEX_BITS) - 1);
}
static inline uint32_t mfd_page_round(uint64_t w)
{
	return (uint32_t)(w >> (MFD_PAGE_STATE_BITS + MFD_PAGE_INDEX_BITS));
}
static inline uint64_t mfd_page_word(enum mfd_page_state s, uint64_t index)
{
	return index << MFD_PAGE_STATE_BITS | s;
}
static inline uint64_t mfd_page_in_round(uint64_t w, uint32_t round)
{
	return w | (uint64_t)round << (MFD_PAGE_STATE_BITS + MFD_PAGE_INDEX_BITS);
}

struct mfd_pagetable; /* covers page numbers below 2^44 (addresses below 2^56) */

#define MFD_PAGETABLE_ROOT (16U << 10) /* bytes of one that has nothing in it, about */

struct mfd_pagetable *mfd_pagetable_new(void);	  /* NULL: no memory */
void mfd_pagetable_free(struct mfd_pagetable *t); /* no reader or writer may be left */

uint64_t mfd_pagetable_get(const struct mfd_pagetable *t, uint64_t page); /* acquire */
/*
 * Set pages [page, page + n): STORED words count up from `word`'s index, others repeat.  Release:
 * a thread that reads the word sees what was written to the store before.  A word set before is
 * replaced (a page sent twice: the later wins).  0 or -ENOMEM.
 */
int mfd_pagetable_set(struct mfd_pagetable *t, uint64_t page, uint64_t n, uint64_t word);
/*
 * Return the place of a page's word, made if need be, for an exchange or a compare-and-swap: with
 * precopy the old word says what becomes of its place in the store.  NULL: no memory, or no such
 * page.
 */
_Atomic uint64_t *mfd_pagetable_slot(struct mfd_pagetable *t, uint64_t page);
/*
 * Return the bytes by which mfd_pagetable_set would make the table grow.  For several ranges one
 * after the other: *before begins as UINT64_MAX, what they share counts once.
 */
uint64_t mfd_pagetable_cost(const struct mfd_pagetable *t, uint64_t page, uint64_t n,
			    uint64_t *before);
uint64_t mfd_pagetable_bytes(const struct mfd_pagetable *t); /* what it takes */
/*
 * Return the length of the run starting at `page`, at most max: pages of equal state and, if
 * STORED, consecutive in the store, whatever their rounds.  *word = the first page's word.
 */
uint64_t mfd_pagetable_run(const struct mfd_pagetable *t, uint64_t page, uint64_t max,
			   uint64_t *word);
/*
 * The same for pages that are all ABSENT, or all here and of one round, wherever they are; of a
 * table in which each page that is here has a round.
 */
uint64_t mfd_pagetable_round(const struct mfd_pagetable *t, uint64_t page, uint64_t max,
			     uint64_t *word);

#endif
