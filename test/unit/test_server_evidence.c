// SPDX-License-Identifier: GPL-2.0-only
/* What a source hears of a session that is not alive: evidence of its end, or none. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "evidence_file.h"
#include "players/criu.h"
#include "players/disk.h"
#include "players/postcopy.h"
#include "players/server.h"
#include "players/source.h"

enum { NO_EVIDENCE, NEVER_RAN, RAN };

/* The answer to `outcome` is ABORT, and proves this. */
static void ask(struct source *s, const char *outcome, int want, int by_person, const char *why)
{
	Mfd__Abort *a = (Mfd__Abort *)source_ask(s, outcome, MFD_WIRE_ABORT);

	if (!strstr(a->reason, why))
		fail_msg("\"%s\" does not mention \"%s\"", a->reason, why);
	assert_int_equal(a->has_ended_id, want != NO_EVIDENCE);
	if (a->has_ended_id) {
		assert_int_equal(a->ended_id.len, sizeof(s->id));
		assert_memory_equal(a->ended_id.data, s->id, sizeof(s->id));
	}
	assert_int_equal(a->ran, want == RAN);
	assert_int_equal(a->by_person, by_person);
	protobuf_c_message_free_unpacked(&a->base, NULL);
	source_close(s);
}

static void test_unknown(void **state)
{
	struct source s;

	(void)state;
	server_start(NULL, NULL);
	source_to_ready(&s, "one");
	source_close(&s);
	disk_wait_doubt("one", 1);
	s.id[0] ^= 1;
	ask(&s, "continue", NO_EVIDENCE, 0, "no such session");
	s.id[0] ^= 1;
	s.secret[0] ^= 1;
	ask(&s, "continue", NO_EVIDENCE, 0, "no such session");
	s.secret[0] ^= 1;
	s.name = "two";
	ask(&s, "continue", NO_EVIDENCE, 0, "");
	assert_int_equal(server_stop(), 0);
}

/* The tombstone, and only that of this very session. */
static void test_discarded(void **state)
{
	struct source s, other;

	(void)state;
	server_start(NULL, NULL);
	source_to_ready(&s, "one");
	source_close(&s);
	disk_wait_doubt("one", 1);
	server_ask("resolve one discard",
		   "ok what is thrown away was complete; what is left are the tasks of testhost");
	disk_wait_free("one");
	ask(&s, "commit", NEVER_RAN, 1, "discarded");
	other = s;
	other.id[3] ^= 1;
	ask(&other, "commit", NO_EVIDENCE, 0, "no such session");
	assert_int_equal(server_stop(), 0);
	server_start(NULL, NULL);
	ask(&s, "continue", NEVER_RAN, 1, "discarded");
	assert_int_equal(server_stop(), 0);
}

/* Its own connection says the same, once the task is dead. */
static void test_ran(void **state)
{
	struct source s;
	pid_t pid;

	(void)state;
	server_start(NULL, NULL);
	pid = source_to_running(&s, "one", 0);
	kill(server_pid, SIGTERM);
	usleep(100000);
	kill(server_pid, SIGTERM);
	assert_int_equal(criu_reap(pid), 128 + SIGKILL);
	assert_int_equal(server_wait(), 0);
	source_close(&s);
	server_start(NULL, NULL);
	ask(&s, "continue", RAN, 0, "stopped while pages were missing");
	/* A person says that what ran there does not matter. */
	server_ask("resolve one discard", "ok");
	ask(&s, "continue", RAN, 1, "discarded");
	assert_int_equal(server_stop(), 0);
}

/* A FAULT may be on its way when its task dies. */
static void expect_died(struct source *s, const char *why)
{
	unsigned type = MFD_WIRE_FAULT;
	ProtobufCMessage *m;

	while (type == MFD_WIRE_FAULT) {
		m = source_next(s, &type);
		assert_non_null(m);
		if (type == MFD_WIRE_ABORT) {
			Mfd__Abort *a = (Mfd__Abort *)m;

			assert_non_null(strstr(a->reason, why));
			assert_true(a->has_ended_id && a->ran && !a->by_person);
		}
		protobuf_c_message_free_unpacked(m, NULL);
	}
	assert_int_equal(type, MFD_WIRE_ABORT);
}

/* The only restored task is killed while pages are missing: no READY, whatever comes then. */
static void test_died(void **state)
{
	struct source s;
	pid_t pid;

	(void)state;
	server_start(NULL, NULL);
	pid = source_to_running(&s, "one", 1);
	kill(pid, SIGKILL);
	assert_int_equal(criu_reap(pid), 128 + SIGKILL);
	source_pages(&s, 0, 7, BASE + 2 * PAGE, 14);
	source_end(&s);
	expect_died(&s, "have all died before the commit");
	source_close(&s);
	disk_expect_gone("one", "have all died");
	ask(&s, "continue", RAN, 0, "have all died");
	/* One try settles it. */
	server_ask("resolve one discard", "ok");
	ask(&s, "continue", RAN, 1, "discarded");
	assert_int_equal(server_stop(), 0);
}

/* .attached says that another boot wrote it. */
static void boot_anew(const char *name)
{
	char path[64], text[8192];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "%s/.attached", name);
	fd = openat(server_root, path, O_RDWR);
	assert_true(fd >= 0);
	n = read(fd, text, sizeof(text));
	assert_true(n > 36 && n < (ssize_t)sizeof(text));
	for (char *p = text; p && p + 9 < text + n; p = p ? p + 1 : NULL) {
		if (p[8] == '-') /* a boot id; notes are words */
			memcpy(p, "00000000", 8);
		p = memchr(p, '\n', (size_t)(text + n - p));
	}
	assert_int_equal(pwrite(fd, text, (size_t)n, 0), n);
	close(fd);
}

/* Complete, and then the host was started anew: its tasks are dead, whatever the store has. */
static void test_reboot(void **state)
{
	struct source s;
	pid_t pid;

	(void)state;
	server_start(NULL, NULL);
	pid = source_to_running(&s, "one", 1);
	source_pages(&s, 0, 7, BASE + 2 * PAGE, 14);
	source_end(&s);
	source_until_ready(&s);
	source_close(&s);
	disk_wait_doubt("one", 1);
	assert_int_equal(server_stop(), 0);
	/* The same boot: it stands there as it was. */
	server_start(NULL, NULL);
	assert_int_equal(disk_state("one", NULL, 0), MFD__SESSION_STATE__READY);
	assert_int_equal(server_stop(), 0);
	boot_anew("one");
	server_start(NULL, NULL);
	disk_expect_gone("one", "have ended");
	ask(&s, "commit", RAN, 0, "have ended");
	kill(pid, SIGKILL);
	criu_reap(pid);
	assert_int_equal(server_stop(), 0);
}

/* Whether it can be loaded: its journal is away, or back. */
static void hide(const char *name, int away)
{
	char path[64], other[64];

	snprintf(path, sizeof(path), "%s/pages.journal", name);
	snprintf(other, sizeof(other), "%s/.away", name);
	assert_int_equal(
		renameat(server_root, away ? path : other, server_root, away ? other : path), 0);
}

static void expect_unloadable(const char *name)
{
	struct mfd_session_file f;

	disk_load(name, &f);
	assert_non_null(f.entry->unloadable);
	assert_true(f.entry->in_doubt);
	mfd_session_file_release(&f);
}

/* READY or committed, and the next server cannot load it. */
static void unloadable(struct source *s, const char *name)
{
	source_to_ready(s, name);
	assert_int_equal(server_stop(), 0);
	source_close(s);
	hide(name, 1);
	server_start(NULL, NULL);
	expect_unloadable(name);
}

static void test_unloadable(void **state)
{
	struct source s;

	(void)state;
	server_start(NULL, NULL);
	unloadable(&s, "one");
	for (int i = 0; i < 2; i++)
		ask(&s, i ? "commit" : "continue", NO_EVIDENCE, 0, "here, not loadable");
	/* An older source would take an ABORT for the end. */
	source_resume_old(&s, "continue");
	source_expect_end(&s);
	source_close(&s);
	server_ask("abort one", "error: the session is not loaded: it may be the only copy");
	server_ask("resolve one run", "error: the session cannot run: ");
	assert_true(disk_has_folder("one"));
	/* It is tried again when its source asks. */
	hide("one", 0);
	source_resume(&s, "commit");
	source_expect_free(&s, MFD_WIRE_RESUME_OK);
	source_expect_free(&s, MFD_WIRE_COMMITTED);
	source_close(&s);
	criu_expect_done(criu_restore("one", 16, 1, 0, 7), "one");
	assert_int_equal(server_stop(), 0);
}

static void test_unloadable_resolved(void **state)
{
	struct source s, r;

	(void)state;
	server_start(NULL, NULL);
	unloadable(&s, "one");
	server_ask("resolve one discard", "ok");
	assert_false(disk_has_folder("one"));
	ask(&s, "commit", NEVER_RAN, 1, "discarded");
	unloadable(&r, "two");
	hide("two", 0);
	server_ask("resolve two run", "ok");
	criu_expect_done(criu_restore("two", 16, 1, 0, 7), "two");
	/* Also by itself, after a while. */
	unloadable(&r, "three");
	hide("three", 0);
	for (int i = 0; i < 500; i++, usleep(10000)) {
		struct mfd_session_file f;
		int loaded;

		disk_load("three", &f);
		loaded = !f.entry->unloadable;
		mfd_session_file_release(&f);
		if (loaded)
			break;
		assert_true(i < 499);
	}
	assert_int_equal(server_stop(), 0);
}

/* A session.img that cannot be read may be that of the only copy. */
static void test_unreadable(void **state)
{
	struct source s;
	int fd;

	(void)state;
	server_start(NULL, NULL);
	source_to_ready(&s, "one");
	assert_int_equal(server_stop(), 0);
	fd = openat(server_root, "one/session.img", O_WRONLY | O_TRUNC);
	assert_int_equal(write(fd, "x", 1), 1);
	close(fd);
	server_start(NULL, NULL);
	ask(&s, "continue", NO_EVIDENCE, 0, "unreadable");
	server_ask("abort one", "error: the session is not loaded: it may be the only copy");
	server_ask("resolve one discard", "ok");
	assert_false(disk_has_folder("one"));
	assert_int_equal(server_stop(), 0);
}

/* The tombstone is there, and the worker died before the folder was removed. */
static void half_bury(struct source *s)
{
	struct mfd_session_file f;

	server_start(NULL, NULL);
	source_to_ready(s, "one");
	assert_int_equal(server_stop(), 0);
	source_close(s);
	disk_load("one", &f);
	assert_int_equal(mfd_session_file_bury(server_root, "one", f.entry), 0);
	mfd_session_file_release(&f);
}

static void test_half_buried(void **state)
{
	struct source s;

	(void)state;
	half_bury(&s);
	server_start(NULL, NULL);
	assert_false(disk_has_folder("one"));
	ask(&s, "continue", NEVER_RAN, 0, "no such session any more");
	assert_int_equal(server_stop(), 0);
}

/* The evidence of sources without TLS can be looked for, or not. */
static void block_evidence(int block)
{
	char folder[64];

	mfd_evidence_file_folder("", folder, sizeof(folder));
	if (block) {
		assert_int_equal(renameat(server_root, folder, server_root, ".away"), 0);
		close(openat(server_root, folder, O_WRONLY | O_CREAT, 0600));
	} else {
		assert_int_equal(unlinkat(server_root, folder, 0), 0);
		assert_int_equal(renameat(server_root, ".away", server_root, folder), 0);
	}
}

/* What its source could not hear of is not removed. */
static void test_no_tombstone(void **state)
{
	char answer[513];
	struct source s;

	(void)state;
	server_start(NULL, NULL);
	unloadable(&s, "one");
	assert_int_equal(mkdirat(server_root, "one/.attached", 0700), 0);
	server_ask("resolve one discard", "error: whether its restored tasks are dead");
	assert_int_equal(server_request("resolve one discard", answer, sizeof(answer)), 1);
	assert_non_null(
		strstr(answer, "/one/.attached, which names them, cannot be read: Is a dir"));
	assert_non_null(strstr(answer, "move that file away, and type this again"));
	assert_int_equal(unlinkat(server_root, "one/.attached", AT_REMOVEDIR), 0);
	unlinkat(server_root, ".ended", AT_REMOVEDIR);
	close(openat(server_root, ".ended", O_WRONLY | O_CREAT | O_EXCL, 0600));
	server_ask("resolve one discard", "error: no tombstone can be written");
	assert_true(disk_has_folder("one"));
	assert_int_equal(unlinkat(server_root, ".ended", 0), 0);
	server_ask("resolve one discard", "ok");
	assert_false(disk_has_folder("one"));
	ask(&s, "commit", NEVER_RAN, 1, "discarded");
	assert_int_equal(server_stop(), 0);
}

/* A tombstone that cannot be looked for is no reason to load what may have ended. */
static void test_buried_unknown(void **state)
{
	struct source s;

	(void)state;
	half_bury(&s);
	block_evidence(1);
	server_start(NULL, NULL);
	expect_unloadable("one");
	ask(&s, "commit", NO_EVIDENCE, 0, "cannot be looked up");
	server_ask("resolve one run", "error: the session cannot run: whether it has ended");
	block_evidence(0);
	ask(&s, "commit", NEVER_RAN, 0, "no such session any more");
	assert_int_equal(server_stop(), 0);
	server_start(NULL, NULL);
	assert_false(disk_has_folder("one"));
	assert_int_equal(server_stop(), 0);
}

/* A source that comes back to abort hears that it is done once it is on disk, and not before. */
static void test_abort_on_disk(void **state)
{
	struct source s;

	(void)state;
	server_start(NULL, NULL);
	source_to_ready(&s, "one");
	source_close(&s);
	disk_wait_doubt("one", 1);
	mkdirat(server_root, ".ended", 0700);
	assert_int_equal(mkdirat(server_root, ".ended/one.img", 0700), 0);
	source_resume(&s, "abort");
	source_expect_end(&s); /* without a word: it tells it again */
	source_close(&s);
	assert_true(server_log_has("one: no tombstone: "));
	assert_int_equal(unlinkat(server_root, ".ended/one.img", AT_REMOVEDIR), 0);
	server_stop();
	server_start(NULL, NULL);
	source_to_ready(&s, "two");
	source_close(&s);
	disk_wait_doubt("two", 1);
	source_resume(&s, "abort");
	source_expect_free(&s, MFD_WIRE_RESUME_OK);
	source_close(&s);
	ask(&s, "abort", NEVER_RAN, 0, "by the source");
	assert_int_equal(server_stop(), 0);
}

/* The next worker, too, removes nothing before its source can hear of it. */
static void test_no_tombstone_by_worker(void **state)
{
	struct source s;

	(void)state;
	server_start(NULL, NULL);
	source_to_restorable(&s, "one");
	mkdirat(server_root, ".ended", 0700);
	assert_int_equal(mkdirat(server_root, ".ended/one.img", 0700), 0);
	server_kill_worker();
	source_close(&s);
	for (int i = 0; i < 500 && !server_log_has("one: no tombstone: "); i++)
		usleep(10000);
	assert_true(disk_has_folder("one"));
	assert_int_equal(unlinkat(server_root, ".ended/one.img", AT_REMOVEDIR), 0);
	for (int i = 0; i < 1000 && disk_has_folder("one"); i++)
		usleep(10000);
	assert_false(disk_has_folder("one"));
	ask(&s, "continue", NEVER_RAN, 0, "restarted");
	assert_int_equal(server_stop(), 0);
}

/* What is in doubt stays, and keeps no other out. */
static void test_full(void **state)
{
	struct source s[3], next;

	(void)state;
	server_start("--max-sessions", "3");
	for (int i = 0; i < 3; i++)
		source_to_ready(&s[i], i == 0 ? "a" : i == 1 ? "b" : "c");
	source_hello_refused("d", 2, 4096, NULL, "3 sessions already");
	assert_int_equal(server_stop(), 0);
	for (int i = 0; i < 3; i++)
		source_close(&s[i]);
	server_start("--max-sessions", "1");
	source_to_ready(&next, "d");
	source_hello_refused("e", 2, 4096, NULL, "1 sessions already");
	for (int i = 0; i < 3; i++) {
		source_resume(&s[i], "commit");
		source_expect_free(&s[i], MFD_WIRE_RESUME_OK);
		source_expect_free(&s[i], MFD_WIRE_COMMITTED);
		source_close(&s[i]);
	}
	source_commit(&next);
	source_close(&next);
	assert_int_equal(server_stop(), 0);
}

/* Committed, and no restore has worked: only `resolve` gives it up. */
static void test_committed(void **state)
{
	struct source s;

	(void)state;
	server_start(NULL, NULL);
	source_to_ready(&s, "one");
	source_commit(&s);
	source_close(&s);
	server_ask("abort one", "error: the session is committed");
	server_ask("resolve one discard", "ok what is thrown away was complete and committed: ");
	disk_expect_gone("one", "discarded");
	ask(&s, "commit", RAN, 1, "discarded");
	/* The same of one that is not loaded. */
	source_to_ready(&s, "two");
	source_commit(&s);
	assert_int_equal(server_stop(), 0);
	source_close(&s);
	hide("two", 1);
	server_start(NULL, NULL);
	server_ask("abort two", "error: the session is committed");
	server_ask("resolve two discard", "ok it was committed: ");
	assert_false(disk_has_folder("two"));
	assert_int_equal(server_stop(), 0);
}

/* RESUME is answered as of a session that is committed. */
static void ask_committed(struct source *s, const char *outcome)
{
	protobuf_c_message_free_unpacked(source_ask(s, outcome, MFD_WIRE_RESUME_OK), NULL);
	source_expect_free(s, MFD_WIRE_COMMITTED);
	source_close(s);
}

/* Whatever happens to the name of a session, its source is answered by its id. */
static void test_same_name(void **state)
{
	struct source ran, first, next;
	pid_t pid;

	(void)state;
	server_start(NULL, NULL);
	pid = source_to_running(&ran, "one", 1);
	kill(pid, SIGKILL);
	assert_int_equal(criu_reap(pid), 128 + SIGKILL);
	source_pages(&ran, 0, 7, BASE + 2 * PAGE, 14);
	source_end(&ran);
	expect_died(&ran, "have all died before the commit");
	source_close(&ran);
	disk_expect_gone("one", "have all died");
	source_to_ready(&first, "one");
	ask(&ran, "continue", RAN, 0, "have all died");
	source_close(&first);
	disk_wait_doubt("one", 1);
	server_ask("resolve one discard", "ok");
	disk_wait_free("one");
	source_to_ready(&next, "one");
	for (int i = 0; i < 3; i++) {
		if (i == 1)
			server_kill_worker();
		if (i == 2) {
			assert_int_equal(server_stop(), 0);
			server_start(NULL, NULL);
		}
		ask(&ran, "continue", RAN, 0, "have all died");
		ask(&first, "commit", NEVER_RAN, 1, "discarded");
		if (i == 0)
			source_commit(&next);
	}
	criu_expect_done(criu_restore("one", 16, 1, 0, 7), "one");
	disk_wait_free("one");
	ask_committed(&next, "commit");
	/* One that is done makes room, too; `abort`, which tidies up, takes no evidence away. */
	source_to_ready(&first, "one");
	ask_committed(&next, "commit");
	ask_committed(&next, "abort");
	source_simple(&first, MFD_WIRE_COMMIT);
	source_expect_free(&first, MFD_WIRE_COMMITTED);
	source_close(&first);
	criu_expect_done(criu_restore("one", 16, 1, 0, 7), "one");
	disk_wait_free("one");
	server_ask("abort one", "ok");
	ask_committed(&first, "commit");
	ask(&ran, "continue", RAN, 0, "have all died");
	assert_int_equal(server_stop(), 0);
}

/* A tombstone of a program that knew names alone makes room for the name, too. */
static void test_old_tombstone(void **state)
{
	struct source s, next;
	char folder[64];

	(void)state;
	server_start(NULL, NULL);
	source_to_ready(&s, "one");
	source_close(&s);
	disk_wait_doubt("one", 1);
	server_ask("resolve one discard", "ok");
	disk_wait_free("one");
	mfd_evidence_file_folder("", folder, sizeof(folder));
	assert_int_equal(renameat(server_root, folder, server_root, "away"), 0);
	ask(&s, "commit", NEVER_RAN, 1, "discarded");
	source_to_ready(&next, "one");
	ask(&s, "commit", NEVER_RAN, 1, "discarded");
	source_close(&next);
	assert_int_equal(server_stop(), 0);
}

/* A peer with nothing to spare opens no session, whatever its name. */
static void test_too_much(void **state)
{
	char folder[64], path[160];
	struct source s;

	(void)state;
	server_start(NULL, NULL);
	source_to_ready(&s, "one");
	source_close(&s);
	disk_wait_doubt("one", 1);
	server_ask("resolve one discard", "ok");
	disk_wait_free("one");
	mfd_evidence_file_folder("", folder, sizeof(folder));
	for (unsigned i = 1; i < MFD_EVIDENCE_FILE_MOST; i++) {
		snprintf(path, sizeof(path), "%s/%032x.img", folder, i);
		close(openat(server_root, path, O_WRONLY | O_CREAT, 0600));
	}
	source_hello_refused("two", 2, 4096, NULL, "may not know it yet");
	ask(&s, "commit", NEVER_RAN, 1, "discarded");
	assert_int_equal(unlinkat(server_root, path, 0), 0);
	source_to_ready(&s, "two");
	source_close(&s);
	assert_int_equal(server_stop(), 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		SERVER_TEST(test_unknown),
		SERVER_TEST(test_discarded),
		SERVER_TEST(test_ran),
		SERVER_TEST(test_unloadable),
		SERVER_TEST(test_unloadable_resolved),
		SERVER_TEST(test_unreadable),
		SERVER_TEST(test_half_buried),
		SERVER_TEST(test_buried_unknown),
		SERVER_TEST(test_no_tombstone),
		SERVER_TEST(test_no_tombstone_by_worker),
		SERVER_TEST(test_abort_on_disk),
		SERVER_TEST(test_full),
		SERVER_TEST(test_committed),
		SERVER_TEST(test_died),
		SERVER_TEST(test_reboot),
		SERVER_TEST(test_same_name),
		SERVER_TEST(test_old_tombstone),
		SERVER_TEST(test_too_much),
	};

	server_tests_init(argc, argv);
	return cmocka_run_group_tests_name("server_evidence", tests, NULL, NULL);
}
