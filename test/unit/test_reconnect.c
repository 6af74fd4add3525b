// SPDX-License-Identifier: GPL-2.0-only
/* Which error is answered by another try, for how long, and that a person can renew it. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "../../plugin/source/reconnect.c"
#include "sock.h"
#include "tmpdir.h"

static struct mfd_worker *w;
static struct mfd_options options;
static pid_t task;

static int setup(void **state)
{
	struct mfd_error err = { 0 };

	if (tmpdir_setup(state) || chdir(((struct dir *)*state)->path))
		return -1;
	w = aligned_alloc(64, sizeof(*w));
	if (!w)
		return -1;
	memset(w, 0, sizeof(*w));
	w->sh = calloc(1, sizeof(*w->sh));
	w->progress = mfd_progress_open();
	mfd_options_init(&options);
	w->o = &options;
	w->link = w->signals = -1;
	w->session.plan = MFD_PLAN_POSTCOPY;
	w->sh->connected = 1;
	w->sh->hold.kind = MFD_HOLD_SIGNAL;
	w->desk = mfd_desk_open();
	task = fork();
	if (!task)
		for (;;)
			pause();
	kill(task, SIGSTOP);
	mfd_tasks_init(&w->tasks, w->sh);
	atomic_store(&w->sh->phase, MFD_SEND_LOST);
	if (mfd_shared_task_fill(&w->sh->task[0], task))
		return -1;
	atomic_store(&w->sh->ntasks, 1);
	return w->desk < 0 || mfd_sock_parse("127.0.0.1:9", 0, &w->sh->target, &err);
}

static int teardown(void **state)
{
	kill(task, SIGKILL);
	waitpid(task, NULL, 0);
	mfd_desk_close(&w->desk);
	mfd_tasks_fini(&w->tasks);
	mfd_progress_close(w->progress);
	mfd_options_free(&options);
	free(w->sh);
	free(w);
	assert_int_equal(chdir("/"), 0);
	return tmpdir_teardown(state);
}

static void lost(enum mfd_error_side side)
{
	mfd_error_clear(&w->err);
	mfd_error_blame(&w->err, side, mfd_error_set(&w->err, -EPIPE, "lost"));
	begin_retry(w);
}

static void test_whose(void **state)
{
	(void)state;
	lost(MFD_ERROR_LINK);
	assert_true(w->retry.next_ms);
	/* A want of this process passes. */
	lost(MFD_ERROR_OWN);
	assert_true(w->retry.next_ms);
	assert_int_equal(atomic_load(&w->progress->lost), MFD_PROGRESS_LOST);
	kill(task, SIGKILL);
	lost(MFD_ERROR_OWN);
	assert_false(w->retry.next_ms);
	assert_int_equal(atomic_load(&w->progress->lost), MFD_PROGRESS_DAMAGED);
}

/* Ask the desk, as `resolve --source` does; the answer is read when it is there. */
static int ask(const char *word)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX, .sun_path = MFD_DESK_SOCKET };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(send(fd, word, strlen(word), 0), (ssize_t)strlen(word));
	return fd;
}

static void test_renewed(void **state)
{
	char answer[64] = "";
	int fd;

	(void)state;
	for (unsigned i = 0; i <= MFD_RETRY_SHORTS; i++) {
		w->retry.joined_ms = mfd_io_now_ms();
		assert_true(w->retry.next_ms || !i);
		lost(MFD_ERROR_LINK);
	}
	assert_false(w->retry.next_ms);
	assert_true(mfd_retry_is_spent(&w->retry));
	assert_int_equal(atomic_load(&w->progress->lost), MFD_PROGRESS_GIVEN_UP);
	fd = ask("retry");
	assert_int_equal(wait_for_person(w), 0); /* the next try is due */
	assert_true(recv(fd, answer, sizeof(answer) - 1, 0) > 0);
	assert_string_equal(answer, "ok");
	close(fd);
	assert_false(mfd_retry_is_spent(&w->retry));
}

/* By a worker that takes over without a descriptor left: tried again until there is one. */
static void test_reopen(void **state)
{
	struct rlimit before, none;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	none = before;
	none.rlim_cur = 0;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	assert_true(reopen_tasks(w) < 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	plan_next_try(w);
	assert_true(w->retry.next_ms);
	mfd_error_clear(&w->err);
	assert_int_equal(reopen_tasks(w), 0);
	assert_int_equal(w->tasks.n, 1);
	assert_int_equal(reopen_tasks(w), 0);
	assert_int_equal(w->tasks.n, 1);
}

/* A task that has died here keeps nothing from asking the target, which may settle it. */
static void test_asks_first(void **state)
{
	(void)state;
	kill(task, SIGKILL);
	waitpid(task, NULL, 0);
	mfd_error_clear(&w->err);
	assert_true(try_again(w) < 0);
	assert_int_equal(w->err.code, -ECONNREFUSED); /* nothing listens there */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_whose, setup, teardown),
		cmocka_unit_test_setup_teardown(test_renewed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reopen, setup, teardown),
		cmocka_unit_test_setup_teardown(test_asks_first, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
