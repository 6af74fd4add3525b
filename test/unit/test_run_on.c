// SPDX-License-Identifier: GPL-2.0-only
/* What a CRIU that is killed leaves frozen is thawed, by whichever process is left to do it. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "command.h"
#include "freezer.h"
#include "io.h"
#include "kept.h"
#include "pair.h"
#include "run_on.h"
#include "send_phase.h"
#include "send_supervisor.h"
#include "source_file.h"
#include "tmpdir.h"

static struct mfd_shared *sh;
static struct mfd_options o;
static char group[96], file[128];

/* The files of both versions of control groups. */
static const struct version {
	const char *file, *thawed, *frozen;
} versions[] = {
	{ "freezer.state", "THAWED\n", "FROZEN\n" },
	{ "cgroup.freeze", "0\n", "1\n" },
};
#define VERSIONS (sizeof(versions) / sizeof(*versions))

static void put(const char *text)
{
	int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

static void make_group(const struct version *v, const char *text)
{
	if (file[0])
		unlink(file);
	snprintf(file, sizeof(file), "%s/%s", group, v->file);
	put(text);
}

static void begin(void)
{
	struct mfd_error err = { 0 };

	memset(sh, 0, sizeof(*sh));
	strcpy(sh->session, "web");
	strcpy(sh->target.text, "127.0.0.1:1");
	sh->criu = 1;
	sh->criu_start = 1; /* it has died */
	sh->connected = 1;
	assert_int_equal(mfd_kept_begin(sh, &err), 0);
}

static int setup(void **state)
{
	struct mfd_error err = { 0 };

	if (tmpdir_setup(state))
		return -1;
	assert_int_equal(chdir(((struct dir *)*state)->path), 0);
	sh = mmap(NULL, sizeof(*sh), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(sh != MAP_FAILED);
	mfd_options_init(&o);
	assert_int_equal(mfd_options_set(&o, "target", "127.0.0.1:1", MFD_FROM_FILE, "", &err), 0);
	snprintf(group, sizeof(group), "%s/group", ((struct dir *)*state)->path);
	file[0] = 0;
	return mkdir(group, 0700);
}

static int teardown(void **state)
{
	assert_int_equal(chdir("/"), 0);
	mfd_options_free(&o);
	munmap(sh, sizeof(*sh));
	return tmpdir_teardown(state);
}

static int freezes(void)
{
	struct mfd_error err = { 0 };

	begin();
	return mfd_run_on_freezes(sh, &o, group, &err) != 0;
}

/* CRIU freezes, and dies: the worker or its supervisor has it thawed. */
static void test_thawed(void **state)
{
	(void)state;
	for (size_t i = 0; i < VERSIONS; i++) {
		make_group(&versions[i], versions[i].thawed);
		assert_int_equal(pair_in_child(freezes), 0);
		put(versions[i].frozen);
		assert_int_equal(mfd_freezer_is_frozen(group), 1);
		mfd_run_on(sh);
		assert_int_equal(mfd_freezer_is_frozen(group), 0);
		mfd_kept_aborted(sh, &o, 1);
		assert_int_equal(access(MFD_SOURCE_FILE_NAME, F_OK), -1);
	}
}

/* A paused container stays one. */
static void test_frozen_before(void **state)
{
	(void)state;
	for (size_t i = 0; i < VERSIONS; i++) {
		make_group(&versions[i], versions[i].frozen);
		assert_int_equal(pair_in_child(freezes), 0);
		assert_int_equal(access(MFD_SOURCE_FILE_NAME, F_OK), -1);
		mfd_run_on(sh);
		assert_int_equal(mfd_freezer_is_frozen(group), 1);
	}
}

/* What is frozen after CRIU has thawed it is not CRIU's doing. */
static void test_frozen_later(void **state)
{
	(void)state;
	make_group(&versions[0], versions[0].thawed);
	assert_int_equal(pair_in_child(freezes), 0);
	mfd_run_on_thawed(sh, &o);
	assert_int_equal(access(MFD_SOURCE_FILE_NAME, F_OK), -1);
	put(versions[0].frozen);
	mfd_run_on(sh);
	assert_int_equal(mfd_freezer_is_frozen(group), 1);
}

static int goes_on(void)
{
	struct mfd_options got;
	struct mfd_error err = { 0 };

	memset(sh, 0, sizeof(*sh));
	mfd_options_init(&got);
	if (mfd_kept_again(sh, &got, &err))
		return 100;
	mfd_send_phase_again(sh);
	return mfd_supervisor_again(&got, sh, -1, 0);
}

/* Every process of the sender has died, too: resolve starts another. */
static void test_again(void **state)
{
	Mfd__SourceEntry *e;

	(void)state;
	make_group(&versions[0], versions[0].thawed);
	assert_int_equal(pair_in_child(freezes), 0);
	put(versions[0].frozen);
	assert_int_equal(mfd_source_file_load(AT_FDCWD, &e, NULL), 0);
	assert_int_equal(e->state, MFD__SOURCE_STATE__FREEZING);
	assert_string_equal(e->freezer, group);
	mfd_source_file_free(e);
	assert_int_equal(pair_in_child(goes_on), MFD_EXIT_FAILED);
	assert_int_equal(mfd_freezer_is_frozen(group), 0);
	assert_int_equal(access(MFD_SOURCE_FILE_NAME, F_OK), -1);
}

static int begins(void)
{
	struct mfd_error err = { 0 };

	memset(sh, 0, sizeof(*sh));
	return -mfd_kept_begin(sh, &err);
}

/* Another dump does not make it forgotten. */
static void test_another_dump(void **state)
{
	(void)state;
	make_group(&versions[1], versions[1].thawed);
	assert_int_equal(pair_in_child(freezes), 0);
	put(versions[1].frozen);
	assert_int_equal(pair_in_child(begins), EBUSY);
	put(versions[1].thawed);
	assert_int_equal(pair_in_child(begins), 0);
}

/* The exit status of a verb; what it says is looked for in `text`, or not at all. */
static int verb(const char *words, const char *text)
{
	char command[512];
	const char *build = getenv("MFD_BUILD");

	snprintf(command, sizeof(command), "%s/criu-multifd %s --source . %s%s%s 2>&1", build,
		 words, text ? "| grep -q '" : ">/dev/null", text ? text : "", text ? "'" : "");
	return system(command);
}

/* A person sees it as long as it may be so, and only --run changes anything. */
static void test_verbs(void **state)
{
	(void)state;
	if (!getenv("MFD_BUILD")) {
		print_message("MFD_BUILD is not set\n");
		skip();
	}
	make_group(&versions[0], versions[0].thawed);
	assert_int_equal(pair_in_child(freezes), 0);
	put(versions[0].frozen);
	assert_int_equal(verb("status", "held by the frozen control group"), 0);
	assert_int_not_equal(verb("resolve --retry", NULL), 0);
	assert_int_not_equal(verb("resolve --discard", NULL), 0);
	assert_int_equal(mfd_freezer_is_frozen(group), 1);
	assert_int_equal(unlink(file), 0);
	assert_int_equal(mkdir(file, 0700), 0);
	assert_int_equal(verb("status", "cannot be seen from here"), 0);
	assert_int_equal(rmdir(file), 0);
	/* Once it was thawed, a later freeze is not CRIU's. */
	put(versions[0].thawed);
	verb("status", NULL);
	put(versions[0].frozen);
	assert_int_not_equal(verb("status", "held by"), 0);
	assert_int_equal(access(MFD_SOURCE_FILE_NAME, F_OK), -1);
}

/* What cannot be undone now stays noted. */
static void test_cannot(void **state)
{
	Mfd__SourceEntry *e;

	(void)state;
	make_group(&versions[0], versions[0].thawed);
	assert_int_equal(pair_in_child(freezes), 0);
	assert_int_equal(unlink(file), 0);
	assert_int_equal(mkdir(file, 0700), 0);
	assert_true(mfd_freezer_is_frozen(group) < 0);
	mfd_run_on(sh);
	mfd_kept_aborted(sh, &o, 1);
	assert_int_equal(mfd_source_file_load(AT_FDCWD, &e, NULL), 0);
	assert_int_equal(e->state, MFD__SOURCE_STATE__FREEZING);
	mfd_source_file_free(e);
	/* ... and nothing is frozen that could not be undone */
	assert_int_equal(unlink(MFD_SOURCE_FILE_NAME), 0);
	assert_int_equal(pair_in_child(freezes), 1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_thawed), TEST(test_frozen_before), TEST(test_frozen_later),
		TEST(test_verbs),  TEST(test_again),	     TEST(test_another_dump),
		TEST(test_cannot),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
