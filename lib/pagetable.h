/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where each page of one task is on the target: a radix tree from page number to a 64-bit word, as
 * a processor's page table.  Readers and writers need no lock: inner nodes are published with a
 * compare-and-swap (release), leaves hold atomics.
 *
 * A word is 0 (page unknown) or a state in the low bits and, for STORED, the page's index in the
 * page store above them.
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
static inline enum mfd_page_state mfd_page_state(uint64_t w)
{
	return (enum mfd_page_state)(w & 7);
}
static inline uint64_t mfd_page_index(uint64_t w)
{
	return w >> MFD_PAGE_STATE_BITS;
}
static inline uint64_t mfd_page_word(enum mfd_page_state s, uint64_t index)
{
	return index << MFD_PAGE_STATE_BITS | s;
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
 * Return the bytes by which mfd_pagetable_set would make the table grow.  For several ranges one
 * after the other: *before begins as UINT64_MAX, what they share counts once.
 */
uint64_t mfd_pagetable_cost(const struct mfd_pagetable *t, uint64_t page, uint64_t n,
			    uint64_t *before);
uint64_t mfd_pagetable_bytes(const struct mfd_pagetable *t); /* what it takes */
/*
 * Return the length of the run starting at `page`, at most max: pages of equal state and, if
 * STORED, consecutive in the store.  *word = the first page's word.
 */
uint64_t mfd_pagetable_run(const struct mfd_pagetable *t, uint64_t page, uint64_t max,
			   uint64_t *word);

#endif
