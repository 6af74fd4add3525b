// SPDX-License-Identifier: GPL-2.0-only
/* A peer's limit, shared by its sessions. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "io.h"
#include "pace.h"
#include "session.h"

#define RATE 1000000U

/* A session that begins does not forgive what the others of its peer have sent. */
static void test_pace(void **state)
{
	static struct mfd_server sv;
	static struct mfd_session s[2];
	struct mfd_right right = { .max_bandwidth = RATE };
	struct mfd_pace *p[2];
	uint64_t start;

	(void)state;
	for (int i = 0; i < 2; i++) {
		s[i].owner.right = &right;
		p[i] = mfd_pace_take(&sv, &s[i]);
		assert_non_null(p[i]);
		if (!i)
			mfd_pace_wait(p[0], RATE / 2, 0); /* for half a second */
	}
	assert_ptr_equal(p[0], p[1]);
	start = mfd_io_now_ms();
	mfd_pace_wait(p[1], 1000, 0);
	assert_true(mfd_io_now_ms() - start >= 200);
	mfd_pace_put(&sv, p[0]);
	mfd_pace_put(&sv, p[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pace),
	};

	return cmocka_run_group_tests_name("pace", tests, NULL, NULL);
}
