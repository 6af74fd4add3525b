// SPDX-License-Identifier: GPL-2.0-only
/* /proc/PID/maps and smaps: texts as kernels write them, and the mappings of this process. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "maps.h"

struct seen {
	struct mfd_map m[16];
	char name[16][128];
	int n, stop_at;
};

static int note(const struct mfd_map *m, void *arg)
{
	struct seen *s = arg;

	assert_true(s->n < 16);
	s->m[s->n] = *m;
	snprintf(s->name[s->n++], sizeof(s->name[0]), "%s", m->name);
	return s->stop_at && s->n == s->stop_at ? -ECANCELED : 0;
}

static int parse(const char *text, struct seen *s)
{
	FILE *f = fmemopen((void *)(uintptr_t)text, strlen(text), "r");
	int ret = mfd_maps_parse(f, note, s);

	fclose(f);
	return ret;
}

static const char maps[] =
	"55d0c0a00000-55d0c0a21000 r-xp 00001000 fd:01 1234567                    /usr/bin/a b\n"
	"55d0c1000000-55d0c1021000 rw-p 00000000 00:00 0                          [heap]\n"
	"7f0000000000-7f0000200000 rw-p 00000000 00:00 0 \n"
	"7f0000200000-7f0000400000 rw-s 00000000 00:01 77                         /dev/zero (deleted)\n"
	"7f0000400000-7f0000401000 ---p 00000000 00:00 0\n"
	"7ffc00000000-7ffc00021000 rw-p 00000000 00:00 0                          [stack]\n"
	"ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]\n";

static void test_maps(void **state)
{
	struct seen s = { 0 };

	(void)state;
	assert_int_equal(parse(maps, &s), 0);
	assert_int_equal(s.n, 7);
	assert_int_equal(s.m[0].start, 0x55d0c0a00000);
	assert_int_equal(s.m[0].end, 0x55d0c0a21000);
	assert_true(s.m[0].read && !s.m[0].write && s.m[0].exec && !s.m[0].shared);
	assert_int_equal(s.m[0].major, 0xfd);
	assert_int_equal(s.m[0].minor, 1);
	assert_int_equal(s.m[0].inode, 1234567);
	assert_string_equal(s.name[0], "/usr/bin/a b");
	assert_false(mfd_maps_is_private_anonymous(&s.m[0]));
	assert_string_equal(s.name[1], "[heap]");
	assert_true(mfd_maps_is_private_anonymous(&s.m[1]));
	assert_string_equal(s.name[2], "");
	assert_true(mfd_maps_is_private_anonymous(&s.m[2]));
	assert_true(s.m[3].shared);
	assert_string_equal(s.name[3], "/dev/zero (deleted)");
	assert_false(mfd_maps_is_private_anonymous(&s.m[3]));
	assert_string_equal(s.name[4], "");
	assert_false(s.m[4].read || s.m[4].write || s.m[4].exec);
	assert_true(s.m[6].end == 0xffffffffff601000);
	for (int i = 0; i < s.n; i++)
		assert_false(s.m[i].locked || s.m[i].hugetlb || s.m[i].thp_eligible);
}

static void test_smaps(void **state)
{
	static const char text[] = "7f00-7f01 rw-p 00000000 00:00 0 [heap]\n"
				   "Size:                  4 kB\n"
				   "THPeligible:           1\n"
				   "VmFlags: rd wr mr mw me ac \n"
				   "7f01-7f02 rw-p 00000000 00:00 0 \n"
				   "THPeligible:           0\n"
				   "VmFlags: rd wr lo ht dp ss \n"
				   "a000-a001 rw-p 00000000 00:00 0 [stack]\n"
				   "VmFlags: rd wr gd \n";
	struct seen s = { 0 };

	(void)state;
	assert_int_equal(parse(text, &s), 0);
	assert_int_equal(s.n, 3);
	assert_string_equal(s.name[0], "[heap]");
	assert_true(s.m[0].thp_eligible);
	assert_false(s.m[0].locked || s.m[0].hugetlb || s.m[0].droppable || s.m[0].shadow_stack);
	assert_string_equal(s.name[1], "");
	assert_true(s.m[1].locked && s.m[1].hugetlb && s.m[1].droppable && s.m[1].shadow_stack);
	assert_false(s.m[1].thp_eligible);
	assert_string_equal(s.name[2], "[stack]");
	assert_false(s.m[2].locked);
}

static void test_stop(void **state)
{
	struct seen s = { .stop_at = 2 };

	(void)state;
	assert_int_equal(parse(maps, &s), -ECANCELED);
	assert_int_equal(s.n, 2);
	s = (struct seen){ .stop_at = 7 };
	assert_int_equal(parse(maps, &s), -ECANCELED);
	s = (struct seen){ 0 };
	assert_int_equal(parse("\n", &s), -EPROTO);
}

static void test_not_understood(void **state)
{
	static const char *const bad[] = {
		"nonsense\n",
		"-7f01 rw-p 00000000 00:00 0\n",
		"7f00 rw-p 00000000 00:00 0\n",
		"7f00-7f01rw-p 00000000 00:00 0\n",
		"7f00-7f01 rw-\n",
		"7f00-7f01 rw-p 00000000\n",
		"7f00-7f01 rw-p 00000000 0000 0\n",
		"7f00-7f01 rw-p 00000000 00:00x 0\n",
		"7f00-7f01 rw-p 00000000 00:00 0x\n",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct seen s = { 0 };

		assert_int_equal(parse(bad[i], &s), -EPROTO);
		assert_int_equal(s.n, 0);
	}
	assert_int_equal(mfd_maps_each(0x7fffffff, MFD_MAPS, note, &(struct seen){ 0 }), -ENOENT);
}

struct search {
	uint64_t at;
	struct mfd_map found;
};

static int find(const struct mfd_map *m, void *arg)
{
	struct search *s = arg;

	if (m->start > s->at || m->end <= s->at)
		return 0;
	s->found = *m;
	return 1;
}

static void test_this_process(void **state)
{
	char *page =
		mmap(NULL, 3 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct search s = { .at = (uintptr_t)page };

	(void)state;
	assert_int_equal(mfd_maps_each(getpid(), MFD_MAPS, find, &s), 1);
	assert_true(s.found.read && s.found.write && mfd_maps_is_private_anonymous(&s.found));
	/* The sanitizers' mlock() does nothing; the system call splits the mapping. */
	if (!syscall(SYS_mlock, page, 4096)) {
		assert_int_equal(mfd_maps_each(getpid(), MFD_SMAPS, find, &s), 1);
		assert_true(s.found.locked);
		assert_int_equal(s.found.end - s.at, 4096);
	}
	munmap(page, 3 << 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_maps),	     cmocka_unit_test(test_smaps),
		cmocka_unit_test(test_stop),	     cmocka_unit_test(test_not_understood),
		cmocka_unit_test(test_this_process),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
