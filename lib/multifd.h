/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Multifd: one producer, N channel threads, no lock between them.
 *
 * A payload's way from the frozen task to the restored one.  On the source:
 *
 *	pagescan.c   which pages of a mapping travel (PAGEMAP_SCAN): runs
 *	stream.c     the producer (the sender's main thread) fills its payload with runs
 *	             of pages, or with a piece of an image file: addresses and lengths, no bytes
 *	multifd.c    mfd_multifd_send swaps the full payload for the empty one of an idle channel
 *	sendchan.c   the channel's thread reads the bytes into its buffer (pageread.c), looks for
 *	             zero pages, compresses, hashes and sends them as one packet
 *	conn.c       header and table, then the buffer, with zero-copy if the connection offers it
 *
 * On the target, where the packet has no object of its own:
 *
 *	receive.c    the channel's thread checks the header, asks memory.c for room, and receives
 *	             the bytes into the page store (pagestore.c), or, once the restore has
 *	             finished, into its own buffer
 *	pagetable.c  the words of its pages become STORED, ZERO or DIRECT: from here on they have
 *	             come.  A piece of an image file goes to filesink.c instead, and ends there
 *	pager_fill.c mfd_pager_put copies them into the task with UFFDIO_COPY (uffd.c): called by
 *	             the receiver, by a thread that answers a fault (pager_fault.c), or in bulk
 *	             (pager_bulk.c), whichever comes first; pager.h has the three ways
 *	pager_account.c  the page is settled, and its place in the store is given back
 *
 * The producer owns one payload and every channel owns one, as in QEMU's migration/multifd.c.
 * Sending swaps two pointers, so nothing is copied or allocated on that path:
 *
 *	producer				channel thread
 *	wait idle (semaphore)			wait work (semaphore)
 *	find a channel with !pending_job [acquire, a]
 *	swap payload pointers
 *	pending_job = 1         [release, b]	pending_job?  [acquire, b]
 *	post work				ops->send(payload); reset payload
 *						pending_job = 0  [release, a]
 *						post idle
 *
 * pending_sync carries no data (a channel counts syncs by itself), so it needs no ordering of its
 * own; the semaphores wake.  A channel whose send failed records the error once, then goes on
 * taking payloads and dropping them.  So the producer never waits for a dead channel, and a failure
 * needs no wake-up: every thread reads the same flag, `failed`.
 *
 * The producer's functions (payload, send, drain, sync, get_stats) belong to one thread.  The
 * number of channels is fixed for life.
 */
#ifndef MFD_MULTIFD_H
#define MFD_MULTIFD_H

#include <stdint.h>

#include "payload.h"

struct mfd_multifd;

struct mfd_multifd_ops {
	/* On the channel's own thread: send the payload; 0 or -errno. */
	int (*send)(void *channel, struct mfd_payload *p);
	/* Likewise: everything before is out and its buffers are free again. */
	int (*sync)(void *channel, uint64_t number);
	/* Once, on the thread of the channel that failed first.  May be NULL. */
	void (*failed)(void *arg, unsigned channel, int code);
	void *arg;
	/*
	 * On the producer's thread, every 50 ms while it waits for a channel: nonzero (-errno)
	 * gives everything up, as if a channel had failed with it.  May be NULL.
	 */
	int (*waiting)(void *arg);
	void *waiting_arg;
};

/*
 * Start one thread per channel; channel[i] is given to ops.  max_runs: how many runs each payload
 * has room for.  0, -ENOMEM, or -EAGAIN (no thread); after a failure nothing is left running.
 */
int mfd_multifd_start(struct mfd_multifd **out, unsigned channels, void *const *channel,
		      const struct mfd_multifd_ops *ops, unsigned max_runs);

/* The payload that the producer owns now; empty after start and after each send. */
struct mfd_payload *mfd_multifd_payload(struct mfd_multifd *m);
/* Wait for an idle channel and hand the payload over: 0, or the first error of any channel. */
int mfd_multifd_send(struct mfd_multifd *m);
/* Wait until every payload handed over has been processed (read and given to the socket). */
int mfd_multifd_drain(struct mfd_multifd *m);
/* Drain, then ops->sync on every channel.  *number (from 1) tells which sync this was. */
int mfd_multifd_sync(struct mfd_multifd *m, uint64_t *number);

/*
 * Return the first error of any channel, or 0.  Any thread; what that channel wrote before it
 * failed may be read afterwards.
 */
int mfd_multifd_error(struct mfd_multifd *m);
/* Return the channel that failed first; only after an error. */
unsigned mfd_multifd_failed_channel(struct mfd_multifd *m);

/* What the producer has met. */
struct mfd_multifd_stats {
	uint64_t sends;
	uint64_t stalls;   /* sends for which no channel was idle */
	uint64_t stall_us; /* how long the producer waited for one, in all */
};
void mfd_multifd_get_stats(const struct mfd_multifd *m, struct mfd_multifd_stats *st);

/*
 * Stop and join the threads, then free everything.  NULL is fine.  The caller has shut down the
 * connections on which a thread could block.
 */
void mfd_multifd_stop(struct mfd_multifd *m);

#endif
