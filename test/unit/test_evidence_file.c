// SPDX-License-Identifier: GPL-2.0-only
/* Evidence by id: it outlives names, is each peer's own, and is bounded for each. */
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

#include "evidence_file.h"
#include "session_file.h"
#include "tmpdir.h"

static uint8_t ids[4][MFD_EVIDENCE_FILE_ID] = { "0123456789abcde", "1", "2", "3" };
static char session_name[] = "one", reason[] = "the network broke", tls_peer[] = "x509:a.example";

static Mfd__SessionEntry entry(unsigned id, char *identity)
{
	Mfd__SessionEntry e = MFD__SESSION_ENTRY__INIT;

	e.name = session_name;
	e.state = MFD__SESSION_STATE__ABORTED;
	e.error = reason;
	e.identity = identity;
	e.has_session_id = e.has_secret = e.has_ready_us = 1;
	e.session_id = (ProtobufCBinaryData){ .data = ids[id], .len = sizeof(ids[id]) };
	e.secret = (ProtobufCBinaryData){ .data = (uint8_t *)reason, .len = 8 };
	e.ready_us = 1;
	return e;
}

static int has(struct dir *d, unsigned id, const char *identity)
{
	Mfd__SessionEntry *e;
	int ret = mfd_evidence_file_find(d->fd, identity, ids[id], &e);

	assert_true(!ret || ret == -ENOENT);
	if (ret)
		return 0;
	assert_string_equal(e->error, reason);
	assert_false(e->has_secret);
	mfd_session_file_free(e);
	return 1;
}

static void test_by_id(void **state)
{
	Mfd__SessionEntry e = entry(0, NULL), none = entry(1, NULL), plain = entry(2, NULL);
	struct dir *d = *state;

	assert_false(has(d, 0, ""));
	assert_int_equal(mfd_evidence_file_keep(d->fd, &e), 0);
	assert_true(has(d, 0, "") && has(d, 0, NULL) && !has(d, 1, ""));
	none.has_session_id = 0;
	assert_int_equal(mfd_evidence_file_keep(d->fd, &none), 0);
	plain.has_ready_us = 0; /* no source has given leave */
	assert_int_equal(mfd_evidence_file_keep(d->fd, &plain), 0);
	assert_false(has(d, 1, "") || has(d, 2, ""));
}

static void test_identity(void **state)
{
	Mfd__SessionEntry e = entry(0, tls_peer);
	struct dir *d = *state;

	assert_int_equal(mfd_evidence_file_keep(d->fd, &e), 0);
	assert_true(has(d, 0, tls_peer));
	assert_false(has(d, 0, "") || has(d, 0, "x509:b.example"));
}

/* Names come and go: tombstones of them do, and what they prove stays. */
static void test_names(void **state)
{
	Mfd__SessionEntry e[3] = { entry(0, NULL), entry(1, tls_peer), entry(2, NULL) };
	struct dir *d = *state;
	struct mfd_session_file f;

	for (int i = 0; i < 3; i++)
		assert_int_equal(mfd_session_file_bury(d->fd, "one", &e[i]), 0);
	assert_int_equal(mfd_session_file_find_ended(d->fd, "one", &f), 0);
	assert_memory_equal(f.entry->session_id.data, ids[2], sizeof(ids[2]));
	mfd_session_file_release(&f);
	assert_int_equal(mfd_session_file_exhume(d->fd, "one"), 0);
	assert_int_equal(mfd_session_file_find_ended(d->fd, "one", &f), -ENOENT);
	assert_true(has(d, 0, "") && has(d, 1, tls_peer) && has(d, 2, ""));
}

/* A folder of a program that knew names alone. */
static void test_old_tombstone(void **state)
{
	Mfd__SessionEntry e = entry(0, NULL);
	struct dir *d = *state;
	int fd;

	assert_int_equal(mkdirat(d->fd, ".ended", 0700), 0);
	fd = openat(d->fd, ".ended", O_RDONLY | O_DIRECTORY);
	assert_int_equal(mfd_entry_file_write(fd, "one.img", &e, 0), 0);
	close(fd);
	assert_false(has(d, 0, ""));
	assert_int_equal(mfd_session_file_exhume(d->fd, "one"), 0);
	assert_true(has(d, 0, ""));
}

static void age(struct dir *d, unsigned id, const char *suffix, unsigned seconds)
{
	struct timespec t[2] = { { .tv_sec = time(NULL) - seconds } };
	char path[128];
	size_t n;

	t[1] = t[0];
	mfd_evidence_file_folder("", path, sizeof(path));
	n = strlen(path);
	n += (size_t)snprintf(path + n, sizeof(path) - n, "/");
	for (unsigned i = 0; i < sizeof(ids[id]); i++)
		n += (size_t)snprintf(path + n, sizeof(path) - n, "%02x", ids[id][i]);
	snprintf(path + n, sizeof(path) - n, ".%s", suffix);
	assert_int_equal(utimensat(d->fd, path, t, 0), 0);
}

static void test_expire(void **state)
{
	Mfd__SessionEntry e = entry(0, NULL), other = entry(1, NULL);
	struct dir *d = *state;

	assert_int_equal(mfd_evidence_file_expire(d->fd, 100), 0);
	assert_int_equal(mfd_evidence_file_keep(d->fd, &e), 0);
	assert_int_equal(mfd_evidence_file_keep(d->fd, &other), 0);
	age(d, 0, "img", 200);
	assert_int_equal(mfd_evidence_file_expire(d->fd, 0), 0);
	assert_true(has(d, 0, ""));
	assert_int_equal(mfd_session_file_expire(d->fd, 100, 10), -0);
	assert_int_equal(mfd_evidence_file_expire(d->fd, 100), 0);
	assert_false(has(d, 0, ""));
	assert_true(has(d, 1, ""));
}

/* Names without a record, as many as fill the folder of plain peers. */
static void fill(struct dir *d, const char *suffix, unsigned n)
{
	char folder[64], path[160];

	mfd_evidence_file_folder("", folder, sizeof(folder));
	for (unsigned i = 0; i < n; i++) {
		snprintf(path, sizeof(path), "%s/%032x.%s", folder, i + 16, suffix);
		close(openat(d->fd, path, O_WRONLY | O_CREAT, 0600));
	}
}

static void test_bound(void **state)
{
	Mfd__SessionEntry e[4] = { entry(0, NULL), entry(1, NULL), entry(2, NULL), entry(3, NULL) };
	struct dir *d = *state;

	/* Its source has ended it, or told that its tasks are dead: these may go. */
	e[0].has_told = e[0].told = 1;
	e[1].state = e[2].state = MFD__SESSION_STATE__DONE;
	e[1].has_source_gone = e[1].source_gone = 1;
	for (int i = 0; i < 3; i++)
		assert_int_equal(mfd_evidence_file_keep(d->fd, &e[i]), 0);
	age(d, 1, "old", 50);
	fill(d, "img", MFD_EVIDENCE_FILE_MOST - 3);
	assert_false(mfd_evidence_file_is_full(d->fd, "", MFD_EVIDENCE_FILE_MOST));
	assert_true(has(d, 0, "") && has(d, 1, "") && has(d, 2, ""));
	assert_int_equal(mfd_evidence_file_keep(d->fd, &e[3]), 0);
	assert_true(has(d, 0, "") && !has(d, 1, "") && has(d, 2, "") && has(d, 3, ""));
	/* What was to spare is needed once a person has decided. */
	e[0].told = 0;
	assert_int_equal(mfd_evidence_file_keep(d->fd, &e[0]), 0);
	assert_true(mfd_evidence_file_is_full(d->fd, "", MFD_EVIDENCE_FILE_MOST));
	assert_false(mfd_evidence_file_is_full(d->fd, tls_peer, MFD_EVIDENCE_FILE_MOST));
	for (unsigned i = 0; i < 4; i++)
		assert_true(has(d, i, "") == (i != 1));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, tmpdir_setup, tmpdir_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_by_id),	  TEST(test_identity), TEST(test_names),
		TEST(test_old_tombstone), TEST(test_expire),   TEST(test_bound),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
