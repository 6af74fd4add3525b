// SPDX-License-Identifier: GPL-2.0-only
/* --max-memory: refused, queued, grown, and the window of a postcopy. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>
#include <unistd.h>

#include "players/criu.h"
#include "players/disk.h"
#include "players/postcopy.h"
#include "players/server.h"
#include "players/source.h"
#include "session_file.h"

#define M (1ULL << 20)

/* wait_ms < 0: a source that knows nothing of it. */
static void hello_memory(struct source *s, const char *name, uint64_t memory, int wait_ms,
			 int postcopy)
{
	Mfd__Hello h;

	source_init(s, name);
	source_hello_init(&h, name, 2);
	h.postcopy = postcopy;
	h.has_memory = 1;
	h.memory = memory;
	h.has_wait_ms = wait_ms >= 0;
	h.wait_ms = wait_ms > 0 ? (uint64_t)wait_ms : 0;
	source_send_hello(s, &h);
}

static void hello_memory_refused(const char *name, uint64_t memory, int wait_ms, const char *why)
{
	struct source s;

	hello_memory(&s, name, memory, wait_ms, 0);
	source_expect_abort(&s, why);
	source_close(&s);
}

static uint64_t take_queued(struct source *s, unsigned ahead)
{
	Mfd__Queued *q = (Mfd__Queued *)source_expect(s, MFD_WIRE_QUEUED);
	uint64_t need = q->need;

	assert_int_equal(q->limit, 32 * M);
	assert_true(q->free < need || ahead);
	assert_int_equal(q->ahead, ahead);
	protobuf_c_message_free_unpacked(&q->base, NULL);
	return need;
}

static void send_size(struct source *s, uint64_t bytes)
{
	Mfd__Size m = MFD__SIZE__INIT;

	m.bytes = bytes;
	assert_int_equal(mfd_control_send(&s->c, MFD_WIRE_SIZE, &m.base), 0);
}

/* What lies between: QUEUED comes every second. */
static void until_hello_ok(struct source *s)
{
	unsigned type = MFD_WIRE_QUEUED;
	ProtobufCMessage *m = NULL;

	while (type == MFD_WIRE_QUEUED) {
		protobuf_c_message_free_unpacked(m, NULL);
		m = source_next(s, &type);
		assert_non_null(m);
	}
	assert_int_equal(type, MFD_WIRE_HELLO_OK);
	source_keep(s, (Mfd__HelloOk *)m);
	protobuf_c_message_free_unpacked(m, NULL);
}

static void test_memory_refused(void **state)
{
	struct source a;

	(void)state;
	server_start("--max-memory", "32M");
	hello_memory_refused("big", 40 * M, 60000, "more than the limit of 32.0 MiB");
	hello_memory(&a, "a", 18 * M, -1, 0);
	source_take_hello_ok(&a);
	/* A source that would not wait, and one that would not understand that it has to. */
	hello_memory_refused("b", 18 * M, 0, "of the limit of 32.0 MiB are free");
	hello_memory_refused("c", 18 * M, -1, "of the limit of 32.0 MiB are free");
	assert_int_equal(disk_state("b", NULL, 0), 0);
	source_close(&a);
	disk_expect_gone("a", "lost");
	/* the folder goes a moment before what was promised does */
	hello_memory(&a, "b", 18 * M, 60000, 0);
	until_hello_ok(&a);
	source_close(&a);
	disk_expect_gone("b", "lost");
	assert_int_equal(server_stop(), 0);
}

static void test_memory_queue(void **state)
{
	struct source a, b, c, d;
	uint64_t need;

	(void)state;
	server_start("--max-memory", "32M");
	hello_memory(&a, "a", 18 * M, 60000, 0);
	source_take_hello_ok(&a);
	hello_memory(&b, "b", 18 * M, 60000, 0);
	need = take_queued(&b, 0);
	assert_true(need > 18 * M && need < 32 * M);
	hello_memory(&c, "c", 8 * M, 60000, 0);
	take_queued(&c, 1);
	server_ask("set b max-bandwidth 1", "error: it waits for memory");
	/* Its tasks grow while it waits: it is told, and beyond the limit it is over. */
	send_size(&b, 20 * M);
	while (take_queued(&b, 0) <= need)
		;
	send_size(&b, 64 * M);
	for (unsigned type = MFD_WIRE_QUEUED; type == MFD_WIRE_QUEUED;) {
		ProtobufCMessage *m = source_next(&b, &type);

		assert_non_null(m);
		assert_true(type == MFD_WIRE_QUEUED ||
			    strstr(((Mfd__Abort *)m)->reason, "more than the limit"));
		protobuf_c_message_free_unpacked(m, NULL);
	}
	source_close(&b);
	disk_expect_gone("b", "more than the limit");
	/* The next of the queue is too large for what is left. */
	hello_memory(&d, "d", 18 * M, 60000, 0);
	take_queued(&d, 1);
	source_close(&d);
	disk_expect_gone("d", "lost");
	take_queued(&c, 0);
	source_close(&a);
	until_hello_ok(&c);
	source_join_all(&c, 0);
	source_pages(&c, 0, 7, BASE, 4);
	source_images(&c, 7, BASE, 4);
	source_end(&c);
	source_expect_free(&c, MFD_WIRE_READY);
	source_commit(&c);
	source_close(&c);
	assert_int_equal(server_stop(), 0);
}

/* More than was announced: as long as there is room; then the source hears of it and goes on. */
static void test_memory_grows(void **state)
{
	struct source a, b;
	int i;

	(void)state;
	server_start("--max-memory", "48M");
	hello_memory(&a, "a", 2 * M, 60000, 0);
	source_take_hello_ok(&a);
	source_join_all(&a, 0);
	for (i = 0; i < 8; i++)
		source_pages(&a, (unsigned)i & 1, 7, BASE + (uint64_t)i * M, 256);
	hello_memory(&b, "b", 2 * M, 60000, 0);
	source_take_hello_ok(&b);
	send_size(&b, 4 * M);
	send_size(&b, 36 * M);
	source_expect_abort(&b, "session b needs");
	source_close(&b);
	disk_expect_gone("b", "are free");
	for (; i < 64; i++)
		source_pages(&a, (unsigned)i & 1, 7, BASE + (uint64_t)i * M, 256);
	source_expect_abort(&a, "session a needs");
	source_close(&a);
	disk_expect_gone("a", "more than the limit of 48.0 MiB");
	assert_int_equal(server_stop(), 0);
}

static uint64_t pages_of(const char *name)
{
	struct mfd_session_file f;
	uint64_t n;

	assert_int_equal(mfd_session_file_find(server_root, name, &f), 0);
	n = f.entry->pages;
	mfd_session_file_release(&f);
	return n;
}

/*
 * Postcopy: a window. A source that sends beyond it is not read any further, and neither faults nor
 * the restore wait for that; the pages that were held back then go straight into the tasks.
 */
static void test_memory_window(void **state)
{
	Mfd__HelloOk *ok;
	struct source s;
	uint64_t room, i;
	Mfd__Room *r;
	pid_t pid;

	(void)state;
	server_start("--max-memory", "32M");
	hello_memory(&s, "one", 200 * M, 60000, 1);
	ok = (Mfd__HelloOk *)source_expect(&s, MFD_WIRE_HELLO_OK);
	assert_int_equal(ok->memory_limit, 32 * M);
	assert_true(ok->has_room && ok->room > 8 * M && ok->room < 32 * M);
	room = ok->room;
	source_keep(&s, ok);
	protobuf_c_message_free_unpacked(&ok->base, NULL);
	source_join_all(&s, 1);
	source_images(&s, 7, BASE, 16);
	source_expect_free(&s, MFD_WIRE_IMAGES_OK);
	for (i = 0; i < room / M + 3; i++)
		source_pages(&s, 0, 7, 2 * BASE + i * M, 256);
	for (i = 0; i < 1000 && pages_of("one") * PAGE < room - M; i++)
		usleep(20000);
	assert_true(pages_of("one") * PAGE >= room - M);
	sleep(2); /* figures are written once a second */
	assert_true(pages_of("one") * PAGE <= room + M);
	pid = source_restored(&s, 0);
	for (;;) {
		unsigned type;
		ProtobufCMessage *m = source_next(&s, &type);

		assert_non_null(m);
		r = (Mfd__Room *)m;
		if (type == MFD_WIRE_ROOM && r->bytes == UINT64_MAX) {
			protobuf_c_message_free_unpacked(m, NULL);
			break;
		}
		if (type == MFD_WIRE_FAULT)
			source_pages(&s, MAXCH, 7, ((Mfd__Fault *)m)->range->vaddr, 1);
		else
			assert_int_equal(type, MFD_WIRE_ROOM);
		protobuf_c_message_free_unpacked(m, NULL);
	}
	for (i = 0; i < 16; i++)
		source_pages(&s, (unsigned)i & 1, 7, BASE + i * PAGE, 1);
	for (i = 0; i < 64; i++) /* more than there would ever be room for */
		source_pages(&s, (unsigned)i & 1, 7, 2 * BASE + i * M, 256);
	source_end(&s);
	source_until_ready(&s);
	source_commit(&s);
	source_close(&s);
	criu_expect_done(pid, "one");
	assert_int_equal(server_stop(), 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		SERVER_TEST(test_memory_refused),
		SERVER_TEST(test_memory_queue),
		SERVER_TEST(test_memory_grows),
		SERVER_TEST(test_memory_window),
	};

	server_tests_init(argc, argv);
	return cmocka_run_group_tests_name("server_memory", tests, NULL, NULL);
}
