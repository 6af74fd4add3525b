// SPDX-License-Identifier: GPL-2.0-only
/* session.img and tombstones: atomic, private, and never mistaken for each other. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image.h"
#include "session_file.h"
#include "tmpdir.h"

static char session_name[] = "web-1";
static char reason[] = "the network broke";
static uint8_t secret[] = "0123456789abcdef0123456789abcdef";

static Mfd__SessionEntry entry(Mfd__SessionState state)
{
	Mfd__SessionEntry e = MFD__SESSION_ENTRY__INIT;

	e.name = session_name;
	e.state = state;
	e.has_secret = 1;
	e.secret = (ProtobufCBinaryData){ .data = secret, .len = 32 };
	return e;
}

static int session_dir(struct dir *d, const char *name)
{
	int fd;

	assert_true(!mkdirat(d->fd, name, 0700) || errno == EEXIST);
	fd = openat(d->fd, name, O_RDONLY | O_DIRECTORY);
	assert_true(fd >= 0);
	return fd;
}

static void store(struct dir *d, const char *name, Mfd__SessionState state)
{
	Mfd__SessionEntry e = entry(state);
	int fd = session_dir(d, name);

	assert_int_equal(mfd_session_file_store(fd, &e, 1), 0);
	close(fd);
}

static void bury(struct dir *d, const char *name)
{
	Mfd__SessionEntry e = entry(MFD__SESSION_STATE__RECEIVING);

	e.error = reason;
	assert_int_equal(mfd_session_file_bury(d->fd, name, &e), 0);
}

static void test_store_load(void **state)
{
	Mfd__SessionEntry e = entry(MFD__SESSION_STATE__READY), *got;
	int fd = session_dir(*state, "web-1");
	const char *why = NULL;
	struct stat st;

	assert_int_equal(mfd_session_file_load(fd, &got, &why), -ENOENT);
	e.has_pages = 1;
	e.pages = 1ULL << 40;
	for (int sync = 0; sync < 2; sync++) {
		assert_int_equal(mfd_session_file_store(fd, &e, sync), 0);
		assert_int_equal(e.format, 0); /* not changed */
		assert_int_equal(mfd_session_file_load(fd, &got, &why), 0);
		assert_int_equal(got->format, 1);
		assert_int_equal(got->state, MFD__SESSION_STATE__READY);
		assert_true(got->pages == 1ULL << 40);
		assert_memory_equal(got->secret.data, secret, 32);
		mfd_session_file_free(got);
	}
	assert_int_equal(fstatat(fd, MFD_SESSION_FILE_NAME, &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	close(fd);
}

/* An older program must leave such a session alone, but may know that there was one. */
static void test_early(void **state)
{
	Mfd__SessionEntry e = entry(MFD__SESSION_STATE__RESTORED), *got;
	int fd = session_dir(*state, "web-1");
	const char *why = NULL;

	e.has_early_restore = e.early_restore = 1;
	assert_int_equal(mfd_session_file_store(fd, &e, 0), 0);
	assert_int_equal(mfd_session_file_load(fd, &got, &why), 0);
	assert_int_equal(got->format, 2);
	assert_true(got->early_restore);
	mfd_session_file_free(got);
	e.has_precopy = e.precopy = 1; /* whose journal it would cut */
	assert_int_equal(mfd_session_file_store(fd, &e, 0), 0);
	assert_int_equal(mfd_session_file_load(fd, &got, &why), 0);
	assert_int_equal(got->format, 3);
	mfd_session_file_free(got);
	e.state = MFD__SESSION_STATE__DONE;
	assert_int_equal(mfd_session_file_store(fd, &e, 0), 0);
	assert_int_equal(mfd_session_file_load(fd, &got, &why), 0);
	assert_int_equal(got->format, 1);
	mfd_session_file_free(got);
	close(fd);
}

static void test_refused(void **state)
{
	Mfd__SessionEntry e = entry(MFD__SESSION_STATE__READY), *got;
	const ProtobufCMessage *msg = &e.base;
	int fd = session_dir(*state, "web-1");
	const char *why = NULL;

	e.format = MFD_SESSION_FILE_FORMAT + 1;
	mfd_image_write(fd, MFD_SESSION_FILE_NAME, MFD_IMAGE_SERVICE_MAGIC, MFD_IMAGE_SESSION, &msg,
			1);
	assert_int_equal(mfd_session_file_load(fd, &got, &why), -EPROTO);
	assert_non_null(strstr(why, "format 4"));
	assert_null(got);
	e.format = 1;
	e.state = 99;
	mfd_image_write(fd, MFD_SESSION_FILE_NAME, MFD_IMAGE_SERVICE_MAGIC, MFD_IMAGE_SESSION, &msg,
			1);
	assert_int_equal(mfd_session_file_load(fd, &got, &why), -EBADMSG);
	mfd_image_write(fd, MFD_SESSION_FILE_NAME, MFD_IMAGE_SERVICE_MAGIC, MFD_IMAGE_SESSION, NULL,
			0);
	assert_int_equal(mfd_session_file_load(fd, &got, &why), -EBADMSG);
	assert_non_null(strstr(why, "no entry"));
	e.state = MFD__SESSION_STATE__READY;
	mfd_image_write(fd, MFD_SESSION_FILE_NAME, MFD_IMAGE_SERVICE_MAGIC, MFD_IMAGE_SESSION,
			(const ProtobufCMessage *const[]){ msg, msg }, 2);
	assert_int_equal(mfd_session_file_load(fd, &got, &why), -EBADMSG);
	assert_non_null(strstr(why, "something follows"));
	close(fd);
}

static void test_tombstone(void **state)
{
	struct dir *d = *state;
	struct mfd_session_file f;

	assert_int_equal(mfd_session_file_find(d->fd, "web-1", &f), -ENOENT);
	bury(d, "web-1");
	assert_int_equal(mfd_session_file_find(d->fd, "web-1", &f), 0);
	assert_true(f.ended && !f.seen && f.mtime.tv_sec);
	assert_int_equal(f.entry->state, MFD__SESSION_STATE__ABORTED);
	assert_string_equal(f.entry->error, reason);
	assert_false(f.entry->has_secret);
	mfd_session_file_release(&f);

	assert_int_equal(mfd_session_file_exhume(d->fd, "web-1"), 0);
	assert_int_equal(mfd_session_file_find(d->fd, "web-1", &f), -ENOENT);
	assert_int_equal(mfd_session_file_exhume(d->fd, "web-1"), 0);
}

/* A mark holds for the tombstone it was made for, also within one tick of the clock. */
static void test_seen(void **state)
{
	struct dir *d = *state;
	struct mfd_session_file f;

	for (int i = 0; i < 3; i++) {
		bury(d, "web-1");
		assert_int_equal(mfd_session_file_find(d->fd, "web-1", &f), 0);
		assert_false(f.seen);
		assert_int_equal(mfd_session_file_mark_seen(d->fd, "web-1", &f.mtime), 0);
		mfd_session_file_release(&f);
		assert_int_equal(mfd_session_file_find(d->fd, "web-1", &f), 0);
		assert_true(f.seen);
		mfd_session_file_release(&f);
	}
}

static void test_live_wins(void **state)
{
	struct dir *d = *state;
	struct mfd_session_file f;

	bury(d, "web-1");
	store(d, "web-1", MFD__SESSION_STATE__RECEIVING);
	assert_int_equal(mfd_session_file_find(d->fd, "web-1", &f), 0);
	assert_false(f.ended);
	assert_int_equal(f.entry->state, MFD__SESSION_STATE__RECEIVING);
	mfd_session_file_release(&f);
}

static void test_list(void **state)
{
	struct dir *d = *state;
	struct mfd_session_file *list;
	size_t n;
	int fd;

	assert_int_equal(mfd_session_file_list(d->fd, &list, &n), 0);
	assert_int_equal(n, 0);
	mfd_session_file_list_free(list, n);

	for (char c = 'z'; c >= 'g'; c--)
		store(d, (char[]){ c, 0 }, MFD__SESSION_STATE__DONE);
	bury(d, "h"); /* hidden by the live one */
	bury(d, "a");
	fd = session_dir(d, "b");
	close(openat(fd, MFD_SESSION_FILE_NAME, O_CREAT | O_WRONLY, 0600)); /* empty */
	close(fd);
	close(session_dir(d, "no-session"));
	close(openat(d->fd, "file", O_CREAT | O_WRONLY, 0600));

	assert_int_equal(mfd_session_file_list(d->fd, &list, &n), 0);
	assert_int_equal(n, 22);
	assert_string_equal(list[0].name, "a");
	assert_true(list[0].ended);
	assert_string_equal(list[1].name, "b");
	assert_true(!list[1].entry && strstr(list[1].why, "b/session.img"));
	assert_string_equal(list[3].name, "h");
	assert_false(list[3].ended);
	assert_string_equal(list[21].name, "z");
	mfd_session_file_list_free(list, n);
}

static void test_names(void **state)
{
	Mfd__SessionEntry e = entry(MFD__SESSION_STATE__ABORTED);
	struct dir *d = *state;
	struct mfd_session_file f;
	char name[300];

	assert_int_equal(mfd_session_file_bury(d->fd, "../x", &e), -ENAMETOOLONG);
	assert_int_equal(mfd_session_file_bury(d->fd, "", &e), -ENAMETOOLONG);
	assert_int_equal(mfd_session_file_find(d->fd, "a/b", &f), -EINVAL);
	memset(name, 'n', sizeof(name));
	name[250] = 0; /* + ".seen" is all a file name may have */
	bury(d, name);
	assert_int_equal(mfd_session_file_find(d->fd, name, &f), 0);
	mfd_session_file_release(&f);
	name[250] = 'n';
	name[251] = 0;
	assert_int_equal(mfd_session_file_bury(d->fd, name, &e), -ENAMETOOLONG);
	assert_int_equal(mfd_session_file_find(d->fd, name, &f), -ENOENT);
}

struct race {
	int fd;
	atomic_int stop;
};

static void *rewrite(void *arg)
{
	Mfd__SessionEntry e = entry(MFD__SESSION_STATE__RECEIVING);
	struct race *r = arg;
	char error[3001];

	memset(error, 'e', sizeof(error));
	error[3000] = 0;
	for (unsigned i = 0; !atomic_load(&r->stop); i++) {
		e.error = i % 2 ? error : NULL; /* of changing length */
		mfd_session_file_store(r->fd, &e, 0);
	}
	return NULL;
}

/* Readers never see a part. */
static void test_replaced_under_readers(void **state)
{
	struct race r = { .fd = session_dir(*state, "web-1") };
	Mfd__SessionEntry e = entry(MFD__SESSION_STATE__READY), *got;
	const char *why = NULL;
	pthread_t t;

	assert_int_equal(mfd_session_file_store(r.fd, &e, 0), 0);
	assert_int_equal(pthread_create(&t, NULL, rewrite, &r), 0);
	for (int i = 0; i < 20000; i++) {
		assert_int_equal(mfd_session_file_load(r.fd, &got, &why), 0);
		mfd_session_file_free(got);
	}
	atomic_store(&r.stop, 1);
	pthread_join(t, NULL);
	close(r.fd);
}

static void test_state_names(void **state)
{
	assert_string_equal(mfd_session_file_state(MFD__SESSION_STATE__RESTORED), "RESTORED");
	assert_string_equal(mfd_session_file_state(77), "?");
}

static void bury_old(int dir, const char *name, unsigned age, int ready)
{
	Mfd__SessionEntry e = MFD__SESSION_ENTRY__INIT;
	struct timespec t[2];
	char file[64];

	e.name = (char *)name;
	e.state = MFD__SESSION_STATE__ABORTED;
	e.has_ready_us = e.ready_us = ready;
	assert_int_equal(mfd_session_file_bury(dir, name, &e), 0);
	clock_gettime(CLOCK_REALTIME, &t[0]);
	t[0].tv_sec -= age;
	t[1] = t[0];
	snprintf(file, sizeof(file), MFD_SESSION_FILE_ENDED "/%s.img", name);
	assert_int_equal(utimensat(dir, file, t, 0), 0);
}

static int has_tombstone(int dir, const char *name)
{
	struct mfd_session_file f;
	int ret = mfd_session_file_find_ended(dir, name, &f);

	if (!ret)
		mfd_session_file_release(&f);
	return !ret;
}

/* Old ones go, and all but the newest. */
static void test_expire(void **state)
{
	char path[] = "/tmp/mfd-expire-XXXXXX", name[16], cmd[64];
	int dir;

	(void)state;
	assert_non_null(mkdtemp(path));
	dir = open(path, O_RDONLY | O_DIRECTORY);
	assert_int_equal(mfd_session_file_expire(dir, 100, 3), 0);
	for (unsigned i = 0; i < 6; i++) {
		snprintf(name, sizeof(name), "plain%u", i);
		bury_old(dir, name, 10 + i, 0);
	}
	bury_old(dir, "ready", 50, 1);
	bury_old(dir, "old", 200, 1);
	assert_int_equal(mfd_session_file_mark_seen(dir, "old", &(struct timespec){ 0 }), 0);
	assert_int_equal(mfd_session_file_expire(dir, 100, 3), 0);
	assert_true(has_tombstone(dir, "plain0") && has_tombstone(dir, "plain2"));
	assert_false(has_tombstone(dir, "plain3") || has_tombstone(dir, "plain5"));
	assert_false(has_tombstone(dir, "ready") || has_tombstone(dir, "old"));
	assert_int_equal(faccessat(dir, ".ended/old.seen", F_OK, 0), -1);
	assert_int_equal(mfd_session_file_expire(dir, 0, 3), 0);
	assert_true(has_tombstone(dir, "plain2"));
	close(dir);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", path);
	assert_int_equal(system(cmd), 0);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, tmpdir_setup, tmpdir_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_expire),	TEST(test_store_load),
		TEST(test_early),	TEST(test_refused),
		TEST(test_tombstone),	TEST(test_seen),
		TEST(test_live_wins),	TEST(test_list),
		TEST(test_names),	TEST(test_replaced_under_readers),
		TEST(test_state_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
