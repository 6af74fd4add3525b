// SPDX-License-Identifier: GPL-2.0-only
/*
 * The limit of bytes per second: it holds over a second, and a change holds at once for a thread
 * that sleeps.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#include "io.h"
#include "pair.h"
#include "ratelimit.h"

#define MAX_SENDERS 16
/* a busy machine may not let the senders run; that is not the limit's fault */
#define TRIES 5

static struct mfd_ratelimit limit;
static _Atomic uint64_t sent;
static atomic_int quit;

/* Like a channel: packets of `arg` bytes, in the pieces that the limit asks for. */
static void *send_main(void *arg)
{
	size_t packet = (size_t)(uintptr_t)arg;

	while (!atomic_load(&quit))
		for (size_t left = packet, now; left && !atomic_load(&quit); left -= now) {
			now = mfd_ratelimit_piece(&limit, left);
			mfd_ratelimit_wait(&limit, now);
			atomic_fetch_add(&sent, now);
		}
	return NULL;
}

static pthread_t sender[MAX_SENDERS];
static unsigned senders;

static void begin(uint64_t rate, unsigned n, size_t packet)
{
	limit = (struct mfd_ratelimit){ 0 };
	mfd_ratelimit_set(&limit, rate);
	atomic_store(&quit, 0);
	for (senders = 0; senders < n; senders++)
		assert_int_equal(pthread_create(&sender[senders], NULL, send_main,
						(void *)(uintptr_t)packet),
				 0);
}

static void end(void)
{
	atomic_store(&quit, 1);
	mfd_ratelimit_set(&limit, 0);
	while (senders)
		pthread_join(sender[--senders], NULL);
}

/* Bytes per second over the next ms milliseconds. */
static double rate_over(unsigned ms)
{
	uint64_t before = atomic_load(&sent), start = mfd_io_now_us();

	usleep(ms * 1000);
	return (double)(atomic_load(&sent) - before) * 1e6 / (double)(mfd_io_now_us() - start);
}

/* Never more than 5 % above; not more than 5 % below unless the machine is at fault each time. */
static void holds(double rate)
{
	double got = 0;

	for (unsigned i = 0; i < TRIES && got < 0.95 * rate; i++) {
		got = rate_over(1000);
		if (got > 1.05 * rate)
			fail_msg("%.0f bytes per second instead of %.0f", got, rate);
	}
	if (got < 0.95 * rate)
		fail_msg("%.0f bytes per second instead of %.0f", got, rate);
}

static void test_holds(void **state)
{
	static const struct {
		uint64_t rate;
		unsigned senders;
		size_t packet;
	} c[] = {
		{ 1000000, 4, 1 << 20 }, /* a packet takes longer than a second */
		{ 25000000, 1, 1 << 20 },
		{ 25000000, 8, 4 << 20 },
		{ 250000000, 16, 1 << 16 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(c) / sizeof(*c); i++) {
		begin(c[i].rate, c[i].senders, c[i].packet);
		usleep(100000);
		holds((double)c[i].rate);
		end();
	}
}

static void test_unlimited(void **state)
{
	(void)state;
	begin(0, 1, 1 << 16);
	assert_true(rate_over(50) > 1e9);
	end();
	assert_int_equal(mfd_ratelimit_piece(&limit, 12345678), 12345678);
}

/* Up, down, off and on again, each within a tenth of a second. */
static void test_change(void **state)
{
	(void)state;
	begin(2000000, 4, 1 << 20);
	usleep(50000);
	assert_int_equal(mfd_ratelimit_set(&limit, 100000000), 2000000);
	usleep(100000);
	holds(100e6);
	assert_int_equal(mfd_ratelimit_set(&limit, 1000000), 100000000);
	usleep(100000);
	holds(1e6);
	assert_int_equal(mfd_ratelimit_set(&limit, 0), 1000000);
	usleep(100000);
	assert_true(rate_over(50) > 1e9);
	assert_int_equal(mfd_ratelimit_set(&limit, 5000000), 0);
	usleep(100000);
	holds(5e6);
	end();
}

static void *one_wait(void *arg)
{
	*(uint64_t *)arg = mfd_ratelimit_wait(&limit, 4096);
	return NULL;
}

/*
 * A thread that sleeps for an hour is not told by a signal but looks up soon; one that is slowed
 * down while asleep sleeps on.
 */
static void test_sleepers(void **state)
{
	uint64_t waited = 0, start;
	pthread_t t;

	(void)state;
	limit = (struct mfd_ratelimit){ 0 };
	mfd_ratelimit_set(&limit, 1);
	mfd_ratelimit_wait(&limit, 4096);
	start = mfd_io_now_us();
	assert_int_equal(pthread_create(&t, NULL, one_wait, &waited), 0);
	usleep(100000);
	mfd_ratelimit_set(&limit, 1000000000);
	pthread_join(t, NULL);
	assert_true(mfd_io_now_us() - start < 2000000);
	assert_in_range(waited, 100000, mfd_io_now_us() - start + 1);

	mfd_ratelimit_set(&limit, 20000);
	mfd_ratelimit_wait(&limit, 4096); /* takes 200 ms from here on */
	start = mfd_io_now_us();
	assert_int_equal(pthread_create(&t, NULL, one_wait, &waited), 0);
	usleep(50000);
	mfd_ratelimit_set(&limit, 4000);
	mfd_ratelimit_charge(&limit, 2000); /* half a second */
	usleep(250000);
	mfd_ratelimit_set(&limit, 0);
	pthread_join(t, NULL);
	assert_in_range(waited, 280000, mfd_io_now_us() - start + 1);
}

/* What waits for nothing is made up for by the others. */
static void test_charge(void **state)
{
	double got = 0;

	(void)state;
	begin(20000000, 2, 1 << 20);
	usleep(50000);
	for (unsigned try = 0; try < TRIES && (got < 9e6 || got > 11e6); try++) {
		uint64_t before = atomic_load(&sent), start = mfd_io_now_us(), charged = 0, now;

		while ((now = mfd_io_now_us()) - start < 1000000) {
			uint64_t due = (now - start) * 10; /* 10 MB/s */

			mfd_ratelimit_charge(&limit, due - charged);
			charged = due;
			usleep(5000);
		}
		got = (double)(atomic_load(&sent) - before) * 1e6 / (double)(now - start);
	}
	if (got < 9e6 || got > 11e6)
		fail_msg("%.0f bytes per second beside 10 MB/s of 20", got);
	/* Much more than the limit: those that wait go on, at a quarter of it. */
	for (unsigned i = 0; i < 100; i++)
		mfd_ratelimit_charge(&limit, 20000000);
	usleep(1200000);
	assert_in_range((uint64_t)rate_over(400), 200000, 8000000);
	end();
}

/*
 * A burst of urgent pages, worth several seconds, is paid back to the last byte: nothing is
 * forgiven, neither by a change of the limit nor for its size; time in which nothing is sent pays,
 * but none from before the burst.
 */
static void test_debt(void **state)
{
	uint64_t start, bulk = 0, ms;

	(void)state;
	limit = (struct mfd_ratelimit){ 0 };
	mfd_ratelimit_set(&limit, 20000000);
	mfd_ratelimit_wait(&limit, 4096);
	usleep(300000);
	start = mfd_io_now_ms();
	for (unsigned i = 0; i < 4; i++)
		mfd_ratelimit_charge(&limit, 10000000); /* two seconds */
	mfd_ratelimit_set(&limit, 40000000);		/* ... which are one now */
	do {
		mfd_ratelimit_wait(&limit, 100000);
		bulk += 100000;
		ms = mfd_io_now_ms() - start;
	} while (bulk < 20000000);
	/* 60 MB, less what a reservation may be late */
	assert_in_range(ms, 1450, 20000);

	mfd_ratelimit_charge(&limit, 8000000);
	usleep(400000); /* idle: twice what is owed */
	mfd_ratelimit_wait(&limit, 100000);
	assert_int_equal(limit.owed, 0);
}

static atomic_int changed;

static void *change_main(void *arg)
{
	uint64_t x = (uintptr_t)arg;

	while (!atomic_load(&changed)) {
		x = x * 6364136223846793005ULL + 1442695040888963407ULL;
		mfd_ratelimit_set(&limit, x >> 62 ? x >> 34 : 1);
	}
	return NULL;
}

/* Reservations at one byte per second that race with a change must not stay on the line. */
static void test_races(void **state)
{
	pthread_t changer[2];

	(void)state;
	begin(1, 4, 1 << 18);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&changer[i], NULL, change_main,
						(void *)(uintptr_t)(i + 1)),
				 0);
	usleep(500000);
	atomic_store(&changed, 1);
	for (unsigned i = 0; i < 2; i++)
		pthread_join(changer[i], NULL);
	mfd_ratelimit_set(&limit, 50000000);
	usleep(100000);
	holds(50e6);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_holds),  cmocka_unit_test(test_unlimited),
		cmocka_unit_test(test_change), cmocka_unit_test(test_sleepers),
		cmocka_unit_test(test_charge), cmocka_unit_test(test_debt),
		cmocka_unit_test(test_races),
	};

	pair_time_limit(120);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
