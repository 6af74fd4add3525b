// SPDX-License-Identifier: GPL-2.0-only
/*
 * The state machine of a session on the target: each transition of the table is accepted, every
 * other one ends the process, and so does each broken invariant.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "assert.h"
#include "log.h"
#include "session.h"

static struct mfd_server server;

/* A session that holds together in this phase, to its last field that an invariant looks at. */
static void set_up(struct mfd_session *s, enum mfd_plan_id plan, enum mfd_phase phase)
{
	static char no_pager_at_all;

	memset(s, 0, sizeof(*s));
	snprintf(s->name, sizeof(s->name), "web");
	s->server = &server;
	s->plan = mfd_plan(plan);
	s->phase = phase;
	if (phase >= MFD_PHASE_IMAGES && s->plan->follow)
		atomic_store(&s->pager, (struct mfd_pager *)&no_pager_at_all);
	if (phase == MFD_PHASE_SETTLING || phase >= MFD_PHASE_READY)
		atomic_store(&s->sealed, 1);
	if (phase == MFD_PHASE_RUNNING)
		s->leave = MFD_LEAVE_GIVEN;
	s->huge = s->plan->early && phase == MFD_PHASE_SETTLING;
	atomic_store(&s->restore.phase, s->huge || phase == MFD_PHASE_RESTORED ?
						MFD_RESTORE_STOPPED :
						MFD_RESTORE_NONE);
}

/* What its function does to a session in `from` before it enters `to`. */
static void prepare(struct mfd_session *s, enum mfd_plan_id plan, enum mfd_phase from,
		    enum mfd_phase to)
{
	struct mfd_session *goal = aligned_alloc(64, sizeof(*goal));

	assert_non_null(goal);
	set_up(s, plan, from);
	set_up(goal, plan, to);
	atomic_store(&s->pager, atomic_load(&goal->pager));
	atomic_store(&s->sealed, atomic_load(&goal->sealed));
	s->huge = goal->huge;
	atomic_store(&s->restore.phase, mfd_restore_phase(&goal->restore));
	s->leave = goal->leave;
	if (to == MFD_PHASE_DONE) {
		s->over = MFD_OVER_DONE;
		s->copy = MFD_COPY_INSTALLED;
	}
	if (to == MFD_PHASE_ABORTED) {
		s->over = MFD_OVER_ABORTED;
		s->leave = MFD_LEAVE_REFUSED;
	}
	free(goal);
}

/* Run fn in a child: nonzero if an assertion has ended it, with the session's name in the log. */
static int asserts(void (*fn)(struct mfd_session *, int), struct mfd_session *s, int arg)
{
	char text[1024];
	int p[2], status;
	size_t len = 0;
	ssize_t n;
	pid_t pid;

	assert_int_equal(pipe(p), 0);
	pid = fork();
	if (!pid) {
		mfd_log_fd_set(p[1]);
		mfd_assert_context(mfd_session_say, s);
		fn(s, arg);
		_exit(0);
	}
	close(p[1]);
	while ((n = read(p[0], text + len, sizeof(text) - 1 - len)) > 0)
		len += (size_t)n;
	text[len] = 0;
	close(p[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && !WEXITSTATUS(status))
		return 0;
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	assert_non_null(strstr(text, "assertion failed"));
	assert_non_null(strstr(text, "session web, plan "));
	return 1;
}

static void enter(struct mfd_session *s, int to)
{
	mfd_session_enter(s, (enum mfd_phase)to);
}

static void check(struct mfd_session *s, int unused)
{
	(void)unused;
	mfd_session_check(s);
}

static int is_reload(const struct mfd_transition *t)
{
	return t->from == MFD_PHASE_NONE && t->to > MFD_PHASE_STREAMING;
}

/* Every one of the table, by each plan that has it. */
static void test_legal(void **state)
{
	struct mfd_session *s = *state;

	for (size_t i = 0; i < mfd_transitions_n; i++) {
		const struct mfd_transition *t = &mfd_transitions[i];

		for (unsigned plan = 0; plan < MFD_PLANS; plan++) {
			if (!(t->plans & MFD_TURN_PLAN(plan)))
				continue;
			prepare(s, plan, t->from, t->to);
			if (is_reload(t))
				mfd_session_load(s, t->to);
			else
				mfd_session_enter(s, t->to);
			assert_int_equal(s->phase, t->to);
			assert_null(mfd_session_broken_invariant(s));
		}
	}
}

static void test_illegal(void **state)
{
	struct mfd_session *s = *state;
	unsigned refused = 0;

	mfd_log_level_set(MFD_LOG_ERROR);
	for (unsigned plan = 0; plan < MFD_PLANS; plan++)
		for (unsigned from = 0; from < MFD_PHASES; from++)
			for (unsigned to = 0; to < MFD_PHASES; to++) {
				if (mfd_phase_legal(from, to, plan))
					continue;
				prepare(s, plan, from, to);
				assert_true(asserts(enter, s, (int)to));
				refused++;
			}
	assert_true(refused > 500);
}

/* The worst of them, one by one. */
static void test_never(void **state)
{
	(void)state;
	for (unsigned plan = 0; plan < MFD_PLANS; plan++) {
		assert_false(mfd_phase_legal(MFD_PHASE_COMMITTED, MFD_PHASE_READY, plan));
		assert_false(mfd_phase_legal(MFD_PHASE_RUNNING, MFD_PHASE_RESTORABLE, plan));
		assert_false(mfd_phase_legal(MFD_PHASE_RUNNING, MFD_PHASE_COMMITTED, plan));
		assert_false(mfd_phase_legal(MFD_PHASE_IMAGES, MFD_PHASE_COMMITTED, plan));
		assert_false(mfd_phase_legal(MFD_PHASE_ABORTED, MFD_PHASE_STREAMING, plan));
	}
}

/* No phase without a way out, and each can be reached. */
static void test_ways(void **state)
{
	(void)state;
	for (unsigned plan = 0; plan < MFD_PLANS; plan++)
		for (unsigned at = MFD_PHASE_QUEUED; at < MFD_PHASES; at++) {
			int in = 0, out = 0, any = 0;

			for (unsigned other = 0; other < MFD_PHASES; other++) {
				in |= mfd_phase_legal(other, at, plan);
				out |= mfd_phase_legal(at, other, plan);
			}
			any = in || out;
			if (any && at != MFD_PHASE_DONE && at != MFD_PHASE_ABORTED)
				assert_true(in && out);
		}
}

static void no_leave_given(struct mfd_session *s)
{
	s->leave = MFD_LEAVE_GIVEN;
}

static void pages_let_in(struct mfd_session *s)
{
	atomic_store(&s->sealed, !atomic_load(&s->sealed));
}

static void in_doubt(struct mfd_session *s)
{
	s->in_doubt = 1;
}

static void continued(struct mfd_session *s)
{
	atomic_store(&s->restore.phase, MFD_RESTORE_CONTINUED);
}

static void not_restored(struct mfd_session *s)
{
	atomic_store(&s->restore.phase, MFD_RESTORE_NONE);
}

static void no_plan(struct mfd_session *s)
{
	s->plan = NULL;
}

static void pager_gone(struct mfd_session *s)
{
	atomic_store(&s->pager, NULL);
}

static void channels_join(struct mfd_session *s)
{
	s->link.state = MFD_LINK_JOINING;
}

/* What one step of a session must never find. */
static void test_invariants(void **state)
{
	static const struct {
		enum mfd_plan_id plan;
		enum mfd_phase phase;
		void (*break_it)(struct mfd_session *s);
	} all[] = {
		{ MFD_PLAN_SAFE, MFD_PHASE_IMAGES, no_leave_given },
		{ MFD_PLAN_POSTCOPY, MFD_PHASE_RESTORABLE, no_leave_given },
		{ MFD_PLAN_SAFE, MFD_PHASE_STREAMING, pages_let_in },
		{ MFD_PLAN_SAFE, MFD_PHASE_READY, pages_let_in },
		{ MFD_PLAN_POSTCOPY, MFD_PHASE_RUNNING, pages_let_in },
		{ MFD_PLAN_SAFE, MFD_PHASE_IMAGES, in_doubt },
		{ MFD_PLAN_SAFE, MFD_PHASE_COMMITTED, in_doubt },
		{ MFD_PLAN_SAFE_CONFIRM, MFD_PHASE_READY, continued },
		{ MFD_PLAN_EARLY, MFD_PHASE_RESTORED, continued },
		{ MFD_PLAN_EARLY, MFD_PHASE_SETTLING, not_restored },
		{ MFD_PLAN_SAFE_CONFIRM, MFD_PHASE_RESTORED, not_restored },
		{ MFD_PLAN_POSTCOPY, MFD_PHASE_RUNNING, pager_gone },
		{ MFD_PLAN_SAFE, MFD_PHASE_QUEUED, channels_join },
		{ MFD_PLAN_SAFE, MFD_PHASE_STREAMING, no_plan },
	};
	struct mfd_session *s = *state;

	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
		set_up(s, all[i].plan, all[i].phase);
		assert_false(asserts(check, s, 0));
		all[i].break_it(s);
		assert_non_null(mfd_session_broken_invariant(s));
		assert_true(asserts(check, s, 0));
	}
	/* In postcopy they run before READY, and a running session may be in doubt. */
	set_up(s, MFD_PLAN_POSTCOPY_CONFIRM, MFD_PHASE_RUNNING);
	continued(s);
	s->in_doubt = 1;
	assert_null(mfd_session_broken_invariant(s));
}

static int make(void **state)
{
	*state = aligned_alloc(64, sizeof(struct mfd_session));
	return *state ? 0 : -1;
}

static int drop(void **state)
{
	free(*state);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_legal),	   cmocka_unit_test(test_illegal),
		cmocka_unit_test(test_never),	   cmocka_unit_test(test_ways),
		cmocka_unit_test(test_invariants),
	};

	return cmocka_run_group_tests(tests, make, drop);
}
