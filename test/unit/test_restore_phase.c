// SPDX-License-Identifier: GPL-2.0-only
/* The phases of the server's restore: the table of transitions, and what must hold in each. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "log.h"
#include "restore_run.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static pid_t a_task = 1;

/* ---- the table ---- */

/* Row: from, column: to, in the order of the enum. */
static const char *const expected[MFD_RESTORE_PHASES] = {
	[MFD_RESTORE_NONE] = "-A-S--",	    [MFD_RESTORE_AT_WORK] = "N-E---",
	[MFD_RESTORE_ENDED] = "N--S-R",	    [MFD_RESTORE_STOPPED] = "N---CR",
	[MFD_RESTORE_CONTINUED] = "N----R", [MFD_RESTORE_RELEASED] = "------",
};

static void test_table(void **state)
{
	for (unsigned from = 0; from < MFD_RESTORE_PHASES; from++) {
		for (unsigned to = 0; to < MFD_RESTORE_PHASES; to++) {
			const char *by = mfd_restore_transition(from, to);

			if (!by != (expected[from][to] == '-'))
				fail_msg("%s -> %s: %s", mfd_restore_phase_name(from),
					 mfd_restore_phase_name(to), by ? by : "no transition");
		}
	}
}

/* ---- the invariants ---- */

static struct mfd_restore made(enum mfd_restore_phase phase)
{
	struct mfd_restore r;

	mfd_restore_init(&r,
			 &(struct mfd_restore_what){ .name = "web", .lock = &lock, .cond = &cond });
	if (phase == MFD_RESTORE_STOPPED || phase == MFD_RESTORE_CONTINUED) {
		r.warden = a_task;
		r.warden_fd = 100;
		r.tasks = &a_task;
		r.n_tasks = r.n_alive = 1;
	}
	atomic_store(&r.phase, phase);
	return r;
}

/* Run fn in a child: nonzero if an assertion has ended it. */
static int asserts(void (*fn)(struct mfd_restore *, int), struct mfd_restore *r, int arg)
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		mfd_log_level_set(MFD_LOG_ERROR);
		close(STDERR_FILENO);
		fn(r, arg);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) ? WTERMSIG(status) == SIGABRT : !WEXITSTATUS(status));
	return WIFSIGNALED(status);
}

static void enter(struct mfd_restore *r, int to)
{
	mfd_restore_enter_locked(r, (enum mfd_restore_phase)to);
}

static void check(struct mfd_restore *r, int unused)
{
	mfd_restore_check(r);
}

/* What the function that makes the step does before it. */
static struct mfd_restore prepared(enum mfd_restore_phase from, enum mfd_restore_phase to)
{
	struct mfd_restore r = made(to);

	atomic_store(&r.phase, from);
	return r;
}

static void test_steps(void **state)
{
	for (unsigned from = 0; from < MFD_RESTORE_PHASES; from++) {
		for (unsigned to = 0; to < MFD_RESTORE_PHASES; to++) {
			struct mfd_restore r = prepared(from, to);

			assert_int_equal(asserts(enter, &r, (int)to), expected[from][to] == '-');
		}
	}
}

static void a_link(struct mfd_restore *r)
{
	r->link = 100;
}

static void a_root(struct mfd_restore *r)
{
	r->root = a_task;
}

static void a_warden_without_fd(struct mfd_restore *r)
{
	r->warden = a_task;
	r->warden_fd = -1;
}

static void more_than_alive(struct mfd_restore *r)
{
	r->n_alive = 0;
}

static void tasks_lost(struct mfd_restore *r)
{
	r->tasks = NULL;
}

static void test_invariants(void **state)
{
	static const struct {
		enum mfd_restore_phase phase;
		void (*break_it)(struct mfd_restore *r);
	} all[] = {
		{ MFD_RESTORE_NONE, a_link },
		{ MFD_RESTORE_NONE, a_root },
		{ MFD_RESTORE_NONE, a_warden_without_fd },
		{ MFD_RESTORE_AT_WORK, a_warden_without_fd },
		{ MFD_RESTORE_ENDED, a_link },
		{ MFD_RESTORE_STOPPED, a_link },
		{ MFD_RESTORE_STOPPED, a_warden_without_fd },
		{ MFD_RESTORE_STOPPED, more_than_alive },
		{ MFD_RESTORE_CONTINUED, tasks_lost },
		{ MFD_RESTORE_RELEASED, a_warden_without_fd },
	};

	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
		struct mfd_restore r = made(all[i].phase);

		assert_false(asserts(check, &r, 0));
		all[i].break_it(&r);
		assert_true(asserts(check, &r, 0));
	}
}

/* ---- what the owner asks ---- */

static void test_questions(void **state)
{
	for (unsigned phase = 0; phase < MFD_RESTORE_PHASES; phase++) {
		struct mfd_restore r = made(phase);

		assert_int_equal(mfd_restore_is_under_way(&r),
				 phase == MFD_RESTORE_AT_WORK || phase == MFD_RESTORE_ENDED);
		assert_int_equal(mfd_restore_has_tasks(&r), phase >= MFD_RESTORE_STOPPED);
	}
}

/* A session may end in any phase, and twice. */
static void test_end(void **state)
{
	for (unsigned phase = 0; phase < MFD_RESTORE_STOPPED; phase++) {
		struct mfd_restore r = made(phase);

		mfd_restore_kill(&r);
		mfd_restore_kill(&r);
		assert_int_equal(mfd_restore_phase(&r),
				 phase == MFD_RESTORE_ENDED ? MFD_RESTORE_NONE : phase);
		r = made(phase);
		mfd_restore_release(&r);
		mfd_restore_release(&r);
		assert_int_equal(mfd_restore_phase(&r),
				 phase == MFD_RESTORE_ENDED ? MFD_RESTORE_RELEASED : phase);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),	   cmocka_unit_test(test_steps),
		cmocka_unit_test(test_invariants), cmocka_unit_test(test_questions),
		cmocka_unit_test(test_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
