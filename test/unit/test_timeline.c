// SPDX-License-Identifier: GPL-2.0-only
/* The list of what happened when: in its order, without what has not happened. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "timeline.h"

static void says(struct mfd_event *e, size_t n, uint64_t start, const char *want)
{
	struct json_object *j = mfd_timeline_json(e, n, start);

	assert_string_equal(json_object_to_json_string_ext(j, JSON_C_TO_STRING_PLAIN), want);
	json_object_put(j);
}

static void test_order(void **state)
{
	struct mfd_event e[] = {
		{ "c", 3500 }, { "never", 0 }, { "a", 1000 }, { "b", 1250 }, { "b2", 1250 }
	};

	(void)state;
	says(e, 5, 1000,
	     "[{\"phase\":\"a\",\"ms\":0.000},{\"phase\":\"b\",\"ms\":0.250},{\"phase\":\"b2\",\"ms\":0.250},"
	     "{\"phase\":\"c\",\"ms\":2.500}]");
	/* A clock that was set back in between. */
	says(e + 1, 1, 1200, "[{\"phase\":\"a\",\"ms\":0.000}]");
	says(e, 1, 1000, "[]");
	says(NULL, 0, 0, "[]");
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_order) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
