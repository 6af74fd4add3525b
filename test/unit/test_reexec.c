// SPDX-License-Identifier: GPL-2.0-only
/*
 * Going on in a new program.  The program is this test: called as "heir" it is the one that goes
 * on, called as "begin" it is one whose file has been replaced meanwhile.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io.h"
#include "reexec.h"
#include "tmpdir.h"

#define STATE "fd kept 7\nand a second line\n"

enum { HEIR_OK = 40, NO_STATE, NOT_OVER, LEFT_OPEN, NOT_CLOSED_ON_EXEC };

/* argv: heir STATE KEPT OTHER */
static int be_heir(char **argv)
{
	int state = atoi(argv[2]), kept = atoi(argv[3]), other = atoi(argv[4]);
	struct mfd_error err = { 0 };
	char *text, b[5] = "";

	if (mfd_reexec_state(state, &text, &err) || strcmp(text, STATE) ||
	    fcntl(state, F_GETFD) >= 0)
		return NO_STATE;
	free(text);
	if (fcntl(kept, F_GETFD) != 0 || pread(kept, b, 4, 0) != 4 || strcmp(b, "kept"))
		return NOT_OVER;
	if (mfd_reexec_adopt(other) != -EBADF)
		return LEFT_OPEN;
	if (mfd_reexec_adopt(kept) || fcntl(kept, F_GETFD) != FD_CLOEXEC)
		return NOT_CLOSED_ON_EXEC;
	return HEIR_OK;
}

/*
 * argv: begin EXPECTED: 0 = the result of mfd_reexec_begin is that, and the path is ours. Its file
 * is gone or another one.
 */
static int be_begun(char **argv)
{
	struct mfd_error err = { 0 };
	struct mfd_reexec r;
	int ret = mfd_reexec_begin(&r, NULL, &err);

	mfd_reexec_end(&r);
	return ret == atoi(argv[2]) && !strcmp(r.path, argv[0]) &&
			       (!ret || strstr(mfd_error_text(&err), argv[0])) ?
		       0 :
		       1;
}

static int ended(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void go_on(struct dir *d)
{
	char kept_text[12], other_text[12],
		*argv[] = { "x", "heir", "@STATE", kept_text, other_text, NULL };
	int kept = openat(d->fd, "kept", O_RDWR | O_CREAT | O_CLOEXEC, 0600),
	    other = open("/dev/null", O_RDONLY | O_CLOEXEC);
	struct mfd_error err = { 0 };
	struct mfd_reexec r;

	snprintf(kept_text, sizeof(kept_text), "%d", kept);
	snprintf(other_text, sizeof(other_text), "%d", other);
	if (write(kept, "kept", 4) != 4 || mfd_reexec_begin(&r, NULL, &err) ||
	    mfd_reexec_keep(&r, -1) || r.n || mfd_reexec_keep(&r, kept))
		_exit(1);
	mfd_reexec_exec(&r, argv, STATE, strlen(STATE), &err);
	_exit(2);
}

static void test_goes_on(void **state)
{
	pid_t pid = fork();

	if (!pid)
		go_on(*state);
	assert_int_equal(ended(pid), HEIR_OK);
}

/* Everything is as before: nothing more is inherited by children than was. */
static void test_failure_takes_it_back(void **state)
{
	struct dir *d = *state;
	char *argv[] = { "x", "heir", "@STATE", NULL };
	struct mfd_error err = { 0 };
	struct mfd_reexec r;
	int fds[100];

	assert_int_equal(mfd_reexec_begin(&r, NULL, &err), 0);
	for (int i = 0; i < 100; i++) {
		fds[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
		assert_int_equal(mfd_reexec_keep(&r, fds[i]), 0);
	}
	snprintf(r.path, sizeof(r.path), "%s/gone", d->path);
	assert_int_equal(mfd_reexec_exec(&r, argv, STATE, strlen(STATE), &err), -ENOENT);
	assert_non_null(strstr(mfd_error_text(&err), r.path));
	for (int i = 0; i < 100; i++)
		assert_int_equal(fcntl(fds[i], F_GETFD), FD_CLOEXEC);
	assert_int_equal(fcntl(r.state, F_GETFD), FD_CLOEXEC);
	mfd_reexec_end(&r);
	assert_int_equal(r.state, -1);
	for (int i = 0; i < 100; i++)
		close(fds[i]);
}

static void test_one_that_is_closed(void **state)
{
	char *argv[] = { "x", "heir", "@STATE", NULL };
	struct mfd_error err = { 0 };
	struct mfd_reexec r;
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	assert_int_equal(mfd_reexec_begin(&r, NULL, &err), 0);
	assert_int_equal(mfd_reexec_keep(&r, fd), 0);
	assert_int_equal(mfd_reexec_keep(&r, 9999), 0);
	assert_int_equal(mfd_reexec_exec(&r, argv, STATE, strlen(STATE), &err), -EBADF);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	mfd_reexec_end(&r);
	close(fd);
	assert_int_equal(mfd_reexec_adopt(9999), -EBADF);
	assert_int_not_equal(mfd_reexec_state(9999, &(char *){ NULL }, &err), 0);
}

/* ---- the file at our path is another one now ---- */

static void copy_self(const char *to)
{
	char b[65536];
	int in = open("/proc/self/exe", O_RDONLY | O_CLOEXEC), out;
	ssize_t n;

	unlink(to);
	out = open(to, O_WRONLY | O_CREAT | O_CLOEXEC, 0700);
	assert_true(in >= 0 && out >= 0);
	while ((n = read(in, b, sizeof(b))) > 0)
		assert_int_equal(write(out, b, (size_t)n), n);
	close(in);
	close(out);
}

/*
 * A copy of this program runs; before it looks for itself `script` (NULL: nothing) has taken its
 * place.
 */
static int begin_with(struct dir *d, const char *script, mode_t mode, int expected)
{
	char path[128], other[128], number[12], *argv[] = { path, "begin", number, NULL };
	int gate[2];
	FILE *f;
	pid_t pid;

	snprintf(path, sizeof(path), "%s/program", d->path);
	snprintf(other, sizeof(other), "%s/other", d->path);
	snprintf(number, sizeof(number), "%d", expected);
	copy_self(path);
	assert_int_equal(pipe(gate), 0);
	pid = fork();
	if (!pid) {
		dup2(gate[0], STDIN_FILENO);
		close(gate[0]);
		close(gate[1]);
		execv(path, argv);
		_exit(9);
	}
	close(gate[0]);
	for (int i = 0; i < 500; i++) { /* until it runs: then its file may go */
		char link[64], exe[128];
		ssize_t n;

		snprintf(link, sizeof(link), "/proc/%d/exe", pid);
		n = readlink(link, exe, sizeof(exe) - 1);
		exe[n > 0 ? n : 0] = 0;
		if (!strcmp(exe, path))
			break;
		usleep(10000);
	}
	assert_int_equal(unlink(path), 0);
	if (script) {
		f = fopen(other, "w");
		assert_non_null(f);
		fputs(script, f);
		fchmod(fileno(f), mode);
		fclose(f);
		assert_int_equal(rename(other, path), 0);
	}
	close(gate[1]);
	return ended(pid);
}

static void test_program_was_replaced(void **state)
{
	struct dir *d = *state;

	assert_int_equal(begin_with(d, "#!/bin/sh\ntest \"$1\" = --version\n", 0700, 0), 0);
	assert_int_equal(begin_with(d, "#!/bin/sh\nexit 3\n", 0700, -ENOEXEC), 0);
	assert_int_equal(begin_with(d, NULL, 0, -ENOENT), 0);
	assert_int_equal(begin_with(d, "#!/bin/sh\n", 0600, -EACCES), 0);
	assert_int_equal(begin_with(d, "#!/no/such/interpreter\n", 0700, -ENOENT), 0);
}

/* It is given up, and its child does not stay. */
static void test_program_hangs(void **state)
{
	uint64_t start = mfd_io_now_ms();

	assert_int_equal(begin_with(*state, "#!/bin/sh\nsleep 1000\nexit 0\n", 0700, -ETIMEDOUT),
			 0);
	assert_in_range(mfd_io_now_ms() - start, MFD_REEXEC_TRY_MS, MFD_REEXEC_TRY_MS + 20000);
}

static int serve_once(void *arg)
{
	char b;

	return read(*(int *)arg, &b, 1) < 0;
}

/* What else is to be done does not wait for it. */
static void test_meanwhile(void **state)
{
	struct mfd_error err = { 0 };
	struct mfd_reexec r;
	int ends[2], left;

	(void)state;
	assert_int_equal(pipe(ends), 0);
	assert_int_equal(write(ends[1], "x", 1), 1);
	const struct mfd_reexec_aside aside = { ends[0], serve_once, &ends[0] };
	assert_int_equal(mfd_reexec_begin(&r, &aside, &err), 0);
	mfd_reexec_end(&r);
	assert_int_equal(ioctl(ends[0], FIONREAD, &left), 0);
	assert_int_equal(left, 0);
	close(ends[0]);
	close(ends[1]);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_goes_on, tmpdir_setup, tmpdir_teardown),
		cmocka_unit_test_setup_teardown(test_failure_takes_it_back, tmpdir_setup,
						tmpdir_teardown),
		cmocka_unit_test(test_one_that_is_closed),
		cmocka_unit_test_setup_teardown(test_program_was_replaced, tmpdir_setup,
						tmpdir_teardown),
		cmocka_unit_test_setup_teardown(test_program_hangs, tmpdir_setup, tmpdir_teardown),
		cmocka_unit_test(test_meanwhile),
	};
	char b;

	if (argc > 1 && !strcmp(argv[1], "--version"))
		return usleep(100000);
	if (argc == 5 && !strcmp(argv[1], "heir"))
		return be_heir(argv);
	if (argc == 3 && !strcmp(argv[1], "begin"))
		return read(STDIN_FILENO, &b, 1) ? 8 : be_begun(argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
