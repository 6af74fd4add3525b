// SPDX-License-Identifier: GPL-2.0-only
/* What a source may ask of criu restore. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "options_allowed.h"

static int check(const char *option, struct mfd_error *err)
{
	char *list[] = { (char *)"shell-job", (char *)option };

	*err = (struct mfd_error){ 0 };
	return mfd_options_allowed_check(list, 2, err);
}

static void test_allowed(void **state)
{
	static const char *const good[] = {
		"tcp-established",
		"tcp-close",
		"skip-in-flight",
		"shell-job",
		"ext-unix-sk",
		"file-locks",
		"link-remap",
		"manage-cgroups",
		"manage-cgroups=ignore",
		"manage-cgroups=full",
		"network-lock=iptables",
		"network-lock=skip",
		"network-lock=nftables",
	};
	struct mfd_error err;

	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
		assert_int_equal(check(good[i], &err), 0);
	assert_int_equal(mfd_options_allowed_check(NULL, 0, &err), 0);
}

static void test_refused(void **state)
{
	static const char *const bad[] = {
		"",
		"=",
		"exec-cmd",
		"action-script=/bin/sh",
		"root=/",
		"--tcp-established",
		"tcp",
		"tcp-establishedx",
		"tcp-established=",
		"tcp-established=1",
		"network-lock",
		"network-lock=",
		"network-lock=/bin/sh",
		"manage-cgroups=",
		"manage-cgroups=full --root=/",
		"libdir=/tmp",
		"inherit-fd=fd[1]:x",
		"shell-job\n--root",
	};
	struct mfd_error err;

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		assert_int_equal(check(bad[i], &err), -EPERM);
		assert_non_null(strstr(err.text, "is not one that a source may ask for"));
	}
}

static void test_too_many(void **state)
{
	char *list[MFD_OPTIONS_ALLOWED_MAX + 1];
	struct mfd_error err = { 0 };
	size_t i;

	for (i = 0; i <= MFD_OPTIONS_ALLOWED_MAX; i++)
		list[i] = (char *)"shell-job";
	i = MFD_OPTIONS_ALLOWED_MAX;
	assert_int_equal(mfd_options_allowed_check(list, i, &err), 0);
	assert_int_equal(mfd_options_allowed_check(list, i + 1, &err), -EPERM);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_allowed),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_too_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
