// SPDX-License-Identifier: GPL-2.0-only
/*
 * Sessions of one name, one after the other: what was done stays the record of the name until the
 * next one has its images, whatever ends that one before.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "players/criu.h"
#include "players/disk.h"
#include "players/postcopy.h"
#include "players/server.h"
#include "players/source.h"
#include "record.h"
#include "session.h"
#include "session_file.h"

/* One session of this name is done here. */
static void finish(struct source *s, const char *name)
{
	source_to_ready(s, name);
	source_commit(s);
	criu_expect_done(criu_restore(name, 16, 1, 0, 7), name);
	source_close(s);
	disk_wait_free(name);
}

/* The record of the name is that of `s`; `later`: what the next one ended of, NULL: none. */
static void expect_record(const char *name, const struct source *s, int want, const char *later)
{
	struct mfd_session_file f;

	disk_wait_state(name, want);
	if (want != MFD__SESSION_STATE__READY) /* which that would let run */
		disk_wait_free(name);
	disk_load(name, &f);
	assert_int_equal(f.entry->state, want);
	assert_memory_equal(f.entry->session_id.data, s->id, sizeof(s->id));
	if (later && (!f.later || !strstr(f.later, later)))
		fail_msg("\"%s\" does not mention \"%s\"", f.later ? f.later : "nothing", later);
	assert_true(later || !f.later);
	mfd_session_file_release(&f);
}

static void expect_committed(struct source *s)
{
	source_resume(s, "commit");
	source_expect_free(s, MFD_WIRE_RESUME_OK);
	source_expect_free(s, MFD_WIRE_COMMITTED);
	source_close(s);
}

/* The newcomer has pages, and no images. */
static void begin(struct source *s, const char *name)
{
	source_open(s, name, 0);
	source_pages(s, 0, 7, BASE, 4);
	disk_wait_state(name, MFD__SESSION_STATE__RECEIVING);
}

static void test_done_stays(void **state)
{
	struct source first, next;

	(void)state;
	server_start(NULL, NULL);
	finish(&first, "one");
	/* its source goes */
	begin(&next, "one");
	expect_committed(&first);
	source_close(&next);
	expect_record("one", &first, MFD__SESSION_STATE__DONE, "closed by the source");
	expect_committed(&first);
	/* a person ends it */
	begin(&next, "one");
	server_ask("abort one", "ok");
	source_close(&next);
	expect_record("one", &first, MFD__SESSION_STATE__DONE, "by request");
	/* the server's worker dies */
	begin(&next, "one");
	server_kill_worker();
	source_close(&next);
	expect_record("one", &first, MFD__SESSION_STATE__DONE, "restarted");
	/* the server ends */
	begin(&next, "one");
	assert_int_equal(server_stop(), 0);
	source_close(&next);
	server_start(NULL, NULL);
	expect_record("one", &first, MFD__SESSION_STATE__DONE, "");
	expect_committed(&first);
	server_ask("abort one", "ok");
	assert_int_equal(disk_state("one", NULL, 0), 0);
	expect_committed(&first);
	assert_int_equal(server_stop(), 0);
}

/* A server that was killed between two steps. */
static void test_half_way(void **state)
{
	struct source first, next;

	(void)state;
	server_start(NULL, NULL);
	finish(&first, "one");
	assert_int_equal(server_stop(), 0);
	assert_int_equal(mkdirat(server_root, MFD_SESSION_FILE_ENDED, 0700), 0);
	assert_int_equal(mkdirat(server_root, MFD_SESSION_FILE_BEFORE, 0700), 0);
	for (int with_folder = 0; with_folder < 2; with_folder++) {
		assert_int_equal(renameat(server_root, "one", server_root,
					  MFD_SESSION_FILE_BEFORE "/one"),
				 0);
		if (with_folder)
			assert_int_equal(mkdirat(server_root, "one", 0700), 0);
		server_start(NULL, NULL);
		expect_record("one", &first, MFD__SESSION_STATE__DONE, NULL);
		assert_int_equal(server_stop(), 0);
	}
	/* The newcomer had got so far, and the other was not removed yet. */
	server_start(NULL, NULL);
	source_to_ready(&next, "one");
	assert_int_equal(server_stop(), 0);
	source_close(&next);
	assert_int_equal(mkdirat(server_root, MFD_SESSION_FILE_BEFORE "/one", 0700), 0);
	server_start(NULL, NULL);
	expect_record("one", &next, MFD__SESSION_STATE__READY, NULL);
	assert_int_equal(faccessat(server_root, MFD_SESSION_FILE_BEFORE "/one", F_OK, 0), -1);
	expect_committed(&first);
	server_ask("resolve one discard", "ok");
	expect_record("one", &next, MFD__SESSION_STATE__ABORTED, NULL);
	assert_int_equal(server_stop(), 0);
}

/* A newcomer that has its images is the record, however it ends. */
static void test_displaced(void **state)
{
	struct source first, next;

	(void)state;
	server_start(NULL, NULL);
	finish(&first, "one");
	begin(&next, "one");
	source_close(&next);
	expect_record("one", &first, MFD__SESSION_STATE__DONE, "closed");
	source_to_ready(&next, "one");
	source_close(&next);
	disk_wait_doubt("one", 1);
	expect_record("one", &next, MFD__SESSION_STATE__READY, NULL);
	server_ask("resolve one discard", "ok");
	disk_wait_free("one");
	expect_record("one", &next, MFD__SESSION_STATE__ABORTED, NULL);
	assert_false(disk_has_folder("one"));
	expect_committed(&first);
	assert_int_equal(server_stop(), 0);
}

/* A tombstone that a source may need stays likewise; one of nothing gives way. */
static void test_tombstones(void **state)
{
	struct source first, next;

	(void)state;
	server_start(NULL, NULL);
	source_to_ready(&first, "one");
	source_close(&first);
	disk_wait_doubt("one", 1);
	server_ask("resolve one discard", "ok");
	for (int i = 0; i < 2; i++) {
		disk_wait_free("one");
		begin(&next, "one");
		source_close(&next);
		expect_record("one", &first, MFD__SESSION_STATE__ABORTED, "closed");
	}
	server_ask("abort one", "ok");
	assert_int_equal(disk_state("one", NULL, 0), 0);
	for (int i = 0; i < 2; i++) {
		begin(&next, "one");
		source_close(&next);
		expect_record("one", &next, MFD__SESSION_STATE__ABORTED, NULL);
	}
	assert_int_equal(server_stop(), 0);
}

/* With a file of rights, too, what one identity has moved is not another's to displace. */
static void test_another_identity(void **state)
{
	static const char all[] = "peer insecure sessions *\n";
	char path[64], *old;
	struct mfd_session_file f;
	struct source first;
	int fd;

	(void)state;
	server_start(NULL, NULL);
	finish(&first, "one");
	assert_int_equal(server_stop(), 0);
	disk_load("one", &f);
	old = f.entry->identity;
	f.entry->identity = (char *)"x509:other.example";
	fd = openat(server_root, "one", O_RDONLY | O_DIRECTORY);
	assert_int_equal(mfd_session_file_store(fd, f.entry, 0), 0);
	close(fd);
	f.entry->identity = old;
	mfd_session_file_release(&f);
	snprintf(path, sizeof(path), "%s/peers", server_tmp);
	fd = open(path, O_WRONLY | O_CREAT, 0600);
	assert_int_equal(write(fd, all, sizeof(all) - 1), sizeof(all) - 1);
	close(fd);
	server_start("--peers", path);
	source_hello_refused("one", 2, PAGE, NULL, "another peer has left one of this name");
	expect_record("one", &first, MFD__SESSION_STATE__DONE, NULL);
	assert_int_equal(server_stop(), 0);
}

/* Leave so many descriptors to this process, of which `at` is one. */
static void leave(unsigned n, struct rlimit *was)
{
	struct rlimit few;
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	close(fd);
	getrlimit(RLIMIT_NOFILE, was);
	few = *was;
	few.rlim_cur = (rlim_t)fd + n;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
}

/* What cannot be read just now may be the only evidence, and nothing of it goes. */
static void test_cannot_be_read(void **state)
{
	struct mfd_session_file f;
	struct source done, ended;
	struct rlimit was;
	int ret[3];

	(void)state;
	server_start(NULL, NULL);
	finish(&done, "done");
	source_to_ready(&ended, "ended");
	source_close(&ended);
	disk_wait_doubt("ended", 1);
	server_ask("resolve ended discard", "ok");
	disk_wait_free("ended");
	assert_int_equal(server_stop(), 0);
	leave(1, &was);
	ret[0] = mfd_session_file_exhume(server_root, "ended");
	ret[1] = mfd_session_file_matters(server_root, "ended");
	ret[2] = mfd_record_remove(server_root, "done");
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
	assert_int_equal(ret[0], -EMFILE);
	assert_int_equal(ret[1], -EMFILE);
	assert_int_equal(ret[2], -EMFILE);
	disk_load("ended", &f);
	mfd_session_file_release(&f);
	expect_record("done", &done, MFD__SESSION_STATE__DONE, NULL);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		SERVER_TEST(test_done_stays),	    SERVER_TEST(test_half_way),
		SERVER_TEST(test_displaced),	    SERVER_TEST(test_tombstones),
		SERVER_TEST(test_another_identity), SERVER_TEST(test_cannot_be_read),
	};

	server_tests_init(argc, argv);
	return cmocka_run_group_tests_name("server_names", tests, NULL, NULL);
}
