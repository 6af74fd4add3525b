// SPDX-License-Identifier: GPL-2.0-only
/* What a source sends that no source would send, or more of it than fits: each ends its session. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "players/disk.h"
#include "players/images.h"
#include "players/postcopy.h"
#include "players/server.h"
#include "players/source.h"

static void data_refused(const char *name, void (*bad)(struct source *s), const char *why)
{
	struct source s;

	source_open(&s, name, 0);
	bad(&s);
	source_expect_abort(&s, why);
	source_expect_end(&s);
	source_close(&s);
	disk_expect_gone(name, why);
}

static void bad_hash(struct source *s)
{
	source_run(s, 0, 7, BASE, 4, 0, 12345);
}

static void bad_header(struct source *s)
{
	struct mfd_wire_packet p = { .type = MFD_WIRE_PACKET_PAGES, .entries = 1, .table_len = 16 };

	mfd_wire_packet_seal(&p);
	p.table_len ^= 0x40;
	mfd_conn_send(&s->ch[0], &p, sizeof(p), 0);
}

static void bad_table_len(struct source *s)
{
	struct mfd_wire_packet p = { .type = MFD_WIRE_PACKET_PAGES,
				     .entries = 0x10000000,
				     .task = 7,
				     .flags = MFD_WIRE_PACKET_HASHED };

	p.table_len = p.entries * 16;
	mfd_wire_packet_seal(&p);
	mfd_conn_send(&s->ch[1], &p, sizeof(p), 0);
}

static void bad_payload_len(struct source *s)
{
	struct mfd_wire_packet p = { .type = MFD_WIRE_PACKET_PAGES,
				     .entries = 1,
				     .table_len = 16,
				     .task = 7,
				     .payload_len = 1U << 31,
				     .raw_len = 1U << 31,
				     .flags = MFD_WIRE_PACKET_HASHED };

	mfd_wire_packet_seal(&p);
	mfd_conn_send(&s->ch[1], &p, sizeof(p), 0);
}

static void bad_runs(struct source *s)
{
	source_run(s, 0, 7, BASE + 1, 1, 0, 0);
}

static void bad_compressed(struct source *s)
{
	struct mfd_wire_packet p = { .type = MFD_WIRE_PACKET_PAGES,
				     .entries = 1,
				     .table_len = 16,
				     .task = 7,
				     .payload_len = 10,
				     .raw_len = 4096,
				     .flags = MFD_WIRE_PACKET_HASHED | MFD_WIRE_PACKET_ZSTD };

	mfd_wire_packet_seal(&p);
	mfd_conn_send(&s->ch[1], &p, sizeof(p), 0);
}

static void bad_unhashed(struct source *s)
{
	struct mfd_wire_packet p = { .type = MFD_WIRE_PACKET_PAGES,
				     .entries = 1,
				     .table_len = 16,
				     .task = 7,
				     .payload_len = 4096,
				     .raw_len = 4096 };

	mfd_wire_packet_seal(&p);
	mfd_conn_send(&s->ch[1], &p, sizeof(p), 0);
}

static void cut_short(struct source *s)
{
	struct mfd_wire_packet p = { .type = MFD_WIRE_PACKET_PAGES,
				     .entries = 1,
				     .table_len = 16,
				     .task = 7,
				     .payload_len = 4096,
				     .raw_len = 4096,
				     .flags = MFD_WIRE_PACKET_HASHED };
	struct mfd_wire_run run = { .vaddr = BASE, .pages = 1 };

	mfd_wire_packet_seal(&p);
	mfd_wire_runs_seal(&run, 1);
	mfd_conn_send(&s->ch[1], &p, sizeof(p), 0);
	mfd_conn_send(&s->ch[1], &run, sizeof(run), 0);
	mfd_conn_send(&s->ch[1], "abc", 3, 0);
	mfd_conn_close(&s->ch[1]);
}

static void name_up(struct source *s)
{
	source_file(s, 0, "..", "x", 1);
}

static void name_slash(struct source *s)
{
	source_file(s, 0, "a/b", "x", 1);
}

static void name_own(struct source *s)
{
	source_file(s, 0, "session.img", "x", 1);
}

static void name_store(struct source *s)
{
	source_file(s, 0, "pages.store", "x", 1);
}

static void name_hidden(struct source *s)
{
	source_file(s, 0, ".attached", "x", 1);
}

static void size_changes(struct source *s)
{
	source_file_part(s, 0, "x.img", "abcd", 4, 0, 8);
	source_file_part(s, 0, "x.img", "abcd", 4, 4, 9);
}

/* As long as it should be, with a hole. */
static void twice(struct source *s)
{
	source_file_part(s, 0, "x.img", "abcd", 4, 0, 8);
	source_file_part(s, 0, "x.img", "efgh", 4, 0, 8);
}

static void overlaps(struct source *s)
{
	source_file_part(s, 0, "x.img", "ab", 2, 0, 8);
	source_file_part(s, 0, "x.img", "gh", 2, 6, 8);
	source_file_part(s, 0, "x.img", "cdef", 4, 3, 8);
}

static void control_garbage(struct source *s)
{
	mfd_conn_send(&s->c.conn, "this is not a frame at all ...", 30, 0);
}

static void early_commit(struct source *s)
{
	source_simple(s, MFD_WIRE_COMMIT);
}

static void files_lie(struct source *s)
{
	images_make(7, BASE, 1);
	source_image(s, 0, "pstree.img");
	s->files++;
	source_images_done(s);
}

static void no_pstree(struct source *s)
{
	source_file(s, 0, "other.img", "x", 1);
	source_images_done(s);
}

static void count_lies(struct source *s)
{
	source_pages(s, 0, 7, BASE, 4);
	source_images(s, 7, BASE, 4);
	s->end.pages++;
	source_end(s);
}

static void checksum_lies(struct source *s)
{
	source_pages(s, 0, 7, BASE, 4);
	source_images(s, 7, BASE, 4);
	s->end.checksum++;
	source_end(s);
}

static void test_data_refused(void **state)
{
	(void)state;
	server_start(NULL, NULL);
	data_refused("hash", bad_hash, "wrong checksum");
	data_refused("header", bad_header, "channel 0");
	data_refused("table", bad_table_len, "channel 1");
	data_refused("payload", bad_payload_len, "channel 1");
	data_refused("runs", bad_runs, "channel 0");
	data_refused("zstd", bad_compressed, "channel 1");
	data_refused("unhashed", bad_unhashed, "channel 1");
	data_refused("cut", cut_short, "inside a packet");
	data_refused("size", size_changes, "size changed");
	data_refused("twice", twice, "come twice");
	data_refused("overlaps", overlaps, "come twice");
	data_refused("early", early_commit, "before READY");
	data_refused("files", files_lie, "image files");
	data_refused("pstree", no_pstree, "pstree.img");
	data_refused("count", count_lies, "pages");
	data_refused("sum", checksum_lies, "checksum");
	assert_int_equal(server_stop(), 0);
}

/* What was verified stays as it is. */
static void test_late_file(void **state)
{
	struct source s;

	(void)state;
	server_start(NULL, NULL);
	source_to_restorable(&s, "late");
	source_file(&s, 0, "core-7.img", "x", 1);
	source_expect_abort(&s, "a file after the last one");
	source_close(&s);
	disk_expect_gone("late", "after the last one");
	assert_int_equal(server_stop(), 0);
}

static void test_session_names(void **state)
{
	(void)state;
	server_start(NULL, NULL);
	source_hello_refused("c1\xc2\x9b[31mred", 1, PAGE, NULL, "name is not allowed");
	source_hello_refused("evil\xe2\x80\xaetxt.exe", 1, PAGE, NULL, "name is not allowed");
	source_hello_refused("\xff", 1, PAGE, NULL, "name is not allowed");
	assert_int_equal(server_stop(), 0);
}

static void test_names_refused(void **state)
{
	struct source s;

	(void)state;
	server_start(NULL, NULL);
	data_refused("up", name_up, "name");
	data_refused("slash", name_slash, "name");
	data_refused("own", name_own, "not allowed");
	data_refused("store", name_store, "not allowed");
	data_refused("hidden", name_hidden, "name");
	/* garbage on the control connection: no ABORT can be expected, the end is */
	source_open(&s, "garbage", 0);
	control_garbage(&s);
	source_expect_end(&s);
	source_close(&s);
	disk_expect_gone("garbage", "control");
	assert_int_equal(server_stop(), 0);
}

static void test_full(void **state)
{
	struct source s;
	int i;

	(void)state;
	mkdir(server_dir, 0700);
	if (mount("none", server_dir, "tmpfs", 0, "size=8m"))
		skip();
	server_start(NULL, NULL);
	source_open(&s, "one", 0);
	for (i = 0; i < 64; i++)
		source_pages(&s, (unsigned)i & 1, 7, BASE + (uint64_t)i * 256 * PAGE, 256);
	source_expect_abort(&s, "page store is full");
	source_close(&s);
	disk_expect_gone("one", "page store is full");
	/* there is room again */
	source_to_ready(&s, "two");
	source_commit(&s);
	source_close(&s);
	assert_int_equal(server_stop(), 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		SERVER_TEST(test_data_refused), SERVER_TEST(test_names_refused),
		SERVER_TEST(test_late_file),	SERVER_TEST(test_session_names),
		SERVER_TEST(test_full),
	};

	server_tests_init(argc, argv);
	return cmocka_run_group_tests_name("server_hostile", tests, NULL, NULL);
}
