// SPDX-License-Identifier: GPL-2.0-only
/* The file that says what each peer may do: what it takes, what it refuses, whose block it is. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "io.h"
#include "rights.h"
#include "tmpdir.h"

#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static struct mfd_rights *parse(const char *text)
{
	struct mfd_error err = { 0 };
	struct mfd_rights *r = NULL;

	if (mfd_rights_parse(&r, text, strlen(text), "F", &err))
		fail_msg("%s", err.text);
	return r;
}

static const char whole[] = "# rights\n"
			    "peer x509:db1.example.org\n"
			    "\tsessions db-* web  # two patterns\r\n"
			    "    mode safe postcopy\n"
			    "    restore yes\n"
			    "    restore-options tcp-established manage-cgroups=soft network-lock\n"
			    "    addresses 192.0.2.0/24@eth0 10.0.0.5\n"
			    "    user-namespace required\n"
			    "    cpr-offers pipe:* tty\n"
			    "    max-sessions 8   max-in-doubt 4 max-memory 64G\n"
			    "    max-channels 16\n"
			    "    max-bandwidth 10Gbit\n"
			    "\n"
			    "peer spki:" HEX " sessions one mode postcopy\n"
			    "peer psk:*\n"
			    "  sessions a\n"
			    "  sessions b\n"
			    "peer insecure\n";

static void test_whole(void **state)
{
	struct mfd_rights *r = parse(whole);
	const struct mfd_right *b = mfd_rights_find(r, "x509:db1.example.org");

	(void)state;
	assert_non_null(b);
	assert_int_equal(b->line, 2);
	assert_true(mfd_right_session(b, "db-1") && mfd_right_session(b, "web"));
	assert_false(mfd_right_session(b, "webs") || mfd_right_session(b, "db"));
	assert_true(mfd_right_mode(b, MFD_RIGHTS_POSTCOPY) && mfd_right_mode(b, MFD_RIGHTS_SAFE));
	assert_true(b->restore && b->user_namespace);
	assert_true(mfd_right_restore_option(b, "tcp-established"));
	assert_true(mfd_right_restore_option(b, "manage-cgroups=soft"));
	assert_true(mfd_right_restore_option(b, "network-lock=skip"));
	assert_false(mfd_right_restore_option(b, "manage-cgroups=full"));
	assert_false(mfd_right_restore_option(b, "manage-cgroups"));
	assert_false(mfd_right_restore_option(b, "file-locks"));
	assert_true(mfd_right_address(b, "192.0.2.7/24@eth1:eth0"));
	assert_true(mfd_right_address(b, "10.0.0.5/24@eth7"));
	assert_false(mfd_right_address(b, "192.0.2.7/24@eth0:eth1"));
	assert_false(mfd_right_address(b, "192.0.3.7/24@eth0"));
	assert_true(mfd_right_cpr_offer(b, "pipe:[7]") && mfd_right_cpr_offer(b, "tty"));
	assert_false(mfd_right_cpr_offer(b, "/dev/null"));
	assert_int_equal(b->max_sessions, 8);
	assert_int_equal(b->max_in_doubt, 4);
	assert_int_equal(b->max_channels, 16);
	assert_true(b->max_memory == 64ULL << 30 && b->max_bandwidth == 1250000000);
	mfd_rights_put(r);
}

/* The first block that fits; any name that the peer has proved; nothing else. */
static void test_whose(void **state)
{
	struct mfd_rights *r = parse(whole);
	const struct mfd_right *b = mfd_rights_find(r, "x509:other\nspki:" HEX);

	(void)state;
	assert_non_null(b);
	assert_true(mfd_right_session(b, "one") && !mfd_right_mode(b, MFD_RIGHTS_SAFE));
	b = mfd_rights_find(r, "psk:any");
	assert_non_null(b);
	assert_true(mfd_right_session(b, "a") && mfd_right_session(b, "b"));
	assert_true(mfd_right_mode(b, MFD_RIGHTS_SAFE));
	assert_false(mfd_right_mode(b, MFD_RIGHTS_POSTCOPY) || b->restore);
	assert_int_equal(mfd_rights_find(r, "x509:first\nx509:db1.example.org")->line, 2);
	assert_null(mfd_rights_find(r, "x509:db1.example.or"));
	assert_null(mfd_rights_find(r, "x509:insecure"));
	b = mfd_rights_find(r, "");
	assert_non_null(b);
	assert_false(mfd_right_session(b, "a"));
	mfd_rights_put(r);
	r = parse("");
	assert_null(mfd_rights_find(r, ""));
	assert_null(mfd_rights_find(r, "x509:db1.example.org"));
	mfd_rights_put(r);
}

static void test_mistakes(void **state)
{
	static const struct {
		const char *text, *why;
	} bad[] = {
		{ "sessions *\n", "F:1: a line 'peer NAME' must come first" },
		{ "peer\n", "F:1: peer: expected x509:NAME" },
		{ "peer web\n", "F:1: peer 'web': expected x509:NAME" },
		{ "peer x509:\n", "F:1: peer 'x509:'" },
		{ "peer spki:12\n", "F:1: peer 'spki:12'" },
		{ "peer spki:" HEX "0\n", "F:1: peer 'spki:" },
		{ "peer insecure\n sesions *\n",
		  "F:2: unknown word 'sesions'; is 'sessions' meant?" },
		{ "peer insecure\n qqqqqqqqqq\n", "F:2: unknown word 'qqqqqqqqqq'" },
		{ "peer insecure x\n", "F:1: unknown word 'x'" },
		{ "peer insecure sessions\n", "F:1: sessions: expected PATTERN" },
		{ "peer insecure sessions # *\n", "F:1: sessions: expected PATTERN" },
		{ "peer insecure sessions restore yes\n", "F:1: sessions: expected PATTERN" },
		{ "peer insecure sessions a/b\n", "F:1: sessions 'a/b'" },
		{ "peer insecure mode fast\n", "F:1: mode 'fast': expected safe or postcopy" },
		{ "peer insecure restore maybe\n", "F:1: restore 'maybe': expected yes or no" },
		{ "peer insecure restore yes no\n", "F:1: restore takes one word, 'no'" },
		{ "peer insecure\nrestore yes\nrestore no\n", "F:3: restore is there twice" },
		{ "peer insecure restore-options root=/\n", "F:1: restore-options 'root=/'" },
		{ "peer insecure addresses 1.2.3\n", "F:1: addresses '1.2.3'" },
		{ "peer insecure addresses 10.0.0.1@\n", "F:1: addresses '10.0.0.1@'" },
		{ "peer insecure user-namespace yes\n", "F:1: user-namespace 'yes'" },
		{ "peer insecure max-sessions 0\n", "F:1: max-sessions '0': expected a number" },
		{ "peer insecure max-sessions -1\n", "F:1: max-sessions '-1'" },
		{ "peer insecure max-in-doubt 1x\n", "F:1: max-in-doubt '1x'" },
		{ "peer insecure max-channels 99999999999\n", "F:1: max-channels" },
		{ "peer insecure max-memory 1M\n", "F:1: max-memory '1M'" },
		{ "peer insecure max-bandwidth 0\n", "F:1: max-bandwidth '0'" },
		{ "peer insecure sessions \x01\n", "F:1: not UTF-8" },
	};
	struct mfd_rights *r = NULL;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct mfd_error err = { 0 };

		assert_int_equal(mfd_rights_parse(&r, bad[i].text, strlen(bad[i].text), "F", &err),
				 -EINVAL);
		if (strncmp(err.text, bad[i].why, strlen(bad[i].why)))
			fail_msg("\"%s\" instead of \"%s\"", err.text, bad[i].why);
		assert_null(r);
	}
}

/* ---- the file ---- */

static int read_file(const struct dir *d, const char *name, struct mfd_error *err)
{
	struct mfd_rights *r = NULL;
	char path[128];
	int ret;

	snprintf(path, sizeof(path), "%s/%s", d->path, name);
	*err = (struct mfd_error){ 0 };
	ret = mfd_rights_read(&r, path, err);
	assert_int_equal(!ret, r != NULL);
	assert_true(!ret || strstr(err->text, d->path));
	mfd_rights_put(r);
	return ret;
}

static void write_file(const struct dir *d, const char *name, const char *text, mode_t mode)
{
	int fd = openat(d->fd, name, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_int_equal(mfd_io_write_all(fd, text, strlen(text)), 0);
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
}

static void test_file(void **state)
{
	const struct dir *d = *state;
	struct mfd_error err;

	assert_int_equal(read_file(d, "peers", &err), -ENOENT);
	write_file(d, "peers", whole, 0600);
	assert_int_equal(read_file(d, "peers", &err), 0);
	write_file(d, "open", whole, 0640);
	assert_int_equal(read_file(d, "open", &err), -EPERM);
	assert_non_null(strstr(err.text, "chmod 600"));
	assert_int_equal(symlinkat("peers", d->fd, "link"), 0);
	assert_int_equal(read_file(d, "link", &err), -EPERM);
	assert_int_equal(linkat(d->fd, "peers", d->fd, "second", 0), 0);
	assert_int_equal(read_file(d, "second", &err), -EPERM);
	assert_int_equal(mkfifoat(d->fd, "pipe", 0600), 0);
	assert_int_equal(read_file(d, "pipe", &err), -EPERM);
	write_file(d, "wrong", "peer insecure\nrestor yes\n", 0600);
	assert_int_equal(read_file(d, "wrong", &err), -EINVAL);
	assert_non_null(strstr(err.text, "wrong:2: "));
}

static void test_file_of_another(void **state)
{
	const struct dir *d = *state;
	struct mfd_error err;

	if (geteuid())
		skip();
	write_file(d, "peers", whole, 0600);
	assert_int_equal(fchownat(d->fd, "peers", 65534, 65534, 0), 0);
	assert_int_equal(read_file(d, "peers", &err), -EPERM);
	assert_int_equal(fchownat(d->fd, "peers", 0, 0, 0), 0);
	assert_int_equal(fchmod(d->fd, 0777), 0);
	assert_int_equal(read_file(d, "peers", &err), -EPERM);
	assert_int_equal(fchmod(d->fd, 0700), 0);
	assert_int_equal(read_file(d, "peers", &err), 0);
}

#define DIR_TEST(f) cmocka_unit_test_setup_teardown(f, tmpdir_setup, tmpdir_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whole),	 cmocka_unit_test(test_whose),
		cmocka_unit_test(test_mistakes), DIR_TEST(test_file),
		DIR_TEST(test_file_of_another),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
