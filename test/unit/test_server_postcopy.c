// SPDX-License-Identifier: GPL-2.0-only
/* Postcopy: the restored task runs while its pages come. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "players/criu.h"
#include "players/disk.h"
#include "players/postcopy.h"
#include "players/server.h"
#include "players/source.h"
#include "tell.h"

static void test_postcopy_early(void **state)
{
	struct source s;

	(void)state;
	server_start("--once", NULL);
	source_to_restorable(&s, "one");
	source_pages(&s, 1, 7, BASE + 2 * PAGE, 14);
	source_end(&s);
	source_expect_free(&s, MFD_WIRE_READY);
	source_commit(&s);
	source_close(&s);
	criu_expect_done(criu_restore("one", 16, 0, 0, 7), "one");
	assert_int_equal(server_wait(), 0);
}

static void test_postcopy(void **state)
{
	struct source s;
	pid_t pid;
	int i;

	(void)state;
	server_start("--once", NULL);
	source_to_restorable(&s, "one");
	pid = source_restored(&s, 0);
	assert_int_equal(source_answer_fault(&s), BASE + 2 * PAGE);
	assert_int_equal(disk_state("one", NULL, 0), MFD__SESSION_STATE__RUNNING);
	for (i = 0; i < 14; i++)
		source_pages(&s, (unsigned)i & 1, 7, BASE + (2 + (uint64_t)i) * PAGE, 1);
	source_end(&s);
	source_until_ready(&s);
	/* an answer that everything else has overtaken */
	source_pages(&s, MAXCH, 7, BASE + 2 * PAGE, 1);
	usleep(200000);
	source_commit(&s);
	source_close(&s);
	criu_expect_done(pid, "one");
	assert_int_equal(server_wait(), 0);
}

static void test_postcopy_lost_early(void **state)
{
	struct source s;
	pid_t pid;

	(void)state;
	server_start(NULL, NULL);
	source_to_restorable(&s, "one");
	source_close(&s);
	disk_expect_gone("one", "lost");
	/* a restore that has begun but has no leave yet */
	source_to_restorable(&s, "two");
	pid = criu_restore("two", 16, 0, 0, 7);
	source_expect_free(&s, MFD_WIRE_STARTED);
	source_close(&s);
	disk_expect_gone("two", "lost");
	kill(pid, SIGCONT);
	assert_int_not_equal(criu_reap(pid), 0);
	assert_int_equal(server_stop(), 0);
}

static void test_discard_running(void **state)
{
	struct source s;
	pid_t pid;

	(void)state;
	server_start(NULL, NULL);
	pid = source_to_running(&s, "one", 1);
	source_close(&s);
	disk_wait_doubt("one", 1);
	server_ask("resolve one run", "error: pages are missing, 13 of 16: the tasks have leave to "
				      "run here and wait for them; only the frozen");
	server_ask("resolve one discard", "ok 13 of 16 pages had not come, what the tasks did here "
					  "is lost; the good copy is on testhost, frozen");
	assert_int_equal(criu_reap(pid), 128 + SIGKILL);
	disk_expect_gone("one", "discarded");
	assert_int_equal(server_stop(), 0);
}

/* A real sender in that place has a reason to give, whatever it is answered. */
static void expect_untold(const struct source *s)
{
	struct mfd_shared *sh = calloc(1, sizeof(*sh));
	struct mfd_error err = { 0 };
	struct mfd_options o;

	assert_non_null(sh);
	mfd_options_init(&o);
	snprintf(sh->session, sizeof(sh->session), "%s", s->name);
	sh->target = server_addr;
	memcpy(sh->id, s->id, sizeof(sh->id));
	memcpy(sh->secret, s->secret, sizeof(sh->secret));
	sh->connected = 1;
	assert_true(mfd_tell(&o, sh, MFD_TELL_COMMIT, 0, &err) < 0);
	assert_true(err.code < 0);
	assert_non_null(strstr(err.text, "has ended the connection without an answer"));
	mfd_options_free(&o);
	free(sh);
}

/* The source says that its tasks are dead while pages are missing: no word here claims more. */
static void test_source_gone(void **state)
{
	struct source s;
	char answer[513];
	pid_t pid;

	(void)state;
	server_start(NULL, NULL);
	pid = source_to_running(&s, "one", 1);
	server_ask("abort one", "error: the tasks run here, and pages are missing");
	server_ask("resolve one discard",
		   "error: the session is not in doubt: its source is connected");
	source_resume(&s, "commit");
	source_expect_free(&s, MFD_WIRE_RESUME_OK);
	source_expect_end(&s);
	source_close(&s);
	disk_wait_doubt("one", 1);
	expect_untold(&s);
	server_kill_worker(); /* it is known to the next one, too */
	for (int i = 0; i < 500 && !server_request("resolve one run", answer, 513); i++)
		usleep(10000);
	server_ask("resolve one run",
		   "error: pages are missing, 13 of 16: the tasks have leave to "
		   "run here and wait for them; the source has said that its tasks are dead");
	server_ask("resolve one discard",
		   "ok 13 of 16 pages had not come, and testhost has said that its tasks are dead: "
		   "nothing is left");
	assert_int_equal(criu_reap(pid), 128 + SIGKILL);
	disk_expect_gone("one", "discarded");
	assert_int_equal(server_stop(), 0);
}

/* A file of a session can be read, or not. */
static void hide(const char *name, const char *file, int away)
{
	char path[64], other[64];

	snprintf(path, sizeof(path), "%s/%s", name, file);
	snprintf(other, sizeof(other), "%s/away-%s", name, file);
	if (away) {
		assert_int_equal(renameat(server_root, path, server_root, other), 0);
		assert_int_equal(mkdirat(server_root, path, 0700), 0);
	} else {
		assert_int_equal(unlinkat(server_root, path, AT_REMOVEDIR), 0);
		assert_int_equal(renameat(server_root, other, server_root, path), 0);
	}
}

static void wait_for_worker(void)
{
	char answer[513];

	for (int i = 0; i < 500 && !server_request("?", answer, sizeof(answer)); i++)
		usleep(10000);
}

/* A worker that cannot look at a session kills none of its tasks: they wait until one can. */
static void test_unreadable(void **state)
{
	static const char *const file[] = { ".attached", "session.img", ".attached" };
	struct source s;
	pid_t pid;

	(void)state;
	server_start(NULL, NULL);
	for (int i = 0; i < 3; i++) {
		pid = source_to_running(&s, "one", 0);
		hide("one", file[i], 1);
		server_kill_worker();
		source_expect_end(&s);
		source_close(&s);
		wait_for_worker();
		server_ask("resolve one run", "error: the session cannot run: ");
		assert_int_equal(waitpid(pid, NULL, WNOHANG), 0);
		if (i == 2)
			break;
		hide("one", file[i], 0);
		source_come_back(&s);
		criu_expect_done(pid, "one");
		disk_wait_free("one");
	}
	/* Which of them live cannot be told, so nothing is thrown away. */
	server_ask("resolve one discard",
		   "error: whether its restored tasks are dead cannot be told");
	hide("one", file[2], 0);
	server_ask("resolve one discard", "ok");
	assert_int_equal(criu_reap(pid), 128 + SIGKILL);
	assert_int_equal(server_stop(), 0);
}

/*
 * No worker can be started: restored tasks wait until one can, whatever signals come meanwhile.
 */
static void test_no_worker(void **state)
{
	struct rlimit was, few;
	struct source s;
	pid_t pid;

	(void)state;
	server_start(NULL, NULL);
	pid = source_to_running(&s, "one", 0);
	assert_int_equal(prlimit(server_pid, RLIMIT_NOFILE, NULL, &was), 0);
	few = (struct rlimit){ 3, was.rlim_max };
	assert_int_equal(prlimit(server_pid, RLIMIT_NOFILE, &few, NULL), 0);
	kill(server_worker(), SIGKILL);
	source_expect_end(&s);
	source_close(&s);
	for (int i = 0; i < 500 && !server_log_has("no worker can be started now"); i++)
		usleep(10000);
	assert_true(server_log_has("no worker can be started now"));
	for (int i = 0; i < 3; i++) {
		kill(server_pid, SIGCHLD);
		kill(server_pid, SIGHUP);
		kill(server_pid, SIGUSR2);
		usleep(300000);
	}
	assert_int_equal(waitpid(pid, NULL, WNOHANG), 0);
	assert_int_equal(prlimit(server_pid, RLIMIT_NOFILE, &was, NULL), 0);
	for (int i = 0; i < 500 && !server_log_has("userfaultfds taken over"); i++)
		usleep(10000);
	wait_for_worker();
	source_come_back(&s);
	criu_expect_done(pid, "one");
	disk_wait_free("one");
	assert_int_equal(server_stop(), 0);
}

/* The same, asked to end: the second time at once. */
static void test_unreadable_end(void **state)
{
	struct source s;
	pid_t pid;

	(void)state;
	server_start(NULL, NULL);
	pid = source_to_running(&s, "one", 0);
	hide("one", ".attached", 1);
	server_kill_worker();
	source_close(&s);
	wait_for_worker();
	kill(server_pid, SIGTERM);
	usleep(200000);
	hide("one", ".attached", 0);
	server_request("resolve one run", (char[513]){ 0 }, 513);
	assert_int_equal(waitpid(pid, NULL, WNOHANG), 0);
	kill(server_pid, SIGTERM);
	assert_int_equal(criu_reap(pid), 128 + SIGKILL);
	assert_int_equal(server_wait(), 0);
}

/* Asked to end while a restored task lacks pages: the server waits for them. */
static void test_stop_drains(void **state)
{
	struct source s;
	pid_t pid;

	(void)state;
	server_start(NULL, NULL);
	pid = source_to_running(&s, "one", 0);
	kill(server_pid, SIGTERM);
	usleep(200000);
	assert_int_equal(waitpid(server_pid, NULL, WNOHANG), 0);
	source_pages(&s, 0, 7, BASE + 2 * PAGE, 14);
	source_end(&s);
	source_until_ready(&s);
	source_commit(&s);
	source_close(&s);
	assert_int_equal(criu_reap(pid), 0);
	assert_int_equal(server_wait(), 0);
	assert_int_equal(disk_state("one", NULL, 0), MFD__SESSION_STATE__DONE);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		SERVER_TEST(test_postcopy_early),      SERVER_TEST(test_postcopy),
		SERVER_TEST(test_postcopy_lost_early), SERVER_TEST(test_discard_running),
		SERVER_TEST(test_source_gone),	       SERVER_TEST(test_stop_drains),
		SERVER_TEST(test_unreadable),	       SERVER_TEST(test_no_worker),
		SERVER_TEST(test_unreadable_end),
	};

	server_tests_init(argc, argv);
	return cmocka_run_group_tests_name("server_postcopy", tests, NULL, NULL);
}
