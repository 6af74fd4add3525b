/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How long something took, many times over: a histogram with bounds that never change, two for each
 * doubling, from 1 us to a minute, so that histograms of threads, processes and hosts can be added.
 *
 *	bucket	 0: below 1 us, 1: below 2, 2: below 3, 3: below 4, 4: 6, 5: 8, 6: 12, 7: 16 ...
 *		 the last one has no upper bound
 *
 * One thread adds to a histogram and any thread reads it meanwhile, without a lock (counter.h).
 */
#ifndef MFD_LATENCY_H
#define MFD_LATENCY_H

#include <json-c/json.h>
#include <stddef.h>
#include <stdint.h>

#include "counter.h"

#define MFD_LATENCY_BUCKETS 54U

/* Zeroed at the start. */
struct mfd_latency {
	mfd_counter count[MFD_LATENCY_BUCKETS];
	mfd_counter sum_us, max_us;
};

/* What is read of one, or of several together. */
struct mfd_latency_sum {
	uint64_t count[MFD_LATENCY_BUCKETS];
	uint64_t sum_us, max_us;
};

void mfd_latency_add(struct mfd_latency *l, uint64_t us); /* by its one writer */
void mfd_latency_merge(struct mfd_latency_sum *to, const struct mfd_latency *l);
/* From a message: n counts, of which those beyond the last bucket are ignored. */
void mfd_latency_load(struct mfd_latency_sum *to, const uint64_t *count, size_t n, uint64_t sum_us,
		      uint64_t max_us);

/* Microseconds that bucket i is below; 0: there is no bound. */
uint64_t mfd_latency_below(unsigned i);
uint64_t mfd_latency_count(const struct mfd_latency_sum *l);
/* Buckets up to the last one that is not empty. */
unsigned mfd_latency_used(const struct mfd_latency_sum *l);
uint64_t mfd_latency_average(const struct mfd_latency_sum *l); /* 0: nothing was added */
/*
 * So long, in microseconds, at most, did `percent` of them take: between the bounds of a bucket as
 * if they lay evenly in it, and never more than the longest.  0: nothing was added.
 */
uint64_t mfd_latency_percentile(const struct mfd_latency_sum *l, unsigned percent);
/* { count, average_us, p50_us, p99_us, max_us, histogram: [ { below_us, count } ... ] }, or NULL */
struct json_object *mfd_latency_json(const struct mfd_latency_sum *l);
/*
 * Into a message of these fields, initialised, which borrows the counts (Latency of the protocol,
 * SessionLatency of session.img).  m, or NULL: nothing was added.
 */
#define mfd_latency_fill(m, l)                                             \
	((m)->n_count = mfd_latency_used(l), (m)->count = (l)->count,      \
	 (m)->has_sum_us = (m)->has_max_us = 1, (m)->sum_us = (l)->sum_us, \
	 (m)->max_us = (l)->max_us, (m)->n_count ? (m) : NULL)

#endif
