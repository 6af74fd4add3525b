// SPDX-License-Identifier: GPL-2.0-only
/* What /proc says of a process: names that look like fields, namespaces, processes that end. */
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "procfile.h"

/* A child that waits to be killed, and has told that it is set up. */
static pid_t child(const char *name)
{
	int pipefd[2];
	pid_t pid;
	char c;

	assert_int_equal(pipe(pipefd), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		prctl(PR_SET_NAME, name);
		(void)!write(pipefd[1], "x", 1);
		pause();
		_exit(0);
	}
	assert_int_equal(read(pipefd[0], &c, 1), 1);
	close(pipefd[0]);
	close(pipefd[1]);
	return pid;
}

static void reap(pid_t pid)
{
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void stat_of_any_name(void **state)
{
	static const char *const names[] = { "plain", ") Z 1 (", "a) b", ")", "new\nline" };
	struct mfd_procfile_stat st, own;

	(void)state;
	assert_int_equal(mfd_procfile_stat(getpid(), &own), 0);
	assert_int_equal(own.ppid, getppid());
	assert_int_equal(own.session, getsid(0));
	assert_true(own.start_time > 0);
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		pid_t pid = child(names[i]);

		assert_int_equal(mfd_procfile_stat(pid, &st), 0);
		assert_true(strchr("RSD", st.state) != NULL);
		assert_int_equal(st.ppid, getpid());
		assert_int_equal(mfd_procfile_parent(pid), getpid());
		assert_int_equal(st.session, own.session);
		assert_int_equal(st.tty, own.tty);
		assert_true(st.start_time >= own.start_time);
		assert_true(mfd_procfile_start_time(pid) == st.start_time);
		assert_false(mfd_procfile_is_over(&st));
		reap(pid);
		assert_int_equal(mfd_procfile_stat(pid, &st), -ENOENT);
		assert_int_equal(mfd_procfile_start_time(pid), 0);
	}
}

static void zombies_are_over(void **state)
{
	pid_t pid = child("zombie");
	struct mfd_procfile_stat st;
	siginfo_t info;

	(void)state;
	kill(pid, SIGKILL);
	assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
	assert_int_equal(mfd_procfile_stat(pid, &st), 0);
	assert_true(mfd_procfile_is_over(&st));
	reap(pid);
}

static void torn_texts(void **state)
{
	static const char whole[] =
		"7 (x) S 1 7 7 34816 7 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4711 9 10";
	struct mfd_procfile_stat st;
	char text[sizeof(whole)];

	(void)state;
	assert_int_equal(mfd_procfile_parse_stat(whole, &st), 0);
	assert_int_equal(st.tty, 34816);
	assert_int_equal(st.flags, 4194560);
	assert_int_equal(st.start_time, 4711);
	for (size_t len = 0; len < (size_t)(strstr(whole, "4711") - whole); len++) {
		memcpy(text, whole, len);
		text[len] = 0;
		assert_int_equal(mfd_procfile_parse_stat(text, &st), -EIO);
	}
}

static void lines_of_status(void **state)
{
	static const char text[] = "Name:\tNSpid:\t77\n"
				   "NSpid:\t100\t20\t3\n"
				   "VmLck:\t      12 kB\n"
				   "SigPnd:\t0000000000000100\n"
				   "Empty:\n"
				   "NSp:\t5";
	uint64_t v = 99;

	(void)state;
	assert_int_equal(mfd_procfile_first(text, "NSpid", 10, &v), 0);
	assert_int_equal(v, 100);
	assert_int_equal(mfd_procfile_last(text, "NSpid", 10, &v), 0);
	assert_int_equal(v, 3);
	assert_int_equal(mfd_procfile_last(text, "VmLck", 10, &v), 0);
	assert_int_equal(v, 12);
	assert_int_equal(mfd_procfile_first(text, "SigPnd", 16, &v), 0);
	assert_int_equal(v, 0x100);
	assert_int_equal(mfd_procfile_last(text, "NSp", 10, &v), 0);
	assert_int_equal(v, 5);
	assert_int_equal(mfd_procfile_first(text, "Empty", 10, &v), -ENOENT);
	assert_int_equal(mfd_procfile_first(text, "pid", 10, &v), -ENOENT);
	assert_int_equal(mfd_procfile_first("", "NSpid", 10, &v), -ENOENT);
}

static void status_of_a_process(void **state)
{
	char *text = NULL;
	uint64_t v;

	(void)state;
	assert_int_equal(mfd_procfile_status(getpid(), &text), 0);
	assert_int_equal(mfd_procfile_first(text, "Pid", 10, &v), 0);
	assert_int_equal(v, getpid());
	assert_int_equal(mfd_procfile_first(text, "TracerPid", 10, &v), 0);
	free(text);
	assert_int_equal(mfd_procfile_inner_pid(getpid()), getpid());
	assert_int_equal(mfd_procfile_inner_pid(-5), 0);
}

static void a_number_in_each_namespace(void **state)
{
	int status;
	pid_t pid = fork();

	(void)state;
	assert_true(pid >= 0);
	if (!pid) {
		pid_t inner;
		uint32_t seen;

		if (unshare(CLONE_NEWPID))
			_exit(77);
		inner = fork();
		if (!inner) {
			pause();
			_exit(0);
		}
		seen = mfd_procfile_inner_pid(inner);
		status = seen == 1 && mfd_procfile_namespace(inner, "pid") !=
					      mfd_procfile_namespace(getpid(), "pid");
		kill(inner, SIGKILL);
		waitpid(inner, NULL, 0);
		_exit(status ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		skip();
	assert_true(WIFEXITED(status) && !WEXITSTATUS(status));
}

static void process_of_a_pidfd(void **state)
{
	pid_t pid = child("pidfd");
	int fd = pidfd_open(pid, 0);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(mfd_procfile_of_pidfd(fd), pid);
	reap(pid);
	assert_int_equal(mfd_procfile_of_pidfd(fd), 0);
	close(fd);
	assert_int_equal(mfd_procfile_of_pidfd(-1), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(stat_of_any_name),    cmocka_unit_test(zombies_are_over),
		cmocka_unit_test(torn_texts),	       cmocka_unit_test(lines_of_status),
		cmocka_unit_test(status_of_a_process), cmocka_unit_test(a_number_in_each_namespace),
		cmocka_unit_test(process_of_a_pidfd),
	};

	return cmocka_run_group_tests_name("procfile", tests, NULL, NULL);
}
