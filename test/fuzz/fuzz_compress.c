/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A compressed payload as a peer sends it.  Whatever the bytes are, mfd_compress_undo fills exactly
 * the destination or refuses; and what this side compresses comes back unchanged.
 *
 * Input: 1 byte of switches (bit 0 zstd, bit 1 lz4, bit 2: compress the rest and undo that), 2
 * bytes of raw length, little-endian, the rest is payload.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "compress.h"
#include "wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int ok)
{
	if (!ok)
		abort();
}

/* Buffers of the exact size, so that a byte too many is seen. */
static int undo(uint16_t flags, const void *src, size_t len, void **raw, size_t raw_len)
{
	*raw = malloc(raw_len + !raw_len);
	must(*raw != NULL);
	return mfd_compress_undo(flags, src, len, *raw, raw_len);
}

static void round_trip(int zstd, const uint8_t *data, size_t size)
{
	static struct mfd_compress *c[2];
	void *out, *raw;
	uint16_t flags;
	size_t n;

	if (!c[zstd])
		must(!mfd_compress_new(zstd ? MFD_COMPRESS_ZSTD : MFD_COMPRESS_LZ4, 0,
				       MFD_WIRE_PACKET_ZSTD | MFD_WIRE_PACKET_LZ4, &c[zstd]));
	n = mfd_compress_run(c[zstd], data, size, &out, &flags);
	if (!n)
		return;
	must(n < size && flags == (zstd ? MFD_WIRE_PACKET_ZSTD : MFD_WIRE_PACKET_LZ4));
	must(!undo(flags, out, n, &raw, size) && !memcmp(raw, data, size));
	free(raw);
	/* It says how long it is: no other length fits. */
	must(undo(flags, out, n, &raw, size - 1) == -EBADMSG);
	free(raw);
	must(undo(flags, out, n, &raw, size + 1) == -EBADMSG);
	free(raw);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *payload;
	void *raw;
	int ret;

	if (size < 4)
		return 0;
	if (data[0] & 4) {
		round_trip(data[0] & 1, data + 3, size - 3);
		return 0;
	}
	payload = malloc(size - 3);
	must(payload != NULL);
	memcpy(payload, data + 3, size - 3);
	ret = undo(data[0] & 3, payload, size - 3, &raw, data[1] | data[2] << 8);
	must(!ret || ret == -EBADMSG);
	free(raw);
	free(payload);
	return 0;
}
