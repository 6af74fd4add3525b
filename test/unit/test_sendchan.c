// SPDX-License-Identifier: GPL-2.0-only
/*
 * Packets as a channel makes them from the memory of a really frozen task, decoded again on the
 * other side.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <endian.h>
#include <cmocka.h>

#include "io.h"
#include "pair.h"
#include "sendchan.h"

#define PAGE   MFD_WIRE_PAGE_SIZE
#define PAGES  2048
#define PACKET (256U << 10)
#define VPID   4711

/* Our memory and, after fork, the child's: what arrives is compared with ours. */
static char *memory;

struct sink {
	pthread_t thread;
	struct mfd_conn conn;
	struct mfd_wire_limits lim;
	const char *wrong; /* a sentence, NULL = all is well */
	uint64_t packets, pages, zero_pages, checksum, bytes, syncs, next_sequence;
	atomic_uint pause_us; /* before each packet: a network that is slow */
	char *copy;	      /* PAGES pages, 0xee where nothing came */
	char *file[3];	      /* "file-0" ... */
	uint64_t file_size[3], file_got[3];
	unsigned files_seen;
};

static const char *take_pages(struct sink *s, const struct mfd_wire_packet *h, void *table,
			      const char *data)
{
	struct mfd_wire_run *run = table;
	const char *why;

	if (h->task != VPID)
		return "another task";
	if (mfd_wire_runs_open(run, h->entries, h->raw_len, &s->lim, &why))
		return why;
	for (uint32_t i = 0; i < h->entries; i++) {
		uint64_t len = (uint64_t)run[i].pages * PAGE, at = run[i].vaddr - (uintptr_t)memory;

		if (run[i].vaddr < (uintptr_t)memory || at + len > (uint64_t)PAGES * PAGE)
			return "a page that was not sent";
		if (run[i].flags & MFD_WIRE_RUN_ZERO) {
			memset(s->copy + at, 0, len);
			s->zero_pages += run[i].pages;
		} else {
			memcpy(s->copy + at, data, len);
			data += len;
			s->pages += run[i].pages;
		}
	}
	return NULL;
}

static const char *take_file(struct sink *s, const struct mfd_wire_packet *h, void *table,
			     const char *data)
{
	char name[MFD_WIRE_MAX_NAME + 1];
	struct mfd_wire_file f;
	const char *why;
	unsigned i;

	if (mfd_wire_file_open(table, h->table_len, h->raw_len, &f, name, &why))
		return why;
	i = (unsigned)(name[5] - '0');
	if (strncmp(name, "file-", 5) || i > 2 || f.mode != 0640)
		return "name or mode";
	if (!s->file[i])
		s->file[i] = calloc(1, f.size + 1);
	memcpy(s->file[i] + f.offset, data, h->raw_len);
	s->file_size[i] = f.size;
	s->file_got[i] += h->raw_len;
	s->files_seen |= 1U << i;
	return NULL;
}

static const char *take_packet(struct sink *s, struct mfd_wire_packet *h, char *table, char *data)
{
	uint64_t header_hash = le64toh(h->header_hash);
	const char *why;

	if (mfd_wire_packet_open(h, &s->lim, &why))
		return why;
	if (mfd_conn_recv(&s->conn, table, h->table_len) ||
	    mfd_conn_recv(&s->conn, data, h->payload_len))
		return "it ends inside a packet";
	s->bytes += sizeof(*h) + h->table_len + h->payload_len;
	if (h->type == MFD_WIRE_PACKET_SYNC)
		return h->sequence == ++s->syncs ? NULL : "number of the sync";
	if (!!(h->flags & MFD_WIRE_PACKET_HASHED) != s->lim.checksum)
		return "HASHED";
	if (s->lim.checksum && h->hash != mfd_wire_hash(table, h->table_len, data, h->payload_len))
		return "hash";
	if (h->sequence != s->next_sequence++)
		return "sequence";
	s->packets++;
	s->checksum += header_hash;
	return h->type == MFD_WIRE_PACKET_PAGES ? take_pages(s, h, table, data) :
						  take_file(s, h, table, data);
}

static void *drain(void *arg)
{
	struct sink *s = arg;
	char *table = malloc(1 << 20), *data = malloc(MFD_WIRE_MAX_PACKET);
	struct mfd_wire_packet h;

	while (!s->wrong && !mfd_conn_recv(&s->conn, &h, sizeof(h))) {
		usleep(atomic_load(&s->pause_us));
		s->wrong = take_packet(s, &h, table, data);
	}
	free(table);
	free(data);
	return NULL;
}

struct bed {
	struct sink sink;
	struct mfd_sendchan c;
	int fd; /* of its connection */
	/* not on a stack: ASan's of gcc 12 does not keep to an alignment of 64 */
	struct mfd_ratelimit limit;
	struct mfd_pageread reader;
	struct mfd_payload p;
	pid_t child;
};

static struct bed bed;

/*
 * One page in three is zero, one stretch is all zero and one has none; some pages differ from zero
 * in one byte only.
 */
static void fill_memory(void)
{
	memory = mmap(NULL, (size_t)PAGES * PAGE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(memory, MAP_FAILED);
	for (unsigned i = 0; i < PAGES; i++) {
		char *page = memory + (size_t)i * PAGE;

		if (i >= 512 && i < 1024)
			pair_pattern(page, PAGE, i);
		else if (i >= 1024 && i < 1536)
			page[0] = 0; /* touched */
		else if (i % 7 == 0)
			page[i * 37 % PAGE] = 1;
		else if (i % 3)
			pair_pattern(page, PAGE, i);
	}
}

static void begin(enum mfd_tristate zerocopy, int tcp, int checksum)
{
	struct mfd_wire_limits lim = { .channels = 1, .packet_size = PACKET, .checksum = checksum };
	struct mfd_error err = { 0 };
	struct mfd_conn conn;
	int fd[2];

	memset(&bed, 0, sizeof(bed));
	bed.child = pair_frozen_child(); /* before there are sockets that it would keep open */
	if (tcp)
		pair_tcp(fd, 0);
	else
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
	assert_int_equal(mfd_pageread_open(&bed.reader, bed.child, &err), 0);
	bed.fd = fd[0];
	mfd_conn_plain(&conn, fd[0]);
	assert_int_equal(mfd_sendchan_init(&bed.c, 3, &conn, &lim, zerocopy, 10000), 0);
	assert_false(mfd_conn_is_open(&conn));
	mfd_conn_plain(&bed.sink.conn, fd[1]);
	bed.sink.lim = lim;
	bed.sink.copy = malloc((size_t)PAGES * PAGE);
	memset(bed.sink.copy, 0xee, (size_t)PAGES * PAGE);
	bed.p.runs_memory = calloc(MFD_WIRE_MAX_RUNS, sizeof(*bed.p.runs_memory));
	assert_int_equal(pthread_create(&bed.sink.thread, NULL, drain, &bed.sink), 0);
}

static uint64_t sequence(void)
{
	return bed.c.st.packets;
}

static int send_runs(const struct mfd_run *runs, unsigned n)
{
	bed.p.type = MFD_PAYLOAD_PAGES;
	bed.p.sequence = sequence();
	bed.p.pages.reader = &bed.reader;
	bed.p.pages.task = VPID;
	bed.p.pages.runs = bed.p.runs_memory;
	bed.p.pages.nruns = n;
	bed.p.pages.npages = 0;
	for (unsigned i = 0; i < n; i++) {
		bed.p.pages.runs[i] = runs[i];
		bed.p.pages.npages += (uint32_t)runs[i].pages;
	}
	return mfd_sendchan_send(&bed.c, &bed.p);
}

static int send_stretch(unsigned first, unsigned pages)
{
	struct mfd_run r = { (uintptr_t)memory + (uint64_t)first * PAGE, pages };

	return send_runs(&r, 1);
}

/* Sync, end the stream, and compare both sides' counts. */
static void finish(void)
{
	assert_int_equal(mfd_sendchan_sync(&bed.c, 1), 0);
	assert_int_equal(bed.c.zc.done, bed.c.zc.next);
	shutdown(bed.fd, SHUT_WR);
	pthread_join(bed.sink.thread, NULL);
	if (bed.sink.wrong)
		fail_msg("%s", bed.sink.wrong);
	assert_int_equal(bed.sink.syncs, 1);
	assert_int_equal(bed.sink.packets, bed.c.st.packets);
	assert_int_equal(bed.sink.pages, bed.c.st.pages);
	assert_int_equal(bed.sink.zero_pages, bed.c.st.zero_pages);
	assert_int_equal(bed.sink.checksum, bed.c.st.checksum);
	assert_int_equal(bed.sink.bytes, bed.c.st.wire_bytes);
}

static void end(void)
{
	mfd_sendchan_close(&bed.c);
	mfd_conn_close(&bed.sink.conn);
	mfd_pageread_close(&bed.reader);
	pair_reap(bed.child);
	free(bed.p.runs_memory);
	free(bed.sink.copy);
	for (unsigned i = 0; i < 3; i++)
		free(bed.sink.file[i]);
}

static void check_same(unsigned first, unsigned pages)
{
	assert_memory_equal(bed.sink.copy + (size_t)first * PAGE, memory + (size_t)first * PAGE,
			    (size_t)pages * PAGE);
}

/* All of it in full packets, twice: the second time with buffers that may still be in flight. */
static void send_everything(enum mfd_tristate zerocopy, int tcp, int checksum)
{
	begin(zerocopy, tcp, checksum);
	for (unsigned i = 0; i < 2 * PAGES; i += PACKET / PAGE)
		assert_int_equal(send_stretch(i % PAGES, PACKET / PAGE), 0);
	finish();
	check_same(0, PAGES);
	assert_int_equal(bed.c.st.pages + bed.c.st.zero_pages, 2 * PAGES);
	assert_true(bed.c.st.zero_pages >= 2 * 512);
	assert_true(bed.c.st.first_us &&
		    bed.c.st.last_us - bed.c.st.first_us >= bed.c.st.read_us + bed.c.st.send_us);
	if (zerocopy == MFD_OFF)
		assert_int_equal(bed.c.zc.sends, 0);
	else if (tcp)
		assert_true(bed.c.zc.sends > 0);
	assert_int_equal(bed.c.zc.completions, bed.c.zc.sends);
	end();
}

static void test_everything(void **state)
{
	(void)state;
	send_everything(MFD_OFF, 0, 1);
	send_everything(MFD_OFF, 1, 1);
	send_everything(MFD_OFF, 1, 0);
	send_everything(MFD_ON, 1, 1);
	send_everything(MFD_AUTO, 1, 1);
	send_everything(MFD_AUTO, 0, 1); /* a socket that refuses */
}

/* Runs of all lengths with holes between them, many in one packet. */
static void scattered(enum mfd_tristate zerocopy)
{
	struct mfd_run runs[PACKET / PAGE];
	char *untouched = malloc(PAGE);
	unsigned at = 0, skipped = 0;

	memset(untouched, 0xee, PAGE);
	begin(zerocopy, 1, 1);
	while (at < PAGES) {
		unsigned n = 0, pages = 0;

		for (; at < PAGES && pages < PACKET / PAGE; n++) {
			unsigned len = 1 + (at * 7 + n) % 5;

			if (len > PACKET / PAGE - pages)
				len = PACKET / PAGE - pages;
			if (len > PAGES - at)
				len = PAGES - at;
			runs[n] = (struct mfd_run){ (uintptr_t)memory + (uint64_t)at * PAGE, len };
			pages += len;
			at += len + n % 2; /* every other run lies beside the next */
		}
		assert_int_equal(send_runs(runs, n), 0);
	}
	finish();
	for (unsigned i = 0; i < PAGES; i++) {
		char *page = bed.sink.copy + (size_t)i * PAGE;

		if (!memcmp(page, untouched, PAGE))
			skipped++;
		else
			check_same(i, 1);
	}
	assert_int_equal(PAGES - skipped, bed.c.st.pages + bed.c.st.zero_pages);
	assert_true(skipped > 100);
	end();
	free(untouched);
}

static void test_scattered(void **state)
{
	(void)state;
	scattered(MFD_OFF);
	scattered(MFD_ON);
	scattered(MFD_AUTO);
}

/* Packets that are all zero, have no zero, have one page. */
static void test_extremes(void **state)
{
	(void)state;
	for (int mode = MFD_OFF; mode <= MFD_AUTO; mode++) {
		begin(mode, 1, 1);
		assert_int_equal(send_stretch(1024, 64), 0);
		assert_int_equal(bed.c.st.zero_pages, 64);
		assert_int_equal(send_stretch(512, 64), 0);
		assert_int_equal(bed.c.st.pages, 64);
		assert_int_equal(send_stretch(3, 1), 0);
		assert_int_equal(send_stretch(1535, 2), 0);
		finish();
		check_same(1024, 64);
		check_same(512, 64);
		check_same(3, 1);
		check_same(1535, 2);
		end();
	}
}

static int image(const char *name, uint64_t size)
{
	int fd = memfd_create(name, MFD_CLOEXEC);

	assert_true(fd >= 0);
	for (uint64_t at = 0; at < size; at += PACKET)
		assert_int_equal(mfd_io_pwrite_all(fd, memory + 512 * PAGE + at % 4096,
						   size - at < PACKET ? size - at : PACKET, at),
				 0);
	return fd;
}

static int send_piece(int fd, const char *name, uint64_t offset, uint64_t size)
{
	bed.p.type = MFD_PAYLOAD_FILE;
	bed.p.sequence = sequence();
	bed.p.file.fd = fd;
	bed.p.file.offset = offset;
	bed.p.file.size = size;
	bed.p.file.len = (uint32_t)(size - offset < PACKET ? size - offset : PACKET);
	bed.p.file.mode = 0640;
	strcpy(bed.p.file.name, name);
	return mfd_sendchan_send(&bed.c, &bed.p);
}

static void test_files(void **state)
{
	static const uint64_t size[3] = { 3 * PACKET + 1234, 0, 17 };
	char name[] = "file-0";

	(void)state;
	for (int mode = MFD_OFF; mode <= MFD_AUTO; mode++) {
		int fd[3];

		begin(mode, 1, 1);
		for (unsigned i = 0; i < 3; i++) {
			fd[i] = image(name, size[i]);
			name[5] = (char)('0' + i);
			for (uint64_t at = 0; at == 0 || at < size[i]; at += PACKET)
				assert_int_equal(send_piece(fd[i], name, at, size[i]), 0);
			assert_int_equal(send_stretch(i * 64, 64), 0); /* pages in between */
		}
		finish();
		assert_int_equal(bed.sink.files_seen, 7);
		assert_int_equal(bed.c.st.files, 3);
		assert_int_equal(bed.c.st.file_bytes, size[0] + size[2]);
		for (unsigned i = 0; i < 3; i++) {
			char *want = malloc(size[i] + 1);

			assert_int_equal(bed.sink.file_size[i], size[i]);
			assert_int_equal(bed.sink.file_got[i], size[i]);
			assert_int_equal(mfd_io_pread_all(fd[i], want, size[i], 0), 0);
			assert_int_equal(memcmp(bed.sink.file[i], want, size[i]), 0);
			free(want);
			close(fd[i]);
		}
		check_same(0, 3 * 64);
		end();
	}
}

static void test_syncs(void **state)
{
	(void)state;
	begin(MFD_ON, 1, 1);
	for (unsigned i = 1; i < 5; i++) {
		assert_int_equal(send_stretch(i * 64, 64), 0);
		assert_int_equal(mfd_sendchan_sync(&bed.c, i), 0);
		assert_int_equal(bed.c.zc.done, bed.c.zc.next);
	}
	shutdown(bed.fd, SHUT_WR);
	pthread_join(bed.sink.thread, NULL);
	assert_null(bed.sink.wrong);
	assert_int_equal(bed.sink.syncs, 4);
	check_same(64, 4 * 64);
	end();
}

/* ---- failures ---- */

static void test_unreadable(void **state)
{
	struct mfd_run hole = { 4096, 1 };
	int fd;

	(void)state;
	begin(MFD_OFF, 1, 1);
	assert_int_equal(send_runs(&hole, 1), -EFAULT);
	assert_non_null(strstr(bed.c.err.text, "0x1000"));
	fd = image("short", 10);
	assert_int_equal(send_piece(fd, "file-0", 0, 20), -ENODATA); /* it has shrunk */
	close(fd);
	pair_reap(bed.child);
	bed.child = pair_frozen_child();
	finish();
	end();
}

static void test_task_gone(void **state)
{
	(void)state;
	begin(MFD_OFF, 1, 1);
	pair_reap(bed.child);
	assert_int_equal(send_stretch(0, 4), -ESRCH);
	bed.child = pair_frozen_child();
	finish();
	end();
}

static void test_peer_gone(void **state)
{
	(void)state;
	for (int mode = MFD_OFF; mode <= MFD_AUTO; mode++) {
		int ret = 0;

		begin(mode, 1, 1);
		bed.sink.lim.packet_size = 0; /* it gives up at the first packet */
		for (unsigned i = 0; i < 1000 && !ret; i++) {
			ret = send_stretch(512, 64);
			if (i == 0) {
				pthread_join(bed.sink.thread, NULL);
				mfd_conn_close(&bed.sink.conn);
			}
		}
		assert_true(ret == -EPIPE || ret == -ECONNRESET);
		assert_int_equal(bed.c.err.code, ret);
		assert_non_null(strstr(bed.c.err.text, "channel 3: "));
		end();
	}
}

static void test_refused(void **state)
{
	struct mfd_wire_limits lim = { .channels = 1, .packet_size = PACKET, .checksum = 1 };
	static struct mfd_sendchan c; /* see bed.limit */
	struct mfd_conn conn;
	int fd[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
	mfd_conn_plain(&conn, fd[0]);
	assert_int_equal(mfd_sendchan_init(&c, 0, &conn, &lim, MFD_ON, 0), -EOPNOTSUPP);
	assert_non_null(strstr(c.err.text, "zerocopy = on"));
	assert_int_equal(fcntl(fd[0], F_GETFD), -1); /* closed, as promised */
	mfd_sendchan_close(&c);
	close(fd[1]);
}

#define FULL 512 /* pages from here on, as many, are not zero */

static uint64_t send_full(void)
{
	uint64_t start = mfd_io_now_us();

	for (unsigned i = 0; i < FULL; i += PACKET / PAGE)
		assert_int_equal(send_stretch(FULL + i, PACKET / PAGE), 0);
	return mfd_io_now_us() - start;
}

/*
 * Packets that are larger than what the limit lets through at once are sent in pieces, which arrive
 * as if they were none.
 */
static void limited(enum mfd_tristate zerocopy)
{
	struct mfd_sendchan_stats st = { 0 };
	double took;

	begin(zerocopy, 1, 1);
	bed.c.limit = &bed.limit;
	mfd_ratelimit_set(&bed.limit, 4000000);
	took = (double)send_full();
	mfd_sendchan_stats(&bed.c, &st);
	assert_true(took * 4 > (double)st.wire_bytes * 0.95);
	assert_in_range(st.limited, 7, 8);
	assert_in_range(st.limited_us, (uint64_t)(took * 0.7), (uint64_t)took + 1000);
	assert_int_equal(mfd_sendchan_stalls(&st), st.limited + st.blocked + st.reclaims);
	if (zerocopy == MFD_ON)
		assert_true(st.zerocopy_sent > 8);
	mfd_ratelimit_set(&bed.limit, 0);
	assert_true(send_full() < 300000);
	finish();
	check_same(FULL, FULL);
	end();
}

static void test_limit(void **state)
{
	(void)state;
	limited(MFD_OFF);
	limited(MFD_ON);
}

/* An answer to a fault does not wait, but others wait for it. */
static void test_limit_urgent(void **state)
{
	uint64_t t;

	(void)state;
	begin(MFD_OFF, 1, 1);
	bed.c.limit = &bed.limit;
	bed.c.urgent = 1;
	mfd_ratelimit_set(&bed.limit, 4000000);
	t = send_full();
	assert_true(t < 300000);
	assert_int_equal(bed.c.st.limited, 0);
	assert_true(mfd_ratelimit_wait(&bed.limit, 1 << 20) + t > 400000);
	finish();
	end();
}

/* A socket that is full shows in the figures of the thread that had to wait for it. */
static void test_blocked(void **state)
{
	struct mfd_sendchan_stats st = { 0 }, twice = { 0 };

	(void)state;
	begin(MFD_OFF, 0, 1);
	atomic_store(&bed.sink.pause_us, 10000);
	for (unsigned i = 0; i < 4; i++)
		send_full();
	mfd_sendchan_stats(&bed.c, &st);
	assert_in_range(st.blocked, 8, 32);
	assert_in_range(st.blocked_us, 8 * 5000, st.send_us);
	assert_int_equal(st.limited + st.reclaims + st.zerocopy_sent, 0);
	assert_int_equal(mfd_sendchan_stall_us(&st), st.blocked_us);
	mfd_sendchan_stats(&bed.c, &twice);
	mfd_sendchan_stats_add(&twice, &st);
	assert_int_equal(twice.wire_bytes, 2 * st.wire_bytes);
	assert_int_equal(twice.packets, 2 * 32);
	assert_int_equal(twice.zerocopy_waits, 0);
	atomic_store(&bed.sink.pause_us, 0);
	finish();
	end();
}

static int setup(void **state)
{
	(void)state;
	fill_memory();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_everything),   cmocka_unit_test(test_scattered),
		cmocka_unit_test(test_extremes),     cmocka_unit_test(test_files),
		cmocka_unit_test(test_syncs),	     cmocka_unit_test(test_unreadable),
		cmocka_unit_test(test_task_gone),    cmocka_unit_test(test_peer_gone),
		cmocka_unit_test(test_refused),	     cmocka_unit_test(test_limit),
		cmocka_unit_test(test_limit_urgent), cmocka_unit_test(test_blocked),
	};

	pair_time_limit(300);
	return cmocka_run_group_tests(tests, setup, NULL);
}
