/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Multifd: one producer, N channel threads, no lock between them.
 *
 * After QEMU's migration/multifd.c: the producer owns one payload and every channel owns one.  To
 * send, the producer *swaps* its full payload for the empty one of an idle channel, so nothing is
 * copied or allocated on that path.
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
 * taking payloads and dropping them, so that the producer never waits for a dead channel: there is
 * nothing to wake on failure, everybody reads one flag.
 *
 * The producer functions (send, sync, drain) belong to one thread.  The number of channels is fixed
 * for life.
 */
#ifndef MFD_MULTIFD_H
#define MFD_MULTIFD_H

#include <stdint.h>

#include "payload.h"

struct mfd_multifd;

struct mfd_multifd_ops {
	/* Both run on the channel's own thread; 0 or -errno. */
	int (*send)(void *channel, struct mfd_payload *p);
	/* everything before is out, buffers are free again */
	int (*sync)(void *channel, uint64_t number);
	/* Called once, by the thread whose channel failed first. May be NULL. */
	void (*failed)(void *arg, unsigned channel, int code);
	void *arg;
	/*
	 * Called on the producer's thread now and then while it waits for a channel: nonzero
	 * (-errno) gives everything up, as if a channel had failed with it.  May be NULL.
	 */
	int (*waiting)(void *arg);
	void *waiting_arg;
};

/*
 * Start one thread per channel; channel[i] is given to ops.  packet_pages: runs every payload has
 * room for. 0, -ENOMEM, -EAGAIN (no thread); on failure nothing is left running.
 */
int mfd_multifd_start(struct mfd_multifd **out, unsigned channels, void *const *channel,
		      const struct mfd_multifd_ops *ops, unsigned max_runs);
/* The payload the producer owns now; empty after start and after each send. */
struct mfd_payload *mfd_multifd_payload(struct mfd_multifd *m);
/*
 * Hand the owned payload to an idle channel, waiting for one; 0, or the first error of any channel.
 */
int mfd_multifd_send(struct mfd_multifd *m);
/* Wait until every payload handed over has been processed (read and given to the socket). */
int mfd_multifd_drain(struct mfd_multifd *m);
/* Drain, then ops->sync on every channel.  *number (from 1) tells which sync this was. */
int mfd_multifd_sync(struct mfd_multifd *m, uint64_t *number);
/*
 * First error of any channel, or 0. Any thread; what that channel wrote before it failed may be
 * read then.
 */
int mfd_multifd_error(struct mfd_multifd *m);
/* Which channel it was that failed first; only after an error. */
unsigned mfd_multifd_failed_channel(struct mfd_multifd *m);
/* What the producer has met. */
struct mfd_multifd_stats {
	uint64_t sends;
	uint64_t stalls,
		/*
		 * of them, those for which no channel was idle, and how long it waited for one in
		 * all
		 */
		stall_us;
};
/* By the producer's thread alone. */
void mfd_multifd_get_stats(const struct mfd_multifd *m, struct mfd_multifd_stats *st);
/*
 * Stop and join the threads and free everything.  Sockets that could block must have been shut down
 * before.
 */
void mfd_multifd_stop(struct mfd_multifd *m);

#endif
