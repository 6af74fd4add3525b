// SPDX-License-Identifier: GPL-2.0-only
/* Histograms of times. */
#include "assert.h"
#include "latency.h"

#define LAST (MFD_LATENCY_BUCKETS - 1)

uint64_t mfd_latency_below(unsigned i)
{
	mfd_assert(i < MFD_LATENCY_BUCKETS);
	if (i == LAST)
		return 0;
	return !i ? 1 : i % 2 ? 1ULL << (i + 1) / 2 : 3ULL << (i / 2 - 1);
}

/* The highest bit says the doubling, the next one its half. */
static unsigned bucket_of(uint64_t us)
{
	unsigned high, i;

	if (us < 2)
		return (unsigned)us;
	high = 63 - (unsigned)__builtin_clzll(us);
	i = 2 * high + (unsigned)(us >> (high - 1) & 1);
	return i < LAST ? i : LAST;
}

void mfd_latency_add(struct mfd_latency *l, uint64_t us)
{
	mfd_counter_add(&l->count[bucket_of(us)], 1);
	mfd_counter_add(&l->sum_us, us);
	if (us > mfd_counter_get(&l->max_us))
		atomic_store_explicit(&l->max_us, us, memory_order_relaxed);
}

static void add_max(struct mfd_latency_sum *to, uint64_t us)
{
	if (us > to->max_us)
		to->max_us = us;
}

void mfd_latency_merge(struct mfd_latency_sum *to, const struct mfd_latency *l)
{
	for (unsigned i = 0; i < MFD_LATENCY_BUCKETS; i++)
		to->count[i] += mfd_counter_get(&l->count[i]);
	to->sum_us += mfd_counter_get(&l->sum_us);
	add_max(to, mfd_counter_get(&l->max_us));
}

void mfd_latency_load(struct mfd_latency_sum *to, const uint64_t *count, size_t n, uint64_t sum_us,
		      uint64_t max_us)
{
	*to = (struct mfd_latency_sum){ .sum_us = sum_us, .max_us = max_us };
	for (size_t i = 0; i < n && i < MFD_LATENCY_BUCKETS; i++)
		to->count[i] = count[i];
}

uint64_t mfd_latency_count(const struct mfd_latency_sum *l)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < MFD_LATENCY_BUCKETS; i++)
		n += l->count[i];
	return n;
}

unsigned mfd_latency_used(const struct mfd_latency_sum *l)
{
	unsigned n = MFD_LATENCY_BUCKETS;

	while (n && !l->count[n - 1])
		n--;
	return n;
}

uint64_t mfd_latency_average(const struct mfd_latency_sum *l)
{
	uint64_t n = mfd_latency_count(l);

	return n ? l->sum_us / n : 0;
}

/* The time, in bucket i, that is the nth shortest there. */
static uint64_t within(const struct mfd_latency_sum *l, unsigned i, uint64_t nth)
{
	uint64_t low = i ? mfd_latency_below(i - 1) : 0, high = mfd_latency_below(i), us;

	mfd_assert(nth && nth <= l->count[i]);
	if (!high)
		return l->max_us;
	us = low + (uint64_t)((double)(high - low) * (double)nth / (double)l->count[i]);
	return us < l->max_us ? us : l->max_us;
}

uint64_t mfd_latency_percentile(const struct mfd_latency_sum *l, unsigned percent)
{
	uint64_t n = mfd_latency_count(l), rank;
	unsigned i = 0;

	mfd_assert(percent <= 100);
	if (!n)
		return 0;
	rank = n / 100 * percent + (n % 100 * percent + 99) / 100;
	for (rank = rank ? rank : 1; rank > l->count[i]; i++)
		rank -= l->count[i];
	return within(l, i, rank);
}

static void number(struct json_object *j, const char *key, uint64_t n)
{
	json_object_object_add(j, key, json_object_new_uint64(n));
}

static struct json_object *histogram(const struct mfd_latency_sum *l)
{
	struct json_object *a = json_object_new_array();

	for (unsigned i = 0; i < mfd_latency_used(l); i++) {
		struct json_object *j = json_object_new_object();
		uint64_t below = mfd_latency_below(i);

		json_object_object_add(j, "below_us", below ? json_object_new_uint64(below) : NULL);
		number(j, "count", l->count[i]);
		json_object_array_add(a, j);
	}
	return a;
}

struct json_object *mfd_latency_json(const struct mfd_latency_sum *l)
{
	struct json_object *j;

	if (!mfd_latency_count(l))
		return NULL;
	j = json_object_new_object();
	number(j, "count", mfd_latency_count(l));
	number(j, "average_us", mfd_latency_average(l));
	number(j, "p50_us", mfd_latency_percentile(l, 50));
	number(j, "p99_us", mfd_latency_percentile(l, 99));
	number(j, "max_us", l->max_us);
	json_object_object_add(j, "histogram", histogram(l));
	return j;
}
