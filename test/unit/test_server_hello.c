// SPDX-License-Identifier: GPL-2.0-only
/* HELLO and the greetings: which sessions and which connections the server refuses. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "players/disk.h"
#include "players/server.h"
#include "players/source.h"

static void test_hello_refused(void **state)
{
	struct source s;
	Mfd__Hello h;

	(void)state;
	server_start("--max-sessions", "2");
	source_hello_refused("a/b", 1, PAGE, NULL, "name");
	source_hello_refused("..", 1, PAGE, NULL, "name");
	source_hello_refused(".ended", 1, PAGE, NULL, "name");
	source_hello_refused("session.img", 1, PAGE, NULL, "name");
	source_hello_refused("a", 0, PAGE, NULL, "channels");
	source_hello_refused("a", 1, 65536, NULL, "page size");
	source_hello_refused("a", 1, PAGE, "pdp11", "pdp11");
	/* Too many channels are clamped. */
	source_init(&s, "many");
	source_hello_init(&h, "many", 1000);
	source_send_hello(&s, &h);
	source_take_hello_ok(&s);
	assert_int_equal(s.channels, MFD_WIRE_MAX_CHANNELS);
	/* In use, until it has ended. */
	source_hello_refused("many", 1, PAGE, NULL, "in use");
	source_close(&s);
	disk_expect_gone("many", "lost");
	source_open(&s, "many", 0);
	source_close(&s);
	disk_expect_gone("many", "lost");
	assert_int_equal(server_stop(), 0);
}

static int run(const char *fmt)
{
	char cmd[512];

	snprintf(cmd, sizeof(cmd), fmt, server_dir, server_dir, server_dir, server_dir);
	return system(cmd);
}

/* DIR may hold what is no session, and peers choose the names: only sessions are removed. */
static void test_foreign(void **state)
{
	struct source s;

	(void)state;
	server_start(NULL, NULL);
	assert_int_equal(run("mkdir -p %s/backup/deep; echo x >%s/backup/deep/pages-1.img;"
			     "echo x >%s/notes.txt; ln -s backup %s/link"),
			 0);
	source_hello_refused("backup", 1, PAGE, NULL, "no session");
	source_hello_refused("notes.txt", 1, PAGE, NULL, "no session");
	source_hello_refused("link", 1, PAGE, NULL, "no session");
	/* A copy of an ended session bears another name. */
	source_to_ready(&s, "one");
	source_commit(&s);
	source_close(&s);
	disk_wait_free("one");
	assert_int_equal(run("cp -r %s/one %s/copy; rm -f %s/copy/pages.*; mkdir %s/empty"), 0);
	server_ask("abort backup", "error: no session");
	source_hello_refused("copy", 1, PAGE, NULL, "");
	assert_int_equal(run("test -e %s/backup/deep/pages-1.img && test -e %s/notes.txt &&"
			     "test -L %s/link && test -e %s/copy/pstree.img"),
			 0);
	/* An empty folder is no loss: a killed server may have left it. */
	source_open(&s, "empty", 0);
	source_close(&s);
	disk_expect_gone("empty", "lost");
	assert_int_equal(server_stop(), 0);
}

static void test_max_sessions(void **state)
{
	struct source a;

	(void)state;
	server_start("--max-sessions", "1");
	source_open(&a, "a", 0);
	source_hello_refused("b", 1, PAGE, NULL, "1 sessions");
	source_close(&a);
	disk_expect_gone("a", "lost");
	assert_int_equal(server_stop(), 0);
}

static void test_join_refused(void **state)
{
	struct mfd_wire_greeting g = { .magic = MFD_WIRE_MAGIC_GREETING,
				       .role = MFD_WIRE_ROLE_DATA };
	struct mfd_wire_joined j;
	struct mfd_conn c;
	struct source s;
	Mfd__Hello h;

	(void)state;
	server_start(NULL, NULL);
	source_init(&s, "one");
	source_hello_init(&h, "one", 2);
	source_send_hello(&s, &h);
	source_take_hello_ok(&s);
	s.secret[31] ^= 1;
	source_join_refused(&s, MFD_WIRE_ROLE_DATA, 0, MFD_WIRE_JOIN_SESSION);
	s.secret[31] ^= 1;
	s.id[0] ^= 1;
	source_join_refused(&s, MFD_WIRE_ROLE_DATA, 0, MFD_WIRE_JOIN_SESSION);
	s.id[0] ^= 1;
	source_join_refused(&s, MFD_WIRE_ROLE_DATA, 2, MFD_WIRE_JOIN_CHANNEL);
	source_join_refused(&s, MFD_WIRE_ROLE_DATA, 63, MFD_WIRE_JOIN_CHANNEL);
	source_join_refused(&s, MFD_WIRE_ROLE_URGENT, 0, MFD_WIRE_JOIN_ROLE);
	assert_int_equal(source_join(&s, &s.ch[0], MFD_WIRE_ROLE_DATA, 0), MFD_WIRE_JOIN_OK);
	source_join_refused(&s, MFD_WIRE_ROLE_DATA, 0, MFD_WIRE_JOIN_TWICE);
	/* a version that is not known */
	source_dial(&c);
	mfd_wire_greeting_seal(&g);
	g.version = htole16(77);
	mfd_conn_send(&c, &g, sizeof(g), 0);
	assert_int_equal(mfd_conn_recv(&c, &j, sizeof(j)), 0);
	assert_int_equal(le16toh(j.status), MFD_WIRE_JOIN_VERSION);
	mfd_conn_close(&c);
	/* garbage */
	source_dial(&c);
	mfd_conn_send(&c,
		      "GET / HTTP/1.1\r\nHost: x\r\nUser-Agent: a browser of another kind\r\n\r\n",
		      66, 0);
	assert_int_not_equal(mfd_conn_recv(&c, &j, sizeof(j)), 0);
	mfd_conn_close(&c);
	/* the session goes on */
	assert_int_equal(source_join(&s, &s.ch[1], MFD_WIRE_ROLE_DATA, 1), MFD_WIRE_JOIN_OK);
	source_expect_free(&s, MFD_WIRE_JOINED);
	source_close(&s);
	disk_expect_gone("one", "lost");
	assert_int_equal(server_stop(), 0);
}

static void test_slow_greeting(void **state)
{
	struct mfd_conn c[70];
	struct source s;
	char b;
	int i;

	(void)state;
	server_start(NULL, NULL);
	/*
	 * More than may be pending: the last ones wait in the queue until the first are thrown out.
	 */
	for (i = 0; i < 70; i++)
		source_dial(&c[i]);
	assert_int_not_equal(mfd_conn_recv(&c[0], &b, 1), -ETIMEDOUT);
	for (i = 0; i < 70; i++)
		mfd_conn_close(&c[i]);
	source_to_ready(&s, "one");
	source_close(&s);
	disk_wait_doubt("one", 1);
	assert_int_equal(server_stop(), 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		SERVER_TEST(test_hello_refused), SERVER_TEST(test_foreign),
		SERVER_TEST(test_max_sessions),	 SERVER_TEST(test_join_refused),
		SERVER_TEST(test_slow_greeting),
	};

	server_tests_init(argc, argv);
	return cmocka_run_group_tests_name("server_hello", tests, NULL, NULL);
}
