/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where the file of a page store is mapped: step by step, each when its first page is needed and
 * wherever there is room, so that many sessions share one address space.  A file can be longer than
 * any memory: an index is used once, and what is released is given back as a hole.
 *
 * Pages that follow one another in the file do so in memory only within a step, or in a store that
 * was loaded (mfd_storemap_whole).
 */
#ifndef MFD_STOREMAP_H
#define MFD_STOREMAP_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#define MFD_STOREMAP_BLOCK	(2ULL << 20) /* bytes, unit of giving back */
#define MFD_STOREMAP_STEP	(4ULL << 30) /* bytes, unit of mapping */
#define MFD_STOREMAP_STEP_PAGES (MFD_STOREMAP_STEP / 4096)
#define MFD_STOREMAP_STEPS	1024U
#define MFD_STOREMAP_PAGES	(MFD_STOREMAP_STEPS * MFD_STOREMAP_STEP_PAGES) /* of one file */

struct mfd_storemap {
	pthread_mutex_t grow; /* one thread maps further */
	/* Release in map_step, acquire by readers; constant afterwards. */
	_Atomic(char *) step[MFD_STOREMAP_STEPS];
	/* Pages released, by block; set before the step, whose release publishes it. */
	_Atomic uint16_t *freed[MFD_STOREMAP_STEPS];
	char *whole; /* a store that was loaded: its first steps lie in one piece */
	uint64_t whole_bytes;
};

void mfd_storemap_init(struct mfd_storemap *m); /* *m is zeroed */
void mfd_storemap_free(struct mfd_storemap *m);
/* Have the step of page `index`, which is below MFD_STOREMAP_PAGES: 0 or -errno. */
int mfd_storemap_need(struct mfd_storemap *m, int fd, uint64_t index);
/* Have the first `pages` of a file that was filled before, in one piece: 0 or -errno. */
int mfd_storemap_whole(struct mfd_storemap *m, int fd, uint64_t pages);
/* Note that n pages of one block are released; 1 if that were the last ones of the block. */
int mfd_storemap_released(struct mfd_storemap *m, uint64_t index, uint16_t n);

static inline char *mfd_storemap_at(struct mfd_storemap *m, uint64_t index)
{
	char *at = atomic_load_explicit(&m->step[index / MFD_STOREMAP_STEP_PAGES],
					memory_order_acquire);

	return at + index % MFD_STOREMAP_STEP_PAGES * 4096;
}

#endif
