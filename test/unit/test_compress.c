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

#define LEN (1u << 20)

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
	assert_int_equal(mfd_compress_new(kind, level, &c), 0);
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
	assert_int_equal(mfd_compress_new(MFD_COMPRESS_OFF, 0, &c), 0);
	assert_null(c);
	assert_int_equal(mfd_compress_run(c, "x", LEN, &out, &flags), 0);
	mfd_compress_took(c, LEN, 0, 1);
	mfd_compress_free(c);
}

/* How many of 1000 payloads go compressed when they cost so much with and without. */
static unsigned auto_share(uint64_t us_raw, uint64_t us_compressed)
{
	char *text = malloc(LEN);
	struct mfd_compress *c;
	unsigned share = 0;

	fill_text(text, LEN);
	assert_int_equal(mfd_compress_new(MFD_COMPRESS_AUTO, 0, &c), 0);
	for (int i = 0; i < 1000; i++) {
		uint16_t flags = 0;
		void *out;
		int packed = mfd_compress_run(c, text, LEN, &out, &flags) > 0;

		share += (unsigned)packed;
		mfd_compress_took(c, LEN, packed, packed ? us_compressed : us_raw);
	}
	mfd_compress_free(c);
	free(text);
	return share;
}

static void test_auto(void **state)
{
	(void)state;
	assert_in_range(auto_share(8000, 1500), 900, 1000); /* a slow network */
	assert_in_range(auto_share(300, 1500), 1, 100);	    /* a fast one */
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
		mfd_compress_undo(i & 1 ? MFD_WIRE_PACKET_LZ4 : MFD_WIRE_PACKET_ZSTD, in, 1 + x % sizeof(in), out,
				  4096 + x % (LEN - 4096));
	}
	free(out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trips),
		cmocka_unit_test(test_off),
		cmocka_unit_test(test_auto),
		cmocka_unit_test(test_hostile),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
