// SPDX-License-Identifier: GPL-2.0-only
/* Histograms of times: their bounds, and what is read out of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "latency.h"

static struct mfd_latency l;
static struct mfd_latency_sum sum;

static void read_it(void)
{
	memset(&sum, 0, sizeof(sum));
	mfd_latency_merge(&sum, &l);
}

static int clean(void **state)
{
	(void)state;
	memset(&l, 0, sizeof(l));
	return 0;
}

/* Whatever is added is in the one bucket whose bounds hold it. */
static void bounds_hold_what_is_added(void **state)
{
	(void)state;
	for (unsigned i = 0; i + 2 < MFD_LATENCY_BUCKETS; i++) {
		uint64_t low = i ? mfd_latency_below(i - 1) : 0, high = mfd_latency_below(i);

		assert_true(low < high && high <= 2 * low + 1);
		memset(&l, 0, sizeof(l));
		mfd_latency_add(&l, low);
		mfd_latency_add(&l, high - 1);
		mfd_latency_add(&l, high);
		read_it();
		assert_int_equal(sum.count[i], 2);
		assert_int_equal(sum.count[i + 1], 1);
	}
	mfd_latency_add(&l, UINT64_MAX / 2);
	read_it();
	assert_int_equal(sum.count[MFD_LATENCY_BUCKETS - 1], 1);
	assert_int_equal(mfd_latency_below(MFD_LATENCY_BUCKETS - 1), 0);
	assert_int_equal(mfd_latency_used(&sum), MFD_LATENCY_BUCKETS);
}

static void nothing_has_no_figures(void **state)
{
	(void)state;
	read_it();
	assert_int_equal(mfd_latency_count(&sum), 0);
	assert_int_equal(mfd_latency_used(&sum), 0);
	assert_int_equal(mfd_latency_average(&sum), 0);
	assert_int_equal(mfd_latency_percentile(&sum, 99), 0);
	assert_null(mfd_latency_json(&sum));
}

/* 1 to 10000 us once each: percentiles are right to a small part of a bucket. */
static void percentiles_of_even_times(void **state)
{
	(void)state;
	for (uint64_t us = 1; us <= 10000; us++)
		mfd_latency_add(&l, us);
	read_it();
	assert_int_equal(mfd_latency_count(&sum), 10000);
	assert_int_equal(mfd_latency_average(&sum), 5000);
	assert_in_range(mfd_latency_percentile(&sum, 50), 4990, 5010);
	assert_in_range(mfd_latency_percentile(&sum, 99), 9900, 10000);
	assert_in_range(mfd_latency_percentile(&sum, 0), 1, 2);
	assert_int_equal(mfd_latency_percentile(&sum, 100), 10000);
}

/* One of a hundred is slow: p99 does not see it, the maximum does; two: p99 does. */
static void percentiles_of_few_slow_ones(void **state)
{
	(void)state;
	for (int i = 0; i < 99; i++)
		mfd_latency_add(&l, 100);
	mfd_latency_add(&l, 50000);
	read_it();
	assert_in_range(mfd_latency_percentile(&sum, 50), 96, 128);
	assert_in_range(mfd_latency_percentile(&sum, 99), 96, 128);
	assert_int_equal(sum.max_us, 50000);
	mfd_latency_add(&l, 50000);
	read_it();
	assert_in_range(mfd_latency_percentile(&sum, 99), 32768, 50000);
}

static void one_time_is_all_of_them(void **state)
{
	(void)state;
	mfd_latency_add(&l, 97);
	read_it();
	assert_in_range(mfd_latency_percentile(&sum, 50), 96, 97);
	assert_in_range(mfd_latency_percentile(&sum, 99), 96, 97);
	/* beyond the last bound there is only the longest */
	clean(NULL);
	mfd_latency_add(&l, 1ULL << 40);
	read_it();
	assert_int_equal(mfd_latency_percentile(&sum, 50), 1ULL << 40);
}

static void threads_are_added_up(void **state)
{
	static struct mfd_latency other;

	(void)state;
	mfd_latency_add(&l, 10);
	mfd_latency_add(&other, 1000);
	mfd_latency_add(&other, 20);
	read_it();
	mfd_latency_merge(&sum, &other);
	assert_int_equal(mfd_latency_count(&sum), 3);
	assert_int_equal(sum.sum_us, 1030);
	assert_int_equal(sum.max_us, 1000);
}

/* A message of a newer program may have more buckets, of an older one fewer. */
static void messages_are_loaded(void **state)
{
	uint64_t many[MFD_LATENCY_BUCKETS + 5] = { 0, 0, 3, [MFD_LATENCY_BUCKETS + 2] = 9 };

	struct json_object *j;

	(void)state;
	mfd_latency_load(&sum, many, MFD_LATENCY_BUCKETS + 5, 6, 2);
	assert_int_equal(mfd_latency_count(&sum), 3);
	mfd_latency_load(&sum, many, 3, 6, 2);
	j = mfd_latency_json(&sum);
	assert_string_equal(
		json_object_to_json_string_ext(j, JSON_C_TO_STRING_PLAIN),
		"{\"count\":3,\"average_us\":2,\"p50_us\":2,\"p99_us\":2,\"max_us\":2,\"histogram\":["
		"{\"below_us\":1,\"count\":0},{\"below_us\":2,\"count\":0},{\"below_us\":3,\"count\":3}]}");
	json_object_put(j);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(bounds_hold_what_is_added, clean),
		cmocka_unit_test_setup(nothing_has_no_figures, clean),
		cmocka_unit_test_setup(percentiles_of_even_times, clean),
		cmocka_unit_test_setup(percentiles_of_few_slow_ones, clean),
		cmocka_unit_test_setup(one_time_is_all_of_them, clean),
		cmocka_unit_test_setup(threads_are_added_up, clean),
		cmocka_unit_test_setup(messages_are_loaded, clean),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
