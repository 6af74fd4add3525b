// SPDX-License-Identifier: GPL-2.0-only
/* Requests to the server: abort, resolve, set. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <pthread.h>
#include <unistd.h>

#include "players/criu.h"
#include "players/disk.h"
#include "players/server.h"
#include "players/source.h"
#include "session_file.h"

static void test_requests(void **state)
{
	struct source s;

	(void)state;
	server_start(NULL, NULL);
	server_ask("abort unknown", "error: no session");
	server_ask("dance", "error: the requests are");
	server_ask("abort ../x", "error: the requests are");
	source_open(&s, "one", 0);
	server_ask("resolve one run", "error: the session is not in doubt");
	server_ask("abort one", "ok");
	source_expect_abort(&s, "by request");
	source_close(&s);
	disk_expect_gone("one", "by request");
	source_to_ready(&s, "two");
	server_ask("abort two", "error:");
	server_ask("resolve two run", "error: the session is not in doubt");
	source_close(&s);
	disk_wait_doubt("two", 1);
	server_ask("resolve two run", "ok");
	disk_wait_state("two", MFD__SESSION_STATE__COMMITTED);
	server_ask("abort two", "error: the session is committed");
	source_to_ready(&s, "three");
	source_close(&s);
	disk_wait_doubt("three", 1);
	server_ask("resolve three discard", "ok");
	disk_expect_gone("three", "discarded");
	/* the source must learn of it */
	mfd_control_init(&s.c);
	source_resume(&s, "commit");
	source_expect_abort(&s, "no such session");
	source_close(&s);
	/* ended ones can be tidied up */
	assert_int_equal(disk_state("three", NULL, 0), MFD__SESSION_STATE__ABORTED);
	server_ask("abort three", "ok");
	assert_int_equal(disk_state("three", NULL, 0), 0);
	criu_expect_done(criu_restore("two", 16, 1, 0, 7), "two");
	disk_wait_free("two");
	server_ask("abort two", "ok");
	assert_false(disk_has_folder("two"));
	assert_int_equal(server_stop(), 0);
}

struct question {
	pthread_t thread;
	const char *text, *want;
};

static void *ask_main(void *arg)
{
	struct question *q = arg;

	server_ask(q->text, q->want);
	return NULL;
}

static void ask_later(struct question *q, const char *text, const char *want)
{
	q->text = text;
	q->want = want;
	assert_int_equal(pthread_create(&q->thread, NULL, ask_main, q), 0);
}

/* As src_open, of a source that takes SET. */
static void source_open_settable(struct source *s, const char *name, int postcopy)
{
	Mfd__HelloOk *ok;
	Mfd__Hello h;

	source_init(s, name);
	source_hello_init(&h, name, 2);
	h.postcopy = postcopy;
	h.has_settings = h.settings = 1;
	h.has_max_bandwidth = 1;
	h.max_bandwidth = 25000000;
	source_send_hello(s, &h);
	ok = (Mfd__HelloOk *)source_expect(s, MFD_WIRE_HELLO_OK);
	assert_true(ok->settings);
	source_keep(s, ok);
	protobuf_c_message_free_unpacked(&ok->base, NULL);
	source_join_all(s, postcopy);
}

static void source_setting(struct source *s, uint32_t id, const char *old, const char *value,
			   const char *error)
{
	Mfd__Setting m = MFD__SETTING__INIT;

	m.name = "max-bandwidth";
	m.value = (char *)value;
	m.old = (char *)old;
	m.has_id = id > 0;
	m.id = id;
	m.error = (char *)error;
	assert_int_equal(mfd_control_send(&s->c, MFD_WIRE_SETTING, &m.base), 0);
}

/* The next message is SET with this value: its id. */
static uint32_t expect_set(struct source *s, const char *value)
{
	Mfd__Set *m = (Mfd__Set *)source_expect(s, MFD_WIRE_SET);
	uint32_t id = m->id;

	assert_string_equal(m->name, "max-bandwidth");
	assert_string_equal(m->value, value);
	assert_int_not_equal(id, 0);
	protobuf_c_message_free_unpacked(&m->base, NULL);
	return id;
}

static void wait_limit(const char *name, uint64_t want)
{
	struct mfd_session_file f;
	uint64_t got = 0;

	for (int i = 0; i < 500; i++, usleep(10000)) {
		if (mfd_session_file_find(server_root, name, &f))
			continue;
		got = f.entry && f.entry->has_max_bandwidth ? f.entry->max_bandwidth : UINT64_MAX;
		mfd_session_file_release(&f);
		if (got == want)
			return;
	}
	fail_msg("the limit of %s is %llu, not %llu", name, (unsigned long long)got,
		 (unsigned long long)want);
}

static void test_set(void **state)
{
	struct question q, late;
	struct source s;
	uint32_t id;

	(void)state;
	server_start(NULL, NULL);
	server_ask("set unknown max-bandwidth 1", "error: no session");
	server_ask("set one max-bandwidth", "error: the requests are");
	server_ask("set one max-bandwidth 1 2", "error: the requests are");
	/* An older source is not sent what it does not know. */
	source_open(&s, "old", 0);
	server_ask("set old max-bandwidth 1", "error: the criu-multifd of its source is too old");
	server_ask("abort old", "ok");
	source_expect_abort(&s, "by request");
	source_close(&s);

	source_open_settable(&s, "one", 0);
	wait_limit("one", 25000000);
	ask_later(&q, "set one max-bandwidth 250000000", "ok max-bandwidth 25000000 250000000");
	id = expect_set(&s, "250000000");
	/* One at a time, and an answer to another question is none. */
	server_ask("set one max-bandwidth 7", "error: another change is on its way");
	source_setting(&s, id + 1, "1", "2", NULL);
	source_setting(&s, id, "25000000", "250000000", NULL);
	pthread_join(q.thread, NULL);
	wait_limit("one", 250000000);
	/* A source that refuses. */
	ask_later(&q, "set one max-bandwidth x", "error: the source says: bad value");
	source_setting(&s, expect_set(&s, "x"), NULL, "250000000", "bad value 'x'");
	pthread_join(q.thread, NULL);
	/* Changed on the source. */
	source_setting(&s, 0, "250000000", "1000", NULL);
	wait_limit("one", 1000);
	/* A source that is silent, and one that goes. */
	ask_later(&q, "set one max-bandwidth 5", "error: the source has not answered within");
	expect_set(&s, "5");
	pthread_join(q.thread, NULL);
	ask_later(&late, "set one max-bandwidth 6", "error: the source cannot be reached any more");
	expect_set(&s, "6");
	source_close(&s);
	pthread_join(late.thread, NULL);
	disk_expect_gone("one", "lost");
	server_ask("set one max-bandwidth 1", "error: too late");

	source_open_settable(&s, "two", 0);
	source_pages(&s, 0, 7, BASE, 16);
	source_images(&s, 7, BASE, 16);
	source_end(&s);
	source_expect_free(&s, MFD_WIRE_READY);
	server_ask("set two max-bandwidth 1", "error: too late: everything has been sent already");
	source_commit(&s);
	server_ask("set two max-bandwidth 1", "error: too late: everything has been sent already");
	source_close(&s);
	assert_int_equal(server_stop(), 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		SERVER_TEST(test_requests),
		SERVER_TEST(test_set),
	};

	server_tests_init(argc, argv);
	return cmocka_run_group_tests_name("server_requests", tests, NULL, NULL);
}
