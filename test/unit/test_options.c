/* SPDX-License-Identifier: GPL-2.0-only */
/* The option table, its sources, their order, and what their errors say. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "log.h"
#include "options.h"

static char file_path[64];

static int setup(void **state)
{
	struct mfd_options *o = calloc(1, sizeof(*o));

	mfd_options_init(o);
	*state = o;
	return 0;
}

static int teardown(void **state)
{
	mfd_options_free(*state);
	mfd_options_free(*state); /* twice is fine */
	free(*state);
	return 0;
}

static void test_defaults(void **state)
{
	struct mfd_options *o = *state;

	assert_null(o->target);
	assert_null(o->session);
	assert_null(o->log_file);
	assert_null(o->program);
	assert_int_equal(o->channels, 4);
	assert_int_equal(o->zerocopy, MFD_AUTO);
	assert_int_equal(o->checksum, MFD_ON);
	assert_int_equal(o->packet_size, 1 << 20);
	assert_int_equal(o->mode, MFD_MODE_SAFE);
	assert_int_equal(o->confirm, MFD_CONFIRM_READY);
	assert_int_equal(o->connect_timeout, 5000);
	assert_int_equal(o->stall_timeout, 10000);
	assert_int_equal(o->log_level, MFD_LOG_INFO);
	assert_int_equal(mfd_options_check(o, NULL), 0);
}

static void set_ok(struct mfd_options *o, const char *name, const char *value)
{
	struct mfd_error err = { .code = 0 };

	if (mfd_options_set(o, name, value, MFD_FROM_FLAG, "here", &err))
		fail_msg("%s=%s: %s", name, value, err.text);
}

static void test_values(void **state)
{
	struct mfd_options *o = *state;

	set_ok(o, "channels", "1");
	assert_int_equal(o->channels, 1);
	set_ok(o, "channels", "64");
	assert_int_equal(o->channels, 64);
	set_ok(o, "packet-size", "64k");
	assert_int_equal(o->packet_size, 64 << 10);
	set_ok(o, "packet-size", "65536");
	assert_int_equal(o->packet_size, 64 << 10);
	set_ok(o, "packet-size", "4M");
	assert_int_equal(o->packet_size, 4 << 20);
	set_ok(o, "connect-timeout", "700");
	assert_int_equal(o->connect_timeout, 700);
	set_ok(o, "connect-timeout", "800ms");
	assert_int_equal(o->connect_timeout, 800);
	set_ok(o, "stall-timeout", "3s");
	assert_int_equal(o->stall_timeout, 3000);
	set_ok(o, "zerocopy", "off");
	assert_int_equal(o->zerocopy, MFD_OFF);
	set_ok(o, "zerocopy", "on");
	assert_int_equal(o->zerocopy, MFD_ON);
	set_ok(o, "checksum", "off");
	assert_int_equal(o->checksum, MFD_OFF);
	set_ok(o, "mode", "postcopy");
	assert_int_equal(o->mode, MFD_MODE_POSTCOPY);
	set_ok(o, "confirm", "restore");
	assert_int_equal(o->confirm, MFD_CONFIRM_RESTORE);
	set_ok(o, "log-level", "debug");
	assert_int_equal(o->log_level, MFD_LOG_DEBUG);
	set_ok(o, "target", "[::1]:7777");
	assert_string_equal(o->target, "[::1]:7777");
	set_ok(o, "target", "");
	assert_null(o->target);
	set_ok(o, "session", "web-1");
	assert_string_equal(o->session, "web-1");
	set_ok(o, "log-file", "x.log");
	set_ok(o, "program", "/usr/sbin/criu-multifd");
}

static void test_bad_values(void **state)
{
	static const struct {
		const char *name, *value, *says;
	} bad[] = {
		{ "channels", "0", "from 1 to 64" },
		{ "channels", "65", "from 1 to 64" },
		{ "channels", "-1", "from 1 to 64" },
		{ "channels", "4x", "from 1 to 64" },
		{ "channels", " 4", "from 1 to 64" },
		{ "channels", "", "from 1 to 64" },
		{ "channels", "4294967300", "from 1 to 64" },
		{ "channels", "99999999999999999999999", "from 1 to 64" },
		{ "packet-size", "1", "multiple of 64k" },
		{ "packet-size", "96k", "multiple of 64k" },
		{ "packet-size", "0", "multiple of 64k" },
		{ "packet-size", "8M", "multiple of 64k" },
		{ "packet-size", "1G", "multiple of 64k" },
		{ "packet-size", "1MB", "multiple of 64k" },
		/* times 2^20 wraps around */
		{ "packet-size", "17592186044417M", "multiple of 64k" },
		{ "connect-timeout", "0", "milliseconds" },
		{ "connect-timeout", "5m", "milliseconds" },
		{ "connect-timeout", "s", "milliseconds" },
		{ "connect-timeout", "3601s", "milliseconds" },
		{ "stall-timeout", "99", "milliseconds" },
		{ "stall-timeout", "9223372036854775807s", "milliseconds" },
		{ "zerocopy", "yes", "off, on or auto" },
		{ "zerocopy", "", "off, on or auto" },
		{ "checksum", "auto", "off or on" },
		{ "congestion", "../x",
		  "expected auto, system or the name of a congestion control" },
		{ "congestion", "a-name-of-16-byte",
		  "expected auto, system or the name of a congestion control" },
		{ "mode", "fast", "safe or postcopy" },
		{ "confirm", "maybe", "ready or restore" },
		{ "log-level", "loud", "error, warn, info or debug" },
		{ "target", "host", "HOST:PORT" },
		{ "target", ":7", "HOST:PORT" },
		{ "target", "host:", "HOST:PORT" },
		{ "target", "host:http", "HOST:PORT" },
		{ "target", "host:99999", "a port from 1 to 65535" },
		{ "target", "host:0", "a port from 1 to 65535" },
		{ "target", "host:99999999999999999999", "a port from 1 to 65535" },
		{ "session", "../etc", "expected a name" },
		{ "session", "a/b", "expected a name" },
		{ "program", "criu-multifd", "absolute path" },
		{ "log-file", "a\nb", "control characters" },
	};
	struct mfd_options *o = *state;
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct mfd_error err = { .code = 0 };

		assert_int_equal(mfd_options_set(o, bad[i].name, bad[i].value, MFD_FROM_FLAG,
						 "the place", &err),
				 -EINVAL);
		if (!strstr(err.text, bad[i].says) || !strstr(err.text, "the place: ") ||
		    !strstr(err.text, bad[i].name))
			fail_msg("%s=%s: %s", bad[i].name, bad[i].value, err.text);
	}
	test_defaults(state); /* nothing changed */
}

static void test_unknown(void **state)
{
	struct mfd_options *o = *state;
	struct mfd_error err = { .code = 0 };

	assert_int_equal(mfd_options_set(o, "chanels", "4", MFD_FROM_FLAG, "x", &err), -EINVAL);
	assert_string_equal(err.text, "x: unknown option 'chanels', did you mean 'channels'?");
	mfd_error_clear(&err);
	assert_int_equal(mfd_options_set(o, "colour", "4", MFD_FROM_FLAG, "x", &err), -EINVAL);
	assert_string_equal(err.text, "x: unknown option 'colour'");
	assert_string_equal(mfd_options_closest("packet_size"), "packet-size");
	assert_string_equal(mfd_options_closest("zero-copy"), "zerocopy");
	assert_string_equal(mfd_options_closest("tagret"), "target");
	assert_null(mfd_options_closest(""));
	assert_null(mfd_options_closest("a-very-long-name-that-nothing-resembles-at-all"));
}

/* PLUGIN > ENV > FILE > FLAG, in whatever order they come; the same source again replaces. */
static void test_order(void **state)
{
	struct mfd_options *o = *state;
	static const enum mfd_option_from order[] = {
		MFD_FROM_ENV,  MFD_FROM_FLAG,	MFD_FROM_FILE,
		MFD_FROM_FILE, MFD_FROM_PLUGIN, MFD_FROM_ENV,
	};
	static const unsigned expect[] = { 1, 1, 1, 1, 5, 5 };
	char value[4];
	unsigned i;

	for (i = 0; i < 6; i++) {
		snprintf(value, sizeof(value), "%u", i + 1);
		assert_int_equal(mfd_options_set(o, "channels", value, order[i], "x", NULL), 0);
		assert_int_equal(o->channels, expect[i]);
	}
	assert_int_equal(mfd_options_set(o, "channels", "9", MFD_FROM_PLUGIN, "x", NULL), 0);
	assert_int_equal(o->channels, 9);
	/* A loser's mistakes count, and its text does not leak. */
	assert_int_equal(mfd_options_set(o, "channels", "x", MFD_FROM_FILE, "x", NULL), -EINVAL);
	assert_int_equal(mfd_options_set(o, "session", "a", MFD_FROM_ENV, "x", NULL), 0);
	assert_int_equal(mfd_options_set(o, "session", "b", MFD_FROM_FILE, "x", NULL), 0);
	assert_string_equal(o->session, "a");
	assert_int_equal(mfd_options_set(o, "session", "", MFD_FROM_PLUGIN, "x", NULL), 0);
	assert_null(o->session);
	assert_int_equal(mfd_options_set(o, "session", "b", MFD_FROM_ENV, "x", NULL), 0);
	assert_null(o->session);
}

static void test_env(void **state)
{
	struct mfd_options *o = *state;
	struct mfd_error err = { .code = 0 };

	setenv("CRIU_MULTIFD_TARGET", "host:7", 1);
	setenv("CRIU_MULTIFD_PACKET_SIZE", "128k", 1);
	setenv("CRIU_MULTIFD_CONFIG", "/nonexistent", 1);
	setenv("CRIU_MULTIFD_SENDER_FD", "7", 1);
	setenv("CRIU_MULTIFDX", "7", 1);
	assert_int_equal(mfd_options_from_env(o, &err), 0);
	assert_string_equal(o->target, "host:7");
	assert_int_equal(o->packet_size, 128 << 10);

	setenv("CRIU_MULTIFD_CHANELS", "7", 1);
	assert_int_equal(mfd_options_from_env(o, &err), -EINVAL);
	assert_string_equal(
		err.text,
		"CRIU_MULTIFD_CHANELS: unknown option 'chanels', did you mean 'channels'?");
	unsetenv("CRIU_MULTIFD_CHANELS");
	mfd_error_clear(&err);
	setenv("CRIU_MULTIFD_CHANNELS", "seven", 1);
	assert_int_equal(mfd_options_from_env(o, &err), -EINVAL);
	assert_string_equal(
		err.text,
		"CRIU_MULTIFD_CHANNELS: bad value 'seven' for 'channels': expected a number from 1 to 64");
	unsetenv("CRIU_MULTIFD_CHANNELS");
	setenv("CRIU_MULTIFD_CONFIGURATION_OF_THE_RATHER_LONG_KIND", "7", 1);
	assert_int_equal(mfd_options_from_env(o, NULL), -EINVAL);
	unsetenv("CRIU_MULTIFD_CONFIGURATION_OF_THE_RATHER_LONG_KIND");
	unsetenv("CRIU_MULTIFD_TARGET");
	unsetenv("CRIU_MULTIFD_PACKET_SIZE");
	unsetenv("CRIU_MULTIFD_CONFIG");
	unsetenv("CRIU_MULTIFD_SENDER_FD");
	unsetenv("CRIU_MULTIFDX");
}

static int from_text_n(struct mfd_options *o, const char *text, size_t len, struct mfd_error *err)
{
	int fd, ret;

	strcpy(file_path, "/tmp/mfd-options-XXXXXX");
	fd = mkstemp(file_path);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, len), (ssize_t)len);
	close(fd);
	ret = mfd_options_from_file(o, file_path, err);
	unlink(file_path);
	return ret;
}

static int from_text(struct mfd_options *o, const char *text, struct mfd_error *err)
{
	return from_text_n(o, text, strlen(text), err);
}

static void test_file(void **state)
{
	struct mfd_options *o = *state;
	struct mfd_error err = { .code = 0 };

	if (from_text(
		    o,
		    "# the target\n\n  \t\r\ntarget=host:7\r\n channels =  8  # eight\nlog-file = /x/a#b c\n"
		    "session = \"quoted # \\\"name\\\\\" # comment\nprogram =\nmode = safe",
		    &err))
		fail_msg("%s", err.text);
	assert_string_equal(o->target, "host:7");
	assert_int_equal(o->channels, 8);
	assert_string_equal(o->log_file, "/x/a#b c");
	assert_string_equal(o->session, "quoted # \"name\\");
	assert_null(o->program);
}

static void file_says(struct mfd_options *o, const char *text, const char *says)
{
	struct mfd_error err = { .code = 0 };

	assert_int_equal(from_text(o, text, &err), -EINVAL);
	if (strncmp(err.text, file_path, strlen(file_path)) || !strstr(err.text, says))
		fail_msg("%s", err.text);
}

static void test_file_errors(void **state)
{
	struct mfd_options *o = *state;
	struct mfd_error err = { .code = 0 };

	file_says(o, "# a\n\nchannels = many\n",
		  ":3: bad value 'many' for 'channels': expected a number from 1 to 64");
	file_says(o, "chanels = 4", ":1: unknown option 'chanels', did you mean 'channels'?");
	file_says(o, "target = a:1\nchannels\n", ":2: expected 'name = value', not 'channels'");
	file_says(o, "= 4\n", ":1: unknown option ''");
	file_says(o, "session = \"open\n", ":1: the closing quote is missing");
	file_says(o, "session = \"a\" b\n", ":1: text after the closing quote");
	assert_int_equal(from_text_n(o, "channels = 4\0x\n", 15, &err), -EINVAL);
	assert_non_null(strstr(err.text, "not a text file"));
	mfd_error_clear(&err);
	assert_int_equal(mfd_options_from_file(o, "/nonexistent/x", &err), -ENOENT);
	assert_string_equal(
		err.text,
		"cannot read the configuration file /nonexistent/x: No such file or directory");
}

static void test_file_from_env(void **state)
{
	struct mfd_options *o = *state;
	struct mfd_error err = { .code = 0 };

	setenv("CRIU_MULTIFD_CONFIG", "/nonexistent/y", 1);
	assert_int_equal(mfd_options_from_file(o, NULL, &err), -ENOENT);
	assert_non_null(strstr(err.text, "/nonexistent/y"));
	unsetenv("CRIU_MULTIFD_CONFIG");
	if (access("/etc/criu-multifd.conf", F_OK))
		assert_int_equal(mfd_options_from_file(o, NULL, &err), 0);
}

static void test_flags(void **state)
{
	char *argv[] = {
		(char[]){ "migrate" },	       (char[]){ "--channels" }, (char[]){ "6" },
		(char[]){ "--mode=postcopy" }, (char[]){ "-t" },	 (char[]){ "--chanels" },
		(char[]){ "--session=" },      (char[]){ "--target" },	 NULL
	};
	struct mfd_options *o = *state;
	struct mfd_error err = { .code = 0 };
	int i = 1;

	assert_int_equal(mfd_options_from_flag(o, 8, argv, &i, &err), 1);
	assert_int_equal(i, 2);
	assert_int_equal(o->channels, 6);
	i = 3;
	assert_int_equal(mfd_options_from_flag(o, 8, argv, &i, &err), 1);
	assert_int_equal(i, 3);
	assert_int_equal(o->mode, MFD_MODE_POSTCOPY);
	i = 4;
	assert_int_equal(mfd_options_from_flag(o, 8, argv, &i, &err), 0);
	i = 5;
	assert_int_equal(mfd_options_from_flag(o, 8, argv, &i, &err), 0);
	i = 6;
	assert_int_equal(mfd_options_from_flag(o, 8, argv, &i, &err), 1);
	assert_null(o->session);
	i = 7;
	assert_int_equal(mfd_options_from_flag(o, 8, argv, &i, &err), -EINVAL);
	assert_string_equal(err.text, "--target: a value is missing, --target HOST:PORT");
	mfd_error_clear(&err);
	argv[2][0] = 'x';
	i = 1;
	assert_int_equal(mfd_options_from_flag(o, 8, argv, &i, &err), -EINVAL);
	assert_non_null(strstr(err.text, "--channels: bad value 'x'"));
}

static char *written(const struct mfd_options *o)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	assert_int_equal(mfd_options_write(o, f), 0);
	fclose(f);
	return text;
}

/* What is written reads back as the same. */
static void test_write(void **state)
{
	static const char *const values[][2] = {
		{ "target", "[::1]:7777" },
		{ "session", " odd # \"x\\y\" " },
		{ "channels", "7" },
		{ "zerocopy", "off" },
		{ "checksum", "off" },
		{ "packet-size", "256k" },
		{ "mode", "postcopy" },
		{ "confirm", "restore" },
		{ "page-dump", "criu" },
		{ "precopy", "auto" },
		{ "downtime-limit", "500ms" },
		{ "max-rounds", "3" },
		{ "precopy-timeout", "60s" },
		{ "precopy-else", "abort" },
		{ "precopy-check", "always" },
		{ "tree", "17" },
		{ "restore-timeout", "5s" },
		{ "restore-option", "tcp-established,network-lock=skip" },
		{ "connect-timeout", "1s" },
		{ "queue-timeout", "0" },
		{ "congestion", "reno" },
		{ "stall-timeout", "20000" },
		{ "tls-dir", "/t" },
		{ "tls-hostname", "h" },
		{ "tls-psk", "/p" },
		{ "tls-psk-id", "i" },
		{ "log-level", "error" },
		{ "log-file", "\"q\"" },
		{ "program", "/a b#c" },
		{ "cpr", "off" },
		{ "keeper", "/k" },
		{ "compress", "zstd" },
		{ "compress-level", "5" },
		{ "max-bandwidth", "1000000" },
		{ "move-address", "10.1.2.3/24@eth0:eth1" },
	};
	struct mfd_options *o = *state, back;
	struct mfd_error err = { .code = 0 };
	char *text = written(o), *again;
	size_t i;

	assert_string_equal(text, "");
	free(text);
	/* a new option comes with a test */
	assert_int_equal(sizeof(values) / sizeof(values[0]), mfd_options_count);
	for (i = 0; i < mfd_options_count; i++)
		set_ok(o, values[i][0], values[i][1]);
	text = written(o);
	mfd_options_init(&back);
	if (from_text(&back, text, &err))
		fail_msg("%s in\n%s", err.text, text);
	again = written(&back);
	assert_string_equal(text, again);
	assert_string_equal(back.session, o->session);
	assert_string_equal(back.log_file, o->log_file);
	assert_string_equal(back.program, o->program);
	assert_int_equal(back.packet_size, 256 << 10);
	assert_int_equal(back.confirm, MFD_CONFIRM_RESTORE);
	mfd_options_free(&back);
	free(text);
	free(again);
}

static void test_table(void **state)
{
	char *text = NULL;
	size_t len, i;
	FILE *f = open_memstream(&text, &len);

	(void)state;
	mfd_options_help(f);
	fclose(f);
	for (i = 0; i < mfd_options_count; i++) {
		const struct mfd_option_desc *d = &mfd_options_table[i];

		assert_true(strlen(d->name) <= 32);
		assert_non_null(strstr(text, d->name));
		assert_non_null(strstr(text, d->help));
	}
	free(text);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_defaults),	  TEST(test_values),	  TEST(test_bad_values),
		TEST(test_unknown),	  TEST(test_order),	  TEST(test_env),
		TEST(test_file),	  TEST(test_file_errors), TEST(test_flags),
		TEST(test_file_from_env), TEST(test_write),	  TEST(test_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
