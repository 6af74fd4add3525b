// SPDX-License-Identifier: GPL-2.0-only
/*
 * The ioctl() of a process that dumps as CRIU does: what it is told of mappings that were named,
 * and that all else is the kernel's answer.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../plugin/hooks/hide.h"
#include "../../plugin/hooks/host.h"
#include "../../plugin/hooks/parsed.h"
#include "pagemap_scan.h"
#include "pluginlink.h"

#define PAGE 4096UL
#define MIB  (1UL << 20)

/* ---- CRIU, as hide.c sees it ---- */

static const char *release = "4.2";
static int lazy = 1;

const char *mfd_host_release(void)
{
	return release;
}

int mfd_parsed_lazy_pages(void)
{
	return lazy;
}

int mfd_parsed_ps_socket(void)
{
	return -1;
}

void mfd_host_info(const char *fmt, ...)
{
	(void)fmt;
}

/* ---- its questions ---- */

static char *memory; /* two mappings of 16 MiB, all of it present */

static int map(void **state)
{
	(void)state;
	memory = mmap(NULL, 32 * MIB, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	return memory == MAP_FAILED;
}

static int unmap(void **state)
{
	(void)state;
	mfd_hide_end();
	release = "4.2";
	lazy = 1;
	return munmap(memory, 32 * MIB);
}

static struct mfd_pagemap_region region[64];

static struct mfd_pagemap_scan question(const char *start, const char *end)
{
	return (struct mfd_pagemap_scan){
		.size = sizeof(struct mfd_pagemap_scan),
		.start = (uintptr_t)start,
		.end = (uintptr_t)end,
		.vec = (uintptr_t)region,
		.vec_len = 64,
		.category_inverted = MFD_PAGEMAP_PFNZERO | MFD_PAGEMAP_FILE,
		.category_mask = MFD_PAGEMAP_PFNZERO | MFD_PAGEMAP_FILE,
		.category_anyof_mask = MFD_PAGEMAP_PRESENT | MFD_PAGEMAP_SWAPPED,
		.return_mask = MFD_PAGEMAP_PRESENT | MFD_PAGEMAP_GUARD,
	};
}

static int ask_of(const char *pagemap, struct mfd_pagemap_scan *q)
{
	int fd = open(pagemap, O_RDONLY | O_CLOEXEC), n;

	assert_true(fd >= 0);
	n = ioctl(fd, MFD_PAGEMAP_SCAN, q);
	close(fd);
	return n;
}

static int ask(struct mfd_pagemap_scan *q)
{
	return ask_of("/proc/self/pagemap", q);
}

static int ask_range(const char *start, const char *end)
{
	struct mfd_pagemap_scan q = question(start, end);
	int n = ask(&q);

	assert_int_equal(q.walk_end, (uintptr_t)end);
	return n;
}

static int begin(enum mfd_page_dump asked, enum mfd_page_dump *is)
{
	struct mfd_options o = { .page_dump = asked };
	struct mfd_error err = { 0 };
	int ret = mfd_hide_begin(&o, &err);

	if (is)
		*is = o.page_dump;
	return ret;
}

static void name_first(pid_t pid)
{
	struct mfd_link_range r = { (uintptr_t)memory, (uintptr_t)memory + 16 * MIB };
	int fd = memfd_create("mappings", MFD_CLOEXEC);
	struct mfd_error err = { 0 };

	assert_int_equal(write(fd, &r, sizeof(r)), sizeof(r));
	assert_int_equal(mfd_hide_task(pid, fd, &err), 0);
	close(fd);
}

static void need_scan(void)
{
	struct mfd_pagemap_scan q = question(memory, memory + PAGE);

	if (ask(&q) < 0)
		skip();
}

/* ---- */

static void test_named_mappings_are_empty(void **state)
{
	(void)state;
	need_scan();
	assert_int_equal(begin(MFD_PAGE_DUMP_PLUGIN, NULL), 0);
	assert_true(ask_range(memory, memory + 16 * MIB) > 0);
	name_first(getpid());
	assert_int_equal(ask_range(memory, memory + 16 * MIB), 0);
	/* CRIU goes on in the middle when its buffer was full. */
	assert_int_equal(ask_range(memory + 5 * MIB, memory + 16 * MIB), 0);
	assert_true(ask_range(memory + 16 * MIB, memory + 32 * MIB) > 0);
	assert_true(ask_range(memory, memory + 16 * MIB + PAGE) > 0);
	mfd_hide_end();
	assert_true(ask_range(memory, memory + 16 * MIB) > 0);
}

static void test_other_questions(void **state)
{
	struct mfd_pagemap_scan q;

	(void)state;
	need_scan();
	assert_int_equal(begin(MFD_PAGE_DUMP_PLUGIN, NULL), 0);
	name_first(getpid());
	q = question(memory, memory + 16 * MIB); /* what is there, guards or not */
	q.category_anyof_mask = 0;
	assert_true(ask(&q) > 0);
	q = question(memory, memory + 16 * MIB);
	q.size = 8;
	assert_true(ask(&q) < 0);
	q = question(memory, memory + 16 * MIB);
	q.vec = q.vec_len = 0;
	assert_int_equal(ask(&q), 0);
	assert_int_equal(q.walk_end, (uintptr_t)memory + 16 * MIB);
}

/* CRIU 4.1 does not ask for guard regions. */
static void test_guards_unknown_to_criu(void **state)
{
	struct mfd_pagemap_scan q = question(memory, memory + 16 * MIB);

	(void)state;
	need_scan();
	q.category_anyof_mask |= MFD_PAGEMAP_GUARD;
	if (ask(&q) < 0 || madvise(memory + MIB, PAGE, 102 /* MADV_GUARD_INSTALL */))
		skip();
	assert_int_equal(begin(MFD_PAGE_DUMP_PLUGIN, NULL), 0);
	name_first(getpid());
	assert_int_equal(ask_range(memory, memory + 16 * MIB), 0);
	q = question(memory, memory + 16 * MIB);
	q.return_mask = MFD_PAGEMAP_PRESENT;
	assert_true(ask(&q) > 0);
	q = question(memory + 2 * MIB, memory + 16 * MIB);
	q.return_mask = MFD_PAGEMAP_PRESENT;
	assert_int_equal(ask(&q), 0);
}

static void test_another_task(void **state)
{
	struct mfd_pagemap_scan q = question(memory, memory + 16 * MIB);
	char path[40];
	pid_t pid;

	(void)state;
	need_scan();
	assert_int_equal(begin(MFD_PAGE_DUMP_PLUGIN, NULL), 0);
	pid = fork();
	if (!pid) {
		pause();
		_exit(0);
	}
	name_first(pid);
	assert_true(ask_range(memory, memory + 16 * MIB) > 0);
	snprintf(path, sizeof(path), "/proc/%d/pagemap", pid);
	assert_int_equal(ask_of(path, &q), 0);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/* A child of CRIU, which is no part of the dump, asks for itself. */
static void test_a_child_sees_the_kernel(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	need_scan();
	assert_int_equal(begin(MFD_PAGE_DUMP_PLUGIN, NULL), 0);
	name_first(getpid());
	pid = fork();
	if (!pid) {
		struct mfd_pagemap_scan q = question(memory, memory + 16 * MIB);
		char path[40];
		int fd;

		snprintf(path, sizeof(path), "/proc/%d/pagemap", getppid());
		fd = open(path, O_RDONLY | O_CLOEXEC);
		_exit(ioctl(fd, MFD_PAGEMAP_SCAN, &q) > 0 ? 0 : 1);
	}
	waitpid(pid, &status, 0);
	assert_int_equal(status, 0);
	assert_int_equal(ask_range(memory, memory + 16 * MIB), 0);
}

/* ---- whether ---- */

static void test_auto(void **state)
{
	enum mfd_page_dump is;

	(void)state;
	need_scan();
	assert_int_equal(begin(MFD_PAGE_DUMP_AUTO, &is), 0);
	assert_int_equal(is, MFD_PAGE_DUMP_PLUGIN);
	mfd_hide_end();
	assert_int_equal(begin(MFD_PAGE_DUMP_CRIU, &is), 0);
	assert_int_equal(is, MFD_PAGE_DUMP_CRIU);
	release = NULL;
	assert_int_equal(begin(MFD_PAGE_DUMP_AUTO, &is), 0);
	assert_int_equal(is, MFD_PAGE_DUMP_CRIU);
	assert_int_equal(begin(MFD_PAGE_DUMP_PLUGIN, &is), 0);
	assert_int_equal(is, MFD_PAGE_DUMP_PLUGIN);
}

/* Then CRIU's images are all there is of the tasks. */
static void test_never_without_lazy_pages(void **state)
{
	enum mfd_page_dump is;

	(void)state;
	need_scan();
	lazy = 0;
	assert_int_equal(begin(MFD_PAGE_DUMP_AUTO, &is), 0);
	assert_int_equal(is, MFD_PAGE_DUMP_CRIU);
	assert_int_equal(begin(MFD_PAGE_DUMP_PLUGIN, &is), -ENOTSUP);
	name_first(getpid());
	assert_true(ask_range(memory, memory + 16 * MIB) > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_named_mappings_are_empty, map, unmap),
		cmocka_unit_test_setup_teardown(test_other_questions, map, unmap),
		cmocka_unit_test_setup_teardown(test_guards_unknown_to_criu, map, unmap),
		cmocka_unit_test_setup_teardown(test_another_task, map, unmap),
		cmocka_unit_test_setup_teardown(test_a_child_sees_the_kernel, map, unmap),
		cmocka_unit_test_setup_teardown(test_auto, map, unmap),
		cmocka_unit_test_setup_teardown(test_never_without_lazy_pages, map, unmap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
