// SPDX-License-Identifier: GPL-2.0-only
/* What is kept for sources, and held against them, by the time that passes and not by a clock. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "calendar.h"
#include "evidence_file.h"
#include "io.h"
#include "life.h"
#include "pace.h"
#include "session.h"
#include "tmpdir.h"

#define DAY   86400LL
#define MONTH (30 * DAY)
#define RATE  1000000U

static uint8_t id[MFD_EVIDENCE_FILE_ID] = "0123456789abcde";
static char record[128];

static void keep_record(int dir)
{
	Mfd__SessionEntry e = MFD__SESSION_ENTRY__INIT;
	size_t n;

	e.name = (char *)"one";
	e.state = MFD__SESSION_STATE__ABORTED;
	e.has_session_id = e.has_ready_us = 1;
	e.session_id = (ProtobufCBinaryData){ .data = id, .len = sizeof(id) };
	e.ready_us = 1;
	assert_int_equal(mfd_evidence_file_keep(dir, &e), 0);
	mfd_evidence_file_folder("", record, sizeof(record));
	n = strlen(record);
	record[n++] = '/';
	for (unsigned i = 0; i < sizeof(id); i++)
		n += (size_t)snprintf(record + n, sizeof(record) - n, "%02x", id[i]);
	snprintf(record + n, sizeof(record) - n, ".img");
}

static void set_time(int dir, time_t when)
{
	struct timespec t[2] = { { .tv_sec = when }, { .tv_sec = when } };

	assert_int_equal(utimensat(dir, record, t, 0), 0);
}

static int64_t age(int dir)
{
	struct stat st;

	if (fstatat(dir, record, &st, 0))
		return -1;
	return time(NULL) - st.st_mtime;
}

/* The last look was so many seconds of the clock ago, and at this time after this boot. */
static void set_mark(int dir, const char *boot, int64_t ago, int64_t since)
{
	char text[160];
	int fd = openat(dir, MFD_CALENDAR_FILE, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	snprintf(text, sizeof(text), "%s %lld %lld\n", boot, (long long)(time(NULL) - ago),
		 (long long)since);
	assert_int_equal(mfd_io_write_all(fd, text, strlen(text)), 0);
	close(fd);
}

static void look(int dir)
{
	assert_int_equal(mfd_calendar_keep(dir), 0);
	assert_int_equal(mfd_evidence_file_expire(dir, MONTH), 0);
}

static void test_jumps(void **state)
{
	int dir = ((struct dir *)*state)->fd;
	char boot[MFD_LIFE_BOOT];
	struct timespec up;

	assert_int_equal(mfd_life_boot(boot), 0);
	clock_gettime(CLOCK_BOOTTIME, &up);
	look(dir); /* no session has ended yet */
	keep_record(dir);
	/* ahead: the record is a second old */
	set_time(dir, time(NULL) - 40 * DAY - 1);
	set_mark(dir, boot, 40 * DAY, up.tv_sec);
	look(dir);
	assert_in_range(age(dir), 0, 120);
	/* the same once more is no jump */
	look(dir);
	assert_in_range(age(dir), 0, 120);
	/* back */
	set_time(dir, time(NULL) + 40 * DAY);
	set_mark(dir, boot, -40 * DAY, up.tv_sec);
	look(dir);
	assert_in_range(age(dir), 0, 120);
	/* the host was down */
	set_time(dir, time(NULL) - 40 * DAY);
	set_mark(dir, "another-boot", 40 * DAY, 7);
	look(dir);
	assert_in_range(age(dir), 0, up.tv_sec + 120);
	/* time has passed */
	set_time(dir, time(NULL) - 40 * DAY);
	look(dir);
	assert_int_equal(age(dir), -1);
}

/* A mark that cannot be read now: nothing expires. */
static void test_unreadable(void **state)
{
	int dir = ((struct dir *)*state)->fd;

	keep_record(dir);
	assert_int_equal(mkdirat(dir, MFD_CALENDAR_FILE, 0700), 0);
	assert_true(mfd_calendar_keep(dir) < 0);
}

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

#define TEST(f) cmocka_unit_test_setup_teardown(f, tmpdir_setup, tmpdir_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_jumps),
		TEST(test_unreadable),
		TEST(test_pace),
	};

	return cmocka_run_group_tests_name("calendar", tests, NULL, NULL);
}
