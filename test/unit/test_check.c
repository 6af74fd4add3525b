// SPDX-License-Identifier: GPL-2.0-only
/* NOT SANITIZED: it looks at processes of its own kind, and those reserve 20 TiB then. */
/* criu-multifd check: of each process what is there is found, and nothing else. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "check.h"
#include "holds.h"
#include "tmpdir.h"

#define CRIU 403 /* as if it were the dump's */

static void ids(const struct mfd_check *c, char *text, size_t len)
{
	size_t at = 0;

	text[0] = 0;
	for (enum mfd_check_id id = 0; id < MFD_CHECK_KINDS; id++)
		if (c->found[id].count)
			at += (size_t)snprintf(text + at, len - at, "%s%s", at ? "," : "",
					       mfd_check_kinds[id].id);
}

/* In a process of its own: this one is the party outside, whose ends count. */
static void look_from_elsewhere(const struct mfd_check *as, int to)
{
	struct mfd_check c = *as;
	char found[512] = "failed";

	if (!mfd_check_run(&c))
		ids(&c, found, sizeof(found));
	_exit(write(to, found, sizeof(found)) != sizeof(found));
}

static void look(pid_t pid, int criu, const char *expected, const char *name)
{
	const struct mfd_check c = { .root = pid, .criu = criu, .with_restore = 1 };
	char found[512] = "";
	pid_t looker;
	int p[2];

	assert_int_equal(pipe(p), 0);
	looker = fork();
	assert_true(looker >= 0);
	if (!looker)
		look_from_elsewhere(&c, p[1]);
	assert_int_equal(read(p[0], found, sizeof(found)), sizeof(found));
	waitpid(looker, NULL, 0);
	close(p[0]);
	close(p[1]);
	if (strcmp(found, expected))
		print_message("# %s: found '%s', not '%s'\n", name, found, expected);
	assert_string_equal(found, expected);
}

static void kill_tree(pid_t pid)
{
	struct mfd_walk_pids tree = { 0 };

	mfd_walk_tree(pid, &tree);
	for (size_t i = 0; i < tree.n; i++)
		kill(tree.v[i], SIGKILL);
	free(tree.v);
	waitpid(pid, NULL, 0);
}

static void each_kind(void **state)
{
	const struct dir *d = *state;

	for (unsigned i = 0; i < n_holds; i++) {
		pid_t pid = hold_start(&holds[i], d->path);

		if (!pid) {
			print_message("# the kernel has no %s\n", holds[i].name);
			continue;
		}
		assert_true(pid > 0);
		usleep(2000); /* children of its own */
		look(pid, CRIU, holds[i].found, holds[i].name);
		kill_tree(pid);
	}
}

static void traced(void **state)
{
	const struct dir *d = *state;
	pid_t pid;

	pid = hold_start(hold_named("nothing"), d->path);
	assert_int_equal(ptrace(PTRACE_SEIZE, pid, NULL, NULL), 0);
	look(pid, CRIU, "traced", "traced");
	kill_tree(pid);
}

static void options_are_written(void **state)
{
	struct mfd_check c = { 0 };
	char text[MFD_CHECK_OPTION_TEXT];

	(void)state;
	mfd_check_add(&c, MFD_FOUND_GHOST, (5 << 20) + 1, "a");
	mfd_check_add(&c, MFD_FOUND_GHOST, 3 << 20, "b");
	mfd_check_add(&c, MFD_FOUND_LOCK, 0, "esc \033[31m");
	assert_string_equal(mfd_check_option(&c, MFD_FOUND_GHOST, text), "--ghost-limit=6M");
	assert_string_equal(mfd_check_option(&c, MFD_FOUND_LOCK, text), "--file-locks");
	assert_string_equal(mfd_check_option(&c, MFD_FOUND_TRACED, text), "");
	assert_string_equal(c.found[MFD_FOUND_LOCK].example[0], "esc ?[31m");
	assert_false(mfd_check_moves(&c));
	assert_int_equal(mfd_check_impossible(&c), MFD_CHECK_KINDS);
	c.found[MFD_FOUND_GHOST].added = c.found[MFD_FOUND_LOCK].given = 1;
	assert_true(mfd_check_moves(&c));
	mfd_check_add(&c, MFD_FOUND_RESERVED, 1, "slow");
	assert_true(mfd_check_moves(&c));
	mfd_check_add(&c, MFD_FOUND_TRACED, 0, "no");
	assert_int_equal(mfd_check_impossible(&c), MFD_FOUND_TRACED);
}

/* Every row says all that is printed of it, and an option only where it answers. */
static void table(void **state)
{
	(void)state;
	for (enum mfd_check_id id = 0; id < MFD_CHECK_KINDS; id++) {
		const struct mfd_check_kind *k = &mfd_check_kinds[id];

		assert_non_null(k->id);
		assert_non_null(k->what);
		assert_non_null(k->text);
		assert_int_equal(!!k->option, k->verdict == MFD_CHECK_OPTION);
		for (enum mfd_check_id other = 0; other < id; other++)
			assert_string_not_equal(k->id, mfd_check_kinds[other].id);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(each_kind, tmpdir_setup, tmpdir_teardown),
		cmocka_unit_test_setup_teardown(traced, tmpdir_setup, tmpdir_teardown),
		cmocka_unit_test(options_are_written),
		cmocka_unit_test(table),
	};

	/* Of a session that `job` can see, also where this one's leader is in another namespace. */
	(void)setsid();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
