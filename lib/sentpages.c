// SPDX-License-Identifier: GPL-2.0-only
/* Words of pages that were sent. */
#include <stddef.h>
#include <xxhash.h>

#include "assert.h"
#include "sentpages.h"
#include "wire.h"

#define PAGE MFD_WIRE_PAGE_SIZE

uint64_t mfd_sentpages_hash(const void *page)
{
	uint64_t hash = XXH3_64bits(page, PAGE) >> 16;

	return hash ? hash : 1;
}

static uint64_t word_of(uint32_t round, uint64_t hash)
{
	return hash << 16 | (uint64_t)round << MFD_PAGE_STATE_BITS | MFD_PAGE_ZERO;
}

int mfd_sentpages_note(struct mfd_pagetable *t, uint64_t vaddr, uint64_t n, uint32_t round,
		       const void *pages)
{
	const char *at = pages;
	int ret = 0;

	mfd_assert(round < 1U << 13);
	mfd_assert(vaddr % PAGE == 0);
	if (!pages)
		return mfd_pagetable_set(t, vaddr / PAGE, n, word_of(round, 0));
	for (uint64_t i = 0; i < n && !ret; i++)
		ret = mfd_pagetable_set(t, vaddr / PAGE + i, 1,
					word_of(round, mfd_sentpages_hash(at + i * PAGE)));
	return ret;
}

int mfd_sentpages_note_new(struct mfd_pagetable *t, uint64_t vaddr, uint64_t n, uint32_t round)
{
	int ret = 0;

	for (uint64_t i = 0; i < n && !ret; i++, vaddr += PAGE)
		if (!mfd_pagetable_get(t, vaddr / PAGE))
			ret = mfd_sentpages_note(t, vaddr, 1, round, NULL);
	return ret;
}
