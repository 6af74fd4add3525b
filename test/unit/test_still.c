// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pages for tasks that stand still: whole blocks get huge pages, and everything is there before
 * a task runs.
 */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "pair.h"
#include "restored.h"
#include "thp.h"

#define PAGES 4500UL /* eight blocks of 2 MiB and some more, wherever the area begins */
#define SPAN  5000UL

static struct world world;

/* The stopped task: what CRIU restores, with --leave-stopped. */
static void stopped_task(struct world *w, int advice)
{
	int sock;

	step_wait(&steps->test, 1);
	sock = task_restore(w, NULL);
	if (advice && madvise(w->area, SPAN * PAGE, advice))
		die("madvise");
	task_finished(sock);
	/* It has played CRIU, too, which the pager stops and lets go on: that must be over. */
	step_wait(&steps->test, 2);
	raise(SIGSTOP);
	task_check_all(w);
}

static void wants_huge(struct world *w)
{
	stopped_task(w, MADV_HUGEPAGE);
}

static void wants_none(struct world *w)
{
	stopped_task(w, MADV_NOHUGEPAGE);
}

static pid_t begin(void (*task)(struct world *w), int huge, int dense)
{
	int status;
	pid_t pid;

	world_dense = dense;
	world_open(&world, PAGES, SPAN, 1);
	pid = child_start(&world, task);
	world_start(&world, 2);
	mfd_pager_expect_stop(world.pager, huge);
	/* Two thirds of a block, from before there were any tasks. */
	world_bring(&world, 700, 300);
	step_done(&steps->test, 1);
	world_wait(&world.restored, 1);
	step_done(&steps->test, 2);
	assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
	if (!WIFSTOPPED(status))
		fail_msg("the task has ended: 0x%x", (unsigned)status);
	return pid;
}

/* A receiver: every third packet of 100 pages. */
static void *receive(void *arg)
{
	uint64_t first = (uintptr_t)arg;

	for (uint64_t at = first * 100; at < PAGES; at += 300)
		if (at < 700 || at >= 1000)
			world_bring(&world, at, at + 100 > PAGES ? PAGES - at : 100);
	return NULL;
}

static void receive_all(void)
{
	pthread_t id[3];

	for (uintptr_t i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&id[i], NULL, receive, (void *)i), 0);
	for (unsigned i = 0; i < 3; i++)
		pthread_join(id[i], NULL);
}

static unsigned long huge_kib(pid_t pid)
{
	return pair_smaps_kib(pid, "AnonHugePages:", NULL);
}

static unsigned mappings(pid_t pid)
{
	unsigned n = 0;
	char path[64], line[512];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	f = fopen(path, "re");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		n++;
	fclose(f);
	return n;
}

static void go_on(pid_t pid)
{
	mfd_pager_keep(world.pager);
	kill(pid, SIGCONT);
	mfd_pager_complete(world.pager);
	world_wait_done(&world);
	child_end(pid);
	world_close(&world);
}

static void test_huge(void **state)
{
	struct mfd_thp_areas areas;
	pid_t pid = begin(wants_huge, 1, 1);
	unsigned before = mappings(pid);

	(void)state;
	assert_int_equal(mfd_thp_areas(pid, &areas), 0);
	if (mfd_thp_here())
		assert_true(areas.n >= 1 && areas.v[0].start % MFD_THP_SIZE == 0);
	mfd_thp_free(&areas);
	world_bring(&world, 0, 100); /* before CRIU has ended: its block stays ordinary */
	mfd_pager_tasks_stopped(world.pager);
	receive_all();
	assert_int_equal(mfd_pager_make_whole(world.pager), 0);
	/*
	 * Of eight blocks those at both ends are ordinary, what was stored may be two more, and the
	 * first that come are.
	 */
	if (mfd_thp_here())
		assert_in_range(huge_kib(pid), 2 * 2048, 8 * 2048);
	/* What was one mapping is one again when nothing watches it any more. */
	mfd_pager_complete(world.pager);
	world_wait_done(&world);
	assert_int_equal(mappings(pid), before);
	go_on(pid);
}

static void *sweep_again(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < 200; i++)
		world_arrived(&world, (uintptr_t)world.area, PAGES, 0, NULL);
	return NULL;
}

/*
 * Everything comes from the store, put in by the pager's threads and by three that are told of it
 * over and over: a page that one has put in, and whose place is given back, is not put in by
 * another.
 */
static void test_many_hands(void **state)
{
	pthread_t id[3];
	pid_t pid;

	(void)state;
	for (unsigned round = 0; round < 5; round++) {
		pid = begin(wants_huge, 1, 1);
		world.feed = 1;
		world_bring(&world, 0, 100);
		receive_all();
		world_bring(&world, 100, 600);
		mfd_pager_tasks_stopped(world.pager);
		for (unsigned i = 0; i < 3; i++)
			assert_int_equal(pthread_create(&id[i], NULL, sweep_again, NULL), 0);
		mfd_pager_complete(world.pager); /* begins all over, too */
		for (unsigned i = 0; i < 3; i++)
			pthread_join(id[i], NULL);
		assert_int_equal(mfd_pager_make_whole(world.pager), 0);
		go_on(pid);
	}
}

/* Zero pages here and there: in huge pages they would be memory. */
static void test_sparse(void **state)
{
	pid_t pid = begin(wants_huge, 1, 0);

	(void)state;
	mfd_pager_tasks_stopped(world.pager);
	receive_all();
	assert_int_equal(mfd_pager_make_whole(world.pager), 0);
	/*
	 * One in seven is zero, an eighth would do: what is known of a block can look like that for
	 * a moment.
	 */
	assert_true(huge_kib(pid) <= 2 * 2048);
	go_on(pid);
}

static void test_none_wanted(void **state)
{
	pid_t pid = begin(wants_none, 1, 1);

	(void)state;
	receive_all();
	mfd_pager_tasks_stopped(world.pager);
	assert_int_equal(mfd_pager_make_whole(world.pager), 0);
	assert_int_equal(huge_kib(pid), 0);
	go_on(pid);
}

static void test_switched_off(void **state)
{
	pid_t pid = begin(wants_huge, 0, 1);

	(void)state;
	mfd_pager_tasks_stopped(world.pager);
	receive_all();
	assert_int_equal(mfd_pager_make_whole(world.pager), 0);
	assert_int_equal(huge_kib(pid), 0);
	go_on(pid);
}

/* Everything has come before CRIU has ended. */
static void test_never_still(void **state)
{
	pid_t pid = begin(wants_huge, 1, 1);

	(void)state;
	receive_all();
	assert_int_equal(mfd_pager_make_whole(world.pager), 0);
	go_on(pid);
}

/*
 * The stopped task is killed: nothing of it can be written, and that is no failure of the
 * pager's.
 */
static void test_killed(void **state)
{
	pid_t pid = begin(wants_huge, 1, 1);

	(void)state;
	mfd_pager_tasks_stopped(world.pager);
	world_bring(&world, 1500, 1000);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	receive_all();
	assert_int_equal(mfd_pager_make_whole(world.pager), 0);
	mfd_pager_keep(world.pager);
	mfd_pager_complete(world.pager);
	world_wait_done(&world);
	world_close(&world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_huge),	     cmocka_unit_test(test_many_hands),
		cmocka_unit_test(test_sparse),	     cmocka_unit_test(test_none_wanted),
		cmocka_unit_test(test_switched_off), cmocka_unit_test(test_never_still),
		cmocka_unit_test(test_killed),
	};

	return cmocka_run_group_tests(tests, restored_needs_root, NULL);
}
