// SPDX-License-Identifier: GPL-2.0-only
/*
 * The plan of a drain: which process next, to which target, and whether it would end in time.
 *
 * The largest goes first, so that what is left for the end is short; each goes to the target that
 * has most room left, or, if no room is known, to the one that was given least.  No target is ever
 * given up, since a refusal may be meant for one process alone; one that failed twice in a row
 * comes after the others.  How long a move
 * takes is what check expects of a link of its own, times a factor: at first the number of moves at
 * once, since they share the link; then the slowest of those that have ended.
 */
#include <stdlib.h>

#include "assert.h"
#include "drain.h"

#define BEGIN_MS 1000
#define FAILURES 2 /* one after the other: then the other targets come first */

static int by_size(const void *a, const void *b)
{
	const struct mfd_drain_item *x = a, *y = b;

	if (x->bytes != y->bytes)
		return x->bytes < y->bytes ? 1 : -1;
	return x->pid < y->pid ? -1 : x->pid > y->pid;
}

void mfd_drain_plan_sort(struct mfd_drain_item *items, size_t n)
{
	if (n)
		qsort(items, n, sizeof(*items), by_size);
}

/* What check expects of the pause, and what each move takes besides, of any size. */
static double expected(const struct mfd_drain_item *it)
{
	return (double)it->still_ms + BEGIN_MS;
}

static int is_failing(const struct mfd_drain_target *t)
{
	return t->failures >= FAILURES;
}

static uint64_t left(const struct mfd_drain_target *t)
{
	return t->given < t->room ? t->room - t->given : 0;
}

/* What was given decides as soon as the room of one of the two is not known. */
static int is_better(const struct mfd_drain_target *a, const struct mfd_drain_target *b)
{
	if (is_failing(a) != is_failing(b))
		return is_failing(b);
	if (a->room != MFD_DRAIN_UNKNOWN && b->room != MFD_DRAIN_UNKNOWN)
		return left(a) != left(b) ? left(a) > left(b) : a->running < b->running;
	return a->given != b->given ? a->given < b->given : a->running < b->running;
}

int mfd_drain_plan_target(const struct mfd_drain_target *t, unsigned n, uint64_t bytes,
			  uint64_t tried)
{
	int best = -1;

	for (unsigned i = 0; i < n && i < MFD_DRAIN_TARGETS; i++) {
		if (tried >> i & 1)
			continue;
		if (t[i].room != MFD_DRAIN_UNKNOWN && left(&t[i]) < bytes)
			continue;
		if (best < 0 || is_better(&t[i], &t[best]))
			best = (int)i;
	}
	return best;
}

uint64_t mfd_drain_plan_expect(const struct mfd_drain *d, const struct mfd_drain_item *it)
{
	double factor = d->pace > 0 ? d->pace : d->parallel;

	return (uint64_t)(expected(it) * (factor < 1 ? 1 : factor));
}

int mfd_drain_plan_fits(const struct mfd_drain *d, const struct mfd_drain_item *it, uint64_t now)
{
	return !d->deadline_ms || now + mfd_drain_plan_expect(d, it) < d->deadline_ms;
}

struct mfd_drain_item *mfd_drain_plan_next(struct mfd_drain *d, uint64_t now, int *target)
{
	if (d->stop || d->moving >= d->parallel)
		return NULL;
	for (size_t i = 0; i < d->n; i++) {
		struct mfd_drain_item *it = &d->items[i];

		if (it->state != MFD_DRAIN_WAITING || !mfd_drain_plan_fits(d, it, now))
			continue;
		*target = mfd_drain_plan_target(d->targets, d->n_targets, it->bytes, it->tried);
		if (*target >= 0)
			return it;
	}
	return NULL;
}

void mfd_drain_plan_begun(struct mfd_drain *d, struct mfd_drain_item *it, int target)
{
	struct mfd_drain_target *t = &d->targets[target];

	mfd_assert(it->state == MFD_DRAIN_WAITING);
	mfd_assert(!(it->tried >> target & 1));
	it->state = MFD_DRAIN_MOVING;
	it->target = target;
	it->tried |= 1ULL << target;
	it->tries++;
	t->given += it->bytes;
	t->running++;
	d->moving++;
}

/* A move that was slower than expected makes all others count as slow. */
static void measure(struct mfd_drain *d, const struct mfd_drain_item *it)
{
	double factor = it->total_ms / expected(it);

	if (factor > d->pace)
		d->pace = factor;
}

static int is_untried(const struct mfd_drain *d, const struct mfd_drain_item *it)
{
	return mfd_drain_plan_target(d->targets, d->n_targets, it->bytes, it->tried) >= 0;
}

void mfd_drain_plan_ended(struct mfd_drain *d, struct mfd_drain_item *it)
{
	struct mfd_drain_target *t = &d->targets[it->target];

	mfd_assert(d->moving > 0);
	mfd_assert(t->running > 0 && it->state != MFD_DRAIN_MOVING);
	d->moving--;
	t->running--;
	if (mfd_drain_is_there(it->state)) {
		t->moved++;
		t->failures = 0;
		measure(d, it);
		return;
	}
	/* What is in doubt may take its room there. */
	if (it->state != MFD_DRAIN_DOUBT && it->state != MFD_DRAIN_BOTH)
		t->given -= it->bytes;
	if (it->state != MFD_DRAIN_FAILED)
		return;
	t->failures += it->target_failed;
	if (it->again && !d->stop && is_untried(d, it))
		it->state = MFD_DRAIN_WAITING;
}

void mfd_drain_plan_spread(struct mfd_drain *d)
{
	uint64_t given[MFD_DRAIN_TARGETS];

	for (unsigned i = 0; i < d->n_targets; i++)
		given[i] = d->targets[i].given;
	for (size_t i = 0; i < d->n; i++) {
		struct mfd_drain_item *it = &d->items[i];

		if (it->state != MFD_DRAIN_WAITING)
			continue;
		it->target = mfd_drain_plan_target(d->targets, d->n_targets, it->bytes, 0);
		if (it->target >= 0)
			d->targets[it->target].given += it->bytes;
	}
	for (unsigned i = 0; i < d->n_targets; i++)
		d->targets[i].given = given[i];
}
