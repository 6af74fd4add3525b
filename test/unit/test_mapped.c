// SPDX-License-Identifier: GPL-2.0-only
/* A lock of an open file goes with the last mapping of it: such tasks are told from all others. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

#include "mapped.h"
#include "pair.h"
#include "tmpdir.h"

enum lock { NONE, POSIX, FLOCK, OFD };

struct how {
	enum lock lock;
	int map;
	const char *path;
};

static void lock_and_map(void *arg)
{
	const struct how *h = arg;
	struct flock all = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	int fd = open(h->path, O_RDWR | O_CREAT, 0600), ret = ftruncate(fd, 4096);

	if (h->lock == POSIX)
		ret |= fcntl(fd, F_SETLK, &all);
	if (h->lock == OFD)
		ret |= fcntl(fd, F_OFD_SETLK, &all);
	if (h->lock == FLOCK)
		ret |= flock(fd, LOCK_EX);
	if (h->map && mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED)
		ret = -1;
	if (ret)
		abort();
}

static void check(const char *path, enum lock lock, int map, int awaited)
{
	struct how how = { lock, map, path };
	pid_t pid = pair_frozen_after(lock_and_map, &how);

	assert_int_equal(mfd_mapped_is_awaited(pid) != 0, awaited);
	pair_reap(pid);
}

static void test_locks(void **state)
{
	const struct dir *dir = *state;
	char path[256];

	snprintf(path, sizeof(path), "%s/file", dir->path);
	check(path, NONE, 1, 0);
	check(path, POSIX, 1, 0);
	check(path, FLOCK, 1, 1);
	check(path, OFD, 1, 1);
	check(path, FLOCK, 0, 0);
	check(path, OFD, 0, 0);
}

static void test_gone(void **state)
{
	pid_t pid = pair_frozen_child();

	(void)state;
	pair_reap(pid);
	assert_true(mfd_mapped_is_awaited(pid)); /* in doubt */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_locks, tmpdir_setup, tmpdir_teardown),
		cmocka_unit_test(test_gone),
	};

	pair_time_limit(60);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
