/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Page tables of a session's tasks by pid: an open-addressed array of pointers.  Entries are only
 * added (under the lock) and published with a release store, so looking one up takes no lock.
 */
#ifndef MFD_TABLES_H
#define MFD_TABLES_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "pagetable.h"

#define MFD_TABLES_MAX	 65536 /* tasks of one session */
#define MFD_TABLES_SLOTS (2 * MFD_TABLES_MAX)

struct mfd_tables_entry {
	struct mfd_tables_entry *next; /* the one added before; constant */
	uint32_t task;
	struct mfd_pagetable *table;
};

struct mfd_tables {
	pthread_mutex_t lock; /* adding */
	/* MFD_TABLES_SLOTS, calloc: touched only where used */
	_Atomic(struct mfd_tables_entry *) *slots;
	unsigned count;			 /* lock */
	struct mfd_tables_entry *newest; /* lock */
};

int mfd_tables_init(struct mfd_tables *t); /* 0 or -ENOMEM */
void mfd_tables_free(struct mfd_tables *t);
struct mfd_pagetable *mfd_tables_find(const struct mfd_tables *t, uint32_t task); /* NULL: none */
int mfd_tables_get(struct mfd_tables *t, uint32_t task,
		   struct mfd_pagetable **table); /* made if needed; -ENOMEM, -EMFILE */
/* The entry added last; from it by `next` to all that are there now. */
const struct mfd_tables_entry *mfd_tables_newest(struct mfd_tables *t);
uint64_t mfd_tables_bytes(struct mfd_tables *t); /* of all of them */

#endif
