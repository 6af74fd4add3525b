// SPDX-License-Identifier: GPL-2.0-only
/* The pager's phases: the table of transitions, the invariants, and what a restore goes through. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "log.h"
#include "pager_int.h"
#include "restored.h"
#include "thp.h"

static struct world world;

const char *__tsan_default_options(void);
__attribute__((visibility("default"))) const char *__tsan_default_options(void)
{
	return "die_after_fork=0";
}

/* ---- the table ---- */

/* Row: from, column: to, in the order of the enum. */
static const char *const expected[PAGER_PHASES] = {
	[PAGER_NEW] = "-L-----F-",	 [PAGER_LISTENING] = "--R------",
	[PAGER_RESTORING] = "-L-PO----", [PAGER_PROVISIONAL] = "-L--O----",
	[PAGER_OPENING] = "-----A-F-",	 [PAGER_AWAIT_STOP] = "------SFD",
	[PAGER_STOPPED] = "-------FD",	 [PAGER_FILLING] = "--------D",
	[PAGER_DONE] = "---------",
};

static void test_table(void **state)
{
	(void)state;
	for (unsigned from = 0; from < PAGER_PHASES; from++) {
		for (unsigned to = 0; to < PAGER_PHASES; to++) {
			const char *by = mfd_pager_transition(from, to);

			if (!by != (expected[from][to] == '-'))
				fail_msg("%s -> %s: %s", mfd_pager_phase_name(from),
					 mfd_pager_phase_name(to), by ? by : "no transition");
		}
	}
}

/* A final restore stays final. */
static void test_no_way_back(void **state)
{
	(void)state;
	for (unsigned from = PAGER_OPENING; from < PAGER_PHASES; from++)
		for (unsigned to = 0; to <= from; to++)
			assert_null(mfd_pager_transition(from, to));
}

/* ---- the invariants ---- */

static struct mfd_pager *made(enum pager_phase phase)
{
	static struct mfd_pager p;

	memset(&p, 0, sizeof(p));
	pthread_mutex_init(&p.lock, NULL);
	p.sock.listen = p.sock.conn = -1;
	if (phase == PAGER_LISTENING || phase == PAGER_RESTORING || phase == PAGER_PROVISIONAL)
		p.sock.listen = 100;
	if (phase == PAGER_RESTORING)
		p.sock.conn = 101;
	if (phase == PAGER_PROVISIONAL)
		p.expect = PAGER_EXPECT_DECISION;
	if (phase == PAGER_AWAIT_STOP)
		p.expect = PAGER_EXPECT_STOP;
	atomic_store(&p.phase, phase);
	atomic_store(&p.pages, PAGER_PAGES_ALL);
	return &p;
}

static void check(struct mfd_pager *p)
{
	mfd_pager_check(p);
	mfd_pager_check_sock(p);
}

static void test_intact(void **state)
{
	(void)state;
	for (unsigned phase = 0; phase < PAGER_PHASES; phase++)
		if (phase != PAGER_NEW) /* before there is a socket */
			check(made(phase));
	mfd_pager_check(made(PAGER_NEW));
}

static struct pager_task task;
static struct pager_family family;

static void a_task(struct mfd_pager *p)
{
	p->tasks = p->last_task = &task;
}

static void no_last_task(struct mfd_pager *p)
{
	p->tasks = &task;
}

static void a_family(struct mfd_pager *p)
{
	p->families[3] = &family;
}

static void something_pending(struct mfd_pager *p)
{
	atomic_store(&p->pending, 1);
}

static void a_chunk_is_out(struct mfd_pager *p)
{
	task.cursor = 64;
	a_task(p);
}

static void failed_without_error(struct mfd_pager *p)
{
	atomic_store(&p->health, PAGER_FAILED);
}

static void failed(struct mfd_pager *p)
{
	failed_without_error(p);
	p->error.code = -5;
}

static void pages_come_in_safe_mode(struct mfd_pager *p)
{
	atomic_store(&p->pages, PAGER_PAGES_COME);
}

static void a_connection(struct mfd_pager *p)
{
	p->sock.conn = 101;
}

static void no_connection(struct mfd_pager *p)
{
	p->sock.conn = -1;
}

static void deposited_nothing(struct mfd_pager *p)
{
	no_connection(p);
	p->conn_deposited = 1;
}

static void deposited(struct mfd_pager *p)
{
	a_connection(p);
	p->conn_deposited = 1;
}

static void a_listener(struct mfd_pager *p)
{
	p->sock.listen = 100;
}

static void nothing_expected(struct mfd_pager *p)
{
	p->expect = PAGER_EXPECT_RUN;
}

static void to_done(struct mfd_pager *p)
{
	mfd_pager_enter_locked(p, PAGER_DONE);
}

static void to_listening(struct mfd_pager *p)
{
	mfd_pager_enter_locked(p, PAGER_LISTENING);
}

static const struct {
	enum pager_phase phase;
	void (*break_it)(struct mfd_pager *p);
} broken[] = {
	{ PAGER_LISTENING, a_task },
	{ PAGER_LISTENING, a_family },
	{ PAGER_LISTENING, something_pending },
	{ PAGER_LISTENING, a_connection },
	{ PAGER_RESTORING, a_chunk_is_out },
	{ PAGER_RESTORING, no_connection },
	{ PAGER_RESTORING, deposited_nothing },
	{ PAGER_RESTORING, no_last_task },
	{ PAGER_RESTORING, failed_without_error },
	{ PAGER_RESTORING, pages_come_in_safe_mode },
	{ PAGER_PROVISIONAL, a_chunk_is_out },
	{ PAGER_PROVISIONAL, nothing_expected },
	{ PAGER_OPENING, a_chunk_is_out },
	{ PAGER_OPENING, a_listener },
	{ PAGER_OPENING, deposited },
	{ PAGER_AWAIT_STOP, a_chunk_is_out },
	{ PAGER_AWAIT_STOP, nothing_expected },
	{ PAGER_FILLING, a_listener },
	{ PAGER_DONE, something_pending },
	{ PAGER_DONE, failed },
	/* Transitions that do not exist. */
	{ PAGER_LISTENING, to_done },
	{ PAGER_OPENING, to_done },
	{ PAGER_FILLING, to_listening },
	{ PAGER_DONE, to_done },
	/* One that does, at the wrong time. */
	{ PAGER_FILLING, failed },
};

static int status_of(unsigned i)
{
	struct mfd_pager *p = made(broken[i].phase);
	int status;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (!pid) {
		close(STDERR_FILENO);
		broken[i].break_it(p);
		if (broken[i].phase == PAGER_FILLING && broken[i].break_it == failed)
			to_done(p);
		check(p);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void test_broken(void **state)
{
	(void)state;
	for (unsigned i = 0; i < sizeof(broken) / sizeof(*broken); i++) {
		int status = status_of(i);

		if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGABRT)
			fail_msg("number %u, %s: status 0x%x", i,
				 mfd_pager_phase_name(broken[i].phase), (unsigned)status);
	}
}

/* ---- what a restore goes through ---- */

static enum pager_phase phase(void)
{
	return mfd_pager_phase(world.pager);
}

static void await_phase(enum pager_phase which)
{
	for (int i = 0; i < 60000 && phase() != which; i++)
		usleep(1000);
	assert_string_equal(mfd_pager_phase_name(phase()), mfd_pager_phase_name(which));
}

static void await_finished(void)
{
	for (int i = 0; i < 60000 && !mfd_pager_finished(world.pager); i++)
		usleep(1000);
	assert_true(mfd_pager_finished(world.pager));
}

/* Restores at step 1, finishes at step 2, and never looks at its memory. */
static void killed_restore(struct world *w)
{
	int sock;

	step_wait(&steps->test, 1);
	sock = task_restore(w, NULL);
	step_wait(&steps->test, 2);
	task_finished(sock);
	step_done(&steps->child, 1);
	pause();
}

/* Restores at step 3. */
static void kept_restore(struct world *w)
{
	int sock;

	step_wait(&steps->test, 3);
	sock = task_restore(w, NULL);
	task_finished(sock);
	task_check_all(w);
}

/* As the server's restorer: nothing of what it has ended stays deposited. */
static void kill_restore(pid_t pid)
{
	int status;

	kill(pid, SIGKILL);
	/* The thread of the pager that traces it may have its end; see child_end. */
	while (waitpid(pid, &status, 0) == pid && WIFSTOPPED(status))
		;
	assert_int_equal(kill(pid, 0), -1);
	pthread_mutex_lock(&world.lock);
	world.abandoned = 1;
	while (world.nheld)
		close(world.held[--world.nheld]);
	pthread_mutex_unlock(&world.lock);
}

static void keep_second(pid_t pid)
{
	mfd_pager_provisional(world.pager);
	step_done(&steps->test, 3);
	await_finished();
	assert_int_equal(phase(), PAGER_PROVISIONAL);
	assert_int_equal(world.restored, 0);
	mfd_pager_keep(world.pager);
	assert_true(phase() == PAGER_FILLING || phase() == PAGER_DONE);
	assert_int_equal(world.restored, 1);
	mfd_pager_undo(world.pager); /* no effect on a final restore */
	mfd_pager_keep(world.pager);
	world_wait_done(&world);
	assert_int_equal(phase(), PAGER_DONE);
	assert_int_equal(world.restored, 1);
	assert_int_equal(mfd_pagestore_bytes(world.store), 0);
	child_end(pid);
	world_close(&world);
}

static void begin(pid_t *first, pid_t *second)
{
	world_open(&world, 1000, 1000, 0);
	world_bring(&world, 0, world.pages);
	*first = child_start(&world, killed_restore);
	*second = child_start(&world, kept_restore);
	world_start(&world, 2);
	assert_int_equal(phase(), PAGER_LISTENING);
	mfd_pager_provisional(world.pager);
	step_done(&steps->test, 1);
	await_phase(PAGER_RESTORING);
	while (!atomic_load(&world.pager->ntasks))
		usleep(1000);
}

static void test_undo(void **state)
{
	uint64_t before;
	pid_t first, second;

	(void)state;
	begin(&first, &second);
	before = mfd_pagestore_bytes(world.store);
	step_done(&steps->test, 2);
	await_phase(PAGER_PROVISIONAL);
	assert_int_equal(world.restored, 0);
	kill_restore(first);
	mfd_pager_undo(world.pager);
	assert_int_equal(phase(), PAGER_LISTENING);
	assert_int_equal(mfd_pagestore_bytes(world.store), before);
	keep_second(second);
}

/* The last word of a restore that is undone has not been read yet: it does not make it final. */
static void test_undo_unread(void **state)
{
	pid_t first, second;

	(void)state;
	begin(&first, &second);
	pthread_mutex_lock(&world.pager->sock_lock);
	step_done(&steps->test, 2);
	step_wait(&steps->child, 1);
	kill_restore(first);
	pthread_mutex_unlock(&world.pager->sock_lock);
	mfd_pager_undo(world.pager);
	assert_int_equal(phase(), PAGER_LISTENING);
	assert_int_equal(world.restored, 0);
	keep_second(second);
}

static int connected(void)
{
	int conn;

	pthread_mutex_lock(&world.pager->sock_lock);
	conn = world.pager->sock.conn;
	pthread_mutex_unlock(&world.pager->sock_lock);
	return conn >= 0;
}

/* A thread that an event went to comes when another has read the last word and the hang-up. */
static void test_event_late(void **state)
{
	pid_t first, second;

	(void)state;
	begin(&first, &second);
	step_done(&steps->test, 2);
	await_phase(PAGER_PROVISIONAL);
	kill_restore(first);
	while (connected())
		usleep(1000);
	mfd_pager_restore_event(world.pager);
	assert_int_equal(phase(), PAGER_PROVISIONAL);
	mfd_pager_undo(world.pager);
	mfd_pager_restore_event(world.pager);
	assert_int_equal(phase(), PAGER_LISTENING);
	keep_second(second);
}

/* Kept before its last word: final as soon as CRIU has finished. */
static void test_keep_early(void **state)
{
	pid_t first, second;

	(void)state;
	begin(&first, &second);
	mfd_pager_keep(world.pager);
	assert_int_equal(phase(), PAGER_RESTORING);
	step_done(&steps->test, 2);
	world_wait_done(&world);
	assert_int_equal(phase(), PAGER_DONE);
	kill_restore(first);
	kill_restore(second);
	world_close(&world);
}

static void early_restore(struct world *w)
{
	int sock;

	step_wait(&steps->test, 1);
	sock = task_restore(w, NULL);
	if (madvise(w->area, w->span * PAGE, MADV_HUGEPAGE))
		die("madvise");
	task_finished(sock);
	step_wait(&steps->test, 2);
	task_check_all(w);
}

static void test_early(void **state)
{
	pid_t pid;

	(void)state;
	world_open(&world, 3000, 3000, 1);
	pid = child_start(&world, early_restore);
	world_start(&world, 2);
	mfd_pager_expect_stop(world.pager, 1);
	step_done(&steps->test, 1);
	await_finished();
	assert_int_equal(phase(), mfd_thp_here() ? PAGER_AWAIT_STOP : PAGER_FILLING);
	assert_int_equal(mfd_pager_tasks_stopped(world.pager), mfd_thp_here());
	assert_int_equal(phase(), mfd_thp_here() ? PAGER_STOPPED : PAGER_FILLING);
	world_bring(&world, 0, world.pages);
	assert_int_equal(mfd_pager_make_whole(world.pager), 0);
	assert_true(phase() == PAGER_FILLING || phase() == PAGER_DONE);
	step_done(&steps->test, 2);
	mfd_pager_complete(world.pager);
	world_wait_done(&world);
	assert_int_equal(phase(), PAGER_DONE);
	child_end(pid);
	world_close(&world);
}

/* A failure is told once, in whatever phase; it does not change the phase. */
static void test_failure(void **state)
{
	(void)state;
	world_open(&world, 10, 10, 0);
	world_start(&world, 2);
	mfd_pager_fail(world.pager, -EIO, "first");
	mfd_pager_fail(world.pager, -ENOMEM, "second");
	world_wait(&world.done, 1);
	assert_int_equal(world.done, 1);
	assert_int_equal(world.done_code, -EIO);
	assert_int_equal(phase(), PAGER_LISTENING);
	assert_int_equal(atomic_load(&world.pager->health), PAGER_FAILURE_TOLD);
	world_close(&world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),	   cmocka_unit_test(test_no_way_back),
		cmocka_unit_test(test_intact),	   cmocka_unit_test(test_broken),
		cmocka_unit_test(test_undo),	   cmocka_unit_test(test_undo_unread),
		cmocka_unit_test(test_event_late), cmocka_unit_test(test_keep_early),
		cmocka_unit_test(test_early),	   cmocka_unit_test(test_failure),
	};

	return cmocka_run_group_tests(tests, restored_needs_root, NULL);
}
