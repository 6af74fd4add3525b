// SPDX-License-Identifier: GPL-2.0-only
/* What outlives a sender: written before it can be needed, taken by one sender alone. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "command.h"
#include "kept.h"
#include "pair.h"
#include "send_phase.h"
#include "send_supervisor.h"
#include "sock.h"
#include "source_file.h"
#include "tmpdir.h"

static struct mfd_shared *sh, *next;
static struct mfd_options o, got;

static struct mfd_shared *make(void)
{
	void *p = mmap(NULL, sizeof(struct mfd_shared), PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	assert_true(p != MAP_FAILED);
	return p;
}

static int setup(void **state)
{
	struct mfd_error err = { 0 };

	if (tmpdir_setup(state))
		return -1;
	assert_int_equal(chdir(((struct dir *)*state)->path), 0);
	sh = make();
	next = make();
	mfd_options_init(&o);
	mfd_options_init(&got);
	assert_int_equal(mfd_options_set(&o, "target", "192.0.2.1:7", MFD_FROM_FILE, "", &err), 0);
	assert_int_equal(mfd_options_set(&o, "mode", "postcopy", MFD_FROM_FILE, "", &err), 0);
	strcpy(sh->session, "web");
	strcpy(sh->target.text, "192.0.2.1:7");
	memset(sh->id, 7, sizeof(sh->id));
	memset(sh->secret, 9, sizeof(sh->secret));
	sh->criu = getpid();
	sh->connected = 1;
	assert_int_equal(mfd_shared_task_fill(&sh->task[0], getpid()), 0);
	sh->task[0].origin = 1;
	atomic_store(&sh->ntasks, 1);
	sh->hold.kind = MFD_HOLD_GROUP;
	sh->hold.norigins = 2;
	strcpy(sh->hold.group, "/a/held");
	strcpy(sh->hold.origin[0], "/a");
	strcpy(sh->hold.origin[1], "/b");
	return 0;
}

static int teardown(void **state)
{
	assert_int_equal(chdir("/"), 0);
	mfd_options_free(&o);
	mfd_options_free(&got);
	munmap(sh, sizeof(*sh));
	munmap(next, sizeof(*next));
	return tmpdir_teardown(state);
}

static int first_sender(void)
{
	struct mfd_error err = { 0 };
	struct mfd_shared *s = sh;

	if (mfd_kept_begin(s, &err) || !mfd_source_file_is_locked(AT_FDCWD))
		return 1;
	if (mfd_kept_save(s, &o, MFD__SOURCE_STATE__RUNS, &err))
		return 2;
	mfd_kept_end(s); /* there is something left */
	return 0;
}

static int leaves_runs(void)
{
	return pair_in_child(first_sender);
}

static void test_again(void **state)
{
	struct mfd_error err = { 0 };

	(void)state;
	assert_int_equal(leaves_runs(), 0);
	assert_false(mfd_source_file_is_locked(AT_FDCWD));
	assert_int_equal(mfd_kept_again(next, &got, &err), 0);
	assert_true(mfd_source_file_is_locked(AT_FDCWD));
	mfd_send_phase_again(next);
	assert_int_equal(mfd_send_phase(next), MFD_SEND_LOST);
	assert_string_equal(next->session, "web");
	assert_memory_equal(next->id, sh->id, sizeof(sh->id));
	assert_memory_equal(next->secret, sh->secret, sizeof(sh->secret));
	assert_string_equal(got.target, "192.0.2.1:7");
	assert_string_equal(next->target.text, "192.0.2.1:7");
	assert_int_equal(got.mode, MFD_MODE_POSTCOPY);
	assert_int_equal(atomic_load(&next->ntasks), 1);
	assert_int_equal(next->task[0].pid, getpid());
	assert_true(next->task[0].starttime == sh->task[0].starttime);
	assert_int_equal(next->task[0].origin, 1);
	assert_string_equal(next->hold.group, "/a/held");
	assert_string_equal(next->hold.origin[1], "/b");
	assert_int_equal(mfd_kept_save(next, &got, MFD_KEPT_NOTHING, &err), 0);
	assert_int_equal(access(MFD_SOURCE_FILE_NAME, F_OK), -1);
	mfd_kept_end(next);
	assert_int_equal(access(MFD_SOURCE_FILE_LOCK, F_OK), -1);
}

/* What holds the tasks is noted until they have been let go, whatever the target knows. */
static void test_still_held(void **state)
{
	Mfd__SourceEntry *e;

	(void)state;
	assert_int_equal(leaves_runs(), 0);
	assert_int_equal(mfd_kept_again(next, &got, NULL), 0);
	mfd_kept_aborted(next, &got, 1);
	assert_int_equal(mfd_source_file_load(AT_FDCWD, &e, NULL), 0);
	assert_int_equal(e->state, MFD__SOURCE_STATE__UNDOING);
	assert_string_equal(e->group, "/a/held");
	mfd_source_file_free(e);
	next->hold.kind = MFD_HOLD_NONE;
	mfd_kept_aborted(next, &got, 1);
	assert_int_equal(access(MFD_SOURCE_FILE_NAME, F_OK), -1);
}

/* As hold.c tries one parent after the other. */
static void test_another_group(void **state)
{
	Mfd__SourceEntry *e;

	(void)state;
	assert_int_equal(leaves_runs(), 0);
	assert_int_equal(mfd_kept_again(next, &got, NULL), 0);
	strcpy(next->hold.group, "/held");
	assert_int_equal(mfd_kept_save(next, &got, MFD__SOURCE_STATE__RUNS, NULL), 0);
	assert_int_equal(mfd_source_file_load(AT_FDCWD, &e, NULL), 0);
	assert_string_equal(e->group, "/held");
	mfd_source_file_free(e);
}

/* A dump in that folder would take away what the tasks' way out depends on. */
static void test_refused(void **state)
{
	struct mfd_error err = { 0 };

	(void)state;
	assert_int_equal(leaves_runs(), 0);
	assert_int_equal(mfd_kept_begin(next, &err), -EBUSY);
	assert_non_null(strstr(err.text, "'web' is in doubt"));
	assert_int_equal(access(MFD_SOURCE_FILE_NAME, F_OK), 0);
}

static void rewrite(void (*change)(Mfd__SourceEntry *e))
{
	Mfd__SourceEntry *e;

	assert_int_equal(mfd_source_file_load(AT_FDCWD, &e, NULL), 0);
	change(e);
	assert_int_equal(mfd_source_file_store(AT_FDCWD, e), 0);
	mfd_source_file_free(e);
}

static void untold_but_held(Mfd__SourceEntry *e)
{
	e->state = MFD__SOURCE_STATE__UNTOLD;
}

static void untold_and_free(Mfd__SourceEntry *e)
{
	untold_but_held(e);
	e->has_hold = 0;
}

static void gone(Mfd__SourceEntry *e)
{
	e->state = MFD__SOURCE_STATE__GONE;
	e->has_hold = 0;
}

/* What cannot be looked at is not free. */
static void test_cannot_look(void **state)
{
	struct rlimit all, none;
	int locked;

	(void)state;
	assert_int_equal(leaves_runs(), 0);
	assert_false(mfd_source_file_is_locked(AT_FDCWD));
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &all), 0);
	none = (struct rlimit){ 0, all.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	locked = mfd_source_file_is_locked(AT_FDCWD);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &all), 0);
	assert_true(locked);
	assert_int_equal(unlink(MFD_SOURCE_FILE_LOCK), 0);
	assert_false(mfd_source_file_is_locked(AT_FDCWD));
}

static int begins(void)
{
	struct mfd_error err = { 0 };

	memset(next, 0, sizeof(*next));
	return -mfd_kept_begin(next, &err);
}

/* A folder is free only if there is nothing, or what is there holds no task and is owed nothing. */
static void test_left(void **state)
{
	int fd;

	(void)state;
	assert_int_equal(leaves_runs(), 0);
	rewrite(untold_but_held);
	assert_int_equal(pair_in_child(begins), EBUSY);
	rewrite(gone);
	assert_int_equal(pair_in_child(begins), EBUSY);
	rewrite(untold_and_free);
	assert_int_equal(pair_in_child(begins), 0);
	fd = open(MFD_SOURCE_FILE_NAME, O_WRONLY | O_CREAT | O_EXCL, 0600);
	assert_int_equal(write(fd, "not an image", 12), 12);
	close(fd);
	assert_int_not_equal(pair_in_child(begins), 0);
	assert_int_equal(access(MFD_SOURCE_FILE_NAME, F_OK), 0);
}

static void of_another_boot(Mfd__SourceEntry *e)
{
	e->boot_id[0] = e->boot_id[0] == 'x' ? 'y' : 'x';
}

static void of_another_host(Mfd__SourceEntry *e)
{
	e->host[0] = e->host[0] == 'x' ? 'y' : 'x';
}

static void of_another_netns(Mfd__SourceEntry *e)
{
	e->netns++;
}

static void of_another_pidns(Mfd__SourceEntry *e)
{
	e->netns--;
	e->pidns++;
}

static void of_another_timens(Mfd__SourceEntry *e)
{
	e->pidns--;
	e->timens++;
}

static void of_another_cgroupns(Mfd__SourceEntry *e)
{
	e->timens--;
	e->cgroupns++;
}

/* Of the same name, and after another boot, as each host's looks to the other. */
static void of_another_machine(Mfd__SourceEntry *e)
{
	e->cgroupns--;
	free(e->machine);
	e->machine = strdup("another");
	of_another_boot(e);
}

/* The pid is another process's by now, even one with the same start time. */
static void test_reboot(void **state)
{
	struct mfd_error err = { 0 };

	(void)state;
	assert_int_equal(leaves_runs(), 0);
	rewrite(of_another_boot);
	assert_int_equal(mfd_kept_again(next, &got, &err), 0);
	assert_int_equal(mfd_shared_tasks_alive(next), 0);
}

static int again_fails(void)
{
	struct mfd_error err = { 0 };

	memset(next, 0, sizeof(*next));
	return mfd_kept_again(next, &got, &err) == -EXDEV;
}

/* Another user could put another file in its place. */
static void test_open_folder(void **state)
{
	struct mfd_error err = { 0 };

	(void)state;
	assert_int_equal(leaves_runs(), 0);
	assert_int_equal(chmod(".", 0777), 0);
	assert_int_equal(mfd_kept_again(next, &got, &err), -EPERM);
	assert_false(next->keeps);
}

static void test_elsewhere(void **state)
{
	static void (*const others[])(Mfd__SourceEntry *) = {
		of_another_netns,    of_another_pidns,	 of_another_timens,
		of_another_cgroupns, of_another_machine,
	};

	(void)state;
	assert_int_equal(leaves_runs(), 0);
	for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++) {
		rewrite(others[i]);
		assert_int_equal(pair_in_child(again_fails), 1);
	}
	rewrite(of_another_host);
	assert_int_equal(pair_in_child(again_fails), 1);
	memset(next, 0, sizeof(*next));
	assert_int_equal(chmod(MFD_SOURCE_FILE_NAME, 0666), 0);
	assert_int_equal(mfd_kept_again(next, &got, NULL), -EPERM);
}

/* What cannot be kept is not done: leave to run is refused by this (decide.c). */
static void test_full(void **state)
{
	struct mfd_error err = { 0 };

	(void)state;
	assert_int_equal(mkdir("folder", 0700), 0);
	assert_int_equal(chdir("folder"), 0);
	assert_int_equal(mfd_kept_begin(sh, &err), 0);
	assert_int_equal(unlink(MFD_SOURCE_FILE_LOCK), 0);
	assert_int_equal(rmdir("../folder"), 0);
	assert_true(mfd_kept_save(sh, &o, MFD__SOURCE_STATE__RUNS, &err) < 0);
	assert_int_equal(sh->kept, MFD_KEPT_NOTHING);
}

static void untold(Mfd__SourceEntry *e)
{
	e->state = MFD__SOURCE_STATE__UNTOLD;
	e->has_hold = 0;
}

static int settle(int forget)
{
	struct mfd_error err = { 0 };
	int ret;

	memset(next, 0, sizeof(*next));
	if (mfd_kept_again(next, &got, &err) ||
	    mfd_sock_parse("127.0.0.1:1", 0, &next->target, &err))
		return 100;
	mfd_send_phase_again(next);
	ret = mfd_supervisor_again(&got, next, -1, forget);
	return ret;
}

static int settle_it(void)
{
	return settle(0);
}

static int forget_it(void)
{
	return settle(1);
}

/* "They run on here" is told only of tasks that live: the target may hold the only copy. */
static void test_untold(void **state)
{
	(void)state;
	assert_int_equal(leaves_runs(), 0);
	rewrite(untold);
	rewrite(of_another_boot);
	assert_int_equal(pair_in_child(settle_it), MFD_EXIT_DOUBT);
	assert_int_equal(access(MFD_SOURCE_FILE_NAME, F_OK), 0);
	assert_int_equal(pair_in_child(forget_it), MFD_EXIT_DOUBT);
	assert_int_equal(access(MFD_SOURCE_FILE_NAME, F_OK), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_again, setup, teardown),
		cmocka_unit_test_setup_teardown(test_still_held, setup, teardown),
		cmocka_unit_test_setup_teardown(test_another_group, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cannot_look, setup, teardown),
		cmocka_unit_test_setup_teardown(test_left, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reboot, setup, teardown),
		cmocka_unit_test_setup_teardown(test_open_folder, setup, teardown),
		cmocka_unit_test_setup_teardown(test_elsewhere, setup, teardown),
		cmocka_unit_test_setup_teardown(test_full, setup, teardown),
		cmocka_unit_test_setup_teardown(test_untold, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
