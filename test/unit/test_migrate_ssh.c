// SPDX-License-Identifier: GPL-2.0-only
/* migrate_ssh_url.c: what may stand behind --to ssh://. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "migrate_ssh.h"

static void is_taken(const char *url, const char *host, const char *port, const char *dir)
{
	struct mfd_migrate_ssh s = { 0 };
	struct mfd_error err = { 0 };

	assert_true(mfd_migrate_ssh_is(url));
	assert_int_equal(mfd_migrate_ssh_parse(&s, url, &err), 0);
	assert_string_equal(s.host, host);
	assert_string_equal(s.port, port);
	assert_string_equal(s.dir, dir);
}

static void is_refused(const char *url)
{
	struct mfd_migrate_ssh s = { 0 };
	struct mfd_error err = { 0 };

	assert_int_equal(mfd_migrate_ssh_parse(&s, url, &err), -EINVAL);
	assert_int_equal(err.code, -EINVAL);
}

static void what_is_taken(void **state)
{
	(void)state;
	is_taken("ssh://db2", "db2", "", "");
	is_taken("ssh://db2/", "db2", "", "");
	is_taken("ssh://root@db2:2222/run/x y", "root@db2", "2222", "/run/x y");
	is_taken("ssh://192.0.2.1:22", "192.0.2.1", "22", "");
	is_taken("ssh://[2001:db8::1]", "2001:db8::1", "", "");
	is_taken("ssh://root@[2001:db8::1]:2222/d", "root@2001:db8::1", "2222", "/d");
	assert_false(mfd_migrate_ssh_is("db2:22"));
	assert_false(mfd_migrate_ssh_is(NULL));
}

/* Nothing that ssh takes for an option, or a shell for more than a word. */
static void what_is_refused(void **state)
{
	static const char *const urls[] = {
		"ssh://",	   "ssh:///dir",    "ssh://-oProxyCommand=x",
		"ssh://root@",	   "ssh://root@-x", "ssh://@host",
		"ssh://host:",	   "ssh://host:x",  "ssh://host:123456",
		"ssh://a b",	   "ssh://a;b",	    "ssh://$(x)",
		"ssh://[::1",	   "ssh://[::1]22", "ssh://root@[-x]",
		"ssh://host:22:1",
	};
	char longest[2048];

	(void)state;
	for (size_t i = 0; i < sizeof(urls) / sizeof(*urls); i++)
		is_refused(urls[i]);
	memset(longest, 'a', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = 0;
	memcpy(longest, "ssh://", 6);
	is_refused(longest);
	longest[7] = '/';
	is_refused(longest);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_taken),
		cmocka_unit_test(what_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
