// SPDX-License-Identifier: GPL-2.0-only
/* Compressing packet payloads, and finding out whether that pays. */
#include <errno.h>
#include <lz4.h>
#include <stdlib.h>
#include <zstd.h>

#include "compress.h"
#include "wire.h"

#define SAMPLE	  4096u /* bytes tried first, from the middle of the payload */
#define TRY_EVERY 64	/* auto: payloads between two trials of the way that is not taken */

struct mfd_compress {
	enum mfd_compress_kind kind;
	int level;
	ZSTD_CCtx *zstd;
	void *out;
	size_t room;
	double cost[2]; /* auto: microseconds per MiB without and with, moving averages; 0 = not known */
	unsigned since; /* auto: payloads since the last trial */
};

int mfd_compress_new(enum mfd_compress_kind kind, int level, struct mfd_compress **out)
{
	struct mfd_compress *c;

	*out = NULL;
	if (kind == MFD_COMPRESS_OFF)
		return 0;
	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->kind = kind;
	c->level = level;
	c->room = ZSTD_compressBound(MFD_WIRE_MAX_PACKET);
	if (c->room < (size_t)LZ4_compressBound(MFD_WIRE_MAX_PACKET))
		c->room = (size_t)LZ4_compressBound(MFD_WIRE_MAX_PACKET);
	c->out = malloc(c->room);
	if (kind == MFD_COMPRESS_ZSTD)
		c->zstd = ZSTD_createCCtx();
	if (!c->out || (kind == MFD_COMPRESS_ZSTD && !c->zstd)) {
		mfd_compress_free(c);
		return -ENOMEM;
	}
	*out = c;
	return 0;
}

void mfd_compress_free(struct mfd_compress *c)
{
	if (!c)
		return;
	ZSTD_freeCCtx(c->zstd);
	free(c->out);
	free(c);
}

/* 0 = did not fit into `room`. */
static size_t squeeze(struct mfd_compress *c, const void *src, size_t len, size_t room)
{
	size_t n;

	if (c->kind == MFD_COMPRESS_ZSTD) {
		n = ZSTD_compressCCtx(c->zstd, c->out, room, src, len, c->level ? c->level : 1);
		return ZSTD_isError(n) ? 0 : n;
	}
	n = (size_t)LZ4_compress_fast(src, c->out, (int)len, (int)room, c->level < 0 ? -c->level : 1);
	return n;
}

/* Whether this payload is to be compressed at all. */
static int worth_trying(struct mfd_compress *c)
{
	int better;

	if (c->kind != MFD_COMPRESS_AUTO)
		return 1;
	if (c->cost[1] == 0 || c->cost[0] == 0)
		return c->cost[1] == 0;
	better = c->cost[1] < c->cost[0];
	if (++c->since < TRY_EVERY)
		return better;
	c->since = 0;
	return !better;
}

size_t mfd_compress_run(struct mfd_compress *c, const void *src, size_t len, void **out, uint16_t *flags)
{
	size_t keep = len - len / 8, n;

	if (!c || len < 2 * SAMPLE || len > MFD_WIRE_MAX_PACKET || !worth_trying(c))
		return 0;
	if (!squeeze(c, (const char *)src + len / 2, SAMPLE, SAMPLE - SAMPLE / 8))
		return 0;
	n = squeeze(c, src, len, keep);
	if (!n)
		return 0;
	*out = c->out;
	*flags |= c->kind == MFD_COMPRESS_ZSTD ? MFD_WIRE_PACKET_ZSTD : MFD_WIRE_PACKET_LZ4;
	return n;
}

void mfd_compress_took(struct mfd_compress *c, size_t len, int compressed, uint64_t us)
{
	double cost;

	if (!c || !len)
		return;
	cost = ((double)us + 0.5) * (1 << 20) / (double)len;
	c->cost[!!compressed] = c->cost[!!compressed] > 0 ? c->cost[!!compressed] * 0.75 + cost * 0.25 : cost;
	/* Nothing that could be compressed has come by: do not try each payload for it. */
	if (!compressed && c->cost[1] == 0)
		c->cost[1] = cost * 1.25;
}

int mfd_compress_undo(uint16_t flags, const void *src, size_t len, void *dst, size_t raw_len)
{
	if (flags & MFD_WIRE_PACKET_ZSTD) {
		size_t n = ZSTD_decompress(dst, raw_len, src, len);

		return ZSTD_isError(n) || n != raw_len ? -EBADMSG : 0;
	}
	if (len > MFD_WIRE_MAX_PACKET || raw_len > MFD_WIRE_MAX_PACKET)
		return -EBADMSG;
	return LZ4_decompress_safe(src, dst, (int)len, (int)raw_len) == (int)raw_len ? 0 : -EBADMSG;
}
