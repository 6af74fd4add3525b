// SPDX-License-Identifier: GPL-2.0-only
/* Bytes per second over all channels. */
#include <time.h>

#include "ratelimit.h"

#define BURST_NS 10000000ULL  /* sleeping is not exact: what one reservation lost, the next may use */
#define SLICE_NS 100000000ULL /* longest sleep before the limit is looked at again */

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000ULL + (uint64_t)t.tv_nsec;
}

void mfd_ratelimit_set(struct mfd_ratelimit *r, uint64_t bytes_per_s)
{
	atomic_store_explicit(&r->bytes_per_s, bytes_per_s, memory_order_relaxed);
	/* What was reserved at the old rate is forgotten. */
	atomic_store_explicit(&r->next_ns, 0, memory_order_relaxed);
}

/* The beginning of a piece of `cost` on the time line. */
static uint64_t reserve(struct mfd_ratelimit *r, uint64_t cost)
{
	uint64_t next = atomic_load_explicit(&r->next_ns, memory_order_relaxed), begin, floor = now_ns() - BURST_NS;

	do
		begin = next > floor ? next : floor;
	while (!atomic_compare_exchange_weak_explicit(&r->next_ns, &next, begin + cost, memory_order_relaxed,
						      memory_order_relaxed));
	return begin;
}

void mfd_ratelimit_wait(struct mfd_ratelimit *r, size_t bytes)
{
	uint64_t rate = atomic_load_explicit(&r->bytes_per_s, memory_order_relaxed), begin, now;

	if (!rate)
		return;
	begin = reserve(r, (uint64_t)((double)bytes * 1e9 / (double)rate));
	while ((now = now_ns()) < begin) {
		uint64_t left = begin - now < SLICE_NS ? begin - now : SLICE_NS;
		struct timespec t = { .tv_sec = 0, .tv_nsec = (long)left };

		if (atomic_load_explicit(&r->bytes_per_s, memory_order_relaxed) != rate)
			return;
		clock_nanosleep(CLOCK_MONOTONIC, 0, &t, NULL);
	}
}
