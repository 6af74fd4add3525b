// SPDX-License-Identifier: GPL-2.0-only
/* mfd_thincopy: the outcome of memcpy(), and no page made for what was never written. */
#include <errno.h>
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

#include "../../plugin/hooks/thincopy.h"

#define PAGE 4096UL
#define SIZE (2 * MFD_THINCOPY_LEAST)

static char *map(int flags, int fd)
{
	char *p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, flags, fd, 0);

	assert_ptr_not_equal(p, MAP_FAILED);
	madvise(p, SIZE, MADV_NOHUGEPAGE);
	return p;
}

/* Shared, as CRIU's with its parasite: of other words before, in every 50th page. */
static char *destination(void)
{
	int fd = memfd_create("thincopy", MFD_CLOEXEC);
	char *p;

	assert_int_equal(ftruncate(fd, SIZE), 0);
	p = map(MAP_SHARED, fd);
	close(fd);
	for (size_t i = 0; i < SIZE / PAGE; i += 50)
		memset(p + i * PAGE, 0x55, PAGE);
	return p;
}

static char *source(void)
{
	char *p = map(MAP_PRIVATE | MAP_ANONYMOUS, -1);

	for (size_t i = 0; i < SIZE / PAGE; i += i % 7 + 20)
		memset(p + i * PAGE, (int)i, PAGE);
	return p;
}

static size_t pages_of(char *p)
{
	static unsigned char held[SIZE / PAGE];
	size_t n = 0;

	assert_int_equal(mincore(p, SIZE, held), 0);
	for (size_t i = 0; i < SIZE / PAGE; i++)
		n += held[i] & 1;
	return n;
}

static void copies(size_t to_at, size_t from_at, size_t n)
{
	char *to = destination(), *from = source(), *as = destination();
	int ret = mfd_thincopy(to + to_at, from + from_at, n);

	if (ret == -ENOTTY) {
		print_message("# skip: kernel lacks PAGEMAP_SCAN\n");
		skip();
	}
	assert_int_equal(ret, 0);
	assert_true(pages_of(to) < SIZE / PAGE / 3);
	memcpy(as + to_at, from + from_at, n);
	assert_memory_equal(to, as, SIZE);
	munmap(to, SIZE);
	munmap(from, SIZE);
	munmap(as, SIZE);
}

static void as_memcpy(void **state)
{
	copies(0, 0, SIZE);
	copies(16, 0, SIZE - 16);
	copies(0, 4080, SIZE - 8192 - 3);
	copies(4095, 1, SIZE - 3 * PAGE);
	copies(100, 7 * PAGE + 5, 40 * PAGE);
	copies(0, 3, 5);
}

/* Memory of the C library's, written before and given back. */
static void as_memcpy_of_what_was_used(void **state)
{
	char *from = malloc(SIZE), *to = destination();
	int ret;

	memset(from, 7, SIZE);
	ret = mfd_thincopy(to, from, SIZE);
	if (ret == -ENOTTY)
		skip();
	assert_int_equal(ret, 0);
	assert_memory_equal(to, from, SIZE);
	free(from);
}

/* What has no page here may have bytes: of a file, of shared memory, of two mappings. */
static void others_are_left_to_memcpy(void **state)
{
	int fd = memfd_create("file", MFD_CLOEXEC);
	char *to = destination(), *from, *two;

	assert_int_equal(ftruncate(fd, SIZE), 0);
	assert_int_equal(pwrite(fd, "x", 1, SIZE / 2), 1);
	from = map(MAP_PRIVATE, fd);
	assert_int_equal(mfd_thincopy(to, from, SIZE), -EINVAL);
	from = map(MAP_SHARED, fd);
	assert_int_equal(mfd_thincopy(to, from, SIZE), -EINVAL);
	two = map(MAP_PRIVATE | MAP_ANONYMOUS, -1);
	assert_ptr_equal(mmap(two + SIZE / 2, SIZE / 2, PROT_READ, MAP_PRIVATE | MAP_FIXED, fd, 0),
			 two + SIZE / 2);
	assert_int_equal(mfd_thincopy(to, two, SIZE), -EINVAL);
	from = source();
	two = map(MAP_PRIVATE | MAP_ANONYMOUS, -1);
	assert_int_equal(mfd_thincopy(two, from, SIZE), -EINVAL);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(as_memcpy),
		cmocka_unit_test(as_memcpy_of_what_was_used),
		cmocka_unit_test(others_are_left_to_memcpy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
