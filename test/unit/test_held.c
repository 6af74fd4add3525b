// SPDX-License-Identifier: GPL-2.0-only
/* LDFLAGS: -Wl,--wrap=mfd_frozen_open */
/* Restored tasks that may not run yet: by a frozen control group, and by SIGSTOP where none is. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "held.h"
#include "pair.h"
#include "restore_hold.h"
#include "tmpdir.h"

#define TASKS 3

static volatile uint64_t *count; /* each task's, in memory that all share */
static pid_t pids[TASKS];
static char origin[MFD_FROZEN_PATH];
static int folder, no_groups;

int __real_mfd_frozen_open(void);
int __wrap_mfd_frozen_open(void);
int __wrap_mfd_frozen_open(void)
{
	return no_groups ? -1 : __real_mfd_frozen_open();
}

static int setup(void **state)
{
	no_groups = 0;
	if (tmpdir_setup(state))
		return -1;
	folder = ((struct dir *)*state)->fd;
	count = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	for (unsigned i = 0; i < TASKS; i++)
		pids[i] = pair_counting_child(&count[i]);
	return mfd_cgroup_of(pids[0], pids[0], origin);
}

static int teardown(void **state)
{
	for (unsigned i = 0; i < TASKS; i++) {
		kill(pids[i], SIGKILL);
		waitpid(pids[i], NULL, 0);
	}
	mfd_held_remove(folder, 1000);
	munmap((void *)count, 4096);
	return tmpdir_teardown(state);
}

static unsigned running(void)
{
	return pair_counting(count, TASKS);
}

static void signal_all(int sig)
{
	for (unsigned i = 0; i < TASKS; i++)
		kill(pids[i], sig);
}

static void need_groups(void)
{
	int root = mfd_frozen_open();

	if (root < 0) {
		print_message("kernel lacks a cgroup v2 hierarchy that can be reached\n");
		skip();
	}
	close(root);
}

static int is_there(void)
{
	return !faccessat(folder, MFD_HELD_FILE, F_OK, 0);
}

/* As CRIU leaves them, and the plugin before that: SIGSTOP, then the group. */
static void test_group(void **state)
{
	struct mfd_restore_hold h = { 0 };
	char group[MFD_FROZEN_PATH], text[600];

	(void)state;
	need_groups();
	signal_all(SIGSTOP);
	mfd_restore_hold_take(&h, folder, "test", pids, TASKS);
	assert_int_equal(h.kind, MFD_RESTORE_HOLD_GROUP);
	assert_non_null(strstr(mfd_restore_hold_text(&h, text, sizeof(text)), MFD_HELD_GROUP));
	signal_all(SIGCONT);
	assert_int_equal(running(), 0);
	assert_int_equal(mfd_restore_hold_look(&h, folder), 0);
	assert_int_equal(mfd_restore_hold_release(&h, folder), 0);
	assert_int_equal(running(), TASKS);
	assert_false(is_there());
	assert_int_equal(mfd_cgroup_of(pids[1], pids[1], group), 0);
	assert_string_equal(group, origin);
}

/* The process that has held them dies; the next one knows by the file alone. */
static void test_next_worker(void **state)
{
	struct mfd_restore_hold h = { 0 }, next = { 0 };
	struct mfd_held held;

	(void)state;
	need_groups();
	mfd_restore_hold_take(&h, folder, "test", pids, TASKS);
	mfd_restore_hold_forget(&h);
	assert_int_equal(running(), 0);
	mfd_restore_hold_take(&next, folder, "test", pids, TASKS);
	assert_int_equal(next.kind, MFD_RESTORE_HOLD_GROUP);
	assert_int_equal(mfd_held_open(&held, folder), 0);
	assert_int_equal(held.n, 1);
	assert_string_equal(held.origin[0], origin);
	mfd_held_close(&held);
	assert_int_equal(mfd_restore_hold_release(&next, folder), 0);
	assert_int_equal(running(), TASKS);
}

/* A SIGKILL ends them, and nothing is left. */
static void test_killed(void **state)
{
	struct mfd_restore_hold h = { 0 };
	char group[MFD_FROZEN_PATH + 1];
	int root;

	(void)state;
	need_groups();
	mfd_restore_hold_take(&h, folder, "test", pids, TASKS);
	snprintf(group, sizeof(group), ".%s", h.group);
	signal_all(SIGKILL);
	for (unsigned i = 0; i < TASKS; i++)
		assert_int_equal(waitpid(pids[i], NULL, 0), pids[i]);
	mfd_restore_hold_remove(&h, folder);
	root = mfd_frozen_open();
	assert_int_equal(faccessat(root, group, F_OK, 0), -1);
	close(root);
	assert_false(is_there());
}

/* Without groups SIGSTOP must do, and a task that ran is noticed, by the next worker as well. */
static void test_signal(void **state)
{
	struct mfd_restore_hold h = { 0 }, next = { 0 };

	(void)state;
	no_groups = 1;
	signal_all(SIGSTOP);
	mfd_restore_hold_take(&h, folder, "test", pids, TASKS);
	assert_int_equal(h.kind, MFD_RESTORE_HOLD_SIGNAL);
	usleep(50000);
	assert_int_equal(mfd_restore_hold_look(&h, folder), 0);
	kill(pids[1], SIGCONT);
	usleep(20000);
	kill(pids[1], SIGSTOP); /* it is stopped when it is looked at */
	usleep(50000);
	assert_int_equal(mfd_restore_hold_look(&h, folder), 1);
	assert_int_equal(h.ran, pids[1]);
	assert_int_equal(mfd_restore_hold_look(&h, folder), 0); /* said once */
	mfd_restore_hold_forget(&h);
	mfd_restore_hold_take(&next, folder, "test", pids, TASKS);
	assert_int_equal(next.ran, pids[1]);
	assert_int_equal(running(), 0);
	assert_int_equal(mfd_restore_hold_release(&next, folder), 0);
	signal_all(SIGCONT);
	assert_int_equal(running(), TASKS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_group, setup, teardown),
		cmocka_unit_test_setup_teardown(test_next_worker, setup, teardown),
		cmocka_unit_test_setup_teardown(test_killed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_signal, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
