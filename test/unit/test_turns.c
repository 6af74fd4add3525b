// SPDX-License-Identifier: GPL-2.0-only
/* The table of permitted messages: what is taken, dropped and refused, plan by plan. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "turns.h"

static enum mfd_turn_answer ask(unsigned type, enum mfd_plan_id plan, enum mfd_phase phase)
{
	return mfd_turns_ask(MFD_SIDE_SOURCE, type, plan, phase);
}

static int is_postcopy(unsigned plan)
{
	return plan == MFD_PLAN_POSTCOPY || plan == MFD_PLAN_POSTCOPY_CONFIRM;
}

/* IMAGES comes once; END when pages may come; each is an error otherwise. */
static void test_pages(void **state)
{
	(void)state;
	for (unsigned plan = 0; plan < MFD_PLANS; plan++)
		for (unsigned at = 0; at < MFD_PHASES; at++) {
			int full = at == MFD_PHASE_STREAMING || at == MFD_PHASE_IMAGES ||
				   at == MFD_PHASE_SETTLING;
			int post = at == MFD_PHASE_RESTORABLE || at == MFD_PHASE_RUNNING;

			assert_int_equal(ask(MFD_WIRE_IMAGES, plan, at), at == MFD_PHASE_STREAMING ?
										 MFD_TURN_TAKEN :
										 MFD_TURN_REFUSED);
			assert_int_equal(ask(MFD_WIRE_END, plan, at),
					 (is_postcopy(plan) ? post : full) ? MFD_TURN_TAKEN :
									     MFD_TURN_REFUSED);
		}
}

/* Leave to run: taken once, and a late one is never an error. */
static void test_leave(void **state)
{
	(void)state;
	for (unsigned plan = 0; plan < MFD_PLANS; plan++)
		for (unsigned at = MFD_PHASE_QUEUED; at <= MFD_PHASE_COMMITTED; at++)
			assert_int_equal(ask(MFD_WIRE_STARTED_OK, plan, at),
					 is_postcopy(plan) && at == MFD_PHASE_RESTORABLE ?
						 MFD_TURN_TAKEN :
						 MFD_TURN_IGNORED);
}

static void test_end(void **state)
{
	(void)state;
	for (unsigned plan = 0; plan < MFD_PLANS; plan++)
		for (unsigned at = MFD_PHASE_QUEUED; at <= MFD_PHASE_COMMITTED; at++) {
			assert_int_equal(ask(MFD_WIRE_COMMIT, plan, at),
					 at >= MFD_PHASE_READY ? MFD_TURN_TAKEN : MFD_TURN_REFUSED);
			assert_int_equal(ask(MFD_WIRE_ABORT, plan, at), at < MFD_PHASE_COMMITTED ?
										MFD_TURN_TAKEN :
										MFD_TURN_IGNORED);
		}
}

static void test_rows(void **state)
{
	(void)state;
	for (size_t i = 0; i < mfd_turns_n; i++) {
		const struct mfd_turn *t = &mfd_turns[i];

		assert_true(t->type >= 1 && t->type <= MFD_WIRE_MSG_MAX);
		assert_non_null(mfd_turns_find(t->from, t->type));
		assert_true(t->plans && !(t->plans >> MFD_PLANS));
		assert_true((t->phases | t->ignored) && !(t->phases & t->ignored));
	}
	/* A message that only the target sends. */
	assert_null(mfd_turns_find(MFD_SIDE_SOURCE, MFD_WIRE_READY));
	assert_int_equal(ask(MFD_WIRE_READY, MFD_PLAN_SAFE, MFD_PHASE_IMAGES), MFD_TURN_REFUSED);
	/* Nothing may come when a session is over. */
	assert_int_equal(ask(MFD_WIRE_COMMIT, MFD_PLAN_SAFE, MFD_PHASE_DONE), MFD_TURN_REFUSED);
	assert_int_equal(ask(MFD_WIRE_ABORT, MFD_PLAN_SAFE, MFD_PHASE_ABORTED), MFD_TURN_REFUSED);
}

static void test_names(void **state)
{
	(void)state;
	assert_string_equal(mfd_turns_plan(MFD_PLAN_POSTCOPY_CONFIRM), "postcopy+confirm");
	assert_string_equal(mfd_turns_plan(MFD_PLANS), "unknown");
	assert_string_equal(mfd_turns_phase(MFD_PHASE_SETTLING), "settling");
	assert_string_equal(mfd_turns_phase(MFD_PHASES), "unknown");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pages), cmocka_unit_test(test_leave),
		cmocka_unit_test(test_end),   cmocka_unit_test(test_rows),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
