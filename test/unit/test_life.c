// SPDX-License-Identifier: GPL-2.0-only
/*
 * Looks at processes and at notes about them, by a process that has no descriptor left: they are
 * never an answer.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "descendants.h"
#include "life.h"
#include "pair.h"
#include "procfile.h"
#include "restored_notes.h"

static struct rlimit limit;

/* `n` more descriptors can be opened. */
static void leave_descriptors(unsigned n)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	struct rlimit few;

	assert_true(fd >= 0);
	close(fd);
	getrlimit(RLIMIT_NOFILE, &limit);
	few = (struct rlimit){ (rlim_t)fd + n, limit.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
}

static void have_descriptors(void)
{
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

/* In a session of its own: what else starts in this one counts as left behind by the child. */
static pid_t start_child(void)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (!pid) {
		setsid();
		for (;;)
			pause();
	}
	while (getsid(pid) != pid)
		usleep(1000);
	return pid;
}

static void end_child(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void test_life(void **state)
{
	pid_t pid = start_child();
	uint64_t start = mfd_procfile_start_time(pid);

	(void)state;
	assert_int_equal(mfd_life(pid, start), MFD_LIFE_ALIVE);
	assert_int_equal(mfd_life(pid, 0), MFD_LIFE_ALIVE);
	assert_int_equal(mfd_life(pid, start + 1), MFD_LIFE_OVER);
	leave_descriptors(0);
	assert_int_equal(mfd_life(pid, start), MFD_LIFE_UNKNOWN);
	end_child(pid);
	assert_int_equal(mfd_life(pid, start), MFD_LIFE_UNKNOWN);
	have_descriptors();
	assert_int_equal(mfd_life(pid, start), MFD_LIFE_OVER);
}

/* One descriptor is enough for the folder /proc, and for none of its files. */
static void test_descendants(void **state)
{
	struct mfd_descendant *list = NULL;
	pid_t pid = start_child();
	size_t n = 0;

	(void)state;
	assert_int_equal(mfd_descendants_list(getpid(), &list, &n), 0);
	assert_true(n >= 1);
	free(list);
	for (unsigned few = 0; few < 2; few++) {
		leave_descriptors(few);
		assert_int_equal(mfd_descendants_list(getpid(), &list, &n), -EMFILE);
		have_descriptors();
	}
	leave_descriptors(1);
	assert_int_equal(mfd_descendants_kill(pid, 100), -EBUSY);
	have_descriptors();
	assert_int_equal(mfd_life(pid, 0), MFD_LIFE_ALIVE);
	end_child(pid);
}

static void test_notes(void **state)
{
	char dir[] = "/tmp/test_life.XXXXXX";
	pid_t pid = start_child();
	int fd;

	(void)state;
	assert_non_null(mkdtemp(dir));
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(mfd_notes_kill(fd, "s"), 0);
	assert_int_equal(mfd_notes_mark(fd, 1, pid), 0);
	assert_int_equal(mfd_notes_add(fd, MFD_NOTE_RESTORED), 0);
	assert_int_equal(mfd_notes_left(fd), MFD_NOTES_RESTORED);
	assert_int_equal(mfd_notes_fate(fd), MFD_NOTES_ALIVE);

	leave_descriptors(0);
	assert_int_equal(mfd_notes_left(fd), MFD_NOTES_UNREADABLE);
	assert_true(mfd_notes_restored(fd));
	assert_int_equal(mfd_notes_fate(fd), MFD_NOTES_ALIVE);
	assert_int_equal(mfd_notes_kill(fd, "s"), -EMFILE);
	have_descriptors();
	/* The file can be read, the process cannot be looked at. */
	leave_descriptors(1);
	assert_int_equal(mfd_notes_fate(fd), MFD_NOTES_ALIVE);
	assert_int_equal(mfd_notes_kill(fd, "s"), -EAGAIN);
	have_descriptors();
	assert_int_equal(mfd_notes_left(fd), MFD_NOTES_RESTORED);
	assert_int_equal(mfd_life(pid, 0), MFD_LIFE_ALIVE);

	end_child(pid);
	assert_int_equal(mfd_notes_fate(fd), MFD_NOTES_DEAD);
	assert_int_equal(mfd_notes_kill(fd, "s"), 1);
	unlinkat(fd, MFD_NOTES_FILE, 0);
	close(fd);
	rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_life),
		cmocka_unit_test(test_descendants),
		cmocka_unit_test(test_notes),
	};

	pair_time_limit(60);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
