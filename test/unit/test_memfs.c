// SPDX-License-Identifier: GPL-2.0-only
/*
 * A file in memory while it is made: another process that tidies up, at whatever moment, leaves it
 * alone.
 */
/* LDFLAGS: -Wl,--wrap=mfd_ours_file */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "memfs.h"
#include "ours.h"
#include "tmpdir.h"

#define STORE "pages.store"

static int at_work; /* bool: another process tidies up before and after each file is made */

int __real_mfd_ours_file(int at, const char *name, int flags, mode_t mode);
int __wrap_mfd_ours_file(int at, const char *name, int flags, mode_t mode);

static void other_process(void)
{
	pid_t pid = fork();

	if (!pid) {
		at_work = 0;
		mfd_memfs_tidy(STORE, 0);
		_exit(0);
	}
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}

int __wrap_mfd_ours_file(int at, const char *name, int flags, mode_t mode)
{
	int look = at_work && flags & O_CREAT, ret;

	if (look)
		other_process();
	ret = __real_mfd_ours_file(at, name, flags, mode);
	if (look)
		other_process();
	return ret;
}

static void test_tidy_meanwhile(void **state)
{
	struct dir *d = *state;
	char owner[PATH_MAX], self[40], path[256];
	struct stat st;
	ssize_t n;
	int fd;

	snprintf(self, sizeof(self), "/proc/self/fd/%d", d->fd);
	n = readlink(self, owner, sizeof(owner) - 1);
	assert_true(n > 0);
	owner[n] = 0;
	at_work = 1;
	fd = mfd_memfs_create(owner, STORE, 0, path, sizeof(path));
	at_work = 0;
	assert_true(fd >= 0);
	other_process();
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(symlinkat(path, d->fd, STORE), 0);
	close(fd);
	other_process();
	assert_int_equal(stat(path, &st), 0);
	fd = mfd_memfs_open(path);
	assert_true(fd >= 0);
	close(fd);
	/* Nothing needs it any more. */
	assert_int_equal(unlinkat(d->fd, STORE, 0), 0);
	other_process();
	assert_int_equal(stat(path, &st), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_tidy_meanwhile, tmpdir_setup, tmpdir_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
