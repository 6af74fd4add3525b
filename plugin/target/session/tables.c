// SPDX-License-Identifier: GPL-2.0-only
/* Page tables by pid. */
#include <errno.h>
#include <stdlib.h>

#include "tables.h"

int mfd_tables_init(struct mfd_tables *t)
{
	t->count = 0;
	t->newest = NULL;
	t->slots = calloc(MFD_TABLES_SLOTS, sizeof(*t->slots));
	if (!t->slots)
		return -ENOMEM;
	pthread_mutex_init(&t->lock, NULL);
	return 0;
}

void mfd_tables_free(struct mfd_tables *t)
{
	unsigned i;

	if (!t->slots)
		return;
	for (i = 0; t->count && i < MFD_TABLES_SLOTS; i++) {
		struct mfd_tables_entry *e =
			atomic_load_explicit(&t->slots[i], memory_order_relaxed);

		if (!e)
			continue;
		mfd_pagetable_free(e->table);
		free(e);
		t->count--;
	}
	free(t->slots);
	t->slots = NULL;
	pthread_mutex_destroy(&t->lock);
}

static unsigned first_slot(uint32_t task)
{
	return (uint32_t)(task * 2654435761U) % MFD_TABLES_SLOTS;
}

/*
 * The entry of `task`, or NULL and in *slot the free place for it; there always is one, half of the
 * slots stay empty.
 */
static struct mfd_tables_entry *probe(const struct mfd_tables *t, uint32_t task, unsigned *slot)
{
	unsigned i = first_slot(task);

	for (;; i = (i + 1) % MFD_TABLES_SLOTS) {
		/* acquire: partner of the release store in add() */
		struct mfd_tables_entry *e =
			atomic_load_explicit(&t->slots[i], memory_order_acquire);

		if (!e || e->task == task) {
			*slot = i;
			return e;
		}
	}
}

struct mfd_pagetable *mfd_tables_find(const struct mfd_tables *t, uint32_t task)
{
	unsigned slot;
	struct mfd_tables_entry *e = probe(t, task, &slot);

	return e ? e->table : NULL;
}

static int add(struct mfd_tables *t, uint32_t task, unsigned slot, struct mfd_pagetable **table)
{
	struct mfd_tables_entry *e;

	if (t->count >= MFD_TABLES_MAX)
		return -EMFILE;
	e = malloc(sizeof(*e));
	if (!e)
		return -ENOMEM;
	e->task = task;
	e->table = mfd_pagetable_new();
	if (!e->table) {
		free(e);
		return -ENOMEM;
	}
	e->next = t->newest;
	t->newest = e;
	atomic_store_explicit(&t->slots[slot], e, memory_order_release);
	t->count++;
	*table = e->table;
	return 0;
}

int mfd_tables_get(struct mfd_tables *t, uint32_t task, struct mfd_pagetable **table)
{
	struct mfd_tables_entry *e;
	unsigned slot;
	int ret = 0;

	*table = mfd_tables_find(t, task);
	if (*table)
		return 0;
	pthread_mutex_lock(&t->lock);
	e = probe(t, task, &slot);
	if (e)
		*table = e->table;
	else
		ret = add(t, task, slot, table);
	pthread_mutex_unlock(&t->lock);
	return ret;
}

const struct mfd_tables_entry *mfd_tables_newest(struct mfd_tables *t)
{
	const struct mfd_tables_entry *e;

	pthread_mutex_lock(&t->lock);
	e = t->newest;
	pthread_mutex_unlock(&t->lock);
	return e;
}

uint64_t mfd_tables_bytes(struct mfd_tables *t)
{
	struct mfd_tables_entry *e;
	uint64_t sum = 0;

	pthread_mutex_lock(&t->lock);
	for (e = t->newest; e; e = e->next)
		sum += sizeof(*e) + mfd_pagetable_bytes(e->table);
	pthread_mutex_unlock(&t->lock);
	return sum;
}
