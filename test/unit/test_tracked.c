// SPDX-License-Identifier: GPL-2.0-only
/* The table of tracked processes: which are not tracked, and when. */
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "pair.h"
#include "suspects.h"
#include "tracked.h"

static volatile pid_t *inner; /* shared with the children */

static void wait_for_the_end(void)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;)
		usleep(1000);
}

/* A container's first process, as it were, and a child of it. */
static pid_t start(int flags)
{
	pid_t pid, child;

	if (mfd_track_supported())
		skip();
	*inner = 0;
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (flags && unshare(flags))
			_exit(1);
		child = fork();
		if (!child)
			wait_for_the_end();
		*inner = child;
		wait_for_the_end();
	}
	for (int i = 0; i < 5000 && !*inner; i++)
		usleep(1000);
	assert_true(*inner > 0);
	return pid;
}

static void meet_twice(struct mfd_tracked *t, pid_t root)
{
	assert_int_equal(mfd_tracked_meet(t, root), 0);
	assert_int_equal(mfd_tracked_meet(t, root), 0);
}

static void a_child_that_lives_for_a_round_is_tracked(void **state)
{
	struct mfd_tracked t = { 0 };
	pid_t root = start(0);

	(void)state;
	assert_int_equal(mfd_tracked_meet(&t, root), 0);
	mfd_tracked_meet(&t, root);
	assert_true(mfd_tracked_find(&t, root)->track.fd >= 0);
	assert_true(mfd_tracked_find(&t, *inner)->track.fd >= 0);
	mfd_tracked_fini(&t);
	pair_reap(root);
}

/* It may have the number of another: 1, here. */
static void a_child_in_a_pid_namespace_of_its_own_is_not(void **state)
{
	struct mfd_tracked t = { 0 };
	pid_t root = start(CLONE_NEWPID);

	(void)state;
	meet_twice(&t, root);
	assert_true(mfd_tracked_find(&t, root)->track.fd >= 0);
	assert_int_equal(mfd_tracked_find(&t, *inner)->track.fd, -1);
	assert_string_equal(mfd_tracked_find(&t, *inner)->track.why,
			    "it is in a pid namespace of its own");
	mfd_tracked_fini(&t);
	pair_reap(root);
}

/* Zeros have been sent for it, and it would count as clean. */
static void what_could_not_be_read_is_given_up(void **state)
{
	struct mfd_tracked t = { 0 };
	pid_t root = start(0);

	(void)state;
	meet_twice(&t, root);
	mfd_tracked_find(&t, root)->unread = 1;
	mfd_tracked_end_round(&t);
	assert_int_equal(mfd_tracked_find(&t, root)->track.fd, -1);
	assert_non_null(strstr(mfd_tracked_find(&t, root)->track.why, "reading its memory"));
	assert_true(mfd_tracked_find(&t, *inner)->track.fd >= 0);
	mfd_tracked_fini(&t);
	pair_reap(root);
}

/* ---- suspects ---- */

static void file_systems_that_pin_what_they_read_into_are_told(void **state)
{
	static const char plain[] = "22 1 0:21 / /proc rw,nosuid shared:5 - proc proc rw\n"
				    "23 1 254:1 / / rw,relatime - ext4 /dev/vda1 rw\n"
				    "24 1 0:40 / /c rw - fusectl fuse rw\n"
				    "25 1 0:41 / /mnt/fuse rw - tmpfs fuse rw\n";
	static const char *const types[] = { "fuse", "fuse.sshfs", "fuseblk", "virtiofs", "9p" };
	char text[sizeof(plain) + 100];

	(void)state;
	assert_false(mfd_suspects_sees_such(""));
	assert_false(mfd_suspects_sees_such(plain));
	for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++) {
		snprintf(text, sizeof(text), "%s26 1 0:50 / /m rw master:3 - %s s rw\n", plain,
			 types[i]);
		assert_true(mfd_suspects_sees_such(text));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_child_that_lives_for_a_round_is_tracked),
		cmocka_unit_test(a_child_in_a_pid_namespace_of_its_own_is_not),
		cmocka_unit_test(what_could_not_be_read_is_given_up),
		cmocka_unit_test(file_systems_that_pin_what_they_read_into_are_told),
	};

	pair_time_limit(60);
	inner = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return inner == MAP_FAILED ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
