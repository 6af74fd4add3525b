// SPDX-License-Identifier: GPL-2.0-only
/* Command lines: every kind of flag, every way to write it wrong. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "closest.h"
#include "flags.h"

static int once, mode, calls;
static const char *dir;
static uint32_t number;
static uint64_t ms;
static char called[64];
static const char *const modes[] = { "safe", "postcopy", NULL };

static int call(void *dest, const char *value, struct mfd_error *err)
{
	calls++;
	snprintf(dest, sizeof(called), "%s", value);
	return strcmp(value, "bad") ? 0 : mfd_error_set(err, -ERANGE, "must be good");
}

static const struct mfd_flag flags[] = {
	{ .name = "once", .kind = MFD_FLAG_BOOL, .dest = &once, .help = "one" },
	{ .name = "dir",
	  .kind = MFD_FLAG_STRING,
	  .dest = &dir,
	  .arg = "DIR",
	  .letter = 'd',
	  .help = "where\nlines" },
	{ .name = "number", .kind = MFD_FLAG_UINT, .dest = &number, .min = 1, .max = 64 },
	{ .name = "timeout", .kind = MFD_FLAG_MS, .dest = &ms },
	{ .name = "mode", .kind = MFD_FLAG_CHOICE, .dest = &mode, .choices = modes },
	{ .name = "call", .kind = MFD_FLAG_CALL, .dest = called, .call = call },
	{ 0 },
};
static struct mfd_flags table = {
	.verb = "test",
	.usage = "USAGE",
	.summary = "SUMMARY",
	.flags = flags,
	.max_args = 2,
	.arg_names = "ONE TWO",
};
static struct mfd_flags_args args;
static struct mfd_error err;
static char *words[16];

/* Words are separated by spaces. */
static int parse(const char *line)
{
	static char copy[512];
	int argc = 0;

	once = mode = calls = 0;
	dir = NULL;
	number = 0;
	ms = 0;
	*called = 0;
	err = (struct mfd_error){ 0 };
	snprintf(copy, sizeof(copy), "verb %s", line);
	for (char *w = strtok(copy, " "); w; w = strtok(NULL, " "))
		words[argc++] = w;
	words[argc] = NULL;
	return mfd_flags_parse(&table, argc, words, &args, &err);
}

static void bad(const char *line, const char *part)
{
	assert_true(parse(line) < 0);
	if (!strstr(err.text, part))
		fail_msg("'%s': '%s' does not say '%s'", line, err.text, part);
}

static void test_all_kinds(void **state)
{
	assert_int_equal(
		parse("--once --dir /x --number=64 --timeout 1.25 --mode=postcopy --call a=b"), 0);
	assert_int_equal(once, 1);
	assert_string_equal(dir, "/x");
	assert_int_equal(number, 64);
	assert_int_equal(ms, 1250);
	assert_int_equal(mode, 1);
	assert_string_equal(called, "a=b");
	assert_int_equal(args.n, 0);
	assert_null(args.after);
}

static void test_letters_and_order(void **state)
{
	assert_int_equal(parse("one -d /a --once two -d/b"), 0);
	assert_string_equal(dir, "/b"); /* the later wins */
	assert_int_equal(args.n, 2);
	assert_string_equal(args.v[0], "one");
	assert_string_equal(args.v[1], "two");
	assert_null(args.v[2]);
	assert_int_equal(parse("-"), 0); /* an argument */
	assert_int_equal(args.n, 1);
}

static void test_after(void **state)
{
	bad("one -- -t 5", "nothing may follow");
	table.after = 1;
	assert_int_equal(parse("one --once -- --dir x --"), 0);
	assert_int_equal(args.n, 1);
	assert_null(args.v[1]);
	assert_int_equal(args.n_after, 3);
	assert_string_equal(args.after[0], "--dir");
	assert_string_equal(args.after[2], "--");
	assert_null(args.after[3]);
	assert_null(dir);
	assert_int_equal(parse("--"), 0);
	assert_int_equal(args.n_after, 0);
	assert_non_null(args.after);
	table.after = 0;
}

static void test_errors(void **state)
{
	bad("--dirr x", "unknown flag '--dirr'; is '--dir' meant?");
	bad("--zzzzzzz", "unknown flag '--zzzzzzz'");
	bad("-z", "unknown flag '-z'");
	bad("--dir", "--dir: the value (DIR) is missing");
	bad("--dir=", "--dir: the value is empty");
	bad("--once=1", "--once takes no value");
	bad("--number 0", "--number: '0' is not a number from 1 to 64");
	bad("--number 65", "from 1 to 64");
	bad("--number -1", "'-1' is not");
	bad("--number 1x", "'1x' is not");
	bad("--number 99999999999999999999999", "is not a number");
	bad("--mode fast", "--mode: 'fast' is not safe or postcopy");
	bad("--call bad", "--call: must be good");
	bad("one two three", "unexpected argument 'three'");
	table.min_args = 2;
	bad("", "ONE is missing");
	bad("one", "TWO is missing");
	table.min_args = 0;
}

static void test_times(void **state)
{
	static const char *const wrong[] = {
		"x", ".", ".5", "-1", "1e3", "0x10", "inf", "1.2.3", "1,5", "99999999999999999999"
	};
	char line[64];

	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		snprintf(line, sizeof(line), "--timeout %s", wrong[i]);
		bad(line, "is not a time in seconds");
	}
	assert_int_equal(parse("--timeout 0"), 0);
	assert_int_equal(ms, 0);
	assert_int_equal(parse("--timeout 0.0019"), 0);
	assert_int_equal(ms, 1);
	assert_int_equal(parse("--timeout 60"), 0);
	assert_int_equal(ms, 60000);
}

static int other(void *arg, int argc, char **argv, int *i, struct mfd_error *e)
{
	if (strcmp(argv[*i], "--channels") || *i + 1 >= argc)
		return strcmp(argv[*i], "--broken") ? 0 : mfd_error_set(e, -EINVAL, "broken");
	*(int *)arg = atoi(argv[++*i]);
	return 1;
}

static void test_other_table(void **state)
{
	int channels = 0;

	table.other = other;
	table.other_arg = &channels;
	assert_int_equal(parse("--channels 8 one --once"), 0);
	assert_int_equal(channels, 8);
	assert_int_equal(args.n, 1);
	bad("--broken", "broken");
	bad("--chanels 8", "unknown flag");
	table.other = NULL;
}

static void test_help(void **state)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	assert_int_equal(parse("--once -h"), MFD_FLAGS_HELP);
	assert_int_equal(parse("--help"), MFD_FLAGS_HELP);
	mfd_flags_help(&table, f);
	fclose(f);
	assert_non_null(strstr(text, "Usage: criu-multifd test USAGE\nSUMMARY\n"));
	assert_non_null(
		strstr(text, "  -d, --dir DIR           where\n                          lines\n"));
	free(text);
}

static void test_closest(void **state)
{
	static const char *const names[] = { "serve", "wait", "restore", "status", "abort" };

	assert_string_equal(mfd_closest("stauts", names, 5, sizeof(*names)), "status");
	assert_string_equal(mfd_closest("wiat", names, 5, sizeof(*names)), "wait");
	assert_string_equal(mfd_closest("wai", names, 5, sizeof(*names)), "wait");
	assert_null(mfd_closest("x", names, 5, sizeof(*names)));
	assert_null(mfd_closest("migrate", names, 5, sizeof(*names)));
	assert_null(mfd_closest("", names, 5, sizeof(*names)));
	assert_null(mfd_closest("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", names, 5,
				sizeof(*names)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_kinds), cmocka_unit_test(test_letters_and_order),
		cmocka_unit_test(test_after),	  cmocka_unit_test(test_errors),
		cmocka_unit_test(test_times),	  cmocka_unit_test(test_other_table),
		cmocka_unit_test(test_help),	  cmocka_unit_test(test_closest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
