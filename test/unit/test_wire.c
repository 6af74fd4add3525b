/* SPDX-License-Identifier: GPL-2.0-only */
/* Round trips of the wire structs, and every refusal. */
#include <endian.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "wire.h"

static const struct mfd_wire_limits limits = {
	.channels = 4,
	.packet_size = 1 << 20,
	.checksum = 1,
	.compress = MFD_WIRE_PACKET_ZSTD,
};

static struct mfd_wire_packet pages_packet(void)
{
	return (struct mfd_wire_packet){
		.type = MFD_WIRE_PACKET_PAGES,
		.flags = MFD_WIRE_PACKET_HASHED,
		.sequence = 0x1122334455667788,
		.task = 4711,
		.entries = 3,
		.table_len = 3 * sizeof(struct mfd_wire_run),
		.payload_len = 5 * MFD_WIRE_PAGE_SIZE,
		.raw_len = 5 * MFD_WIRE_PAGE_SIZE,
		.hash = 0x99aabbccddeeff00,
	};
}

static struct mfd_wire_packet file_packet(void)
{
	return (struct mfd_wire_packet){
		.type = MFD_WIRE_PACKET_FILE,
		.flags = MFD_WIRE_PACKET_HASHED,
		.entries = 1,
		.table_len = sizeof(struct mfd_wire_file) + 5,
		.payload_len = 17,
		.raw_len = 17,
	};
}

static struct mfd_wire_packet sync_packet(void)
{
	return (struct mfd_wire_packet){ .type = MFD_WIRE_PACKET_SYNC, .sequence = 1 };
}

static int reopen(struct mfd_wire_packet p, const struct mfd_wire_limits *lim)
{
	const char *why = NULL;
	int ret;

	mfd_wire_packet_seal(&p);
	ret = mfd_wire_packet_open(&p, lim, &why);
	if (ret) {
		assert_int_equal(ret, -EPROTO);
		assert_non_null(why);
	}
	return ret;
}

static void test_packet_round_trip(void **state)
{
	struct mfd_wire_packet p = pages_packet(), q = p;
	const unsigned char *bytes = (const void *)&q;
	const char *why;

	(void)state;
	mfd_wire_packet_seal(&q);
	assert_memory_equal(bytes, "MFPK", 4);
	assert_int_equal(bytes[8], 0x88); /* little-endian */
	assert_int_equal(bytes[15], 0x11);
	assert_int_equal(mfd_wire_packet_open(&q, &limits, &why), 0);
	assert_int_equal(q.magic, MFD_WIRE_MAGIC_PACKET);
	p.magic = q.magic;
	p.header_hash = q.header_hash;
	assert_memory_equal(&p, &q, sizeof(p));

	assert_int_equal(reopen(file_packet(), &limits), 0);
	assert_int_equal(reopen(sync_packet(), &limits), 0);
}

/* Any single bit that flips in a header is noticed. */
static void test_packet_bit_flips(void **state)
{
	struct mfd_wire_packet sealed = pages_packet();
	const char *why;
	unsigned bit;

	(void)state;
	mfd_wire_packet_seal(&sealed);
	for (bit = 0; bit < sizeof(sealed) * 8; bit++) {
		struct mfd_wire_packet p = sealed;

		((unsigned char *)&p)[bit / 8] ^= (unsigned char)(1U << bit % 8);
		assert_int_equal(mfd_wire_packet_open(&p, &limits, &why), -EPROTO);
	}
}

#define REFUSED(make, change)                                  \
	do {                                                   \
		struct mfd_wire_packet p = make();             \
		change;                                        \
		assert_int_equal(reopen(p, &limits), -EPROTO); \
	} while (0)
#define ACCEPTED(make, change)                           \
	do {                                             \
		struct mfd_wire_packet p = make();       \
		change;                                  \
		assert_int_equal(reopen(p, &limits), 0); \
	} while (0)

static void test_packet_common(void **state)
{
	struct mfd_wire_packet q = pages_packet();
	struct mfd_wire_limits lim = limits;

	(void)state;
	REFUSED(pages_packet, p.type = 0);
	REFUSED(pages_packet, p.type = 4);
	REFUSED(pages_packet, p.flags |= 1 << 3);
	REFUSED(pages_packet, p.flags |= 1 << 15);
	REFUSED(pages_packet, p.flags |= MFD_WIRE_PACKET_LZ4); /* not negotiated */
	REFUSED(pages_packet, p.flags |= MFD_WIRE_PACKET_LZ4 | MFD_WIRE_PACKET_ZSTD);
	REFUSED(pages_packet, p.flags = 0); /* a hash, but not flagged so */
	REFUSED(pages_packet, p.flags = 0; p.hash = 0);
	REFUSED(file_packet, p.flags = 0);

	lim.compress |= MFD_WIRE_PACKET_LZ4;
	q.flags |= MFD_WIRE_PACKET_LZ4;
	assert_int_equal(reopen(q, &lim), 0);
	q.flags |= MFD_WIRE_PACKET_ZSTD;
	assert_int_equal(reopen(q, &lim), -EPROTO);
	q = pages_packet();
	q.flags = 0;
	q.hash = 0;
	lim.checksum = 0;
	assert_int_equal(reopen(q, &lim), 0);
	assert_int_equal(reopen(pages_packet(), &lim), 0);
}

/*
 * A header whose hash is right but whose reserved fields are set: from a newer or a hostile peer.
 */
static void test_packet_reserved(void **state)
{
	static const size_t offsets[] = { offsetof(struct mfd_wire_packet, zero0),
					  offsetof(struct mfd_wire_packet, zero1),
					  offsetof(struct mfd_wire_packet, zero2) };
	const char *why;
	size_t i;

	(void)state;
	for (i = 0; i < 3; i++) {
		struct mfd_wire_packet p = pages_packet();

		mfd_wire_packet_seal(&p);
		((unsigned char *)&p)[offsets[i]] = 1;
		p.header_hash = htole64(mfd_wire_hash(&p, 56, NULL, 0));
		assert_int_equal(mfd_wire_packet_open(&p, &limits, &why), -EPROTO);
		assert_non_null(strstr(why, "reserved"));
	}
}

static void test_packet_pages(void **state)
{
	(void)state;
	REFUSED(pages_packet, p.task = 0);
	REFUSED(pages_packet, p.task = 0x80000000);
	REFUSED(pages_packet, p.entries = 0; p.table_len = 0);
	REFUSED(pages_packet, p.entries = 257; p.table_len = 257 * 16);
	ACCEPTED(pages_packet, p.entries = 256; p.table_len = 256 * 16);
	REFUSED(pages_packet, p.entries = 1 << 28; p.table_len = 0); /* times 16 wraps around */
	REFUSED(pages_packet, p.entries = (1 << 28) + 1; p.table_len = 16);
	REFUSED(pages_packet, p.table_len += 1);
	REFUSED(pages_packet, p.table_len = UINT32_MAX);
	REFUSED(pages_packet, p.payload_len += 1; p.raw_len += 1);
	REFUSED(pages_packet, p.payload_len += 4096);
	REFUSED(pages_packet, p.raw_len += 4096);
	ACCEPTED(pages_packet, p.raw_len = p.payload_len = 1 << 20);
	REFUSED(pages_packet, p.raw_len = p.payload_len = (1 << 20) + 4096);
	REFUSED(pages_packet, p.raw_len = p.payload_len = 0xfffff000);
	ACCEPTED(pages_packet, p.raw_len = p.payload_len = 0);

	ACCEPTED(pages_packet, p.flags |= MFD_WIRE_PACKET_ZSTD; p.payload_len = 1);
	REFUSED(pages_packet, p.flags |= MFD_WIRE_PACKET_ZSTD; p.payload_len = 0);
	REFUSED(pages_packet, p.flags |= MFD_WIRE_PACKET_ZSTD; p.payload_len = p.raw_len + 1);
	REFUSED(pages_packet, p.flags |= MFD_WIRE_PACKET_ZSTD; p.payload_len = 1;
		p.raw_len = 2 << 20);
	REFUSED(pages_packet, p.flags |= MFD_WIRE_PACKET_ZSTD; p.payload_len = p.raw_len = 0);
}

/* Limits that are themselves beyond the hard ones (a bug of ours) do not widen anything. */
static void test_packet_hard_limits(void **state)
{
	const struct mfd_wire_limits wide = { .channels = 4,
					      .packet_size = UINT32_MAX,
					      .checksum = 1 };
	struct mfd_wire_packet p = pages_packet();

	(void)state;
	p.raw_len = p.payload_len = MFD_WIRE_MAX_PACKET + MFD_WIRE_PAGE_SIZE;
	assert_int_equal(reopen(p, &wide), -EPROTO);
	p = pages_packet();
	p.entries = MFD_WIRE_MAX_RUNS + 1;
	p.table_len = p.entries * 16;
	assert_int_equal(reopen(p, &wide), -EPROTO);
}

static void test_packet_file(void **state)
{
	(void)state;
	REFUSED(file_packet, p.task = 1);
	REFUSED(file_packet, p.entries = 0);
	REFUSED(file_packet, p.entries = 2);
	REFUSED(file_packet, p.table_len = 0);
	REFUSED(file_packet, p.table_len = 24);
	ACCEPTED(file_packet, p.table_len = 25);
	ACCEPTED(file_packet, p.table_len = 24 + 255);
	REFUSED(file_packet, p.table_len = 24 + 256);
	ACCEPTED(file_packet, p.raw_len = p.payload_len = 0);
	REFUSED(file_packet, p.raw_len = p.payload_len = (1 << 20) + 1);
	REFUSED(file_packet, p.raw_len = 16);
}

static void test_packet_sync(void **state)
{
	(void)state;
	REFUSED(sync_packet, p.sequence = 0);
	REFUSED(sync_packet, p.task = 1);
	REFUSED(sync_packet, p.entries = 1);
	REFUSED(sync_packet, p.table_len = 16);
	REFUSED(sync_packet, p.payload_len = 1);
	REFUSED(sync_packet, p.raw_len = 1);
	REFUSED(sync_packet, p.raw_len = p.payload_len = 1);
	REFUSED(sync_packet, p.flags = MFD_WIRE_PACKET_ZSTD);
	REFUSED(sync_packet, p.hash = 1);
	ACCEPTED(sync_packet, p.flags = MFD_WIRE_PACKET_HASHED; p.hash = 1);
}

static void test_hash(void **state)
{
	static unsigned char buf[5000];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(buf); i++)
		buf[i] = (unsigned char)(i * 37);
	/* XXH3-64 of nothing, from xxhash's specification. */
	assert_true(mfd_wire_hash(NULL, 0, NULL, 0) == 0x2d06800538d394c2);
	for (i = 0; i <= sizeof(buf); i += 250) /* where table and payload meet does not matter */
		assert_true(mfd_wire_hash(buf, i, buf + i, sizeof(buf) - i) ==
			    mfd_wire_hash(NULL, 0, buf, sizeof(buf)));
	buf[4999] ^= 1;
	assert_false(mfd_wire_hash(buf, 5000, NULL, 0) == mfd_wire_hash(buf, 4999, NULL, 0));
}

static int reopen_runs(struct mfd_wire_run *runs, uint32_t n, uint32_t raw_len)
{
	const char *why = NULL;
	int ret;

	mfd_wire_runs_seal(runs, n);
	ret = mfd_wire_runs_open(runs, n, raw_len, &limits, &why);
	if (ret)
		assert_non_null(why);
	return ret;
}

static void test_runs(void **state)
{
	struct mfd_wire_run runs[3] = {
		{ 0x7f0000001000, 2, 0 },
		{ 0x5000, 100, MFD_WIRE_RUN_ZERO }, /* any order */
		{ MFD_WIRE_MAX_VADDR - 4096, 1, 0 },
	};

	(void)state;
	assert_int_equal(reopen_runs(runs, 3, 3 * 4096), 0);
	assert_true(runs[0].vaddr == 0x7f0000001000);
	assert_int_equal(runs[1].pages, 100);
	assert_int_equal(runs[1].flags, MFD_WIRE_RUN_ZERO);
	assert_int_equal(reopen_runs(runs, 3, 2 * 4096), -EPROTO);
	assert_int_equal(reopen_runs(runs, 3, 4 * 4096), -EPROTO);
	assert_int_equal(reopen_runs(runs, 3, 3 * 4096 + 1), -EPROTO);
	assert_int_equal(reopen_runs(runs, 0, 4096), -EPROTO);
	assert_int_equal(reopen_runs(runs, 0, 0), 0);
}

static int one_run(uint64_t vaddr, uint32_t pages, uint32_t flags, uint32_t raw_len)
{
	struct mfd_wire_run run = { vaddr, pages, flags };

	return reopen_runs(&run, 1, raw_len);
}

static void test_runs_refused(void **state)
{
	struct mfd_wire_run two[2] = { { 0x1000, 200, 1 }, { 0x200000, 57, 1 } };

	(void)state;
	assert_int_equal(one_run(0x1000, 1, 0, 4096), 0);
	assert_int_equal(one_run(0x1001, 1, 0, 4096), -EPROTO);
	assert_int_equal(one_run(0x1000, 0, 0, 0), -EPROTO);
	assert_int_equal(one_run(0x1000, 1, 2, 4096), -EPROTO);
	assert_int_equal(one_run(0x1000, 1, 0x80000000, 4096), -EPROTO);
	assert_int_equal(one_run(MFD_WIRE_MAX_VADDR, 1, 0, 4096), -EPROTO);
	assert_int_equal(one_run(MFD_WIRE_MAX_VADDR - 4096, 2, 0, 8192), -EPROTO);
	assert_int_equal(one_run(UINT64_MAX - 4095, 1, 0, 4096), -EPROTO);
	assert_int_equal(one_run(0x1000, 256, 0, 1 << 20), 0);
	assert_int_equal(one_run(0x1000, 257, 0, 257 << 12), -EPROTO);
	assert_int_equal(one_run(0x1000, 257, 1, 0), -EPROTO);
	assert_int_equal(one_run(0x1000, UINT32_MAX, 0, UINT32_MAX << 12), -EPROTO);
	assert_int_equal(one_run(0x1000, 1 << 20, 0, 0), -EPROTO); /* << 12 is 0 in 32 bits */
	assert_int_equal(reopen_runs(two, 2, 0), -EPROTO);	   /* each fits, both do not */
}

static int file_open(const void *table, uint32_t len, uint32_t raw, struct mfd_wire_file *f,
		     char *name)
{
	const char *why = NULL;
	int ret = mfd_wire_file_open(table, len, raw, f, name, &why);

	if (ret)
		assert_non_null(why);
	return ret;
}

static void test_file(void **state)
{
	struct mfd_wire_file f = { .offset = 100, .size = 200, .mode = 0644 }, g;
	unsigned char table[24 + 255];
	char name[MFD_WIRE_MAX_NAME + 1], longest[257];
	uint32_t len;

	(void)state;
	len = mfd_wire_file_seal(table, &f, "core-1.img");
	assert_int_equal(len, 24 + 10);
	assert_int_equal(file_open(table, len, 100, &g, name), 0);
	assert_string_equal(name, "core-1.img");
	assert_int_equal(g.offset, 100);
	assert_int_equal(g.size, 200);
	assert_int_equal(g.mode, 0644);
	assert_int_equal(g.name_len, 10);
	assert_int_equal(file_open(table, len, 101, &g, name), -EPROTO);
	assert_int_equal(file_open(table, len, UINT32_MAX, &g, name), -EPROTO);
	assert_int_equal(file_open(table, len - 1, 100, &g, name), -EPROTO);
	assert_int_equal(file_open(table, len + 1, 100, &g, name), -EPROTO);
	assert_int_equal(file_open(table, 23, 100, &g, name), -EPROTO);
	assert_int_equal(file_open(table, 0, 100, &g, name), -EPROTO);

	memset(longest, 'n', sizeof(longest));
	longest[255] = '\0';
	assert_int_equal(mfd_wire_file_seal(table, &f, longest), 24 + 255);
	assert_int_equal(file_open(table, 24 + 255, 100, &g, name), 0);
	assert_string_equal(name, longest);
	longest[255] = 'n';
	longest[256] = '\0';
	assert_int_equal(mfd_wire_file_seal(table, &f, longest), 0);
	assert_int_equal(mfd_wire_file_seal(table, &f, "../x"), 0);
}

static int file_with(struct mfd_wire_file f, const char *name, size_t name_len, uint32_t raw)
{
	unsigned char table[24 + 255];
	char out[MFD_WIRE_MAX_NAME + 1];
	struct mfd_wire_file g;

	f.offset = htole64(f.offset);
	f.size = htole64(f.size);
	f.mode = htole32(f.mode);
	f.name_len = htole16((uint16_t)name_len);
	f.zero = htole16(f.zero);
	memcpy(table, &f, sizeof(f));
	memcpy(table + sizeof(f), name, name_len);
	return file_open(table, (uint32_t)(24 + name_len), raw, &g, out);
}

#define FILE_WITH(...) ((struct mfd_wire_file){ __VA_ARGS__ })

static void test_file_refused(void **state)
{
	(void)state;
	assert_int_equal(file_with(FILE_WITH(.offset = 0, .size = 10), "a", 1, 10), 0);
	assert_int_equal(file_with(FILE_WITH(.zero = 1, .size = 10), "a", 1, 10), -EPROTO);
	assert_int_equal(file_with(FILE_WITH(.mode = 0100644, .size = 10), "a", 1, 10), -EPROTO);
	assert_int_equal(file_with(FILE_WITH(.offset = 11, .size = 10), "a", 1, 0), -EPROTO);
	assert_int_equal(file_with(FILE_WITH(.offset = 10, .size = 10), "a", 1, 0), 0);
	assert_int_equal(file_with(FILE_WITH(.offset = UINT64_MAX, .size = 10), "a", 1, 10),
			 -EPROTO);
	assert_int_equal(file_with(FILE_WITH(.offset = UINT64_MAX - 5, .size = UINT64_MAX), "a", 1,
				   5),
			 -EPROTO);
	assert_int_equal(file_with(FILE_WITH(.offset = 0, .size = 10), "", 0, 10), -EPROTO);
	assert_int_equal(file_with(FILE_WITH(.offset = 0, .size = 10), ".", 1, 10), -EPROTO);
	assert_int_equal(file_with(FILE_WITH(.offset = 0, .size = 10), "..", 2, 10), -EPROTO);
	assert_int_equal(file_with(FILE_WITH(.offset = 0, .size = 10), ".hidden", 7, 10), -EPROTO);
	assert_int_equal(file_with(FILE_WITH(.offset = 0, .size = 10), "a/b", 3, 10), -EPROTO);
	assert_int_equal(file_with(FILE_WITH(.offset = 0, .size = 10), "/", 1, 10), -EPROTO);
	assert_int_equal(file_with(FILE_WITH(.offset = 0, .size = 10), "a\0b", 3, 10), -EPROTO);
	assert_int_equal(file_with(FILE_WITH(.offset = 0, .size = 10), "a\n", 2, 10), -EPROTO);
	assert_int_equal(file_with(FILE_WITH(.offset = 0, .size = 10), "a\x7f", 2, 10), -EPROTO);
	/* UTF-8 */
	assert_int_equal(file_with(FILE_WITH(.offset = 0, .size = 10), "\xc3\xa4", 2, 10), 0);
}

static int reopen_greeting(struct mfd_wire_greeting g)
{
	const char *why = NULL;
	int ret;

	mfd_wire_greeting_seal(&g);
	ret = mfd_wire_greeting_open(&g, &why);
	if (ret)
		assert_non_null(why);
	return ret;
}

static void test_greeting(void **state)
{
	struct mfd_wire_greeting g = { .role = MFD_WIRE_ROLE_DATA,
				       .channel = 63,
				       .secret = "secret" },
				 h;
	const char *why;

	(void)state;
	h = g;
	mfd_wire_greeting_seal(&h);
	assert_memory_equal(&h, "MUFD\1\0", 6);
	assert_int_equal(mfd_wire_greeting_open(&h, &why), 0);
	assert_int_equal(h.channel, 63);
	assert_memory_equal(h.secret, g.secret, sizeof(g.secret));

	g.channel = 64;
	assert_int_equal(reopen_greeting(g), -EPROTO);
	g.channel = 1;
	g.role = MFD_WIRE_ROLE_URGENT;
	assert_int_equal(reopen_greeting(g), -EPROTO);
	g.role = MFD_WIRE_ROLE_CONTROL;
	assert_int_equal(reopen_greeting(g), -EPROTO);
	g.channel = 0;
	assert_int_equal(reopen_greeting(g), 0);
	g.role = 0;
	assert_int_equal(reopen_greeting(g), -EPROTO);
	g.role = 4;
	assert_int_equal(reopen_greeting(g), -EPROTO);
}

static void test_greeting_raw(void **state)
{
	static const struct {
		size_t offset;
		int ret;
	} bytes[] = {
		{ offsetof(struct mfd_wire_greeting, magic), -EPROTO },
		{ offsetof(struct mfd_wire_greeting, version), -EPROTONOSUPPORT },
		{ offsetof(struct mfd_wire_greeting, zero0), -EPROTO },
		{ offsetof(struct mfd_wire_greeting, zero1), -EPROTO },
		{ offsetof(struct mfd_wire_greeting, zero2), -EPROTO },
	};
	const char *why;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bytes) / sizeof(bytes[0]); i++) {
		struct mfd_wire_greeting g = { .role = MFD_WIRE_ROLE_CONTROL };

		mfd_wire_greeting_seal(&g);
		((unsigned char *)&g)[bytes[i].offset] ^= 0x80;
		assert_int_equal(mfd_wire_greeting_open(&g, &why), bytes[i].ret);
	}
}

static void test_frame(void **state)
{
	struct mfd_wire_frame f = { .type = MFD_WIRE_PONG, .len = MFD_WIRE_MAX_FRAME };
	const char *why;

	(void)state;
	mfd_wire_frame_seal(&f);
	assert_memory_equal(&f, "MFCM", 4);
	assert_int_equal(mfd_wire_frame_open(&f, &why), 0);
	assert_int_equal(f.type, MFD_WIRE_PONG);
	f.len++;
	mfd_wire_frame_seal(&f);
	assert_int_equal(mfd_wire_frame_open(&f, &why), -EPROTO);
	f = (struct mfd_wire_frame){ .type = 0 };
	mfd_wire_frame_seal(&f);
	assert_int_equal(mfd_wire_frame_open(&f, &why), -EPROTO);
	f = (struct mfd_wire_frame){ .type = MFD_WIRE_MSG_MAX + 1 };
	mfd_wire_frame_seal(&f);
	assert_int_equal(mfd_wire_frame_open(&f, &why), -EPROTO);
	f = (struct mfd_wire_frame){ .type = 1 };
	mfd_wire_frame_seal(&f);
	f.zero = 1;
	assert_int_equal(mfd_wire_frame_open(&f, &why), -EPROTO);
	f = (struct mfd_wire_frame){ .type = 1 };
	mfd_wire_frame_seal(&f);
	f.magic ^= 1;
	assert_int_equal(mfd_wire_frame_open(&f, &why), -EPROTO);
}

static void test_names(void **state)
{
	unsigned i, j;

	(void)state;
	for (i = MFD_WIRE_HELLO; i <= MFD_WIRE_MSG_MAX; i++) {
		assert_string_not_equal(mfd_wire_msg_name(i), "unknown");
		for (j = MFD_WIRE_HELLO; j < i; j++)
			assert_string_not_equal(mfd_wire_msg_name(i), mfd_wire_msg_name(j));
	}
	assert_string_equal(mfd_wire_msg_name(0), "unknown");
	assert_string_equal(mfd_wire_msg_name(MFD_WIRE_MSG_MAX + 1), "unknown");
	assert_string_equal(mfd_wire_msg_name(UINT32_MAX), "unknown");
	for (i = 0; i < 7; i++)
		assert_non_null(mfd_wire_join_error(i));
	assert_non_null(mfd_wire_join_error(UINT32_MAX));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_packet_round_trip),
		cmocka_unit_test(test_packet_bit_flips),
		cmocka_unit_test(test_packet_common),
		cmocka_unit_test(test_packet_reserved),
		cmocka_unit_test(test_packet_pages),
		cmocka_unit_test(test_packet_hard_limits),
		cmocka_unit_test(test_packet_file),
		cmocka_unit_test(test_packet_sync),
		cmocka_unit_test(test_hash),
		cmocka_unit_test(test_runs),
		cmocka_unit_test(test_runs_refused),
		cmocka_unit_test(test_file),
		cmocka_unit_test(test_file_refused),
		cmocka_unit_test(test_greeting),
		cmocka_unit_test(test_greeting_raw),
		cmocka_unit_test(test_frame),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
