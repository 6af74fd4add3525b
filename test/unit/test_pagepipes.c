// SPDX-License-Identifier: GPL-2.0-only
/*
 * Of a process's pipes those that it alone has, with something in them, stay open when it closes
 * them; no others.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <cmocka.h>

#include "pagepipes.h"
#include "pair.h"

/* Closes both ends here once the child has its own. */
static ino_t inode_of_closed(const int fd[2])
{
	struct stat st;

	assert_int_equal(fstat(fd[0], &st), 0);
	close(fd[0]);
	close(fd[1]);
	return st.st_ino;
}

/* Our descriptor of that pipe, or -1. */
static int find(ino_t inode)
{
	struct stat st;

	for (int fd = 3; fd < 256; fd++)
		if (!fstat(fd, &st) && S_ISFIFO(st.st_mode) && st.st_ino == inode)
			return fd;
	return -1;
}

static void keep_of(struct mfd_pagepipes *k, pid_t pid)
{
	int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);

	assert_true(pidfd >= 0);
	mfd_pagepipes_keep(k, pid, pidfd);
	close(pidfd);
}

static void close_reader(void *fd)
{
	close(*(int *)fd);
}

static void test_which(void **state)
{
	struct mfd_pagepipes k = { 0 };
	int full[2], other[2], empty[2], half[2], twice;
	ino_t inode[3];
	char text[8] = "";
	pid_t pid;
	int fd;

	(void)state;
	assert_int_equal(pipe(full) | pipe(other) | pipe(empty) | pipe(half), 0);
	assert_int_equal(write(full[1], "page", 4), 4);
	assert_int_equal(write(other[1], "more", 4), 4);
	assert_int_equal(write(half[1], "text", 4), 4);
	/*
	 * The child has two writing ends, as of standard output and standard error, and another
	 * process reads.
	 */
	twice = dup(half[1]);
	pid = pair_frozen_after(close_reader, &half[0]);
	inode[0] = inode_of_closed(full);
	inode[1] = inode_of_closed(other);
	inode[2] = inode_of_closed(empty);
	keep_of(&k, pid);
	assert_int_equal(k.n, 2);
	pair_reap(pid);
	assert_int_equal(find(inode[2]), -1);
	for (int i = 0; i < 2; i++) {
		fd = find(inode[i]);
		assert_true(fd >= 0);
		assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
		assert_int_equal(read(fd, text, sizeof(text)), 4);
		assert_string_equal(text, i ? "more" : "page");
	}
	mfd_pagepipes_close(&k);
	assert_int_equal(find(inode[0]), -1);
	assert_int_equal(find(inode[1]), -1);
	close(half[0]);
	close(half[1]);
	close(twice);
}

/*
 * Half of the descriptors that there may be are left to others. In a child, since what has been
 * lowered cannot be raised again.
 */
static void test_limit(void **state)
{
	struct rlimit few = { 40, 40 };
	int fd[30][2], pidfd;
	pid_t pid, keeper;

	(void)state;
	for (int i = 0; i < 30; i++) {
		assert_int_equal(pipe(fd[i]), 0);
		assert_int_equal(write(fd[i][1], "page", 4), 4);
	}
	pid = pair_frozen_child();
	pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	for (int i = 0; i < 30; i++)
		inode_of_closed(fd[i]);
	keeper = fork();
	assert_true(keeper >= 0);
	if (!keeper) {
		struct mfd_pagepipes k = { 0 };

		if (!setrlimit(RLIMIT_NOFILE, &few))
			mfd_pagepipes_keep(&k, pid, pidfd);
		_exit((int)k.n);
	}
	assert_int_equal(pair_status(keeper, 5000), 20);
	close(pidfd);
	pair_reap(pid);
}

static void test_gone(void **state)
{
	pid_t pid = pair_frozen_child();
	struct mfd_pagepipes k = { 0 };

	(void)state;
	pair_reap(pid);
	mfd_pagepipes_keep(&k, pid, -1);
	assert_int_equal(k.n, 0);
	mfd_pagepipes_close(&k);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_which),
		cmocka_unit_test(test_gone),
		cmocka_unit_test(test_limit),
	};

	pair_time_limit(60);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
