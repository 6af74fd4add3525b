/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The source's end of one data channel: turns a payload into a packet and sends it.
 *
 * Pages are read from the frozen task into one of the channel's buffers, tested for zero (zero pages keep their place in the table and
 * lose their bytes), hashed while they are in the cache, and sent.  With zero-copy there are several buffers, and one is used
 * again only after the kernel has reported its sends as completed.  The header and the table always go without zero-copy.
 */
#ifndef MFD_SENDCHAN_H
#define MFD_SENDCHAN_H

#include <stdatomic.h>
#include <stdint.h>

#include "compress.h"
#include "conn.h"
#include "error.h"
#include "gentle.h"
#include "options.h"
#include "payload.h"
#include "ratelimit.h"
#include "wire.h"
#include "zerocopy.h"

#define MFD_SENDCHAN_BUFFERS 8

/* Written by the channel's thread alone; others read it after the channels have been stopped or synced. */
struct mfd_sendchan_stats {
	uint64_t packets, pages, zero_pages, files, file_bytes;
	uint64_t wire_bytes;
	uint64_t compressed; /* packets that went compressed */
	uint64_t checksum;   /* sum of header_hash, see control.proto "end" */
	uint64_t stalls;     /* waits for a buffer still in flight */
	uint64_t read_us, send_us;
	uint64_t first_us, last_us; /* memory began to be read, the last of it was sent; 0 = there was none */
};

struct mfd_sendchan {
	struct mfd_conn conn;
	struct mfd_zerocopy zc;
	struct mfd_wire_limits lim;
	unsigned stall_ms;
	unsigned id;

	char *memory; /* buffers, each packet_size, and behind them the table */
	size_t memory_len;
	unsigned buffers, next_buffer; /* 1 without zero-copy */
	struct {
		int in_flight;
		uint32_t ticket;
	} flight[MFD_SENDCHAN_BUFFERS];
	struct mfd_compress *compress; /* NULL = off; the channel's own, freed with it */
	struct mfd_ratelimit *limit;   /* of all channels of the session; NULL = none */
	const atomic_int *gentle;      /* nonzero: give way with pages; NULL = never. Relaxed, a hint */
	struct mfd_gentle manners;
	struct mfd_sendchan_stats st;
	struct mfd_error err; /* of the first failure */
};

/* Takes over conn (joined already), which is closed on failure. 0 or -errno with err filled. */
int mfd_sendchan_init(struct mfd_sendchan *c, unsigned id, struct mfd_conn *conn, const struct mfd_wire_limits *lim,
		      enum mfd_tristate zerocopy, unsigned stall_ms);
void mfd_sendchan_close(struct mfd_sendchan *c);

/* For struct mfd_multifd_ops. */
int mfd_sendchan_send(void *c, struct mfd_payload *p);
int mfd_sendchan_sync(void *c, uint64_t number);

#endif
