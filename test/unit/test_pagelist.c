// SPDX-License-Identifier: GPL-2.0-only
/*
 * The sender's own list of pages: which mappings of a real task it is made for, that it has all of
 * their pages, and that a list with too few is noticed.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io.h"
#include "pagecount.h"
#include "pagelist.h"
#include "pluginlink.h"
#include "procfile.h"
#include "stackpages.h"

#define PAGE	 4096UL
#define MIB	 (1UL << 20)
#define SPARSE	 3	      /* one page of so many is there */
#define TOO_LONG (1ULL << 40) /* a sanitizer's shadow */

/* Mappings of the child, apart from each other; it is a copy of this process. */
static char *sparse, *stack, *small, *unused;
static pid_t child;

static char *map(size_t bytes)
{
	char *p = mmap(NULL, bytes + 2 * PAGE, PROT_NONE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	assert_ptr_not_equal(p, MAP_FAILED);
	assert_int_equal(mprotect(p + PAGE, bytes, PROT_READ | PROT_WRITE), 0);
	return p + PAGE;
}

static void *wait_for_ever(void *fd)
{
	char done = 1;

	if (write(*(int *)fd, &done, 1) != 1)
		_exit(1);
	while (1)
		pause();
	return NULL;
}

static void __attribute__((noreturn)) be_child(int fd)
{
	pthread_attr_t attr;
	pthread_t thread;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	pthread_attr_init(&attr);
	pthread_attr_setstack(&attr, stack, 32 * MIB);
	if (pthread_create(&thread, &attr, wait_for_ever, &fd))
		_exit(1);
	while (1)
		pause();
}

static int start(void **state)
{
	int pair[2];
	char done;

	(void)state;
	sparse = map(32 * MIB);
	stack = map(32 * MIB);
	small = map(8 * MIB);
	unused = map(64 * MIB);
	madvise(sparse, 32 * MIB, MADV_NOHUGEPAGE);
	for (size_t i = 0; i < 32 * MIB; i += SPARSE * PAGE)
		sparse[i] = 1;
	memset(small, 1, 8 * MIB);
	assert_int_equal(pipe(pair), 0);
	child = fork();
	if (!child)
		be_child(pair[1]);
	assert_int_equal(read(pair[0], &done, 1), 1);
	close(pair[0]);
	close(pair[1]);
	kill(child, SIGSTOP);
	waitpid(child, NULL, WUNTRACED);
	return 0;
}

static int stop(void **state)
{
	(void)state;
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	return 0;
}

static void vmas_of(struct mfd_vmas *vmas)
{
	struct mfd_error err = { 0 };
	size_t kept = 0;

	assert_int_equal(mfd_pagescan_vmas(child, vmas, &err), 0);
	for (size_t i = 0; i < vmas->n; i++)
		if (vmas->v[i].end - vmas->v[i].start < TOO_LONG)
			vmas->v[kept++] = vmas->v[i];
	vmas->n = kept;
}

static const struct mfd_lazy_range *large_at(const struct mfd_pagelist *l, const char *at)
{
	for (size_t i = 0; i < l->nlarge; i++)
		if (l->large[i].start == (uintptr_t)at)
			return &l->large[i];
	return NULL;
}

static size_t runs_in(const struct mfd_pagelist *l, const char *at, size_t bytes)
{
	size_t n = 0;

	for (size_t i = 0; i < l->n; i++)
		n += l->runs[i].start >= (uintptr_t)at && l->runs[i].start < (uintptr_t)at + bytes;
	return n;
}

static void test_which_mappings(void **state)
{
	struct mfd_error err = { 0 };
	struct mfd_pagelist l;
	struct mfd_vmas vmas;

	(void)state;
	vmas_of(&vmas);
	assert_int_equal(mfd_pagelist_make(&l, child, &vmas, &err), 0);
	assert_non_null(large_at(&l, sparse));
	assert_non_null(large_at(&l, unused));
	assert_null(large_at(&l, stack)); /* a stack pointer is in it */
	assert_null(large_at(&l, small));
	for (size_t i = 1; i < l.nlarge; i++)
		assert_true(l.large[i].start > l.large[i - 1].start);
	mfd_pagelist_free(&l);
	mfd_pagescan_vmas_free(&vmas);
}

static void test_all_pages(void **state)
{
	size_t want = (32 * MIB / PAGE + SPARSE - 1) / SPARSE;
	struct mfd_error err = { 0 };
	struct mfd_pagelist l;
	struct mfd_vmas vmas;
	uint64_t sum = 0;

	(void)state;
	vmas_of(&vmas);
	assert_int_equal(mfd_pagelist_make(&l, child, &vmas, &err), 0);
	assert_int_equal(runs_in(&l, sparse, 32 * MIB), want);
	assert_int_equal(runs_in(&l, unused, 64 * MIB), 0);
	for (size_t i = 0; i < l.n; i++) {
		sum += l.runs[i].pages;
		assert_true(!i ||
			    l.runs[i].start > l.runs[i - 1].start + l.runs[i - 1].pages * PAGE - 1);
	}
	assert_int_equal(sum, l.pages);
	mfd_pagelist_free(&l);
	mfd_pagescan_vmas_free(&vmas);
}

static void test_what_the_plugin_gets(void **state)
{
	struct mfd_error err = { 0 };
	struct mfd_pagelist l;
	struct mfd_vmas vmas;
	int fd, found = 0;

	(void)state;
	vmas_of(&vmas);
	assert_int_equal(mfd_pagelist_make(&l, child, &vmas, &err), 0);
	fd = mfd_pagelist_mappings(&l, &err);
	assert_true(fd >= 0);
	for (size_t i = 0; i < l.nlarge; i++) {
		struct mfd_link_range r;

		assert_int_equal(mfd_io_pread_all(fd, &r, sizeof(r), i * sizeof(r)), 0);
		assert_int_equal(r.end - r.start, l.large[i].pages * PAGE);
		found += r.start == (uintptr_t)sparse && r.end == (uintptr_t)sparse + 32 * MIB;
	}
	assert_int_equal(found, 1);
	close(fd);
	mfd_pagelist_free(&l);
	assert_int_equal(mfd_pagelist_mappings(&l, &err), -1);
	mfd_pagescan_vmas_free(&vmas);
}

/* As a scan that is told of fewer pages would have it. */
static void test_a_short_list_is_noticed(void **state)
{
	const uint64_t slack = 64; /* however many processors there are */
	struct mfd_pagescan *scan;
	struct mfd_error err = { 0 };
	struct mfd_pagelist l;
	struct mfd_vmas vmas;

	(void)state;
	vmas_of(&vmas);
	assert_int_equal(mfd_pagelist_make(&l, child, &vmas, &err), 0);
	assert_int_equal(mfd_pagescan_open(child, 0, &scan, &err), 0);
	assert_int_equal(mfd_pagecount_check(child, scan, l.large, l.nlarge, l.pages, &err), 0);
	if (l.pages > 3 * slack) { /* this many processors would hide it */
		assert_int_equal(mfd_pagecount_check(child, scan, l.large, l.nlarge,
						     l.pages - 3 * slack, &err),
				 -EIO);
		assert_non_null(strstr(mfd_error_text(&err), "the tasks run on here"));
		assert_int_equal(mfd_pagecount_check(child, scan, l.large, l.nlarge, 0, &err),
				 -EIO);
	}
	mfd_pagescan_close(scan);
	mfd_pagelist_free(&l);
	mfd_pagescan_vmas_free(&vmas);
}

static void test_stack_pointers(void **state)
{
	struct mfd_stackpages s;

	(void)state;
	assert_int_equal(mfd_stackpages_find(&s, child), 0);
	assert_true(s.n >= 2);
	assert_true(mfd_stackpages_in(&s, (uintptr_t)stack, (uintptr_t)stack + 32 * MIB));
	assert_false(mfd_stackpages_in(&s, (uintptr_t)sparse, (uintptr_t)sparse + 32 * MIB));
	mfd_stackpages_free(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_which_mappings),
		cmocka_unit_test(test_all_pages),
		cmocka_unit_test(test_what_the_plugin_gets),
		cmocka_unit_test(test_a_short_list_is_noticed),
		cmocka_unit_test(test_stack_pointers),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
