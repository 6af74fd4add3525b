/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A number that one thread counts and any thread may read meanwhile: relaxed, and without the bus
 * lock that an atomic addition would take, since no other thread writes it.  Counters of different
 * threads belong on cache lines of their own.
 */
#ifndef MFD_COUNTER_H
#define MFD_COUNTER_H

#include <stdatomic.h>
#include <stdint.h>

typedef _Atomic uint64_t mfd_counter;

static inline uint64_t mfd_counter_get(const mfd_counter *c)
{
	return atomic_load_explicit(c, memory_order_relaxed);
}

/* By its one writer alone. */
static inline void mfd_counter_add(mfd_counter *c, uint64_t n)
{
	atomic_store_explicit(c, mfd_counter_get(c) + n, memory_order_relaxed);
}

#endif
