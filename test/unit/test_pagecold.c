// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pages of another process that were looked at count as such no more: whole blocks only, contents
 * and huge pages untouched.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

#include "pagecold.h"
#include "pageread.h"
#include "pair.h"

#define PAGE  4096UL
#define BLOCK (2UL << 20)
#define LEN   (4 * BLOCK + 3 * PAGE)

/* LEN bytes from one page below the end of a block on: four blocks lie in it as a whole. */
static char *area;
static pid_t pid;

static void write_area(void *advice)
{
	madvise(area, LEN, *(const int *)advice);
	memset(area, 0x5a, LEN);
}

/* A child that has written its copy of the area and stands still. */
static void start(int advice)
{
	char *all = mmap(NULL, LEN + 2 * BLOCK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			 -1, 0);

	assert_ptr_not_equal(all, MAP_FAILED);
	area = (char *)(((uintptr_t)all + BLOCK) & ~(BLOCK - 1)) + BLOCK - PAGE;
	assert_int_equal(munmap(all, (size_t)(area - all)), 0);
	assert_int_equal(munmap(area + LEN, (size_t)(all + LEN + 2 * BLOCK - area - LEN)), 0);
	pid = pair_frozen_after(write_area, &advice);
}

static void end(void)
{
	struct mfd_run run = { .vaddr = (uintptr_t)area, .pages = LEN / PAGE };
	struct mfd_error err = { 0 };
	struct mfd_pageread r;
	char *buf = malloc(LEN);

	assert_int_equal(mfd_pageread_open(&r, pid, &err), 0);
	assert_int_equal(mfd_pageread_runs(&r, &run, 1, buf), 0);
	for (size_t i = 0; i < LEN; i++)
		assert_int_equal(buf[i], 0x5a);
	mfd_pageread_close(&r);
	free(buf);
	pair_reap(pid);
	munmap(area, LEN);
}

static unsigned long kib(const char *field)
{
	return pair_smaps_kib(pid, field, area);
}

/*
 * So much of the area may still count as looked at: `want`, and pages that a processor has not yet
 * sorted in, at most 31 on each.
 */
static void check_referenced(unsigned long want)
{
	unsigned long is = kib("Referenced:");

	assert_in_range(is, want >> 10, (want + BLOCK / 2) >> 10);
}

static void test_cold(void **state)
{
	uint64_t from, to;
	struct mfd_pagecold c;

	(void)state;
	start(MADV_NOHUGEPAGE);
	from = (uintptr_t)area;
	to = from + LEN;
	assert_int_equal(kib("Referenced:"), LEN >> 10);
	mfd_pagecold_open(&c, pid);
	mfd_pagecold_upto(&c, from, to, from + PAGE + BLOCK - PAGE);
	assert_int_equal(kib("Referenced:"), LEN >> 10); /* not a whole block yet */
	mfd_pagecold_upto(&c, from, to, from + PAGE + BLOCK);
	/* Where pages are sorted by generations there is nothing to be done. */
	check_referenced(LEN - (c.pidfd < 0 ? 0 : BLOCK));
	mfd_pagecold_upto(&c, from, to, to);
	check_referenced(LEN - (c.pidfd < 0 ? 0 : 4 * BLOCK));
	mfd_pagecold_close(&c);
	assert_int_equal(c.pidfd, -1);
	mfd_pagecold_close(&c);
	end();
}

static void test_huge_pages_stay(void **state)
{
	uint64_t from, to, before;
	struct mfd_pagecold c;

	(void)state;
	start(MADV_HUGEPAGE);
	from = (uintptr_t)area;
	to = from + LEN;
	before = kib("AnonHugePages:"); /* 0 where the kernel gives none */
	mfd_pagecold_open(&c, pid);
	for (uint64_t pos = from; pos < to; pos += BLOCK / 2)
		mfd_pagecold_upto(&c, from, to, pos);
	mfd_pagecold_upto(&c, from, to, to);
	assert_int_equal(kib("AnonHugePages:"), before);
	mfd_pagecold_close(&c);
	end();
}

/* No such process: nothing happens. */
static void test_gone(void **state)
{
	struct mfd_pagecold c;

	(void)state;
	start(MADV_NOHUGEPAGE);
	mfd_pagecold_open(&c, pid);
	end();
	mfd_pagecold_upto(&c, (uintptr_t)area, (uintptr_t)area + LEN, (uintptr_t)area + LEN);
	mfd_pagecold_close(&c);
	mfd_pagecold_open(&c, pid);
	mfd_pagecold_upto(&c, (uintptr_t)area, (uintptr_t)area + LEN, (uintptr_t)area + LEN);
	mfd_pagecold_close(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cold),
		cmocka_unit_test(test_huge_pages_stay),
		cmocka_unit_test(test_gone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
