// SPDX-License-Identifier: GPL-2.0-only
/* Compression of payloads: round trips, what goes raw, `auto`, hostile input. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "compress.h"
#include "wire.h"

#define LEN  (1u << 20)
#define BOTH (MFD_WIRE_PACKET_ZSTD | MFD_WIRE_PACKET_LZ4)

static void fill_text(char *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		p[i] = "the quick brown fox "[(i * 7 + i / 97) % 20];
}

static void fill_random(char *p, size_t len)
{
	uint64_t x = 88172645463325252ULL;

	for (size_t i = 0; i < len; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		p[i] = (char)x;
	}
}

static void round_trip(enum mfd_compress_kind kind, int level, uint16_t flag)
{
	char *text = malloc(LEN), *back = malloc(LEN);
	struct mfd_compress *c;
	uint16_t flags = 0;
	void *out = NULL;
	size_t n;

	fill_text(text, LEN);
	assert_int_equal(mfd_compress_new(kind, level, BOTH, &c), 0);
	n = mfd_compress_run(c, text, LEN, &out, &flags);
	assert_in_range(n, 1, LEN / 2);
	assert_int_equal(flags, flag);
	assert_int_equal(mfd_compress_undo(flags, out, n, back, LEN), 0);
	assert_memory_equal(text, back, LEN);
	/* Cut short, or of another length than it says. */
	assert_int_equal(mfd_compress_undo(flags, out, n - 1, back, LEN), -EBADMSG);
	assert_int_equal(mfd_compress_undo(flags, out, n, back, LEN - 1), -EBADMSG);
	fill_random(text, LEN);
	flags = 0;
	assert_int_equal(mfd_compress_run(c, text, LEN, &out, &flags), 0);
	assert_int_equal(flags, 0);
	mfd_compress_free(c);
	free(text);
	free(back);
}

static void test_round_trips(void **state)
{
	(void)state;
	round_trip(MFD_COMPRESS_LZ4, 0, MFD_WIRE_PACKET_LZ4);
	round_trip(MFD_COMPRESS_LZ4, -8, MFD_WIRE_PACKET_LZ4);
	round_trip(MFD_COMPRESS_ZSTD, 0, MFD_WIRE_PACKET_ZSTD);
	round_trip(MFD_COMPRESS_ZSTD, 5, MFD_WIRE_PACKET_ZSTD);
	round_trip(MFD_COMPRESS_AUTO, 0, MFD_WIRE_PACKET_LZ4);
}

static void test_off(void **state)
{
	struct mfd_compress *c = (void *)1;
	uint16_t flags = 0;
	void *out;

	(void)state;
	assert_int_equal(mfd_compress_new(MFD_COMPRESS_OFF, 0, BOTH, &c), 0);
	assert_null(c);
	assert_int_equal(mfd_compress_run(c, "x", LEN, &out, &flags), 0);
	mfd_compress_took(c, LEN, 0, 1);
	mfd_compress_free(c);
}

struct shares {
	unsigned raw, lz4, zstd;
};

/*
 * How 1000 payloads go when each way costs so many microseconds, and from the 300th on `then` of
 * them without.
 */
static struct shares auto_shares(int allowed, uint64_t raw, uint64_t lz4, uint64_t zstd,
				 uint64_t then)
{
	struct shares n = { 0 };
	char *text = malloc(LEN);
	struct mfd_compress *c;

	fill_text(text, LEN);
	assert_int_equal(mfd_compress_new(MFD_COMPRESS_AUTO, 0, allowed, &c), 0);
	for (int i = 0; i < 1000; i++) {
		uint16_t flags = 0;
		void *out;
		int packed = mfd_compress_run(c, text, LEN, &out, &flags) > 0;

		assert_int_equal(flags & ~allowed, 0);
		assert_int_equal(packed, flags != 0);
		if (i == 300 && then)
			raw = then;
		n.raw += !packed;
		n.lz4 += flags == MFD_WIRE_PACKET_LZ4;
		n.zstd += flags == MFD_WIRE_PACKET_ZSTD;
		mfd_compress_took(c, LEN, packed,
				  !packed		       ? raw :
				  flags == MFD_WIRE_PACKET_LZ4 ? lz4 :
								 zstd);
	}
	mfd_compress_free(c);
	free(text);
	return n;
}

static void test_auto(void **state)
{
	struct shares n;

	(void)state;
	n = auto_shares(BOTH, 8000, 4000, 1500, 0); /* a slow network */
	assert_in_range(n.zstd, 950, 998);
	assert_in_range(n.lz4, 1, 30);
	assert_in_range(n.raw, 1, 10);
	n = auto_shares(BOTH, 8000, 1500, 4000, 0); /* slow processors, too */
	assert_in_range(n.lz4, 950, 998);
	n = auto_shares(BOTH, 300, 1500, 3000, 0); /* a fast network */
	assert_in_range(n.raw, 950, 998);
	assert_in_range(n.lz4, 1, 30);
	assert_in_range(n.zstd, 1, 20);
	/* the network recovers: found out without much delay */
	n = auto_shares(BOTH, 3000, 4000, 1500, 100);
	assert_in_range(n.raw, 500, 720);
	n = auto_shares(MFD_WIRE_PACKET_LZ4, 8000, 4000, 1500, 0);
	assert_in_range(n.lz4, 950, 999);
}

/* Memory that cannot be compressed: every payload goes raw, and hardly any is tried. */
static void test_auto_random(void **state)
{
	char *data = malloc(LEN);
	struct mfd_compress *c;
	uint16_t flags = 0;
	void *out;

	(void)state;
	fill_random(data, LEN);
	assert_int_equal(mfd_compress_new(MFD_COMPRESS_AUTO, 0, BOTH, &c), 0);
	for (int i = 0; i < 100; i++) {
		assert_int_equal(mfd_compress_run(c, data, LEN, &out, &flags), 0);
		mfd_compress_took(c, LEN, 0, 1000);
	}
	/* Then some that can: it is noticed. */
	fill_text(data, LEN);
	for (int i = 0; i < 200 && !flags; i++)
		mfd_compress_took(c, LEN, mfd_compress_run(c, data, LEN, &out, &flags) > 0, 1000);
	assert_true(flags);
	mfd_compress_free(c);
	free(data);
}

static void test_hostile(void **state)
{
	char in[512], *out = malloc(LEN);
	uint64_t x = 1;

	(void)state;
	for (int i = 0; i < 20000; i++) {
		for (size_t k = 0; k < sizeof(in); k++) {
			x = x * 6364136223846793005ULL + 1442695040888963407ULL;
			in[k] = (char)(x >> 56);
		}
		mfd_compress_undo(i & 1 ? MFD_WIRE_PACKET_LZ4 : MFD_WIRE_PACKET_ZSTD, in,
				  1 + x % sizeof(in), out, 4096 + x % (LEN - 4096));
	}
	free(out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trips), cmocka_unit_test(test_off),
		cmocka_unit_test(test_auto),	    cmocka_unit_test(test_auto_random),
		cmocka_unit_test(test_hostile),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
