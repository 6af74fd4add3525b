// SPDX-License-Identifier: GPL-2.0-only
/* The fate of restored tasks: what they have left behind counts. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "cgroup.h"
#include "procfile.h"
#include "restored_notes.h"
#include "tmpdir.h"

static int go[2]; /* a byte lets the task fork and end */
static int apart; /* bool: in our pid namespace its child has a session of its own, too */
static const char *in_group; /* of the task; NULL: as ours */
static int groups;	     /* root of the hierarchy */

/* The task forks a child, which goes on in another session, and ends. */
static void be_task(int own_session)
{
	char c;

	if (read(go[0], &c, 1) != 1)
		_exit(1);
	if (fork())
		_exit(0);
	if (own_session)
		setsid();
	for (;;)
		pause();
}

/* The parent of the task: init of its pid namespace, or our child; in it before the task was. */
static pid_t start(int space)
{
	pid_t pid;

	assert_int_equal(pipe(go), 0);
	pid = fork();
	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	setsid();
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	if (space && unshare(CLONE_NEWPID))
		_exit(2);
	usleep(50000);
	pid = fork();
	if (pid) {
		for (;;)
			if (waitpid(-1, NULL, 0) < 0)
				usleep(1000);
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (space) { /* init */
		usleep(50000);
		if (!fork()) {
			setsid();
			be_task(1);
		}
		usleep(50000);
		if (!fork()) /* the init's own, and younger than the task */
			for (;;)
				pause();
		for (;;)
			if (waitpid(-1, NULL, 0) < 0)
				usleep(1000);
	}
	be_task(apart);
	_exit(3);
}

/*
 * The kernel lists the children of a thread in the order of their birth: their numbers say nothing
 * once they begin anew.
 */
static pid_t child_at(pid_t parent, int last)
{
	char path[64];
	FILE *f;
	int pid, found = 0;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", parent, parent);
	f = fopen(path, "re");
	while (f && (last || !found) && fscanf(f, "%d", &pid) == 1)
		found = pid;
	if (f)
		fclose(f);
	return found;
}

/* The first child of a process, when it has one. */
static pid_t child_of(pid_t parent)
{
	for (int i = 0; i < 5000; i++, usleep(1000))
		if (child_at(parent, 0))
			return child_at(parent, 0);
	fail_msg("process %d has no child", parent);
	return 0;
}

static void await(int folder, enum mfd_notes_fate expected)
{
	for (int i = 0; i < 5000 && mfd_notes_fate(folder) != expected; i++)
		usleep(1000);
	assert_int_equal(mfd_notes_fate(folder), expected);
}

static void child_left(struct dir *d, int space)
{
	pid_t top = start(space), parent = space ? child_of(top) : top, task, child;

	task = child_of(parent);
	for (int i = 0; space && i < 5000 && child_at(parent, 1) == task; i++)
		usleep(1000);
	if (in_group)
		assert_int_equal(mfd_cgroup_move(groups, in_group, task), 0);
	assert_int_equal(mfd_notes_mark(d->fd, 7, task), 0);
	assert_int_equal(mfd_notes_fate(d->fd), MFD_NOTES_ALIVE);
	assert_int_equal(write(go[1], "g", 1), 1);
	for (int i = 0; i < 5000 && mfd_procfile_parent(task); i++)
		usleep(1000);
	usleep(50000);
	assert_int_equal(mfd_procfile_parent(task), 0);
	child = child_at(parent, 1);
	assert_int_equal(mfd_notes_fate(d->fd), MFD_NOTES_ALIVE);
	kill(child, SIGKILL);
	await(d->fd, MFD_NOTES_DEAD); /* init lives on */
	kill(top, SIGKILL);
	waitpid(top, NULL, 0);
	close(go[0]);
	close(go[1]);
}

static void test_in_a_pid_namespace(void **state)
{
	child_left(*state, 1);
}

static void test_in_the_servers(void **state)
{
	child_left(*state, 0);
}

/* A session of its own does not hide it, where the task's control group tells it from others. */
static void test_in_its_group(void **state)
{
	char group[64];

	snprintf(group, sizeof(group), "/criu-multifd.test.%d", getpid());
	groups = mfd_cgroup_open();
	if (groups < 0 || mkdirat(groups, group + 1, 0700)) {
		print_message("no control groups of version 2\n");
		skip();
	}
	in_group = group;
	apart = 1;
	child_left(*state, 0);
	in_group = NULL;
	apart = 0;
	usleep(50000);
	unlinkat(groups, group + 1, AT_REMOVEDIR);
	close(groups);
}

/* A process that comes into the task's namespace from outside, with the session of this one. */
static pid_t send_newcomer(pid_t task)
{
	int fd = pidfd_open(task, 0);
	pid_t pid = fork();

	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (fd < 0 || setns(fd, CLONE_NEWPID))
			_exit(1);
		pid = fork();
		if (!pid) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			for (;;)
				pause();
		}
		waitpid(pid, NULL, 0);
		_exit(0);
	}
	close(fd);
	return pid;
}

/*
 * The server's, in a pid namespace whose first process has no session of its own there, as in a
 * container: the number of its session is 0.
 */
static int serve_without_session(int folder)
{
	pid_t top, parent, task, newcomer;
	int ended;

	if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("proc", "/proc", "proc", 0, NULL) || getsid(0))
		return 2;
	top = start(1);
	parent = child_of(top);
	task = child_of(parent);
	for (int i = 0; i < 5000 && getsid(task) != task; i++)
		usleep(1000);
	if (mfd_notes_mark(folder, 7, task))
		return 3;
	newcomer = send_newcomer(task);
	for (int i = 0; i < 5000 && !child_at(newcomer, 0); i++)
		usleep(1000);
	if (!child_at(newcomer, 0) || mfd_notes_fate(folder) != MFD_NOTES_ALIVE)
		return 4;
	kill(task, SIGKILL);
	for (int i = 0; i < 5000 && mfd_notes_fate(folder) != MFD_NOTES_DEAD; i++)
		usleep(1000);
	ended = mfd_notes_fate(folder) == MFD_NOTES_DEAD && child_at(newcomer, 0);
	kill(newcomer, SIGKILL);
	kill(top, SIGKILL);
	return ended ? 0 : 5;
}

static void test_a_session_outside(void **state)
{
	const struct dir *d = *state;
	pid_t pid = fork(), init;
	int status;

	if (!pid) {
		if (unshare(CLONE_NEWPID | CLONE_NEWNS))
			_exit(1);
		init = fork();
		if (!init) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			_exit(serve_without_session(d->fd));
		}
		waitpid(init, &status, 0);
		_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
	}
	waitpid(pid, &status, 0);
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void put(int folder, const char *text, size_t len)
{
	int fd = openat(folder, MFD_NOTES_FILE, O_WRONLY | O_CREAT | O_APPEND, 0600);

	assert_int_equal(write(fd, text, len), len);
	close(fd);
}

/* A writer was killed, or found no room, in the middle of a line: that line was never there. */
static void test_torn_line(void **state)
{
	const struct dir *d = *state;

	assert_int_equal(mfd_notes_mark(d->fd, 7, getpid()), 0);
	put(d->fd, "rest", 4);
	assert_int_equal(mfd_notes_left(d->fd), MFD_NOTES_NOTHING);
	assert_int_equal(mfd_notes_are_broken(d->fd), 0);
	assert_int_equal(mfd_notes_add(d->fd, MFD_NOTE_RESTORED), 0);
	assert_int_equal(mfd_notes_left(d->fd), MFD_NOTES_RESTORED);
	put(d->fd, "\0\0\0\0", 4);
	assert_int_equal(mfd_notes_add(d->fd, MFD_NOTE_COMPLETE), 0);
	assert_int_equal(mfd_notes_left(d->fd), MFD_NOTES_COMPLETE);
	assert_int_equal(mfd_notes_fate(d->fd), MFD_NOTES_ALIVE);
}

/* Nothing is concluded from what makes no sense: a task may be missing there. */
static void test_garbage(void **state)
{
	static const struct {
		const char *text;
		size_t len;
	} c[] = { { "what\n", 5 }, { "\0\n", 2 }, { "restored\0\n", 10 }, { "\n", 1 } };
	const struct dir *d = *state;

	for (size_t i = 0; i < sizeof(c) / sizeof(*c); i++) {
		put(d->fd, c[i].text, c[i].len);
		assert_int_equal(mfd_notes_add(d->fd, MFD_NOTE_COMPLETE), 0);
		assert_int_equal(mfd_notes_left(d->fd), MFD_NOTES_UNREADABLE);
		assert_int_equal(mfd_notes_fate(d->fd), MFD_NOTES_ALIVE);
		assert_int_equal(mfd_notes_are_broken(d->fd), -EBADMSG);
		assert_int_equal(mfd_notes_kill(d->fd, "one"), -EBADMSG);
		assert_int_equal(unlinkat(d->fd, MFD_NOTES_FILE, 0), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_in_a_pid_namespace, tmpdir_setup,
						tmpdir_teardown),
		cmocka_unit_test_setup_teardown(test_in_the_servers, tmpdir_setup, tmpdir_teardown),
		cmocka_unit_test_setup_teardown(test_in_its_group, tmpdir_setup, tmpdir_teardown),
		cmocka_unit_test_setup_teardown(test_torn_line, tmpdir_setup, tmpdir_teardown),
		cmocka_unit_test_setup_teardown(test_garbage, tmpdir_setup, tmpdir_teardown),
		cmocka_unit_test_setup_teardown(test_a_session_outside, tmpdir_setup,
						tmpdir_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
