// SPDX-License-Identifier: GPL-2.0-only
/*
 * Peers cannot touch each other: what one of them does with connections, descriptors, messages and
 * tables is bounded, and the others are served meanwhile.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <linux/capability.h>
#include <unistd.h>

#include "io.h"
#include "nofile.h"
#include "players/disk.h"
#include "players/server.h"
#include "players/source.h"

#define SILENT 2000

static void dial_many(struct mfd_conn *c, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		source_dial(&c[i]);
}

static void close_many(struct mfd_conn *c, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		mfd_conn_close(&c[i]);
}

/* Connections that say nothing, or no more than a greeting, keep out none that does. */
static void test_silent(void **state)
{
	struct mfd_conn *c = calloc(SILENT, sizeof(*c));
	struct source s;
	uint64_t start;

	(void)state;
	mfd_nofile_raise();
	server_start(NULL, NULL);
	dial_many(c, SILENT);
	start = mfd_io_now_ms();
	source_open(&s, "one", 0);
	assert_in_range(mfd_io_now_ms() - start, 0, 3000);
	close_many(c, SILENT);
	free(c);
	source_close(&s);
	disk_expect_gone("one", "lost");
	assert_int_equal(server_stop(), 0);
}

/* Both ends are told when the time for a greeting, or for HELLO, is over. */
static void test_expired(void **state)
{
	struct source s;

	(void)state;
	server_start(NULL, NULL);
	source_init(&s, "one");
	source_dial(&s.c.conn);
	source_greet(&s.c.conn, MFD_WIRE_ROLE_CONTROL, 0, NULL, NULL);
	source_expect_abort(&s, "the time for HELLO or RESUME was over");
	source_expect_end(&s);
	source_close(&s);
	assert_int_equal(server_stop(), 0);
}

static unsigned tombstones(void)
{
	int fd = openat(server_root, ".ended", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	unsigned n = 0;

	while (dir && readdir(dir))
		n++;
	if (dir)
		closedir(dir);
	return n;
}

static void make_old(unsigned n)
{
	Mfd__SessionEntry e = MFD__SESSION_ENTRY__INIT;
	char name[32], file[64];

	e.name = name;
	e.state = MFD__SESSION_STATE__ABORTED;
	while (n--) {
		snprintf(name, sizeof(name), "old%u", n);
		snprintf(file, sizeof(file), ".ended/%s.img", name);
		assert_int_equal(mfd_entry_file_write(server_root, file, &e, 0), 0);
	}
}

static void lose_one(unsigned i)
{
	char name[32];
	struct source s;
	Mfd__Hello h;

	snprintf(name, sizeof(name), "fail%u", i);
	source_init(&s, name);
	source_hello_init(&h, name, 1);
	source_send_hello(&s, &h);
	source_take_hello_ok(&s);
	source_close(&s);
}

/* Sessions that fail, as fast as a peer can make them: what is left of them is bounded. */
static void test_many_fail(void **state)
{
	(void)state;
	server_start("--max-sessions", "100");
	lose_one(0);
	disk_wait_state("fail0", MFD__SESSION_STATE__ABORTED);
	disk_wait_free("fail0"); /* the first look is over */
	make_old(1500);
	for (unsigned i = 1; i < 90; i++)
		lose_one(i);
	for (int i = 0; i < 500 && tombstones() > 1100; i++)
		usleep(10000);
	assert_in_range(tombstones(), 900, 1100);
	assert_int_equal(server_stop(), 0);
}

/* A source that asks and does not read the answers: its session ends, no thread waits for it. */
static void test_slow_reader(void **state)
{
	struct mfd_wire_frame ping[64];
	struct source s;
	uint64_t start;
	int ret = 0;

	(void)state;
	server_start(NULL, NULL);
	source_open(&s, "slow", 0);
	for (unsigned i = 0; i < 64; i++) {
		ping[i] = (struct mfd_wire_frame){ .type = MFD_WIRE_PING };
		mfd_wire_frame_seal(&ping[i]);
	}
	start = mfd_io_now_ms();
	while (!ret && mfd_io_now_ms() - start < 20000)
		ret = mfd_conn_send(&s.c.conn, ping, sizeof(ping), 0);
	assert_int_not_equal(ret, 0);
	assert_int_not_equal(ret, -ETIMEDOUT);
	disk_expect_gone("slow", "does not read the answers");
	source_close(&s);
	assert_int_equal(server_stop(), 0);
}

static void send_frame(struct source *s, unsigned type, const uint8_t *body, uint32_t len)
{
	struct mfd_wire_frame f = { .type = (uint16_t)type, .len = len };

	mfd_wire_frame_seal(&f);
	mfd_conn_send(&s->c.conn, &f, sizeof(f), 0);
	mfd_conn_send(&s->c.conn, body, len, 0);
}

/* Messages of a length that no source needs, before a session is open and in one. */
static void test_long_messages(void **state)
{
	uint32_t len = 1U << 20;
	uint8_t *junk = calloc(1, len);
	struct source s;

	(void)state;
	for (uint32_t i = 0; i + 2 < len; i += 3)
		memcpy(junk + i, "\xf8\x01\x00", 3); /* field 31: 0 */
	server_start(NULL, NULL);
	source_init(&s, "one");
	source_dial(&s.c.conn);
	source_greet(&s.c.conn, MFD_WIRE_ROLE_CONTROL, 0, NULL, NULL);
	send_frame(&s, MFD_WIRE_HELLO, junk, len);
	source_expect_abort(&s, "too long");
	source_close(&s);
	source_open(&s, "two", 0);
	send_frame(&s, MFD_WIRE_ABORT, junk, len);
	disk_expect_gone("two", "too long");
	source_close(&s);
	source_open(&s, "three", 0);
	send_frame(&s, MFD_WIRE_ABORT, junk, 65535); /* allowed, but not what it would take */
	disk_expect_gone("three", "does not parse");
	source_close(&s);
	free(junk);
	assert_int_equal(server_stop(), 0);
}

static void open_with_memory(struct source *s, const char *name)
{
	Mfd__Hello h;

	source_init(s, name);
	source_hello_init(&h, name, 1);
	h.has_memory = 1;
	h.memory = 1 << 20;
	source_send_hello(s, &h);
	source_take_hello_ok(s);
	source_join_all(s, 0);
}

/* Page tables are memory: pages far apart, and tasks of one page each. */
static void test_tables(void **state)
{
	struct source s;

	(void)state;
	server_start("--max-memory", "32M");
	open_with_memory(&s, "sparse");
	for (uint64_t i = 1; i < 4096; i++)
		source_run(&s, 0, 7, i << 23, 1, 1, 0);
	source_expect_abort(&s, "limit of 32.0 MiB");
	source_close(&s);
	disk_expect_gone("sparse", "limit");
	disk_wait_free("sparse");
	open_with_memory(&s, "tasks");
	for (uint32_t i = 1; i < 2048; i++)
		source_run(&s, 0, i, 4096, 1, 1, 0);
	source_expect_abort(&s, "limit of 32.0 MiB");
	source_close(&s);
	disk_expect_gone("tasks", "limit");
	assert_int_equal(server_stop(), 0);
}

/*
 * With few descriptors to be had, sessions get half of them: a peer that wants all of them is
 * refused, and one that wants few is served.  Last, because the limit stays.
 */
static void test_descriptors(void **state)
{
	struct rlimit few = { 256, 256 };
	struct source s, t, u;
	Mfd__Hello h;

	(void)state;
	if (prctl(PR_CAPBSET_DROP, CAP_SYS_RESOURCE, 0, 0, 0) || setrlimit(RLIMIT_NOFILE, &few))
		skip();
	server_start(NULL, NULL);
	source_init(&s, "much");
	source_hello_init(&h, "much", 64);
	source_send_hello(&s, &h);
	source_take_hello_ok(&s);
	source_init(&t, "more");
	source_hello_init(&h, "more", 64);
	source_send_hello(&t, &h);
	source_expect_abort(&t, "no descriptors left");
	source_open(&u, "few", 0);
	source_close(&u);
	source_close(&s);
	source_close(&t);
	disk_expect_gone("much", "lost");
	disk_expect_gone("few", "lost");
	assert_int_equal(server_stop(), 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		SERVER_TEST(test_silent),	 SERVER_TEST(test_expired),
		SERVER_TEST(test_many_fail),	 SERVER_TEST(test_slow_reader),
		SERVER_TEST(test_long_messages), SERVER_TEST(test_tables),
		SERVER_TEST(test_descriptors),
	};

	server_tests_init(argc, argv);
	return cmocka_run_group_tests_name("server_peers", tests, NULL, NULL);
}
