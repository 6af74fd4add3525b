// SPDX-License-Identifier: GPL-2.0-only
/* Addresses that move, as text, and what a target allows. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "netaddr.h"

static void test_good(void **state)
{
	struct mfd_netaddr a;

	assert_int_equal(mfd_netaddr_parse("10.1.2.3/24@eth0", &a, NULL), 0);
	assert_string_equal(a.text, "10.1.2.3/24");
	assert_string_equal(a.from, "eth0");
	assert_string_equal(a.to, "eth0");
	assert_int_equal(mfd_netaddr_parse("FD00:0:0::1/64@veth1.5:br-0", &a, NULL), 0);
	assert_string_equal(a.text, "fd00::1/64");
	assert_string_equal(a.from, "veth1.5");
	assert_string_equal(a.to, "br-0");
}

static void test_bad(void **state)
{
	static const char *const words[] = {
		"",
		"10.1.2.3",
		"10.1.2.3@eth0",
		"10.1.2.3/24",
		"10.1.2.3/24@",
		"10.1.2.3/33@e",
		"10.1.2.3/0@e",
		"10.1.2.3/-1@e",
		"10.1.2.3/2x@e",
		"10.1.2/24@e",
		"10.1.2.3/24@e:",
		"10.1.2.3/24@:e",
		"10.1.2.3/24@a b",
		"10.1.2.3/24@a/b",
		"10.1.2.3/24@..",
		"127.0.0.1/8@lo",
		"0.0.0.0/8@e",
		"224.0.0.1/4@e",
		"ff02::1/64@e",
		"fd00::1/129@e",
		"10.1.2.3/24@a:b:c",
		"10.1.2.3/0000024@e",
		"host/24@e",
		"10.1.2.3/24@sixteenletters16",
	};
	struct mfd_netaddr a;

	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
		struct mfd_error err = { 0 };

		assert_int_equal(mfd_netaddr_parse(words[i], &a, &err), -EINVAL);
		assert_true(err.text[0]);
	}
}

static void test_list(void **state)
{
	struct mfd_netaddr a[MFD_NETADDR_MAX];
	char many[1024] = "";

	assert_int_equal(mfd_netaddr_parse_list(NULL, a, NULL), 0);
	assert_int_equal(mfd_netaddr_parse_list("", a, NULL), 0);
	assert_int_equal(mfd_netaddr_parse_list("10.1.2.3/24@a,fd00::1/64@b", a, NULL), 2);
	assert_string_equal(a[1].from, "b");
	assert_int_equal(mfd_netaddr_parse_list("10.1.2.3/24@a,10.1.2.3/32@b", a, NULL), -EINVAL);
	for (int i = 0; i <= MFD_NETADDR_MAX; i++)
		sprintf(many + strlen(many), "10.1.2.%d/24@a,", i + 1);
	assert_int_equal(mfd_netaddr_parse_list(many, a, NULL), -EINVAL);
}

static int allowed(const char *word, const char *rule)
{
	struct mfd_netaddr a;

	assert_int_equal(mfd_netaddr_parse(word, &a, NULL), 0);
	assert_true(mfd_netaddr_rule_ok(rule));
	return mfd_netaddr_allowed(&a, rule);
}

static void test_rules(void **state)
{
	assert_true(allowed("10.1.2.3/24@a", "any"));
	assert_true(allowed("10.1.2.3/24@a", "10.1.2.3"));
	assert_true(allowed("10.1.2.3/24@a", "10.1.2.3/24"));
	assert_true(allowed("10.1.2.3/24@a", "10.1.0.0/16"));
	assert_true(allowed("fd00::5/64@a", "fd00::/8"));
	assert_false(allowed("10.1.2.4/24@a", "10.1.2.3/24")); /* host bits: that address alone */
	assert_false(allowed("10.1.2.4/24@a", "10.1.2.3"));
	assert_false(allowed("10.2.2.3/24@a", "10.1.0.0/16"));
	assert_false(allowed("fd00::5/64@a", "10.1.0.0/16"));
	assert_false(mfd_netaddr_rule_ok("all"));
	assert_false(mfd_netaddr_rule_ok("10.1.2.3/40"));
	assert_false(mfd_netaddr_rule_ok(""));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_list),
		cmocka_unit_test(test_rules),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
