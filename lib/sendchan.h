/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The source's end of one data channel: turns a payload into a packet and sends it.
 *
 *	take a buffer	  with zero-copy, one whose sends the kernel has reported as completed
 *	read		  pages of the frozen task (process_vm_readv), or a piece of an image file
 *	pack		  zero pages keep their place in the table and lose their bytes
 *	compress, hash	  while the bytes are in the cache
 *	send		  header and table by copying, the payload with zero-copy if it is on
 *
 * The kinds of payloads are rows of a table in sendchan.c.  With max-bandwidth a packet goes out in
 * pieces, so that no second brings more than the limit.  Without zero-copy one buffer is enough: it
 * stays in the cache.
 */
#ifndef MFD_SENDCHAN_H
#define MFD_SENDCHAN_H

#include <stdatomic.h>
#include <stdint.h>

#include "compress.h"
#include "conn.h"
#include "counter.h"
#include "error.h"
#include "gentle.h"
#include "options.h"
#include "payload.h"
#include "ratelimit.h"
#include "wire.h"
#include "zerocopy.h"

#define MFD_SENDCHAN_BUFFERS 8

/* Written by the channel's thread alone; any thread may read them meanwhile. */
struct mfd_sendchan_counters {
	mfd_counter packets, pages, zero_pages, files, file_bytes;
	mfd_counter wire_bytes;
	mfd_counter compressed; /* packets that went compressed */
	mfd_counter checksum;	/* sum of header_hash, see control.proto "end" */
	/* packets whose sending had to wait for the socket, and for how long in all */
	mfd_counter blocked, blocked_us;
	/* waits for a buffer whose zero-copy send was still in flight */
	mfd_counter reclaims, reclaims_us;
	mfd_counter limited, limited_us; /* packets that the limit held up */
	mfd_counter read_us, send_us;
	/* when memory began to be read, and when the last of it was sent; 0 = there was none */
	mfd_counter first_us, last_us;
};

/* A copy of the counters, of one channel or summed over several. */
struct mfd_sendchan_stats {
	uint64_t packets, pages, zero_pages, files, file_bytes;
	uint64_t wire_bytes;
	uint64_t compressed;
	uint64_t checksum;
	uint64_t blocked, blocked_us, reclaims, reclaims_us, limited, limited_us;
	uint64_t read_us, send_us;
	uint64_t first_us, last_us; /* not sums: the first and the last of all */
	uint64_t zerocopy_sent, zerocopy_completed, zerocopy_copied, zerocopy_waits;
};

struct mfd_sendchan {
	struct mfd_conn conn;
	struct mfd_zerocopy zc; /* of conn */
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
	int urgent;		       /* counts for the limit, but waits for nothing */
	/* enum mfd_gentle_degree for pages; NULL = they never give way.  Relaxed: a hint. */
	const atomic_int *gentle;
	struct mfd_gentle manners;
	struct mfd_sendchan_counters st;
	struct mfd_error err;	/* of the first failure */
} __attribute__((aligned(64))); /* neighbours do not share a cache line */

/*
 * Take over conn, which has joined the session; it is closed after a failure.  0, or -errno with
 * c->err filled.  The caller may set compress, limit, urgent and gentle before the first send.
 */
int mfd_sendchan_init(struct mfd_sendchan *c, unsigned id, struct mfd_conn *conn,
		      const struct mfd_wire_limits *lim, enum mfd_tristate zerocopy,
		      unsigned stall_ms);
void mfd_sendchan_close(struct mfd_sendchan *c);

/*
 * Add what the channel has counted so far to *st.  Any thread; each number is whole, but they are
 * not all of one moment.
 */
void mfd_sendchan_stats(const struct mfd_sendchan *c, struct mfd_sendchan_stats *st);
/* Add one copy to another. */
void mfd_sendchan_stats_add(struct mfd_sendchan_stats *to, const struct mfd_sendchan_stats *st);
/* Return how often, and for how many microseconds, anything kept the channel from sending. */
static inline uint64_t mfd_sendchan_stalls(const struct mfd_sendchan_stats *st)
{
	return st->blocked + st->reclaims + st->limited;
}
static inline uint64_t mfd_sendchan_stall_us(const struct mfd_sendchan_stats *st)
{
	return st->blocked_us + st->reclaims_us + st->limited_us;
}

/* For struct mfd_multifd_ops: on the channel's own thread; 0, or -errno with c->err filled. */
int mfd_sendchan_send(void *c, struct mfd_payload *p);
int mfd_sendchan_sync(void *c, uint64_t number);

#endif
