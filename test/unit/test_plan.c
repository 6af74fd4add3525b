// SPDX-License-Identifier: GPL-2.0-only
/* The plans of a session: which wish, and which session.img, leads to which of the five. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "plan.h"

static const struct mfd_plan *granted(int postcopy, int confirm, int early, int may_early)
{
	Mfd__Hello h = MFD__HELLO__INIT;

	h.postcopy = postcopy;
	h.confirm_restore = confirm;
	h.early_restore = early;
	return mfd_plan_granted(&h, may_early);
}

static void test_granted(void **state)
{
	static const struct {
		int postcopy, confirm, early, may_early;
		enum mfd_plan_id id;
	} wishes[] = {
		{ 0, 0, 0, 1, MFD_PLAN_SAFE },
		{ 0, 1, 0, 1, MFD_PLAN_SAFE_CONFIRM },
		{ 0, 1, 1, 1, MFD_PLAN_EARLY },
		{ 1, 0, 0, 1, MFD_PLAN_POSTCOPY },
		{ 1, 1, 0, 1, MFD_PLAN_POSTCOPY_CONFIRM },
		/* Not everything that is asked for. */
		{ 0, 1, 1, 0, MFD_PLAN_SAFE_CONFIRM },
		{ 0, 0, 1, 1, MFD_PLAN_SAFE },
		{ 1, 0, 1, 1, MFD_PLAN_POSTCOPY },
		{ 1, 1, 1, 1, MFD_PLAN_POSTCOPY_CONFIRM },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(wishes) / sizeof(*wishes); i++)
		assert_ptr_equal(granted(wishes[i].postcopy, wishes[i].confirm, wishes[i].early,
					 wishes[i].may_early),
				 mfd_plan(wishes[i].id));
}

/* What is written is found again; what no plan writes is no plan. */
static void test_loaded(void **state)
{
	Mfd__SessionEntry e = MFD__SESSION_ENTRY__INIT;

	(void)state;
	for (unsigned id = 0; id < MFD_PLANS; id++) {
		mfd_plan_entry(mfd_plan(id), &e);
		assert_ptr_equal(mfd_plan_loaded(&e), mfd_plan(id));
	}
	mfd__session_entry__init(&e);
	e.early_restore = 1;
	assert_null(mfd_plan_loaded(&e));
	e.confirm_restore = e.postcopy = 1;
	assert_null(mfd_plan_loaded(&e));
}

#define BIT(phase) MFD_TURN_PHASE(MFD_PHASE_##phase)

/* With precopy the tasks of an early restore are no more precious than those of safe+confirm. */
static void test_early_precopy(void **state)
{
	Mfd__SessionEntry e = MFD__SESSION_ENTRY__INIT;
	Mfd__Hello h = MFD__HELLO__INIT;
	const struct mfd_plan *p;

	(void)state;
	h.confirm_restore = h.early_restore = h.precopy = 1;
	p = mfd_plan_granted(&h, 1);
	assert_int_equal(p->id, MFD_PLAN_EARLY);
	assert_true(p->whole && p->follow && p->early && p->confirm);
	assert_int_equal(p->precious | p->unconfirmed, 0);
	assert_int_equal(p->abortable, mfd_plan(MFD_PLAN_SAFE_CONFIRM)->abortable);
	mfd_plan_entry(p, &e);
	e.precopy = 1;
	assert_ptr_equal(mfd_plan_loaded(&e), p);
	assert_ptr_equal(mfd_plan_granted(&h, 0), mfd_plan(MFD_PLAN_SAFE_CONFIRM));
	h.postcopy = 1;
	assert_ptr_equal(mfd_plan_granted(&h, 1), mfd_plan(MFD_PLAN_POSTCOPY_CONFIRM));
}

static void test_rows(void **state)
{
	(void)state;
	for (unsigned id = 0; id < MFD_PLANS; id++) {
		const struct mfd_plan *p = mfd_plan(id);

		assert_int_equal(p->id, id);
		assert_string_equal(p->name, mfd_turns_plan(id));
		assert_int_equal(p->follow, p->postcopy || p->early);
		assert_int_equal(p->whole, !p->follow);
		assert_true(!p->early || (p->confirm && !p->postcopy));
		/* The source holds the only copy, or cannot let go any more. */
		assert_true(p->abortable & BIT(STREAMING));
		assert_false(p->abortable & (BIT(RUNNING) | BIT(READY) | BIT(COMMITTED)));
		/* What may be lost without a loss is not precious. */
		assert_false(p->abortable & p->precious);
		assert_int_equal(p->precious, p->follow ? BIT(READY) | BIT(RESTORED) : 0);
		assert_true(p->restore_from & BIT(COMMITTED));
		assert_false(p->restore_from & BIT(STREAMING));
		assert_int_equal(!!(p->restore_from & BIT(READY)), p->confirm || p->postcopy);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_granted),
					    cmocka_unit_test(test_loaded),
					    cmocka_unit_test(test_rows),
					    cmocka_unit_test(test_early_precopy) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
