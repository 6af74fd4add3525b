// SPDX-License-Identifier: GPL-2.0-only
/* Postcopy after a break: the link or the worker is lost while a restored task lacks pages. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io.h"
#include "players/criu.h"
#include "players/disk.h"
#include "players/postcopy.h"
#include "players/server.h"
#include "players/source.h"
#include "procfile.h"

/* The network breaks while the restored task runs; the source comes back and goes on. */
static void test_postcopy_resume(void **state)
{
	struct source s;
	pid_t pid;

	(void)state;
	server_start("--once", NULL);
	pid = source_to_running(&s, "one", 0);
	mfd_conn_close(&s.ch[1]);
	disk_wait_doubt("one", 1);
	assert_int_equal(disk_state("one", NULL, 0), MFD__SESSION_STATE__RUNNING);
	source_come_back(&s);
	criu_expect_done(pid, "one");
	assert_int_equal(server_wait(), 0);
}

/*
 * The worker dies, twice, while a restored task lacks pages: the next one serves it, and the source
 * goes on as after a broken link.
 */
static void test_pager_killed(void **state)
{
	struct source s;
	pid_t pid;

	(void)state;
	server_start("--once", NULL);
	pid = source_to_running(&s, "one", 0);
	server_kill_worker();
	disk_wait_doubt("one", 1);
	server_kill_worker();
	disk_wait_doubt("one", 1);
	assert_int_equal(disk_state("one", NULL, 0), MFD__SESSION_STATE__RUNNING);
	source_close(&s);
	source_come_back(&s);
	criu_expect_done(pid, "one");
	assert_int_equal(server_wait(), 0);
}

/* The child of this name; 0: there is none. */
static pid_t child_named(pid_t parent, const char *name)
{
	char path[64], comm[32], *text = NULL, *p, *save;
	pid_t found = 0;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", parent, parent);
	assert_int_equal(mfd_io_read_file(AT_FDCWD, path, 4096, &text, NULL), 0);
	for (p = strtok_r(text, " ", &save); p; p = strtok_r(NULL, " ", &save)) {
		snprintf(path, sizeof(path), "/proc/%s/comm", p);
		memset(comm, 0, sizeof(comm));
		fd = open(path, O_RDONLY);
		if (fd >= 0 && read(fd, comm, sizeof(comm) - 1) > 0 &&
		    !strncmp(comm, name, strlen(name)))
			found = atoi(p);
		if (fd >= 0)
			close(fd);
	}
	free(text);
	return found;
}

static int is_gone(pid_t pid)
{
	struct mfd_procfile_stat st;

	return mfd_procfile_stat(pid, &st) || mfd_procfile_is_over(&st);
}

/*
 * The standby dies and is replaced; then supervisor and worker are killed at once: the new standby
 * takes what the worker's heir hands over, and the next server goes on.  An heir that is not
 * relieved keeps its copies: what was never touched would wait for ever.
 */
static void test_standby_replaced(void **state)
{
	struct source s;
	pid_t pid, first, next = 0, worker, heir;

	(void)state;
	server_start(NULL, NULL);
	pid = source_to_running(&s, "one", 0);
	worker = server_worker();
	first = child_named(server_pid, "mfd-standby");
	assert_true(first > 0);
	kill(first, SIGKILL);
	for (int i = 0; i < 500 && (!next || next == first); i++, usleep(10000))
		next = child_named(server_pid, "mfd-standby");
	assert_true(next > 0 && next != first);
	heir = child_named(worker, "mfd-heir");
	assert_true(heir > 0);
	kill(server_pid, SIGSTOP);
	kill(worker, SIGKILL);
	kill(server_pid, SIGKILL);
	waitpid(server_pid, NULL, 0);
	server_pid = -1;
	for (int i = 0; i < 500 && !is_gone(heir); i++)
		usleep(10000);
	assert_true(is_gone(heir));
	source_close(&s);
	server_start("--once", NULL);
	disk_wait_doubt("one", 1);
	source_come_back(&s);
	criu_expect_done(pid, "one");
	assert_int_equal(server_wait(), 0);
}

/* ... but not when what a person decided is that they die. */
static void test_pager_killed_discard(void **state)
{
	struct source s;
	pid_t pid;

	(void)state;
	server_start(NULL, NULL);
	pid = source_to_running(&s, "one", 1);
	server_kill_worker();
	source_close(&s);
	disk_wait_doubt("one", 1);
	server_ask("resolve one discard", "ok");
	assert_int_equal(criu_reap(pid), 128 + SIGKILL);
	disk_expect_gone("one", "discarded");
	assert_int_equal(server_stop(), 0);
}

/*
 * A task that cannot be found cannot be killed: it must wait, since what it lacks would be zeros.
 */
static void test_lost(void **state)
{
	struct source s;
	pid_t pid, worker;
	int status, i;

	(void)state;
	criu_hidden = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(criu_hidden, MAP_FAILED);
	server_start(NULL, NULL);
	source_to_restorable(&s, "one");
	worker = server_worker();
	kill(worker, SIGSTOP);
	pid = criu_restore("one", 16, 0, 1, 7);
	for (i = 0; i < 1000 && !atomic_load(criu_hidden); i++)
		usleep(10000);
	assert_true(atomic_load(criu_hidden));
	munmap(criu_hidden, PAGE);
	criu_hidden = NULL;
	kill(worker, SIGCONT);
	source_expect_free(&s, MFD_WIRE_STARTED);
	source_simple(&s, MFD_WIRE_STARTED_OK);
	source_expect_free(&s, MFD_WIRE_FAULT);
	source_close(&s);
	disk_wait_doubt("one", 1);
	server_ask("resolve one discard", "ok");
	disk_expect_gone("one", "discarded");
	usleep(300000);
	assert_int_equal(waitpid(pid, &status, WNOHANG), 0);
	kill(pid, SIGKILL);
	assert_int_equal(criu_reap(pid), 128 + SIGKILL);
	assert_int_equal(server_stop(), 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		SERVER_TEST(test_postcopy_resume),
		SERVER_TEST(test_pager_killed),
		SERVER_TEST(test_pager_killed_discard),
		SERVER_TEST(test_standby_replaced),
		SERVER_TEST(test_lost),
	};

	server_tests_init(argc, argv);
	return cmocka_run_group_tests_name("server_resume", tests, NULL, NULL);
}
