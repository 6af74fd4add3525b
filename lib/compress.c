// SPDX-License-Identifier: GPL-2.0-only
/* Compressing packet payloads, and finding out whether that pays. */
#include <errno.h>
#include <lz4.h>
#include <stdlib.h>
#include <zstd.h>

#include "compress.h"
#include "wire.h"

#define SAMPLE 4096u /* bytes tried first, from the middle of the payload */
/* auto: each way that is not taken is tried in one part of so many of the time */
#define TRY_SHARE 40
#define TRY_US	  10000000.0 /* but it is tried after so long, whatever it took the last time */

enum way { RAW, LZ4, ZSTD, WAYS };

struct mfd_compress {
	enum mfd_compress_kind kind;
	int lz4_level, zstd_level;
	ZSTD_CCtx *zstd;
	void *out;
	size_t room;
	enum way way;	   /* of the payload at hand; a compressed one may end up RAW */
	unsigned ways;	   /* auto: a bit for each that may be taken */
	double cost[WAYS]; /* auto: microseconds per MiB, moving averages; 0 = not known */
	double age[WAYS];  /* auto: microseconds since it was last tried */
};

/* The sign of a level says which library it is for, unless there is only one. */
static void set_levels(struct mfd_compress *c, int level)
{
	c->lz4_level = level < 0 ? -level : 1;
	c->zstd_level = level > 0 || (level && c->kind == MFD_COMPRESS_ZSTD) ? level : 1;
}

int mfd_compress_new(enum mfd_compress_kind kind, int level, int allowed, struct mfd_compress **out)
{
	struct mfd_compress *c;

	*out = NULL;
	if (kind == MFD_COMPRESS_OFF)
		return 0;
	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->kind = kind;
	set_levels(c, level);
	c->ways = 1U << RAW;
	if (allowed & MFD_WIRE_PACKET_LZ4)
		c->ways |= 1U << LZ4;
	if (allowed & MFD_WIRE_PACKET_ZSTD)
		c->ways |= 1U << ZSTD;
	c->room = ZSTD_compressBound(MFD_WIRE_MAX_PACKET);
	if (c->room < (size_t)LZ4_compressBound(MFD_WIRE_MAX_PACKET))
		c->room = (size_t)LZ4_compressBound(MFD_WIRE_MAX_PACKET);
	c->out = malloc(c->room);
	if (kind != MFD_COMPRESS_LZ4)
		c->zstd = ZSTD_createCCtx();
	if (!c->out || (kind != MFD_COMPRESS_LZ4 && !c->zstd)) {
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

	if (c->way == ZSTD) {
		n = ZSTD_compressCCtx(c->zstd, c->out, room, src, len, c->zstd_level);
		return ZSTD_isError(n) ? 0 : n;
	}
	n = (size_t)LZ4_compress_fast(src, c->out, (int)len, (int)room, c->lz4_level);
	return n;
}

/* Return a way whose time to be tried has come, or the cheapest. */
static enum way choose(const struct mfd_compress *c)
{
	enum way best = RAW;

	if (c->kind != MFD_COMPRESS_AUTO)
		return c->kind == MFD_COMPRESS_ZSTD ? ZSTD : LZ4;
	for (int w = WAYS - 1; w >= 0; w--)
		if (c->ways >> w & 1 && c->cost[w] > 0 &&
		    (c->cost[best] <= 0 || c->cost[w] < c->cost[best]))
			best = (enum way)w;
	for (int i = 0; i < WAYS; i++) {
		/* raw last: a way that is not known yet is tried early */
		enum way w = (enum way)((i + 1) % WAYS);

		if (!(c->ways >> w & 1) || w == best)
			continue;
		if (c->cost[w] <= 0 || c->age[w] > c->cost[w] * TRY_SHARE || c->age[w] > TRY_US)
			return w;
	}
	return best;
}

size_t mfd_compress_run(struct mfd_compress *c, const void *src, size_t len, void **out,
			uint16_t *flags)
{
	size_t keep = len - len / 8, n;

	if (!c)
		return 0;
	c->way = RAW;
	if (len < 2 * SAMPLE || len > MFD_WIRE_MAX_PACKET)
		return 0;
	c->way = choose(c);
	if (c->way == RAW)
		return 0;
	if (!squeeze(c, (const char *)src + len / 2, SAMPLE, SAMPLE - SAMPLE / 8))
		return 0;
	n = squeeze(c, src, len, keep);
	if (!n)
		return 0;
	*out = c->out;
	*flags |= c->way == ZSTD ? MFD_WIRE_PACKET_ZSTD : MFD_WIRE_PACKET_LZ4;
	return n;
}

void mfd_compress_took(struct mfd_compress *c, size_t len, int compressed, uint64_t us)
{
	enum way w;
	double cost;

	if (!c || !len)
		return;
	w = compressed ? c->way : RAW;
	cost = ((double)us + 0.5) * (1 << 20) / (double)len;
	c->cost[w] = c->cost[w] > 0 ? c->cost[w] * 0.75 + cost * 0.25 : cost;
	/* Nothing compressible was seen: do not try every payload. */
	if (c->cost[c->way] <= 0)
		c->cost[c->way] = cost * 1.25;
	for (int i = 0; i < WAYS; i++)
		c->age[i] += (double)us;
	c->age[c->way] = c->age[w] = 0;
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
