// SPDX-License-Identifier: GPL-2.0-only
/* Full file systems: the sentence, and no SIGBUS. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>
#include <cmocka.h>

#include "progress.h"
#include "space.h"
#include "tmpdir.h"

/* A tmpfs of 64 KiB without a free byte; its folder, or -1 where none can be mounted. */
static int full_folder(const struct dir *d)
{
	static const char page[4096];
	int fd;

	if (mount("none", d->path, "tmpfs", 0, "size=64k"))
		return -1;
	fd = openat(AT_FDCWD, d->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(fd >= 0);
	int fill = openat(fd, "fill", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	while (write(fill, page, sizeof(page)) > 0)
		;
	close(fill);
	return fd;
}

static void sentence(void **state)
{
	const struct dir *d = *state;
	struct mfd_error err = { 0 };
	char expected[256];
	int fd = full_folder(d);

	if (fd < 0)
		skip();
	assert_true(mfd_space_is_full(fd));
	assert_int_equal(mfd_space_error(&err, -ENOSPC, fd, 1 << 20, "image %d", 7), -ENOSPC);
	snprintf(expected, sizeof(expected),
		 "image 7: %s is full: 64.0 KiB in all, 0 B free, 1.0 MiB needed", d->path);
	assert_string_equal(err.text, expected);
	mfd_error_clear(&err);
	mfd_space_error(&err, -EDQUOT, fd, 0, "x");
	assert_non_null(strstr(err.text, "is full: its quota is used up"));
	mfd_error_clear(&err);
	mfd_space_error(&err, -EIO, fd, 0, "x");
	assert_string_equal(err.text, "x: Input/output error");
	close(fd);
	umount2(d->path, MNT_DETACH);
}

static void progress_file(void **state)
{
	const struct dir *d = *state;
	struct mfd_error err = { 0 };
	int fd = full_folder(d);
	char path[128];

	if (fd < 0)
		skip();
	snprintf(path, sizeof(path), "%s/progress", d->path);
	assert_null(mfd_progress_create(path, &err));
	assert_int_equal(err.code, -ENOSPC);
	assert_non_null(strstr(err.text, "is full: 64.0 KiB in all"));
	close(fd);
	umount2(d->path, MNT_DETACH);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(sentence, tmpdir_setup, tmpdir_teardown),
		cmocka_unit_test_setup_teardown(progress_file, tmpdir_setup, tmpdir_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
