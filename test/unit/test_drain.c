// SPDX-License-Identifier: GPL-2.0-only
/* drain: its plan (order, spread, deadline), words, events, and what it writes. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "cgroup.h"
#include "command.h"
#include "drain.h"
#include "procfile.h"
#include "source_file.h"
#include "tmpdir.h"

#define MIB	     (1ULL << 20)
#define IN_FOLDER(f) cmocka_unit_test_setup_teardown(f, tmpdir_setup, tmpdir_teardown)

struct bed {
	struct mfd_drain d;
	struct mfd_drain_item items[8];
};

static void bed(struct bed *b, size_t n, unsigned targets)
{
	static char names[4][16] = { "a:1", "b:1", "c:1", "d:1" };

	memset(b, 0, sizeof(*b));
	b->d.items = b->items;
	b->d.n = n;
	b->d.parallel = 2;
	b->d.dir = "/run/d";
	b->d.n_targets = targets;
	for (unsigned i = 0; i < targets; i++)
		b->d.targets[i] =
			(struct mfd_drain_target){ .to = names[i], .room = MFD_DRAIN_UNKNOWN };
	for (size_t i = 0; i < n; i++) {
		b->items[i] = (struct mfd_drain_item){ .pid = 100 + (int)i,
						       .bytes = (i + 1) * 100 * MIB,
						       .still_ms = 1000,
						       .target = -1,
						       .events = -1,
						       .pause_ms = -1 };
		snprintf(b->items[i].name, sizeof(b->items[i].name), "p%zu", i);
		snprintf(b->items[i].session, sizeof(b->items[i].session), "h.p%zu", i);
	}
}

/* ---- the plan ---- */

static void largest_first(void **state)
{
	struct bed b;

	bed(&b, 4, 1);
	b.items[3].bytes = b.items[1].bytes;
	mfd_drain_plan_sort(b.items, 4);
	assert_int_equal(b.items[0].pid, 102);
	assert_int_equal(b.items[1].pid, 101); /* as large as 103: the lower number */
	assert_int_equal(b.items[2].pid, 103);
	assert_int_equal(b.items[3].pid, 100);
	mfd_drain_plan_sort(NULL, 0);
}

static void spread_by_what_was_given(void **state)
{
	struct bed b;

	bed(&b, 5, 2);
	mfd_drain_plan_sort(b.items, 5);
	mfd_drain_plan_spread(&b.d);
	/* 500 a, 400 b, 300 b, 200 a, 100 a */
	assert_int_equal(b.items[0].target, 0);
	assert_int_equal(b.items[1].target, 1);
	assert_int_equal(b.items[2].target, 1);
	assert_int_equal(b.items[3].target, 0);
	assert_int_equal(b.d.targets[0].given + b.d.targets[1].given, 0);
}

static void spread_by_room(void **state)
{
	struct bed b;

	bed(&b, 5, 3);
	b.d.targets[0].room = 250 * MIB;
	b.d.targets[1].room = 1000 * MIB;
	b.d.targets[2].room = 550 * MIB;
	mfd_drain_plan_sort(b.items, 5);
	mfd_drain_plan_spread(&b.d);
	/* 500 b (500 left), 400 c (150 left), 300 b (200), 200 a (50), 100 b (100) */
	assert_int_equal(b.items[0].target, 1);
	assert_int_equal(b.items[1].target, 2);
	assert_int_equal(b.items[2].target, 1);
	assert_int_equal(b.items[3].target, 0);
	assert_int_equal(b.items[4].target, 1);
	/* None has room for more. */
	b.d.targets[1].given = 900 * MIB;
	assert_int_equal(mfd_drain_plan_target(b.d.targets, 3, 600 * MIB, 0), -1);
	b.d.targets[0].room = MFD_DRAIN_UNKNOWN;
	assert_int_equal(mfd_drain_plan_target(b.d.targets, 3, 600 * MIB, 0), 0);
}

static void one_that_was_tried_or_fails(void **state)
{
	struct bed b;

	bed(&b, 1, 3);
	assert_int_equal(mfd_drain_plan_target(b.d.targets, 3, 1, 0), 0);
	assert_int_equal(mfd_drain_plan_target(b.d.targets, 3, 1, 1), 1);
	assert_int_equal(mfd_drain_plan_target(b.d.targets, 3, 1, 3), 2);
	assert_int_equal(mfd_drain_plan_target(b.d.targets, 3, 1, 7), -1);
	b.d.targets[0].failures = 1; /* one refusal may be that process's alone */
	assert_int_equal(mfd_drain_plan_target(b.d.targets, 3, 1, 0), 0);
	b.d.targets[0].failures = 2;
	b.d.targets[1].given = b.d.targets[2].given = MIB;
	assert_int_equal(mfd_drain_plan_target(b.d.targets, 3, 1, 0), 1);
	assert_int_equal(mfd_drain_plan_target(b.d.targets, 3, 1, 6), 0);
}

static void n_at_once(void **state)
{
	struct bed b;
	struct mfd_drain_item *it;
	int target;

	bed(&b, 3, 2);
	for (int i = 0; i < 2; i++) {
		it = mfd_drain_plan_next(&b.d, 0, &target);
		assert_ptr_equal(it, &b.items[i]);
		mfd_drain_plan_begun(&b.d, it, target);
		assert_int_equal(it->target, i);
	}
	assert_null(mfd_drain_plan_next(&b.d, 0, &target));
	b.items[0].state = MFD_DRAIN_MOVED;
	b.items[0].total_ms = 3000;
	mfd_drain_plan_ended(&b.d, &b.items[0]);
	assert_true(b.d.pace == 1.5);
	assert_int_equal(b.d.targets[0].moved, 1);
	assert_ptr_equal(mfd_drain_plan_next(&b.d, 0, &target), &b.items[2]);
	assert_int_equal(target, 0);
	b.d.stop = 1;
	assert_null(mfd_drain_plan_next(&b.d, 0, &target));
}

static void fails(struct bed *b, struct mfd_drain_item *it, int by_target)
{
	it->state = MFD_DRAIN_FAILED;
	it->target_failed = by_target;
	it->again = 1;
	mfd_drain_plan_ended(&b->d, it);
}

static void another_try(void **state)
{
	struct bed b;
	struct mfd_drain_item *it = &b.items[0];
	int target;

	bed(&b, 1, 2);
	assert_ptr_equal(mfd_drain_plan_next(&b.d, 0, &target), it);
	mfd_drain_plan_begun(&b.d, it, target);
	fails(&b, it, 1);
	assert_int_equal(it->state, MFD_DRAIN_WAITING);
	assert_int_equal(b.d.targets[0].given, 0);
	assert_int_equal(b.d.targets[0].failures, 1);
	assert_ptr_equal(mfd_drain_plan_next(&b.d, 0, &target), it);
	assert_int_equal(target, 1);
	mfd_drain_plan_begun(&b.d, it, target);
	fails(&b, it, 0);
	assert_int_equal(it->state, MFD_DRAIN_FAILED);
	assert_int_equal(b.d.targets[1].failures, 0);
	assert_int_equal(it->tries, 2);
	assert_int_equal(b.d.moving, 0);
}

static void what_is_in_doubt_is_not_tried_again(void **state)
{
	struct bed b;

	bed(&b, 1, 2);
	mfd_drain_plan_begun(&b.d, &b.items[0], 0);
	b.items[0].state = MFD_DRAIN_DOUBT;
	mfd_drain_plan_ended(&b.d, &b.items[0]);
	assert_int_equal(b.items[0].state, MFD_DRAIN_DOUBT);
	assert_int_equal(b.d.targets[0].given, 100 * MIB);
}

static void the_deadline(void **state)
{
	struct bed b;
	int target;

	bed(&b, 2, 1);
	b.items[0].still_ms = 5000;
	b.d.deadline_ms = 20000;
	/* Before anything has ended: as if the moves at once shared the link. */
	assert_int_equal(mfd_drain_plan_expect(&b.d, &b.items[0]), 12000);
	assert_true(mfd_drain_plan_fits(&b.d, &b.items[0], 7999));
	assert_false(mfd_drain_plan_fits(&b.d, &b.items[0], 8000));
	/* The large one would not end: the small one goes first. */
	assert_ptr_equal(mfd_drain_plan_next(&b.d, 15000, &target), &b.items[1]);
	assert_null(mfd_drain_plan_next(&b.d, 16000, &target));
	b.d.pace = 0.5; /* never less than check expects */
	assert_int_equal(mfd_drain_plan_expect(&b.d, &b.items[0]), 6000);
	b.d.deadline_ms = 0;
	assert_true(mfd_drain_plan_fits(&b.d, &b.items[0], UINT64_MAX / 2));
}

/* What every move takes, of any size, is not what a small one was slower than expected. */
static void a_small_one_says_little_of_a_large_one(void **state)
{
	struct bed b;

	bed(&b, 2, 1);
	mfd_drain_plan_begun(&b.d, &b.items[0], 0);
	b.items[0].still_ms = 5;
	b.items[0].total_ms = 1500;
	b.items[0].state = MFD_DRAIN_MOVED;
	mfd_drain_plan_ended(&b.d, &b.items[0]);
	b.items[1].still_ms = 3000;
	assert_in_range(mfd_drain_plan_expect(&b.d, &b.items[1]), 4000, 8000);
}

/* ---- the end of a move ---- */

#define EXITED(code) ((code) << 8) /* as waitpid has it */

/* A move of this process, which lives, or of one that does not; with a folder of its session. */
static struct mfd_drain_item *begun(struct bed *b, const struct dir *dir, int lives)
{
	struct mfd_drain_item *it = &b->items[0];

	bed(b, 1, 2);
	b->d.dir = dir->path;
	it->pid = getpid();
	it->start = mfd_procfile_start_time(it->pid) + !lives;
	snprintf(it->session, sizeof(it->session), "s");
	mfd_drain_plan_begun(&b->d, it, 0);
	assert_int_equal(mkdirat(dir->fd, "s", 0700), 0);
	assert_int_equal(mkdirat(dir->fd, "s/criu-multifd.x", 0700), 0);
	return it;
}

static void leave(const struct dir *dir)
{
	static char text[] = "s";
	Mfd__SourceEntry e = MFD__SOURCE_ENTRY__INIT;
	int fd = openat(dir->fd, "s/criu-multifd.x", O_RDONLY | O_DIRECTORY);
	struct mfd_error err = { 0 };

	e.session = e.target = e.boot_id = text;
	e.state = MFD__SOURCE_STATE__UNTOLD;
	if (mfd_source_file_store(fd, &e))
		fail_msg("%s", err.text);
	close(fd);
}

/* The first target may hold the session still: the second one must not get it. */
static void what_is_left_is_not_tried_elsewhere(void **state)
{
	struct bed b;
	struct mfd_drain_item *it = begun(&b, *state, 1);

	leave(*state);
	mfd_drain_move_end(&b.d, it, EXITED(MFD_EXIT_FAILED));
	assert_int_equal(it->state, MFD_DRAIN_DOUBT);
	assert_int_equal(b.d.targets[0].given, it->bytes);
	assert_int_equal(mfd_drain_code(&b.d), MFD_EXIT_DOUBT);
}

static void what_cannot_be_read_is_left(void **state)
{
	struct dir *dir = *state;
	struct bed b;
	struct mfd_drain_item *it = begun(&b, dir, 1);
	int fd =
		openat(dir->fd, "s/criu-multifd.x/" MFD_SOURCE_FILE_NAME, O_CREAT | O_WRONLY, 0600);

	close(fd);
	mfd_drain_move_end(&b.d, it, EXITED(MFD_EXIT_FAILED));
	assert_int_equal(it->state, MFD_DRAIN_DOUBT);
}

static void nothing_is_left(void **state)
{
	struct bed b;
	struct mfd_drain_item *it = begun(&b, *state, 1);

	mfd_drain_move_end(&b.d, it, EXITED(MFD_EXIT_FAILED));
	assert_int_equal(it->state, MFD_DRAIN_WAITING);
}

/* Aborted by a signal of an operator's: that was meant. */
static void an_abort_is_not_tried_elsewhere(void **state)
{
	struct bed b;
	struct mfd_drain_item *it = begun(&b, *state, 1);

	mfd_drain_move_end(&b.d, it, EXITED(MFD_EXIT_INTERRUPT));
	assert_int_equal(it->state, MFD_DRAIN_FAILED);
}

static void died_of_the_move(void **state)
{
	struct bed b;
	struct mfd_drain_item *it = begun(&b, *state, 0);

	mfd_drain_move_end(&b.d, it, EXITED(MFD_EXIT_FAILED));
	assert_int_equal(it->state, MFD_DRAIN_DIED);
	assert_int_equal(mfd_drain_code(&b.d), MFD_EXIT_FAILED);
}

static void had_ended_before(void **state)
{
	struct bed b;
	struct mfd_drain_item *it = begun(&b, *state, 0);

	mfd_drain_move_end(&b.d, it, EXITED(MFD_EXIT_REFUSED));
	assert_int_equal(it->state, MFD_DRAIN_GONE);
	assert_int_equal(mfd_drain_code(&b.d), MFD_EXIT_OK);
}

static void complete_there_and_not_restored(void **state)
{
	struct bed b;
	struct mfd_drain_item *it = begun(&b, *state, 0);

	b.d.no_restore = 1;
	mfd_drain_move_end(&b.d, it, EXITED(MFD_EXIT_OK));
	assert_int_equal(it->state, MFD_DRAIN_STORED);
	assert_int_equal(b.d.targets[0].moved, 1);
}

/* ---- which process ---- */

static void a_pid_that_was_used_again(void **state)
{
	struct mfd_migrate m = { .pid = (uint32_t)getpid() };
	struct mfd_error err = { 0 };

	assert_int_equal(mfd_migrate_check_start(&m, &err), 0);
	m.start = mfd_procfile_start_time(getpid());
	assert_int_equal(mfd_migrate_check_start(&m, &err), 0);
	m.start++;
	assert_int_equal(mfd_migrate_check_start(&m, &err), -ESRCH);
	m.pid = 1 << 30;
	assert_int_equal(mfd_migrate_check_start(&m, &err), -ESRCH);
}

/* Of what is looked for again a group may be gone: the others are looked at all the same. */
static void a_group_that_is_gone_hides_no_other(void **state)
{
	struct mfd_drain d = { .dirfd = -1, .session = "h", .n_picks = 2 };
	struct mfd_error err = { 0 };
	int root = mfd_cgroup_open();

	if (root < 0)
		skip(); /* no control groups of version 2, or not root */
	close(root);
	d.picks[0] = (struct mfd_drain_pick){ MFD_DRAIN_CGROUP, "/no/such/group" };
	d.picks[1] = (struct mfd_drain_pick){ MFD_DRAIN_CGROUP, "/" };
	assert_int_equal(mfd_drain_pick(&d, 0, &err), -ENOENT);
	assert_int_equal(d.n, 0);
	assert_int_equal(mfd_drain_pick(&d, 1, &err), 0);
	assert_true(d.n > 0);
	free(d.items);
}

/* ---- the command line ---- */

/* As many words for migrate as there may be, and then those that drain adds. */
static void too_many_words(void **state)
{
	static struct mfd_drain d;
	char *argv[60] = { "drain", "--to", "a:1", "--pid", "1", "--no-check" };
	int n = 6;

	argv[n++] = "--no-auto-options";
	argv[n++] = "--no-check-target";
	while (n < 8 + 33)
		argv[n++] = "--serve-option=x";
	assert_int_equal(mfd_drain_args(&d, n, argv), MFD_EXIT_USAGE);
	mfd_migrate_args_free(&d.m);
	for (unsigned i = 0; i < d.n_targets; i++)
		free(d.targets[i].to);
	memset(&d, 0, sizeof(d));
	n--;
	argv[n] = NULL;
	assert_int_equal(mfd_drain_args(&d, n, argv), -1);
	assert_int_equal(d.n_extra, MFD_DRAIN_EXTRA);
	mfd_migrate_args_free(&d.m);
	for (unsigned i = 0; i < d.n_targets; i++)
		free(d.targets[i].to);
}

static int64_t when(const char *text)
{
	struct mfd_error err = { 0 };
	int64_t v = -1;

	if (mfd_drain_time(text, 1000000, &v, &err)) {
		assert_non_null(strstr(err.text, text));
		return -1;
	}
	return v;
}

static void times(void **state)
{
	static const char *const bad[] = { "",
					   "x",
					   "5",
					   "5y",
					   "m",
					   "-5m",
					   "25:00",
					   "12:0x",
					   "@x",
					   "@5 ",
					   "@",
					   "5m ",
					   "367d",
					   "@1",
					   "99999999999999999999m",
					   "2026-13-01 00:00" };

	setenv("TZ", "UTC", 1);
	tzset();
	assert_int_equal(when("30m"), 1000000 + 1800);
	assert_int_equal(when("+90s"), 1000090);
	assert_int_equal(when("2h"), 1007200);
	assert_int_equal(when("1d"), 1086400);
	assert_int_equal(when("@1000001"), 1000001);
	/* 1000000 is 1970-01-12 13:46:40 */
	assert_int_equal(when("13:47"), 1000020);
	assert_int_equal(when("13:46:41"), 1000001);
	assert_int_equal(when("13:46"), 1000000 - 40 + 86400);
	assert_int_equal(when("1970-01-12 13:50"), 1000200);
	assert_int_equal(when("1970-01-12T13:50:01"), 1000201);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		if (when(bad[i]) != -1)
			fail_msg("'%s' was taken", bad[i]);
	assert_int_equal(when("1970-01-12 13:00"), -1);
}

static void targets_with_room(void **state)
{
	struct mfd_drain d = { 0 };
	struct mfd_error err = { 0 };

	assert_int_equal(mfd_drain_args_targets(&d, "a:1=64G,[::1]:2,ssh://root@c/x=y", &err), 0);
	assert_int_equal(d.n_targets, 3);
	assert_string_equal(d.targets[0].to, "a:1");
	assert_int_equal(d.targets[0].room, 64ULL << 30);
	assert_int_equal(d.targets[1].room, MFD_DRAIN_UNKNOWN);
	assert_string_equal(d.targets[2].to, "ssh://root@c/x=y");
	assert_int_equal(mfd_drain_args_targets(&d, "a:1", &err), -EINVAL);
	assert_non_null(strstr(err.text, "a:1 is there twice"));
	for (unsigned i = 0; i < d.n_targets; i++)
		free(d.targets[i].to);
}

static void bad_targets(void **state)
{
	static const char *const bad[] = { "", "a:1,", "a", "a:0", "a:1,b", "ssh://", "a:1=x" };

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct mfd_drain d = { 0 };
		struct mfd_error err = { 0 };

		if (mfd_drain_args_targets(&d, bad[i], &err) != -EINVAL || !err.text[0])
			fail_msg("'%s' was taken", bad[i]);
		for (unsigned t = 0; t < d.n_targets; t++)
			free(d.targets[t].to);
	}
}

static void session_names(void **state)
{
	char name[200], lengthy[300];

	mfd_drain_item_session(name, sizeof(name), "web1", "redis-server", 7);
	assert_string_equal(name, "web1.redis-server.7");
	mfd_drain_item_session(name, sizeof(name), ".x", "a/b c\n", 7);
	assert_string_equal(name, "_x.a-b-c-.7");
	memset(lengthy, 'x', sizeof(lengthy) - 1);
	lengthy[sizeof(lengthy) - 1] = 0;
	mfd_drain_item_session(name, sizeof(name), lengthy, lengthy, 4194304);
	assert_string_equal(strrchr(name, '.'), ".4194304");
}

/* ---- states and events ---- */

static void exit_codes(void **state)
{
	struct bed b;

	bed(&b, 3, 1);
	b.items[0].state = b.items[1].state = MFD_DRAIN_MOVED;
	b.items[2].state = MFD_DRAIN_GONE;
	assert_int_equal(mfd_drain_code(&b.d), MFD_EXIT_OK);
	b.items[2].state = MFD_DRAIN_LATE;
	assert_int_equal(mfd_drain_code(&b.d), MFD_EXIT_TIMEOUT);
	b.items[1].state = MFD_DRAIN_CANNOT;
	assert_int_equal(mfd_drain_code(&b.d), MFD_EXIT_FAILED);
	b.items[1].state = MFD_DRAIN_NEW;
	assert_int_equal(mfd_drain_code(&b.d), MFD_EXIT_FAILED);
	b.items[0].state = MFD_DRAIN_DOUBT;
	assert_int_equal(mfd_drain_code(&b.d), MFD_EXIT_DOUBT);
	b.items[1].state = MFD_DRAIN_BOTH;
	assert_int_equal(mfd_drain_code(&b.d), MFD_EXIT_BOTH);
	b.d.n = 0;
	assert_int_equal(mfd_drain_code(&b.d), MFD_EXIT_OK);
}

static void events(void **state)
{
	struct mfd_drain_item it = { .pause_ms = -1 };

	mfd_drain_move_event(&it, "{\"event\":\"phase\",\"phase\":\"streaming\"}");
	assert_string_equal(it.phase, "streaming");
	mfd_drain_move_event(&it,
			     "{\"event\":\"progress\",\"phase\":\"streaming\",\"percent\":40.5,"
			     "\"bytes_per_second\":1000}");
	assert_true(it.percent == 40.5 && it.rate == 1000);
	mfd_drain_move_event(&it, "{\"event\":\"summary\",\"total_ms\":12.5,\"frozen_ms\":7,"
				  "\"downtime_ms\":null,\"error\":\"no\\u001b[2J\"}");
	assert_true(it.total_ms == 12.5 && it.pause_ms == -1); /* where does it run? */
	assert_string_equal(it.error, "no?[2J");
	mfd_drain_move_event(&it, "{\"event\":\"summary\",\"frozen_ms\":7,\"downtime_ms\":9}");
	assert_true(it.pause_ms == 9);
	/* Nothing of this is an event. */
	mfd_drain_move_event(&it, "");
	mfd_drain_move_event(&it, "[1]");
	mfd_drain_move_event(&it, "{\"event\":{\"a\":1}}");
	mfd_drain_move_event(&it, "{\"event\":");
	mfd_drain_move_event(&it, "{\"event\":\"phase\"}");
}

/* ---- what is written ---- */

static void some_of_each(struct bed *b)
{
	bed(b, 3, 2);
	b->items[0].state = MFD_DRAIN_MOVED;
	b->items[0].target = 1;
	b->items[0].tries = 1;
	b->items[0].pause_ms = 120.4;
	b->items[0].total_ms = 1500;
	b->items[0].bytes_memory = 100 * MIB;
	mfd_drain_set(&b->items[1], MFD_DRAIN_CANNOT, "has a device\n");
	b->items[2].state = MFD_DRAIN_MOVING;
	b->items[2].target = 0;
	b->items[2].begun_ms = 1000;
	snprintf(b->items[0].session, sizeof(b->items[0].session), "quo\"te\\x");
}

static char *text_of(void (*print)(const struct mfd_drain *d, FILE *f), const struct mfd_drain *d)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	assert_non_null(f);
	print(d, f);
	fclose(f);
	return text;
}

static void is_in(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("'%s' is not in:\n%s", part, text);
}

static void live(const struct mfd_drain *d, FILE *f)
{
	assert_int_equal(mfd_drain_table_live(d, f, 3500), 2);
}

static void tables(void **state)
{
	struct bed b;
	char *text;

	some_of_each(&b);
	text = text_of(mfd_drain_table_plan, &b.d);
	is_in(text, "cannot move, runs on here: has a device");
	is_in(text, "1 cannot move, 0 in doubt");
	free(text);
	text = text_of(live, &b.d);
	is_in(text, "102  p2     300.0 MiB  a:1        2.5 s  starting\n");
	is_in(text, "1 moved, 1 on the way, 0 wait, 0 failed; 17% of 0.6 GiB");
	free(text);
	text = text_of(mfd_drain_table_summary, &b.d);
	is_in(text, "pause 120 ms");
	is_in(text, "1 moved, 2 left here; pauses: median 120 ms, longest 120 ms\n");
	free(text);
}

static void over(const struct mfd_drain *d, FILE *f)
{
	mfd_drain_metrics_text(d, 1, f);
}

/* A sample: NAME{LABEL="VALUE"} NUMBER, of a metric whose type was said. */
static void check_sample(const char *line, const char *type)
{
	char name[64], *end;
	size_t len = strcspn(line, "{ ");
	const char *at = line + len;

	snprintf(name, sizeof(name), "# TYPE %.*s gauge", (int)len, line);
	assert_string_equal(name, type);
	if (*at == '{') {
		at += 1 + strspn(at + 1, "abcdefghijklmnopqrstuvwxyz_");
		assert_int_equal(*at++, '=');
		assert_int_equal(*at++, '"');
		for (; *at != '"'; at++) {
			assert_true(*at);
			if (*at == '\\')
				at++;
		}
		assert_int_equal(*++at, '}');
		at++;
	}
	assert_int_equal(*at, ' ');
	strtod(at + 1, &end);
	assert_true(end > at + 1 && !*end);
}

static void metrics(void **state)
{
	struct bed b;
	char *text, *line, *save, type[80] = "";
	unsigned ends = 0;

	some_of_each(&b);
	text = text_of(over, &b.d);
	is_in(text, "criu_multifd_drain_processes{state=\"moved\"} 1\n");
	is_in(text, "criu_multifd_drain_processes{state=\"cannot-move\"} 1\n");
	is_in(text, "criu_multifd_drain_memory_bytes{state=\"moving\"} 314572800\n");
	is_in(text, "criu_multifd_drain_pause_seconds{session=\"quo\\\"te\\\\x\"} 0.1204\n");
	is_in(text, "criu_multifd_drain_empty 0\n");
	assert_string_equal(text + strlen(text) - 6, "# EOF\n");
	for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		assert_int_equal(ends, 0);
		if (!strncmp(line, "# TYPE ", 7))
			snprintf(type, sizeof(type), "%s", line);
		else if (*line == '#')
			ends += !strcmp(line, "# EOF");
		else
			check_sample(line, type);
	}
	assert_int_equal(ends, 1);
	free(text);
}

static void json(void **state)
{
	struct bed b;
	struct json_object *j, *v, *list;

	some_of_each(&b);
	j = mfd_drain_json(&b.d, "summary");
	assert_true(json_object_object_get_ex(j, "empty", &v) && !json_object_get_boolean(v));
	assert_true(json_object_object_get_ex(j, "exit_code", &v));
	assert_int_equal(json_object_get_int(v), MFD_EXIT_FAILED);
	assert_true(json_object_object_get_ex(j, "processes", &list));
	assert_int_equal(json_object_array_length(list), 3);
	v = json_object_array_get_idx(list, 0);
	assert_true(json_object_object_get_ex(v, "pause_ms", &v));
	assert_true(json_object_get_double(v) == 120.4);
	v = json_object_array_get_idx(list, 1);
	assert_true(json_object_object_get_ex(v, "state", &v));
	assert_string_equal(json_object_get_string(v), "cannot-move");
	json_object_put(j);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(largest_first),
		cmocka_unit_test(spread_by_what_was_given),
		cmocka_unit_test(spread_by_room),
		cmocka_unit_test(one_that_was_tried_or_fails),
		cmocka_unit_test(n_at_once),
		cmocka_unit_test(another_try),
		cmocka_unit_test(what_is_in_doubt_is_not_tried_again),
		cmocka_unit_test(the_deadline),
		cmocka_unit_test(a_small_one_says_little_of_a_large_one),
		IN_FOLDER(what_is_left_is_not_tried_elsewhere),
		IN_FOLDER(what_cannot_be_read_is_left),
		IN_FOLDER(nothing_is_left),
		IN_FOLDER(an_abort_is_not_tried_elsewhere),
		IN_FOLDER(died_of_the_move),
		IN_FOLDER(had_ended_before),
		IN_FOLDER(complete_there_and_not_restored),
		cmocka_unit_test(a_pid_that_was_used_again),
		cmocka_unit_test(a_group_that_is_gone_hides_no_other),
		cmocka_unit_test(too_many_words),
		cmocka_unit_test(times),
		cmocka_unit_test(targets_with_room),
		cmocka_unit_test(bad_targets),
		cmocka_unit_test(session_names),
		cmocka_unit_test(exit_codes),
		cmocka_unit_test(events),
		cmocka_unit_test(tables),
		cmocka_unit_test(metrics),
		cmocka_unit_test(json),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
