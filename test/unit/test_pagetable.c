// SPDX-License-Identifier: GPL-2.0-only
/* The page table against a plain array, at its borders, and with writers and readers at once. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "pagetable.h"

#define SPAN 20000U /* pages of the model: ten leaves */

static uint64_t step_of(uint64_t w)
{
	return mfd_page_state(w) == MFD_PAGE_STORED ? mfd_page_word(0, 1) : 0;
}

static void model_set(uint64_t *m, uint64_t page, uint64_t n, uint64_t w)
{
	for (uint64_t i = 0; i < n; i++)
		m[page + i] = w + i * step_of(w);
}

static uint64_t model_run(const uint64_t *m, uint64_t page, uint64_t max)
{
	uint64_t n = 1;

	while (n < max && m[page + n] == m[page] + n * step_of(m[page]))
		n++;
	return n;
}

static void test_random(void **state)
{
	static const uint64_t bases[] = { 0, 2048 - 100, (1ULL << 22) - 5000, (1ULL << 33) - 7,
					  (1ULL << 44) - SPAN };
	unsigned seed = 1;

	for (unsigned b = 0; b < sizeof(bases) / sizeof(*bases); b++) {
		struct mfd_pagetable *t = mfd_pagetable_new();
		uint64_t *m = calloc(SPAN, sizeof(*m)), w;

		for (int i = 0; i < 3000; i++) {
			uint64_t page = (unsigned)rand_r(&seed) % SPAN,
				 n = 1 + (unsigned)rand_r(&seed) % 3000;

			if (n > SPAN - page)
				n = SPAN - page;
			if (i % 3) {
				assert_int_equal(mfd_pagetable_run(t, bases[b] + page, n, &w),
						 model_run(m, page, n));
				assert_int_equal(w, m[page]);
				assert_int_equal(mfd_pagetable_get(t, bases[b] + page), m[page]);
				continue;
			}
			w = mfd_page_word(rand_r(&seed) % 4, (unsigned)rand_r(&seed));
			if (mfd_page_state(w) != MFD_PAGE_STORED)
				w = mfd_page_state(w);
			assert_int_equal(mfd_pagetable_set(t, bases[b] + page, n, w), 0);
			model_set(m, page, n, w);
		}
		free(m);
		mfd_pagetable_free(t);
	}
}

static void test_limits(void **state)
{
	struct mfd_pagetable *t = mfd_pagetable_new();
	uint64_t w = 1;

	assert_int_equal(mfd_pagetable_set(t, 1ULL << 44, 1, MFD_PAGE_ZERO), -EINVAL);
	assert_int_equal(mfd_pagetable_set(t, (1ULL << 44) - 1, 2, MFD_PAGE_ZERO), -EINVAL);
	assert_int_equal(mfd_pagetable_set(t, 5, UINT64_MAX, MFD_PAGE_ZERO), -EINVAL);
	assert_int_equal(mfd_pagetable_set(t, (1ULL << 44) - 1, 1, MFD_PAGE_ZERO), 0);
	assert_int_equal(mfd_pagetable_get(t, (1ULL << 44) - 1), MFD_PAGE_ZERO);
	assert_int_equal(mfd_pagetable_get(t, UINT64_MAX), 0);
	assert_int_equal(mfd_pagetable_run(t, 0, 1000000, &w), 1000000);
	assert_int_equal(w, 0);
	assert_int_equal(mfd_pagetable_run(t, 0, 0, &w), 0);
	mfd_pagetable_free(t);
	mfd_pagetable_free(NULL);
}

/* 2^44 pages, of which a few are known: what is not there is not looked at page by page. */
static void test_long_runs(void **state)
{
	struct mfd_pagetable *t = mfd_pagetable_new();
	uint64_t w = 1, end = 1ULL << 44;

	alarm(20);
	assert_int_equal(mfd_pagetable_run(t, 0, end, &w), end);
	assert_int_equal(mfd_pagetable_set(t, 1, 1, MFD_PAGE_ZERO), 0);
	assert_int_equal(mfd_pagetable_set(t, end / 2 + 5000, 1, MFD_PAGE_ZERO), 0);
	assert_int_equal(mfd_pagetable_run(t, 2, end - 2, &w), end / 2 + 5000 - 2);
	assert_int_equal(mfd_pagetable_run(t, end / 2 + 5001, end / 2 - 5001, &w), end / 2 - 5001);
	assert_int_equal(mfd_pagetable_run(t, 1ULL << 33, 1ULL << 20, &w), 1ULL << 20);
	alarm(0);
	mfd_pagetable_free(t);
}

/* What is said to be needed is what the table grows by. */
static void test_cost(void **state)
{
	struct mfd_pagetable *t = mfd_pagetable_new();
	unsigned seed = 5;

	for (int i = 0; i < 200; i++) {
		uint64_t page[20], n[20], before = UINT64_MAX, cost = 0;
		uint64_t had = mfd_pagetable_bytes(t), base = (uint64_t)rand_r(&seed) << 12;

		for (int k = 0; k < 20; k++) {
			page[k] = base + (uint64_t)rand_r(&seed) % (k % 3 ? 3000 : 1ULL << 25);
			n[k] = 1 + (unsigned)rand_r(&seed) % 4000;
			base = page[k] + n[k];
			cost += mfd_pagetable_cost(t, page[k], n[k], &before);
		}
		for (int k = 0; k < 20; k++)
			assert_int_equal(mfd_pagetable_set(t, page[k], n[k], MFD_PAGE_ZERO), 0);
		assert_int_equal(mfd_pagetable_bytes(t) - had, cost);
	}
	mfd_pagetable_free(t);
}

#define WRITERS 4
#define PAGES	(1U << 16)

struct shared {
	struct mfd_pagetable *t;
	uint64_t *data; /* plain memory that the words publish */
	unsigned part;
};

/* Each writer owns every WRITERS-th page and writes the datum before the word. */
static void *writer(void *arg)
{
	struct shared *s = arg;

	for (uint64_t i = s->part; i < PAGES; i += WRITERS) {
		s->data[i] = i * 7;
		if (mfd_pagetable_set(s->t, i * 37, 1, mfd_page_word(MFD_PAGE_STORED, i)))
			return s;
	}
	return NULL;
}

static void *reader(void *arg)
{
	struct shared *s = arg;

	for (uint64_t i = 0; i < PAGES;) {
		uint64_t w = mfd_pagetable_get(s->t, i * 37);

		if (!w)
			continue;
		if (mfd_page_index(w) != i || s->data[i] != i * 7)
			return s;
		i++;
	}
	return NULL;
}

/* A word holds the last index and the last round; runs look at one of the two. */
static void test_rounds(void **state)
{
	struct mfd_pagetable *t = mfd_pagetable_new();
	uint64_t last = (1ULL << MFD_PAGE_INDEX_BITS) - 1, w;

	(void)state;
	assert_int_equal(MFD_PAGE_MAX_ROUND, 8191);
	w = mfd_page_in_round(mfd_page_word(MFD_PAGE_STORED, last), MFD_PAGE_MAX_ROUND);
	assert_int_equal(w, ~0ULL << MFD_PAGE_STATE_BITS | MFD_PAGE_STORED);
	assert_int_equal(mfd_page_index(w), last);
	assert_int_equal(mfd_page_round(w), MFD_PAGE_MAX_ROUND);
	assert_int_equal(mfd_page_state(w), MFD_PAGE_STORED);

	w = mfd_page_in_round(mfd_page_word(MFD_PAGE_STORED, 100), 1);
	assert_int_equal(mfd_pagetable_set(t, 3000, 3000, w), 0);
	w = mfd_page_in_round(mfd_page_word(MFD_PAGE_STORED, 1100), MFD_PAGE_MAX_ROUND);
	assert_int_equal(mfd_pagetable_set(t, 4000, 10, w), 0);
	assert_int_equal(mfd_pagetable_set(t, 4500, 1, mfd_page_in_round(MFD_PAGE_ZERO, 1)), 0);
	assert_int_equal(mfd_pagetable_run(t, 3000, 9000, &w), 1500);
	assert_int_equal(mfd_pagetable_round(t, 3000, 9000, &w), 1000);
	assert_int_equal(mfd_pagetable_round(t, 4000, 9000, &w), 10);
	assert_int_equal(mfd_page_round(w), MFD_PAGE_MAX_ROUND);
	assert_int_equal(mfd_pagetable_round(t, 4010, 9000, &w), 1990);
	assert_int_equal(mfd_pagetable_round(t, 6000, 9000, &w), 9000);
	assert_int_equal(w, 0);

	/* The place of a word: made once, NULL where no page can be. */
	atomic_store(mfd_pagetable_slot(t, 5), mfd_page_in_round(MFD_PAGE_ZERO, 7));
	assert_int_equal(mfd_page_round(mfd_pagetable_get(t, 5)), 7);
	assert_null(mfd_pagetable_slot(t, 1ULL << 44));
	mfd_pagetable_free(t);
}

static void test_concurrent(void **state)
{
	struct shared s[WRITERS + 1];
	pthread_t id[WRITERS + 1];
	struct mfd_pagetable *t = mfd_pagetable_new();
	uint64_t *data = calloc(PAGES, sizeof(*data));
	void *bad;

	for (unsigned i = 0; i <= WRITERS; i++) {
		s[i] = (struct shared){ t, data, i };
		assert_int_equal(pthread_create(&id[i], NULL, i < WRITERS ? writer : reader, &s[i]),
				 0);
	}
	for (unsigned i = 0; i <= WRITERS; i++) {
		pthread_join(id[i], &bad);
		assert_null(bad);
	}
	free(data);
	mfd_pagetable_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random),	  cmocka_unit_test(test_limits),
		cmocka_unit_test(test_long_runs), cmocka_unit_test(test_cost),
		cmocka_unit_test(test_rounds),	  cmocka_unit_test(test_concurrent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
