// SPDX-License-Identifier: GPL-2.0-only
/*
 * Promises of memory: which session is admitted, which one waits, and that they never exceed the
 * limit.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "budget.h"
#include "size.h"

#define LIMIT 300

static struct mfd_budget b;

static int setup(void **state)
{
	(void)state;
	mfd_budget_init(&b, LIMIT);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	mfd_budget_fini(&b);
	return 0;
}

static struct mfd_budget_figures look(const struct mfd_budget_claim *c)
{
	struct mfd_budget_figures f;

	mfd_budget_look(&b, c, &f);
	return f;
}

static void test_two(void **state)
{
	struct mfd_budget_claim one = { 0 }, two = { 0 };

	(void)state;
	assert_int_equal(mfd_budget_enter(&b, &one, 260, 260), 1);
	assert_int_equal(mfd_budget_enter(&b, &two, 260, 260), 0);
	assert_int_equal(mfd_budget_admit(&b, &two), 0);
	assert_int_equal(mfd_budget_promised(&b, &two), 0);
	assert_int_equal(look(&two).waiting, 1);
	assert_int_equal(look(&two).free, 40);
	mfd_budget_leave(&b, &one, 0);
	assert_int_equal(mfd_budget_admit(&b, &two), 1);
	assert_int_equal(mfd_budget_admit(&b, &two), 1);
	assert_int_equal(mfd_budget_promised(&b, &two), 260);
	mfd_budget_leave(&b, &two, 0);
	mfd_budget_leave(&b, &two, 0); /* as often as one likes */
	assert_int_equal(look(NULL).free, LIMIT);
	assert_int_equal(look(NULL).claims, 0);
}

/* As pages get into the tasks of the first, the second comes in before the first has ended. */
static void test_given_back(void **state)
{
	struct mfd_budget_claim one = { 0 }, two = { 0 };

	(void)state;
	mfd_budget_enter(&b, &one, 260, 260);
	mfd_budget_enter(&b, &two, 100, 100);
	mfd_budget_finish(&b, &one, 201);
	assert_int_equal(mfd_budget_admit(&b, &two), 0);
	mfd_budget_finish(&b, &one, 200);
	assert_int_equal(mfd_budget_admit(&b, &two), 1);
	assert_int_equal(look(NULL).promised, LIMIT);
	assert_int_equal(look(NULL).used, 200);
}

static void test_too_big(void **state)
{
	struct mfd_budget_claim one = { 0 };

	(void)state;
	assert_int_equal(mfd_budget_enter(&b, &one, LIMIT + 1, LIMIT + 1), -E2BIG);
	assert_int_equal(look(NULL).claims, 0);
	assert_int_equal(mfd_budget_enter(&b, &one, LIMIT, LIMIT), 1);
}

/* One that would fit does not overtake: else the large one would never have its turn. */
static void test_order(void **state)
{
	struct mfd_budget_claim first = { 0 }, large = { 0 }, small = { 0 };

	(void)state;
	mfd_budget_enter(&b, &first, 100, 100);
	assert_int_equal(mfd_budget_enter(&b, &large, 250, 250), 0);
	assert_int_equal(mfd_budget_enter(&b, &small, 10, 10), 0);
	assert_int_equal(look(&small).ahead, 1);
	assert_int_equal(mfd_budget_admit(&b, &small), 0);
	mfd_budget_leave(&b, &first, 0);
	/* the large one's turn, though it has not looked yet */
	assert_int_equal(mfd_budget_admit(&b, &small), 0);
	assert_int_equal(mfd_budget_admit(&b, &large), 1);
	assert_int_equal(mfd_budget_admit(&b, &small), 1);
}

/* A source that is killed in the queue. */
static void test_leaves_queue(void **state)
{
	struct mfd_budget_claim first = { 0 }, large = { 0 }, small = { 0 };

	(void)state;
	mfd_budget_enter(&b, &first, 100, 100);
	mfd_budget_enter(&b, &large, 250, 250);
	mfd_budget_enter(&b, &small, 10, 10);
	mfd_budget_leave(&b, &large, 0);
	assert_int_equal(mfd_budget_admit(&b, &small), 1);
	assert_int_equal(look(NULL).promised, 110);
}

static void test_change(void **state)
{
	struct mfd_budget_claim first = { 0 }, second = { 0 };

	(void)state;
	mfd_budget_enter(&b, &first, 100, 100);
	mfd_budget_enter(&b, &second, 250, 250);
	assert_int_equal(mfd_budget_change(&b, &second, 200, 200), 0);
	assert_int_equal(mfd_budget_admit(&b, &second), 1);
	assert_int_equal(mfd_budget_change(&b, &second, 10, 10), -EALREADY);
	assert_int_equal(mfd_budget_promised(&b, &second), 200);
	mfd_budget_leave(&b, &second, 0);
	mfd_budget_enter(&b, &second, 250, 250);
	assert_int_equal(mfd_budget_change(&b, &second, LIMIT + 1, LIMIT + 1), -E2BIG);
	assert_int_equal(mfd_budget_admit(&b, &second), 0); /* it is not in any more */
	assert_int_equal(look(NULL).waiting, 0);
}

/* A session that has something does not wait for more. */
static void test_raise(void **state)
{
	struct mfd_budget_claim one = { 0 }, two = { 0 }, queued = { 0 };

	(void)state;
	mfd_budget_enter(&b, &one, 100, 100);
	mfd_budget_enter(&b, &two, 150, 150);
	mfd_budget_enter(&b, &queued, 100, 100);
	assert_int_equal(mfd_budget_raise(&b, &one, 151), -ENOSPC);
	assert_int_equal(mfd_budget_promised(&b, &one), 100);
	assert_int_equal(mfd_budget_raise(&b, &one, 150), 0); /* before those that wait */
	assert_int_equal(mfd_budget_raise(&b, &two, 150), 0);
	assert_int_equal(mfd_budget_raise(&b, &two, 10), 0); /* never less */
	assert_int_equal(mfd_budget_promised(&b, &two), 150);
	assert_int_equal(mfd_budget_raise(&b, &queued, 1), -ENOSPC);
	assert_int_equal(look(NULL).free, 0);
}

/*
 * Postcopy: a part is enough, half of what is free stays for others, and more is taken as it comes.
 */
static void test_elastic(void **state)
{
	struct mfd_budget_claim large = { 0 }, safe = { 0 }, next = { 0 };

	(void)state;
	assert_int_equal(mfd_budget_enter(&b, &large, 20, 1000), 1);
	assert_int_equal(mfd_budget_promised(&b, &large), 20 + (LIMIT - 20) / 2);
	assert_int_equal(mfd_budget_enter(&b, &safe, 100, 100), 1);
	assert_int_equal(mfd_budget_enter(&b, &next, 20, 40), 1);
	assert_int_equal(mfd_budget_promised(&b, &next), 40);
	assert_int_equal(look(NULL).promised, LIMIT);
	assert_int_equal(mfd_budget_more(&b, &large, 1000), 160);
	mfd_budget_leave(&b, &safe, 0);
	/* not half of what is left, again and again */
	assert_int_equal(mfd_budget_more(&b, &large, 1000), 160);
	assert_int_equal(mfd_budget_more(&b, &large, 220), 220);
	assert_int_equal(mfd_budget_more(&b, &large, 100), 220);
	/* Not enough for the least. */
	mfd_budget_leave(&b, &next, 0);
	mfd_budget_raise(&b, &large, 290);
	assert_int_equal(mfd_budget_enter(&b, &next, 20, 40), 0);
}

/* After a restart with sessions from before, or with a smaller limit. */
static void test_not_asked(void **state)
{
	struct mfd_budget_claim old = { 0 }, older = { 0 }, new = { 0 };

	(void)state;
	mfd_budget_finish(&b, &old, 250);
	mfd_budget_finish(&b, &older, 250);
	assert_int_equal(look(NULL).promised, 500);
	assert_int_equal(look(NULL).free, 0);
	assert_int_equal(mfd_budget_enter(&b, &new, 50, 50), 0);
	mfd_budget_finish(&b, &old, 10);
	assert_int_equal(mfd_budget_admit(&b, &new), 0);
	mfd_budget_finish(&b, &older, 240);
	assert_int_equal(mfd_budget_admit(&b, &new), 1);
}

static void test_left(void **state)
{
	struct mfd_budget_claim one = { 0 }, two = { 0 };
	unsigned seen;

	(void)state;
	mfd_budget_enter(&b, &one, 200, 200);
	mfd_budget_enter(&b, &two, 290, 290);
	mfd_budget_leave(&b, &one, 30);
	assert_int_equal(look(NULL).free, LIMIT - 30);
	assert_int_equal(mfd_budget_admit(&b, &two), 0);
	/* A look is under way while another session ends: that look has not seen it. */
	seen = mfd_budget_left_begin(&b);
	mfd_budget_enter(&b, &one, 10, 10);
	mfd_budget_finish(&b, &one, 10);
	mfd_budget_leave(&b, &one, 5);
	mfd_budget_left_set(&b, seen, 0);
	assert_int_equal(look(NULL).left, 35);
	mfd_budget_left_set(&b, mfd_budget_left_begin(&b), 10);
	assert_int_equal(look(NULL).left, 10);
	assert_int_equal(mfd_budget_admit(&b, &two), 1);
	assert_int_equal(look(NULL).promised, LIMIT);
}

static void test_no_limit(void **state)
{
	struct mfd_budget_claim one = { 0 }, two = { 0 };
	struct mfd_budget none;

	(void)state;
	mfd_budget_init(&none, 0);
	assert_int_equal(mfd_budget_enter(&none, &one, UINT64_MAX / 4, UINT64_MAX / 4), 1);
	assert_int_equal(mfd_budget_enter(&none, &two, 1ULL << 50, 1ULL << 50), 1);
	assert_int_equal(mfd_budget_raise(&none, &one, UINT64_MAX / 3), 0);
	mfd_budget_fini(&none);
}

/*
 * Many at once: whatever they do, the promises never exceed the limit, and every one that waits has
 * its turn.
 */
#define THREADS 8
#define TURNS	300

static void *churn(void *arg)
{
	unsigned seed = (unsigned)(uintptr_t)arg;
	uint64_t granted, bad = 0;

	for (int i = 0; i < TURNS; i++) {
		struct mfd_budget_claim c = { 0 };
		uint64_t least = 1 + (uint64_t)rand_r(&seed) % LIMIT,
			 want = least + (uint64_t)rand_r(&seed) % 100;

		if (mfd_budget_enter(&b, &c, least, want) < 0)
			return (void *)1;
		if (rand_r(&seed) % 8 == 0) {
			mfd_budget_leave(&b, &c, 0);
			continue;
		}
		while (!mfd_budget_admit(&b, &c))
			sched_yield();
		granted = mfd_budget_promised(&b, &c);
		bad |= granted < least || look(NULL).promised > LIMIT;
		bad |= !mfd_budget_raise(&b, &c, granted + 20) && look(NULL).promised > LIMIT;
		mfd_budget_finish(&b, &c, granted / 2);
		sched_yield();
		mfd_budget_leave(&b, &c, 0);
	}
	return (void *)(uintptr_t)bad;
}

static void test_churn(void **state)
{
	pthread_t t[THREADS];
	void *bad;

	(void)state;
	for (uintptr_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&t[i], NULL, churn, (void *)(i + 1)), 0);
	for (int i = 0; i < THREADS; i++) {
		pthread_join(t[i], &bad);
		assert_null(bad);
	}
	assert_int_equal(look(NULL).claims, 0);
	assert_int_equal(look(NULL).free, LIMIT);
}

static void test_sizes(void **state)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} good[] = { { "0", 0 },
		     { "1", 1 },
		     { "4k", 4096 },
		     { "4K", 4096 },
		     { "300M", 300 << 20 },
		     { "300m", 300 << 20 },
		     { "8G", 8ULL << 30 },
		     { "2t", 2ULL << 40 },
		     { "9223372036854775807", INT64_MAX } };
	static const char *const bad[] = { "",
					   "M",
					   "-1",
					   "+1",
					   " 1",
					   "1.5G",
					   "1GB",
					   "1x",
					   "9223372036854775808",
					   "8388608T",
					   "99999999999999999999" };
	char text[MFD_SIZE_TEXT];
	uint64_t n;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		assert_int_equal(mfd_size_parse(good[i].text, &n), 0);
		assert_true(n == good[i].bytes);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_int_equal(mfd_size_parse(bad[i], &n), -EINVAL);
	assert_string_equal(mfd_size_text(512, text), "512 B");
	assert_string_equal(mfd_size_text(300 << 20, text), "300.0 MiB");
	assert_string_equal(mfd_size_text(3ULL << 39, text), "1.5 TiB");
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

/* Claims of one owner together: another owner is not kept out, nor by one that waits for that. */
static void test_owners(void **state)
{
	struct mfd_budget_claim a = { .owner = "a", .most = 100 }, more = a, c = { .owner = "c" };

	(void)state;
	assert_int_equal(mfd_budget_enter(&b, &a, 101, 101), -E2BIG);
	assert_int_equal(mfd_budget_enter(&b, &a, 60, 60), 1);
	assert_int_equal(mfd_budget_enter(&b, &more, 60, 60), 0);
	assert_int_equal(mfd_budget_enter(&b, &c, 200, 200), 1);
	assert_int_equal(look(&c).ahead, 0);
	mfd_budget_leave(&b, &c, 0);
	assert_int_equal(mfd_budget_admit(&b, &more), 0);
	assert_int_equal(mfd_budget_raise(&b, &a, 101), -ENOSPC);
	assert_int_equal(mfd_budget_raise(&b, &a, 100), 0);
	assert_int_equal(mfd_budget_more(&b, &a, 200), 100);
	mfd_budget_leave(&b, &a, 0);
	assert_int_equal(mfd_budget_admit(&b, &more), 1);
	mfd_budget_leave(&b, &more, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_owners, setup, teardown),
		T(test_two),
		T(test_given_back),
		T(test_too_big),
		T(test_order),
		T(test_leaves_queue),
		T(test_change),
		T(test_raise),
		T(test_elastic),
		T(test_not_asked),
		T(test_left),
		T(test_no_limit),
		T(test_churn),
		T(test_sizes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
