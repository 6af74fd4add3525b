// SPDX-License-Identifier: GPL-2.0-only
/* Held tasks: no signal lets them run, no death of a tracer does, and they come back. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
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
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "hold.h"
#include "pair.h"
#include "io.h"
#include "shared.h"

#define TASKS 3

static struct mfd_shared *sh;
static volatile uint64_t *count; /* each task's, in memory that all share */
static char origin[MFD_HOLD_PATH];

static void own_group(pid_t pid, char *group)
{
	char path[40], *text, *at;

	snprintf(path, sizeof(path), "/proc/%d/cgroup", pid);
	assert_int_equal(mfd_io_read_file(-1, path, 1 << 16, &text, NULL), 0);
	at = strstr(text, "0::");
	assert_non_null(at);
	snprintf(group, MFD_HOLD_PATH, "%.*s", (int)strcspn(at, "\n"), at);
	free(text);
}

static int setup(void **state)
{
	(void)state;
	sh = mmap(NULL, sizeof(*sh), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	count = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (sh == MAP_FAILED || count == MAP_FAILED)
		return -1;
	sh->connected = 1;
	for (unsigned i = 0; i < sizeof(sh->id); i++)
		sh->id[i] = (uint8_t)(getpid() >> i % 4 * 8);
	for (unsigned i = 0; i < TASKS; i++)
		if (mfd_shared_task_fill(&sh->task[i], pair_counting_child(&count[i])))
			return -1;
	atomic_store(&sh->ntasks, TASKS);
	own_group(sh->task[0].pid, origin);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	for (unsigned i = 0; i < TASKS; i++) {
		kill(sh->task[i].pid, SIGKILL);
		waitpid(sh->task[i].pid, NULL, 0);
	}
	mfd_hold_remove(sh);
	munmap(sh, sizeof(*sh));
	munmap((void *)count, 4096);
	return 0;
}

static unsigned running(void)
{
	return pair_counting(count, TASKS);
}

static void hold(void)
{
	struct mfd_error err = { 0 };

	if (mfd_hold_begin(sh, NULL, NULL, &err))
		fail_msg("%s", mfd_error_text(&err));
	if (sh->hold.kind != MFD_HOLD_GROUP) {
		print_message("no control group can be frozen here\n");
		skip();
	}
	usleep(50000);
}

static void test_hold(void **state)
{
	char group[MFD_HOLD_PATH];

	(void)state;
	assert_int_equal(running(), TASKS);
	hold();
	assert_int_equal(running(), 0);
	mfd_shared_tasks_signal(sh, SIGCONT);
	assert_int_equal(running(), 0);
	hold(); /* a worker that takes over */
	assert_false(mfd_hold_look(sh));
	mfd_hold_release(sh);
	assert_int_equal(running(), TASKS);
	own_group(sh->task[1].pid, group);
	assert_string_equal(group, origin);
}

/* As CRIU holds them and dies: the kernel lets them go, the group does not. */
static void test_tracer_dies(void **state)
{
	int ready[2];
	pid_t tracer;
	char c;

	(void)state;
	assert_int_equal(pipe(ready), 0);
	tracer = fork();
	if (!tracer) {
		for (unsigned i = 0; i < TASKS; i++) {
			ptrace(PTRACE_SEIZE, sh->task[i].pid, NULL, NULL);
			ptrace(PTRACE_INTERRUPT, sh->task[i].pid, NULL, NULL);
		}
		usleep(50000);
		_exit(write(ready[1], "r", 1) != 1 || pause());
	}
	assert_int_equal(read(ready[0], &c, 1), 1);
	assert_int_equal(running(), 0);
	assert_false(mfd_shared_tasks_let_go(sh));
	hold();
	kill(tracer, SIGKILL);
	waitpid(tracer, NULL, 0);
	assert_int_equal(running(), 0);
	assert_true(mfd_shared_tasks_let_go(sh));
	mfd_hold_release(sh);
	assert_int_equal(running(), TASKS);
	close(ready[0]);
	close(ready[1]);
}

static void await_end(void)
{
	unsigned fates[MFD_TASK_FATES];

	for (int i = 0; i < 1000; i++) {
		mfd_shared_tasks_fates(sh, fates);
		if (fates[MFD_TASK_GONE] == TASKS)
			return;
		usleep(5000);
	}
	fail_msg("the tasks do not end");
}

/* A held task can be ended, and a group without tasks goes. */
static void test_end(void **state)
{
	(void)state;
	hold();
	mfd_shared_tasks_signal(sh, SIGKILL);
	await_end();
	mfd_hold_remove(sh);
	assert_int_equal(sh->hold.kind, MFD_HOLD_NONE);
	/* None is left to be held. */
	assert_int_equal(mfd_hold_begin(sh, NULL, NULL, NULL), -ESRCH);
}

/* A stop of before comes back with what it was: the hold sends no signal. */
static void test_stopped(void **state)
{
	int status;

	(void)state;
	kill(sh->task[0].pid, SIGTSTP);
	assert_int_equal(waitpid(sh->task[0].pid, &status, WUNTRACED), sh->task[0].pid);
	hold();
	mfd_hold_release(sh);
	assert_int_equal(running(), TASKS - 1);
	assert_int_equal(WSTOPSIG(status), SIGTSTP);
	kill(sh->task[0].pid, SIGCONT);
	assert_int_equal(running(), TASKS);
}

/* Without a descriptor left the group cannot be opened: that it holds stays known. */
static void test_not_released(void **state)
{
	struct rlimit all, none;
	int ret;

	(void)state;
	hold();
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &all), 0);
	none = (struct rlimit){ 0, all.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	ret = mfd_hold_release(sh);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &all), 0);
	assert_true(ret < 0);
	assert_int_equal(sh->hold.kind, MFD_HOLD_GROUP);
	assert_int_equal(running(), 0);
	assert_int_equal(mfd_hold_release(sh), 0);
	assert_int_equal(running(), TASKS);
}

/* Another process that has a task's number by now is neither stopped nor let go on. */
static void test_another_process(void **state)
{
	(void)state;
	sh->task[1].starttime++;
	assert_int_equal(mfd_shared_tasks_signal(sh, SIGSTOP), 0);
	usleep(50000);
	assert_int_equal(running(), 1);
	sh->hold.kind = MFD_HOLD_SIGNAL;
	assert_int_equal(mfd_hold_release(sh), 0);
	assert_int_equal(running(), TASKS);
	sh->task[1].starttime--;
}

/* Nor is it touched if it cannot be known: the caller hears so, and the hold stays noted. */
static void test_unknown_process(void **state)
{
	struct rlimit all, none;
	int ret;

	(void)state;
	sh->hold.kind = MFD_HOLD_SIGNAL;
	assert_int_equal(mfd_shared_tasks_signal(sh, SIGSTOP), 0);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &all), 0);
	none = (struct rlimit){ 0, all.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	ret = mfd_hold_release(sh);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &all), 0);
	assert_true(ret < 0);
	assert_int_equal(sh->hold.kind, MFD_HOLD_SIGNAL);
	assert_int_equal(mfd_hold_release(sh), 0);
	assert_int_equal(running(), TASKS);
}

/* One that ran all the same, since the group was thawed from outside, is noticed. */
static void test_noticed(void **state)
{
	(void)state;
	hold();
	sh->task[2].ticks = 0;
	assert_false(mfd_hold_look(sh));
	kill(sh->task[2].pid, SIGKILL);
	waitpid(sh->task[2].pid, NULL, 0);
	sh->hold.kind = MFD_HOLD_SIGNAL; /* where there are no groups: it must be stopped */
	assert_true(mfd_hold_look(sh));
	assert_true(sh->hold.ran == sh->task[0].pid);
	assert_false(mfd_hold_look(sh)); /* said once */
	sh->hold.kind = MFD_HOLD_GROUP;
}

static void move_to(const char *group, pid_t pid)
{
	int root = mfd_cgroup_open();

	assert_true(root >= 0);
	assert_int_equal(mfd_cgroup_move(root, group, pid), 0);
	close(root);
}

/* By a manager of services, or a person: it comes back, held. */
static void test_moved_out(void **state)
{
	char group[MFD_HOLD_PATH];

	(void)state;
	hold();
	move_to(origin + strlen("0::"), sh->task[1].pid);
	assert_true(mfd_hold_look(sh));
	assert_int_equal(sh->hold.ran, sh->task[1].pid);
	usleep(50000);
	assert_int_equal(running(), 0);
	own_group(sh->task[1].pid, group);
	assert_string_equal(group + strlen("0::"), sh->hold.group);
	mfd_hold_release(sh);
	assert_int_equal(running(), TASKS);
}

/* SIGSTOP holds them: a task that its user had stopped before stays so. */
static void test_stopped_by_user(void **state)
{
	(void)state;
	sh->task[1].stopped = 1;
	sh->hold.kind = MFD_HOLD_SIGNAL;
	mfd_shared_tasks_signal(sh, SIGSTOP);
	usleep(50000);
	mfd_hold_release(sh);
	assert_int_equal(running(), TASKS - 1);
}

static void grow(void)
{
	char *p = mmap(NULL, 256 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (p != MAP_FAILED) {
		madvise(p, 256 << 20, MADV_NOHUGEPAGE);
		memset(p, 1, 256 << 20);
	}
	count[TASKS] = 1;
	for (;;)
		pause();
}

/* To give back its memory takes a task that is ended time of the processor: it has not run. */
static void test_dying(void **state)
{
	pid_t pid = fork();

	(void)state;
	if (!pid)
		grow();
	while (!count[TASKS])
		usleep(1000);
	kill(sh->task[0].pid, SIGKILL);
	waitpid(sh->task[0].pid, NULL, 0);
	assert_int_equal(mfd_shared_task_fill(&sh->task[0], pid), 0);
	hold();
	kill(pid, SIGKILL);
	while (mfd_shared_task_fate(&sh->task[0]) != MFD_TASK_GONE)
		assert_false(mfd_hold_look(sh));
	assert_false(mfd_hold_look(sh));
}

static void *spin(void *arg)
{
	(void)arg;
	while (pause())
		;
	return NULL;
}

static void make_threaded(int root, const char *name, char *path)
{
	snprintf(path, MFD_HOLD_PATH, "/mfd-test-hold.%d%s", getpid(), name);
	assert_int_equal(mkdirat(root, path + 1, 0755), 0);
	if (*name)
		assert_int_equal(mfd_cgroup_write(root, path, "cgroup.type", "threaded"), 0);
}

/* Threads that are spread over threaded groups are so again. */
static void test_threaded(void **state)
{
	char domain[MFD_HOLD_PATH], one[MFD_HOLD_PATH], two[MFD_HOLD_PATH], now[MFD_HOLD_PATH];
	int root = mfd_cgroup_open();
	pid_t pid, tid;
	pthread_t thread;

	(void)state;
	if (root < 0)
		skip();
	make_threaded(root, "", domain);
	make_threaded(root, "/one", one);
	make_threaded(root, "/two", two);
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		pthread_create(&thread, NULL, spin, NULL);
		count[TASKS] = 1;
		spin(NULL);
	}
	while (!count[TASKS])
		usleep(1000);
	tid = pid + 1;
	while (mfd_cgroup_of(pid, tid, now))
		tid++; /* its second thread */
	assert_int_equal(mfd_cgroup_move(root, domain, pid), 0);
	assert_int_equal(mfd_cgroup_move_thread(root, one, pid), 0);
	assert_int_equal(mfd_cgroup_move_thread(root, two, tid), 0);
	kill(sh->task[0].pid, SIGKILL);
	waitpid(sh->task[0].pid, NULL, 0);
	assert_int_equal(mfd_shared_task_fill(&sh->task[0], pid), 0);
	hold();
	assert_int_equal(mfd_cgroup_of(pid, tid, now), 0);
	assert_string_equal(now, sh->hold.group);
	mfd_hold_release(sh);
	assert_int_equal(mfd_cgroup_of(pid, pid, now), 0);
	assert_string_equal(now, one);
	assert_int_equal(mfd_cgroup_of(pid, tid, now), 0);
	assert_string_equal(now, two);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	unlinkat(root, one + 1, AT_REMOVEDIR);
	unlinkat(root, two + 1, AT_REMOVEDIR);
	assert_int_equal(unlinkat(root, domain + 1, AT_REMOVEDIR), 0);
	close(root);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_hold, setup, teardown),
		cmocka_unit_test_setup_teardown(test_tracer_dies, setup, teardown),
		cmocka_unit_test_setup_teardown(test_end, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stopped, setup, teardown),
		cmocka_unit_test_setup_teardown(test_not_released, setup, teardown),
		cmocka_unit_test_setup_teardown(test_another_process, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unknown_process, setup, teardown),
		cmocka_unit_test_setup_teardown(test_noticed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_moved_out, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stopped_by_user, setup, teardown),
		cmocka_unit_test_setup_teardown(test_dying, setup, teardown),
		cmocka_unit_test_setup_teardown(test_threaded, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
