/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the source has sent of a task in precopy: for each page the round of its last copy and a
 * hash of it, in the words of a page table (pagetable.h).
 *
 * The round goes into END's freshness: the target keeps the same one with its copy, so that a copy
 * that is older than the source believes cannot pass.  The hash tells whether a page that counts as
 * not written has changed all the same.
 *
 *	bits 0-2 MFD_PAGE_ZERO	3-15 round	16-63 hash, 0 = not known
 *
 * Channels' threads write words of pages that they are sending; each page of a round is in one
 * payload.  The main thread reads them between two syncs.
 */
#ifndef MFD_SENTPAGES_H
#define MFD_SENTPAGES_H

#include <stdint.h>

#include "pagetable.h"

static inline uint32_t mfd_sentpages_round(uint64_t word)
{
	return (uint32_t)(word >> MFD_PAGE_STATE_BITS) & 0x1fff;
}

/* Never 0. */
uint64_t mfd_sentpages_hash(const void *page);
static inline uint64_t mfd_sentpages_hash_of(uint64_t word)
{
	return word >> 16;
}

/* n pages from vaddr on have been sent, as they lie at `pages` (NULL: unknown).  0 or -ENOMEM. */
int mfd_sentpages_note(struct mfd_pagetable *t, uint64_t vaddr, uint64_t n, uint32_t round,
		       const void *pages);

/* The same for those of them of which nothing was sent before. */
int mfd_sentpages_note_new(struct mfd_pagetable *t, uint64_t vaddr, uint64_t n, uint32_t round);

#endif
