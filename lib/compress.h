/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Compression of packet payloads: zstd and lz4, one context per channel thread, nothing shared.
 *
 * A payload that does not shrink by an eighth is sent raw.  A sample of it is compressed first, so
 * that memory that does not compress at all costs little.
 *
 * `auto` keeps three costs per byte of memory, in time from "payload read" to "payload given to the
 * socket": with zstd, with lz4, and without compression.  The socket pushes back when the network
 * is the limit, so the cheapest of them is the one that moves most memory per second.  Now and then
 * another one is tried again: the dearer it was the last time, the later.
 */
#ifndef MFD_COMPRESS_H
#define MFD_COMPRESS_H

#include <stddef.h>
#include <stdint.h>

enum mfd_compress_kind {
	MFD_COMPRESS_OFF,
	MFD_COMPRESS_LZ4,
	MFD_COMPRESS_ZSTD,
	MFD_COMPRESS_AUTO, /* the fastest way just now */
};

struct mfd_compress;

/*
 * level: zstd 1..19, lz4 acceleration is its negative, 0 = the library's default.  allowed: packet
 * flags that auto may choose from.  *c = NULL for OFF.  0 or -ENOMEM.
 */
int mfd_compress_new(enum mfd_compress_kind kind, int level, int allowed, struct mfd_compress **c);
void mfd_compress_free(struct mfd_compress *c);
/*
 * Compress len bytes to *out, which is memory of the object until the next call.  Return their
 * number, with the packet flag that names the way in *flags; 0 = send raw.
 */
size_t mfd_compress_run(struct mfd_compress *c, const void *src, size_t len, void **out,
			uint16_t *flags);
/* For auto: note that the payload just handled took `us` from start to socket. */
void mfd_compress_took(struct mfd_compress *c, size_t len, int compressed, uint64_t us);

/* Undo `flags`: exactly raw_len bytes to dst, or -EBADMSG.  Safe on any input. */
int mfd_compress_undo(uint16_t flags, const void *src, size_t len, void *dst, size_t raw_len);

#endif
