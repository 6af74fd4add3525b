/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Places of a page store that are free to be used again: a stack of runs, under a lock of its own.
 * Runs that are added one behind the other become one.
 */
#ifndef MFD_STOREFREE_H
#define MFD_STOREFREE_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

struct mfd_storefree_run {
	uint64_t index, pages;
};

struct mfd_storefree {
	pthread_mutex_t lock;
	struct mfd_storefree_run *run; /* lock, all of these */
	size_t n, room;
};

void mfd_storefree_init(struct mfd_storefree *f); /* *f is zeroed */
void mfd_storefree_free(struct mfd_storefree *f);
int mfd_storefree_add(struct mfd_storefree *f, uint64_t index, uint64_t pages); /* 0 or -ENOMEM */
/* Up to `max` pages of one run, from *index on: how many; 0: there are none. */
uint32_t mfd_storefree_take(struct mfd_storefree *f, uint32_t max, uint64_t *index);

#endif
