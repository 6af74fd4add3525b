// SPDX-License-Identifier: GPL-2.0-only
/* The server, its worker or its supervisor ends: what becomes of the sessions. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include "command.h"
#include "players/criu.h"
#include "players/disk.h"
#include "players/server.h"
#include "players/source.h"

static void resume_after(void)
{
	struct source s;

	source_to_ready(&s, "one");
	if (server_pid > 0)
		assert_int_equal(server_stop(), 0);
	source_expect_end(&s);
	assert_int_equal(disk_state("one", NULL, 0), MFD__SESSION_STATE__READY);
	server_start(NULL, NULL);
	disk_wait_doubt("one", 1);
	source_resume(&s, "commit");
	source_expect_free(&s, MFD_WIRE_RESUME_OK);
	source_expect_free(&s, MFD_WIRE_COMMITTED);
	source_close(&s);
}

static void test_restart_ready(void **state)
{
	(void)state;
	server_start(NULL, NULL);
	resume_after();
	assert_int_equal(disk_state("one", NULL, 0), MFD__SESSION_STATE__COMMITTED);
	/* COMMITTED and nothing installed: again, and restore from the third server */
	assert_int_equal(server_stop(), 0);
	server_start(NULL, NULL);
	criu_expect_done(criu_restore("one", 16, 1, 0, 7), "one");
	assert_int_equal(server_stop(), 0);
}

static void test_worker_killed(void **state)
{
	struct source s, r;

	(void)state;
	server_start(NULL, NULL);
	source_to_ready(&s, "one");
	source_open(&r, "moving", 0);
	kill(server_worker(), SIGSEGV);
	source_expect_end(&s);
	source_expect_end(&r);
	source_close(&r);
	disk_expect_gone("moving", "restarted");
	disk_wait_doubt("one", 1);
	source_resume(&s, "commit");
	source_expect_free(&s, MFD_WIRE_RESUME_OK);
	source_expect_free(&s, MFD_WIRE_COMMITTED);
	source_close(&s);
	criu_expect_done(criu_restore("one", 16, 1, 0, 7), "one");
	assert_int_equal(server_stop(), 0);
}

static void wait_unlocked(void)
{
	int i, fd = openat(server_root, ".lock", O_RDWR | O_CLOEXEC);

	assert_true(fd >= 0);
	for (i = 0; i < 500 && flock(fd, LOCK_EX | LOCK_NB); i++)
		usleep(10000);
	assert_true(i < 500);
	close(fd);
}

static void test_supervisor_killed(void **state)
{
	struct source s;

	(void)state;
	server_start(NULL, NULL);
	source_open(&s, "one", 0);
	kill(server_pid, SIGKILL);
	waitpid(server_pid, NULL, 0);
	server_pid = -1;
	source_expect_abort(&s, "ends");
	source_close(&s);
	disk_expect_gone("one", "ends");
	wait_unlocked(); /* the worker ends after its last session */
	server_start(NULL, NULL);
	assert_int_equal(server_stop(), 0);
}

static void test_stop_aborts(void **state)
{
	struct source s;

	(void)state;
	server_start(NULL, NULL);
	source_open(&s, "one", 0);
	kill(server_pid, SIGTERM);
	source_expect_abort(&s, "ends");
	source_close(&s);
	assert_int_equal(server_wait(), 0);
	disk_expect_gone("one", "ends");
}

static void test_locked(void **state)
{
	char *argv[] = { "serve", "--dir", server_dir, NULL },
	     *other[] = { "serve", "--listen", "0.0.0.0:0", "--dir", server_dir, NULL };

	(void)state;
	server_start(NULL, NULL);
	assert_int_equal(mfd_serve_main(3, argv), MFD_EXIT_FAILED);
	assert_int_equal(server_stop(), 0);
	assert_int_equal(mfd_serve_main(5, other), MFD_EXIT_FAILED);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		SERVER_TEST(test_restart_ready),
		SERVER_TEST(test_worker_killed),
		SERVER_TEST(test_supervisor_killed),
		SERVER_TEST(test_stop_aborts),
		SERVER_TEST(test_locked),
	};

	server_tests_init(argc, argv);
	return cmocka_run_group_tests_name("server_reload", tests, NULL, NULL);
}
