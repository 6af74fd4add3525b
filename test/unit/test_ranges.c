// SPDX-License-Identifier: GPL-2.0-only
/* The intervals of a task against an array with one entry per page, under random changes. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "ranges.h"

#define P     MFD_RANGES_PAGE
#define SPACE 600U /* pages of the naive address space */
#define BASE  (0x7f0000000000ULL)
#define NONE  UINT64_MAX

struct model {
	uint64_t bit_at[SPACE]; /* which page is at an address, NONE = none */
	uint64_t img[SPACE];	/* image address of a bit */
	uint64_t bits;
	unsigned char gone[SPACE]; /* by bit */
};

static void on_gone(void *arg, const struct mfd_range *x)
{
	struct model *m = arg;

	for (uint64_t i = 0; i < x->pages; i++) {
		assert_int_equal(m->img[x->bit + i], x->img + i * P);
		assert_int_equal(m->bit_at[(x->cur - BASE) / P + i], x->bit + i);
		assert_int_equal(m->gone[x->bit + i], 0);
		m->gone[x->bit + i] = 1;
	}
}

static void check_orders(const struct mfd_ranges *r)
{
	for (size_t i = 1; i < r->n; i++) {
		assert_true(r->by_cur[i - 1].cur + r->by_cur[i - 1].pages * P <= r->by_cur[i].cur);
		assert_true(r->by_bit[i - 1].bit + r->by_bit[i - 1].pages <= r->by_bit[i].bit);
		assert_true(r->by_bit[i - 1].img + r->by_bit[i - 1].pages * P <= r->by_bit[i].img);
	}
}

static void check(const struct mfd_ranges *r, const struct model *m)
{
	uint64_t cur_of[SPACE];

	check_orders(r);
	memset(cur_of, 0xff, sizeof(cur_of));
	for (uint64_t a = 0; a < SPACE; a++) {
		const struct mfd_range *x = mfd_ranges_find(r, BASE + a * P + 7),
				       *above = mfd_ranges_above(r, BASE + a * P);
		uint64_t next = a + 1;

		if (m->bit_at[a] == NONE) {
			assert_null(x);
		} else {
			assert_non_null(x);
			assert_int_equal(x->bit + (BASE + a * P - x->cur) / P, m->bit_at[a]);
			cur_of[m->bit_at[a]] = BASE + a * P;
			next = (x->cur - BASE) / P + x->pages;
		}
		while (next < SPACE && m->bit_at[next] == NONE)
			next++;
		assert_int_equal(above ? above->cur : BASE + SPACE * P, BASE + next * P);
	}
	for (uint64_t b = 0, next; b < m->bits; b++) {
		const struct mfd_range *x = mfd_ranges_from_bit(r, b);

		for (next = b; next < m->bits && cur_of[next] == NONE;)
			next++;
		assert_int_equal(m->gone[b], cur_of[b] == NONE);
		assert_ptr_equal(x, mfd_ranges_from_img(r, m->img[b] + 5));
		if (next == m->bits) {
			assert_null(x);
			continue;
		}
		assert_true(x->bit <= next && next < x->bit + x->pages &&
			    (x->bit >= b || next == b));
		assert_int_equal(x->cur + (next - x->bit) * P, cur_of[next]);
	}
}

static void build(struct mfd_ranges *r, struct model *m, unsigned *seed)
{
	uint64_t a = (unsigned)rand_r(seed) % 5;

	memset(m, 0, sizeof(*m));
	memset(m->bit_at, 0xff, sizeof(m->bit_at));
	while (a < SPACE / 2) {
		uint64_t n = 1 + (unsigned)rand_r(seed) % 30;

		assert_int_equal(mfd_ranges_append(r, BASE + a * P, n), 0);
		for (uint64_t i = 0; i < n; i++, a++) {
			m->img[m->bits] = BASE + a * P;
			m->bit_at[a] = m->bits++;
		}
		a += (unsigned)rand_r(seed) % 4;
	}
	assert_int_equal(r->bits, m->bits);
}

static void model_remove(struct model *m, uint64_t a, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++)
		m->bit_at[a + i] = NONE;
}

static void model_remap(struct model *m, uint64_t from, uint64_t to, uint64_t n)
{
	uint64_t moved[SPACE];

	memcpy(moved, &m->bit_at[from], n * sizeof(*moved));
	model_remove(m, from, n);
	memcpy(&m->bit_at[to], moved, n * sizeof(*moved));
}

static void change(struct mfd_ranges *r, struct model *m, unsigned *seed)
{
	uint64_t n = 1 + (unsigned)rand_r(seed) % ((unsigned)rand_r(seed) % 8 ? 20 : 200);
	uint64_t a = (unsigned)rand_r(seed) % (SPACE - n), b = (unsigned)rand_r(seed) % (SPACE - n);

	if (rand_r(seed) % 4 == 0) {
		assert_int_equal(mfd_ranges_remove(r, BASE + a * P, n * P, on_gone, m), 0);
		model_remove(m, a, n);
	} else if (a < b + n && b < a + n) {
		assert_int_equal(mfd_ranges_remap(r, BASE + a * P, BASE + b * P, n * P, on_gone, m),
				 -EINVAL);
	} else {
		assert_int_equal(mfd_ranges_remap(r, BASE + a * P, BASE + b * P, n * P, on_gone, m),
				 0);
		model_remap(m, a, b, n);
	}
}

static void test_random(void **state)
{
	for (unsigned seed = 1, round = 0; round < 300; round++) {
		struct mfd_ranges r = { 0 }, copy = { 0 };
		struct model m;

		build(&r, &m, &seed);
		check(&r, &m);
		for (int i = 0; i < 40; i++) {
			change(&r, &m, &seed);
			check(&r, &m);
		}
		assert_int_equal(mfd_ranges_copy(&copy, &r), 0);
		mfd_ranges_free(&r);
		check(&copy, &m);
		change(&copy, &m, &seed);
		check(&copy, &m);
		mfd_ranges_free(&copy);
	}
}

static void test_bad(void **state)
{
	struct mfd_ranges r = { 0 };

	assert_null(mfd_ranges_find(&r, 0));
	assert_null(mfd_ranges_from_bit(&r, 0));
	assert_null(mfd_ranges_above(&r, 0));
	assert_int_equal(mfd_ranges_remove(&r, 0, P, NULL, NULL), 0);
	assert_int_equal(mfd_ranges_append(&r, 4 * P + 1, 1), -EINVAL);
	assert_int_equal(mfd_ranges_append(&r, 4 * P, 0), -EINVAL);
	assert_int_equal(mfd_ranges_append(&r, 1ULL << 56, 1), -EINVAL);
	assert_int_equal(mfd_ranges_append(&r, 4 * P, MFD_RANGES_MAX_PAGES + 1), -EINVAL);
	assert_int_equal(mfd_ranges_append(&r, 4 * P, 4), 0);
	assert_int_equal(mfd_ranges_append(&r, 7 * P, 4), -EINVAL);
	assert_int_equal(mfd_ranges_append(&r, 8 * P, MFD_RANGES_MAX_PAGES), -EINVAL);
	assert_int_equal(mfd_ranges_append(&r, 8 * P, 1), 0);
	assert_int_equal(mfd_ranges_remove(&r, 5, P, NULL, NULL), -EINVAL);
	assert_int_equal(mfd_ranges_remove(&r, P, 5, NULL, NULL), -EINVAL);
	assert_int_equal(mfd_ranges_remove(&r, -P, 2 * P, NULL, NULL), -EINVAL);
	assert_int_equal(mfd_ranges_remap(&r, P, 2 * P, 2 * P, NULL, NULL), -EINVAL);
	assert_int_equal(r.n, 2);
	mfd_ranges_free(&r);
}

/* Many small intervals: taking all of them away at once must not take quadratic time. */
static void test_many(void **state)
{
	struct mfd_ranges r = { 0 };

	for (uint64_t i = 0; i < 300000; i++)
		assert_int_equal(mfd_ranges_append(&r, BASE + 2 * i * P, 1), 0);
	assert_int_equal(mfd_ranges_remap(&r, BASE, BASE - (1ULL << 40), 400000 * P, NULL, NULL),
			 0);
	assert_int_equal(mfd_ranges_find(&r, BASE - (1ULL << 40))->bit, 0);
	assert_int_equal(mfd_ranges_remove(&r, BASE - (1ULL << 40), 1ULL << 41, NULL, NULL), 0);
	assert_int_equal(r.n, 0);
	mfd_ranges_free(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
