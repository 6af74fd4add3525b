// SPDX-License-Identifier: GPL-2.0-only
/*
 * Precopy on the server: rounds that replace what came before, what is stale or left over, the sum
 * that END compares, and sources that do not keep to the order.
 *
 * Each test plays with task 7, whose NPAGES pages at BASE are lazy in its images, and keeps what
 * the server must have of each: round and content.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <endian.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pagestore.h"
#include "pagetable.h"
#include "players/criu.h"
#include "players/disk.h"
#include "players/server.h"
#include "players/source.h"
#include "session_file.h"

#define TASK   7U
#define NPAGES 256U
#define AT(i)  (BASE + (uint64_t)(i)*PAGE)

/* What the server must have. */
static struct page {
	uint32_t round; /* 0: not sent */
	int zero;
	uint64_t content;
} is[2 * NPAGES];
static uint32_t now; /* the round of what is sent */

static void open_with(struct source *s, const char *name, int precopy, int early, int zstd)
{
	Mfd__HelloOk *ok;
	Mfd__Hello h;

	source_init(s, name);
	source_hello_init(&h, name, 2);
	h.has_precopy = h.precopy = precopy;
	h.confirm_restore = early;
	h.has_early_restore = h.early_restore = early;
	h.has_compress = zstd;
	h.compress = MFD_WIRE_PACKET_ZSTD;
	source_send_hello(s, &h);
	ok = (Mfd__HelloOk *)source_expect(s, MFD_WIRE_HELLO_OK);
	assert_int_equal(ok->precopy, precopy);
	assert_int_equal(ok->early_restore, early);
	source_keep(s, ok);
	protobuf_c_message_free_unpacked(&ok->base, NULL);
	source_join_all(s, early);
	memset(is, 0, sizeof(is));
	now = 1;
	source_content = 0;
}

static void open_precopy(struct source *s, const char *name)
{
	open_with(s, name, 1, 0, 0);
}

static void sent(unsigned first, unsigned n, int zero)
{
	for (unsigned i = first; i < first + n; i++)
		is[i] = (struct page){ now, zero, source_content };
}

static void pages(struct source *s, unsigned ch, unsigned first, unsigned n)
{
	source_pages(s, ch, TASK, AT(first), n);
	sent(first, n, 0);
}

static void zeros(struct source *s, unsigned ch, unsigned first, unsigned n)
{
	source_run(s, ch, TASK, AT(first), n, 1, 0);
	sent(first, n, 1);
}

static void stale(struct source *s, unsigned ch, unsigned first, unsigned n)
{
	const struct mfd_wire_run run = { AT(first), n, MFD_WIRE_RUN_STALE };

	source_runs(s, ch, TASK, &run, 1, 0);
}

/* Every other page of the first 2n, in one packet. */
static void every_other(struct source *s, unsigned ch, unsigned n, int zstd)
{
	struct mfd_wire_run run[NPAGES];

	for (unsigned i = 0; i < n; i++) {
		run[i] = (struct mfd_wire_run){ AT(2 * i), 1, 0 };
		sent(2 * i, 1, 0);
	}
	source_runs(s, ch, TASK, run, n, zstd);
}

static void end_round(struct source *s, uint64_t n)
{
	Mfd__RoundOk *ok;

	source_round(s, now, n);
	ok = (Mfd__RoundOk *)source_expect(s, MFD_WIRE_ROUND_OK);
	assert_int_equal(ok->n, now);
	protobuf_c_message_free_unpacked(&ok->base, NULL);
	now++;
	source_content += 1000000007;
}

static void end(struct source *s)
{
	s->end.has_freshness = 1;
	s->end.freshness = 0;
	for (unsigned i = 0; i < NPAGES; i++)
		if (is[i].round)
			s->end.freshness += mfd_wire_freshness(TASK, AT(i), 1, is[i].round);
	source_end(s);
}

/* ---- what the server has ---- */

static uint64_t had[2 * NPAGES];
static unsigned n_records;

static int take_record(void *arg, const struct mfd_pagestore_record *r)
{
	uint64_t n = r->pages_flags >> 8, first = (r->vaddr - BASE) / PAGE;

	(void)arg;
	n_records++;
	assert_int_equal(r->task, TASK);
	for (uint64_t i = 0; i < n; i++) {
		assert_true(first + i < 2 * NPAGES);
		had[first + i] = mfd_pagestore_record_is(r) +
				 (mfd_page_state(mfd_pagestore_record_is(r)) == MFD_PAGE_STORED ?
					  i << MFD_PAGE_STATE_BITS :
					  0);
	}
	return 0;
}

static void check_page(struct mfd_pagestore *st, unsigned i)
{
	uint8_t want[PAGE];

	assert_int_equal(mfd_page_round(had[i]), is[i].round);
	assert_int_equal(mfd_page_state(had[i]), is[i].zero ? MFD_PAGE_ZERO : MFD_PAGE_STORED);
	if (is[i].zero)
		return;
	source_content = is[i].content;
	source_fill_page(want, TASK, AT(i));
	assert_memory_equal(mfd_pagestore_at(st, mfd_page_index(had[i])), want, PAGE);
}

/* Each lazy page as its last copy was, nothing else in the journal; the file has `room` pages. */
static void check_store(const char *name, unsigned room)
{
	int fd = openat(server_root, name, O_RDONLY | O_DIRECTORY);
	struct mfd_error err = { 0 };
	struct mfd_pagestore *st;
	uint64_t highest = 0;

	memset(had, 0, sizeof(had));
	n_records = 0;
	assert_int_equal(mfd_pagestore_open(fd, &st, take_record, NULL, &err), 0);
	for (unsigned i = 0; i < NPAGES; i++) {
		check_page(st, i);
		if (!is[i].zero && mfd_page_index(had[i]) > highest)
			highest = mfd_page_index(had[i]);
	}
	for (unsigned i = NPAGES; i < 2 * NPAGES; i++)
		assert_int_equal(had[i], 0);
	assert_true(highest < room);
	mfd_pagestore_close(st);
	close(fd);
}

/* Until the server has taken IMAGES. */
static void until_imaged(void)
{
	for (unsigned i = 0; i < 1000 && !server_log_has("streaming -> images"); i++)
		usleep(10000);
	assert_true(server_log_has("streaming -> images"));
}

static void expect_ready(struct source *s)
{
	Mfd__Ready *r = (Mfd__Ready *)source_expect(s, MFD_WIRE_READY);

	assert_int_equal(r->pages, NPAGES);
	protobuf_c_message_free_unpacked(&r->base, NULL);
}

/* ---- what is right ---- */

/* Ten rounds take no more of the store than one. */
static void test_in_place(void **state)
{
	struct source s;

	(void)state;
	server_start(NULL, NULL);
	open_precopy(&s, "one");
	pages(&s, 0, 0, 128);
	pages(&s, 1, 128, 128);
	end_round(&s, NPAGES);
	for (unsigned i = 0; i < 10; i++) {
		pages(&s, i % 2, i * 10, 100);
		every_other(&s, 1 - i % 2, i * 5 + 1, 0);
		end_round(&s, 101 + i * 5);
	}
	stale(&s, 0, 30, 60);
	pages(&s, 1, 30, 60);
	source_images(&s, TASK, BASE, NPAGES);
	end(&s);
	expect_ready(&s);
	check_store("one", NPAGES + 60);
	source_commit(&s);
	source_close(&s);
	assert_int_equal(server_stop(), 0);
}

/* A page becomes zero and is a page again; places are used again; packets with holes, packed. */
static void rounds_of_all_kinds(struct source *s, int zstd)
{
	pages(s, 0, 0, NPAGES);
	end_round(s, NPAGES);
	zeros(s, 0, 0, 64);
	end_round(s, 64);
	every_other(s, 1, 64, zstd);
	end_round(s, 64);
	zeros(s, 0, 0, 64);
	every_other(s, 1, 1, zstd);
	end_round(s, 65);
	pages(s, 0, 0, 64);
	pages(s, 1, NPAGES, 16); /* memory that is gone when the tasks stop */
	end_round(s, 80);
	every_other(s, 1, 128, zstd);
	source_images(s, TASK, BASE, NPAGES);
	end(s);
	expect_ready(s);
}

static void test_zero_and_back(void **state)
{
	struct source s;

	(void)state;
	server_start(NULL, NULL);
	for (int zstd = 0; zstd < 2; zstd++) {
		open_with(&s, zstd ? "packed" : "raw", 1, 0, zstd);
		rounds_of_all_kinds(&s, zstd);
		check_store(zstd ? "packed" : "raw", NPAGES + 32);
		source_commit(&s);
		source_close(&s);
	}
	assert_int_equal(server_stop(), 0);
}

static void test_durable(void **state)
{
	struct source s;

	(void)state;
	server_start("--durable", NULL);
	open_precopy(&s, "one");
	rounds_of_all_kinds(&s, 0);
	check_store("one", NPAGES + 32);
	source_commit(&s);
	source_close(&s);
	assert_int_equal(server_stop(), 0);
}

/* The worker dies after READY: the next one has each page's last copy, and restores it. */
static void test_next_worker(void **state)
{
	struct source s;

	(void)state;
	server_start("--once", NULL);
	open_precopy(&s, "one");
	pages(&s, 0, 0, NPAGES);
	end_round(&s, NPAGES);
	pages(&s, 0, 0, NPAGES);
	source_images(&s, TASK, BASE, NPAGES);
	end(&s);
	expect_ready(&s);
	server_kill_worker();
	source_resume(&s, "commit");
	source_expect_free(&s, MFD_WIRE_RESUME_OK);
	source_expect_free(&s, MFD_WIRE_COMMITTED);
	source_close(&s);
	source_content = is[0].content;
	criu_expect_done(criu_restore("one", NPAGES, 0, 0, TASK), "one");
	assert_int_equal(server_wait(), 0);
}

/* NEED for what was never sent; the sum counts at the END behind it. */
static void test_need(void **state)
{
	struct source s;

	(void)state;
	server_start(NULL, NULL);
	open_precopy(&s, "one");
	pages(&s, 0, 0, 100);
	end_round(&s, 100);
	pages(&s, 0, 50, 100);
	source_images(&s, TASK, BASE, NPAGES);
	end(&s);
	source_expect_free(&s, MFD_WIRE_NEED);
	pages(&s, 1, 150, NPAGES - 150);
	end(&s);
	expect_ready(&s);
	check_store("one", NPAGES);
	source_close(&s);
	assert_int_equal(server_stop(), 0);
}

/*
 * A stale page is missing until its last copy comes, whichever of the two comes first; a copy that
 * comes behind the images does not replace one that is here.
 */
static void test_stale(void **state)
{
	struct source s;

	(void)state;
	server_start(NULL, NULL);
	open_precopy(&s, "one");
	pages(&s, 0, 0, NPAGES);
	end_round(&s, NPAGES);
	pages(&s, 0, 0, 8);
	stale(&s, 0, 0, 16); /* the first 8 are of this round: they stay */
	source_images(&s, TASK, BASE, NPAGES);
	until_imaged();
	source_pages(&s, 1, TASK, AT(0), 4); /* of an answer to FAULT, say */
	source_pages(&s, 1, TASK, AT(100), 4);
	end(&s);
	source_expect_free(&s, MFD_WIRE_NEED);
	pages(&s, 1, 8, 8);
	end(&s);
	expect_ready(&s);
	check_store("one", NPAGES + 16);
	source_close(&s);
	assert_int_equal(server_stop(), 0);
}

/*
 * A page becomes stale on one channel while its last copy is received in place on another, and a
 * page that is new comes just then: each gets a place of its own.
 */
static void test_stale_meanwhile(void **state)
{
	struct mfd_wire_packet p = { .type = MFD_WIRE_PACKET_PAGES, .task = TASK, .entries = 1 };
	struct mfd_wire_run run = { AT(0), 8, 0 };
	uint8_t copy[8 * PAGE];
	struct source s;

	(void)state;
	server_start(NULL, NULL);
	open_precopy(&s, "one");
	pages(&s, 0, 0, NPAGES - 8);
	end_round(&s, NPAGES - 8);
	sent(0, 8, 0);
	for (unsigned i = 0; i < 8; i++)
		source_fill_page(copy + i * PAGE, TASK, AT(i));
	p.sequence = s.seq++;
	p.table_len = sizeof(run);
	p.payload_len = p.raw_len = sizeof(copy);
	p.flags = MFD_WIRE_PACKET_HASHED;
	mfd_wire_runs_seal(&run, 1);
	p.hash = mfd_wire_hash(&run, sizeof(run), copy, sizeof(copy));
	mfd_wire_packet_seal(&p);
	s.end.packets++;
	s.end.pages += 8;
	s.end.checksum += le64toh(p.header_hash);
	assert_int_equal(mfd_conn_send(&s.ch[0], &p, sizeof(p), 0), 0);
	assert_int_equal(mfd_conn_send(&s.ch[0], &run, sizeof(run), 0), 0);
	assert_int_equal(mfd_conn_send(&s.ch[0], copy, 4 * PAGE, 0), 0);
	usleep(200000); /* the receiver has found the places */
	stale(&s, 1, 0, 8);
	pages(&s, 1, NPAGES - 8, 8);
	usleep(200000);
	assert_int_equal(mfd_conn_send(&s.ch[0], copy + 4 * PAGE, 4 * PAGE, 0), 0);
	source_images(&s, TASK, BASE, NPAGES);
	end(&s);
	expect_ready(&s);
	check_store("one", NPAGES + 16);
	source_close(&s);
	assert_int_equal(server_stop(), 0);
}

/* What is replaced is counted once, and a shrinking SIZE is no harm. */
static void test_memory(void **state)
{
	const uint64_t sizes[] = { NPAGES * PAGE, PAGE, 2 * NPAGES * PAGE };
	Mfd__Size size = MFD__SIZE__INIT;
	Mfd__HelloOk *ok;
	struct source s;
	Mfd__Hello h;

	(void)state;
	server_start("--max-memory", "16M");
	source_init(&s, "one");
	source_hello_init(&h, "one", 2);
	h.has_precopy = h.precopy = 1;
	h.has_memory = 1;
	h.memory = NPAGES * PAGE;
	source_send_hello(&s, &h);
	ok = (Mfd__HelloOk *)source_expect(&s, MFD_WIRE_HELLO_OK);
	source_keep(&s, ok);
	protobuf_c_message_free_unpacked(&ok->base, NULL);
	source_join_all(&s, 0);
	now = 1;
	memset(is, 0, sizeof(is));
	for (unsigned i = 0; i < 60; i++) {
		size.bytes = sizes[i % 3];
		assert_int_equal(mfd_control_send(&s.c, MFD_WIRE_SIZE, &size.base), 0);
		pages(&s, i % 2, 0, NPAGES);
		end_round(&s, NPAGES);
		zeros(&s, i % 2, 0, NPAGES / 2);
		end_round(&s, NPAGES / 2);
	}
	source_images(&s, TASK, BASE, NPAGES);
	end(&s);
	expect_ready(&s);
	source_close(&s);
	assert_int_equal(server_stop(), 0);
}

/* What status shows of rounds. */
static void test_figures(void **state)
{
	struct mfd_session_file f;
	struct source s;

	(void)state;
	server_start(NULL, NULL);
	open_precopy(&s, "one");
	pages(&s, 0, 0, NPAGES);
	end_round(&s, NPAGES);
	zeros(&s, 0, 0, 8);
	end_round(&s, 8);
	pages(&s, 0, 0, 12);
	for (unsigned i = 0; i < 100; i++) {
		disk_load("one", &f);
		assert_true(f.entry->precopy);
		if (f.entry->rounds == 2 && f.entry->round_pages == 12)
			break;
		mfd_session_file_release(&f);
		usleep(100000);
	}
	assert_int_equal(f.entry->rounds, 2);
	assert_int_equal(f.entry->round_pages, 12);
	assert_int_equal(f.entry->format, 3);
	mfd_session_file_release(&f);
	source_close(&s);
	disk_expect_gone("one", "lost");
	assert_int_equal(server_stop(), 0);
}

/* ---- what is wrong ---- */

static void refused(struct source *s, const char *why)
{
	source_expect_abort(s, why);
	source_close(s);
	disk_expect_gone("one", why);
	disk_wait_free("one");
}

static void test_round_that_may_not_come(void **state)
{
	static const struct {
		int precopy;
		uint32_t n;
		uint64_t pages;
		const char *why;
	} bad[] = {
		{ 0, 1, 1, "rounds were not negotiated" },
		{ 1, 0, 1, "not the number that comes next" },
		{ 1, 2, 1, "not the number that comes next" },
		{ 1, UINT32_MAX, 1, "not the number that comes next" },
		{ 1, 1, 2, "the source sent 2 pages, 1 came" },
	};
	struct source s;

	(void)state;
	server_start(NULL, NULL);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		open_with(&s, "one", bad[i].precopy, 0, 0);
		source_pages(&s, 0, TASK, BASE, 1);
		source_round(&s, bad[i].n, bad[i].pages);
		refused(&s, bad[i].why);
	}
	open_precopy(&s, "one");
	end_round(&s, 0);
	source_round(&s, 1, 0);
	refused(&s, "not the number that comes next");
	open_precopy(&s, "one");
	pages(&s, 0, 0, NPAGES);
	source_images(&s, TASK, BASE, NPAGES);
	source_round(&s, 1, NPAGES);
	refused(&s, "ROUND may not come in phase images");
	assert_int_equal(server_stop(), 0);
}

/* A page has 13 bits for its round. */
static void test_too_many_rounds(void **state)
{
	struct source s;

	(void)state;
	server_start(NULL, NULL);
	open_precopy(&s, "one");
	while (now <= MFD_WIRE_MAX_ROUND)
		end_round(&s, 0);
	pages(&s, 0, 0, 1);
	source_round(&s, now, 1);
	refused(&s, "too many rounds");
	assert_int_equal(server_stop(), 0);
}

static void test_wrong_sum(void **state)
{
	struct source s;

	(void)state;
	server_start(NULL, NULL);
	for (int kind = 0; kind < 4; kind++) {
		open_precopy(&s, "one");
		pages(&s, 0, 0, NPAGES);
		end_round(&s, NPAGES);
		pages(&s, 0, 0, 8);
		if (kind < 3)
			source_images(&s, TASK, BASE, NPAGES);
		if (kind == 0)
			is[100].round++; /* the source believes that it has sent it once more */
		if (kind == 1)
			is[3].round--; /* that it has not */
		if (kind >= 2)
			source_end(&s);
		else
			end(&s);
		refused(&s, kind < 2  ? "are not those that the source has sent last" :
			    kind == 2 ? "END without freshness" :
					"END");
	}
	assert_int_equal(server_stop(), 0);
}

static void test_stale_that_may_not_come(void **state)
{
	struct source s;

	(void)state;
	server_start(NULL, NULL);
	open_with(&s, "one", 0, 0, 0);
	stale(&s, 0, 0, 1);
	refused(&s, "rounds were not negotiated");
	open_precopy(&s, "one");
	pages(&s, 0, 0, NPAGES);
	source_images(&s, TASK, BASE, NPAGES);
	until_imaged();
	stale(&s, 0, 0, 1);
	refused(&s, "stale pages behind the images");
	assert_int_equal(server_stop(), 0);
}

/* A cut in a round, and in the middle of a packet that is received in place. */
static void test_cut(void **state)
{
	struct mfd_wire_packet p = { .type = MFD_WIRE_PACKET_PAGES,
				     .task = TASK,
				     .entries = 1,
				     .table_len = sizeof(struct mfd_wire_run),
				     .payload_len = 8 * PAGE,
				     .raw_len = 8 * PAGE };
	struct mfd_wire_run run = { BASE, 8, 0 };
	uint8_t half[4 * PAGE] = { 1 };
	struct source s;

	(void)state;
	server_start(NULL, NULL);
	open_precopy(&s, "one");
	pages(&s, 0, 0, 16);
	end_round(&s, 16);
	p.flags = MFD_WIRE_PACKET_HASHED;
	mfd_wire_packet_seal(&p);
	mfd_wire_runs_seal(&run, 1);
	assert_int_equal(mfd_conn_send(&s.ch[0], &p, sizeof(p), 0), 0);
	assert_int_equal(mfd_conn_send(&s.ch[0], &run, sizeof(run), 0), 0);
	assert_int_equal(mfd_conn_send(&s.ch[0], half, sizeof(half), 0), 0);
	source_close(&s);
	disk_expect_gone("one", "lost");
	source_resume(&s, "continue"); /* there is none: nothing was frozen */
	source_expect_abort(&s, "");
	source_close(&s);
	assert_int_equal(server_stop(), 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		SERVER_TEST(test_in_place),
		SERVER_TEST(test_zero_and_back),
		SERVER_TEST(test_durable),
		SERVER_TEST(test_next_worker),
		SERVER_TEST(test_need),
		SERVER_TEST(test_stale),
		SERVER_TEST(test_stale_meanwhile),
		SERVER_TEST(test_memory),
		SERVER_TEST(test_figures),
		SERVER_TEST(test_round_that_may_not_come),
		SERVER_TEST(test_too_many_rounds),
		SERVER_TEST(test_wrong_sum),
		SERVER_TEST(test_stale_that_may_not_come),
		SERVER_TEST(test_cut),
	};

	server_tests_init(argc, argv);
	return cmocka_run_group_tests_name("server_rounds", tests, NULL, NULL);
}
