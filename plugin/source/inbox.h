/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The inbox thread, which reads the control connection.  It handles the messages that may come at
 * any time: PING, SET, ROOM, and FAULT, which it answers at once over the urgent channel, ahead of
 * everything that the channels have queued.  All others it puts in a queue for the main thread.
 *
 *	FAULT -> a payload of its own -> read, packet, zero-copy send (lib/sendchan.c)
 */
#ifndef MFD_INBOX_H
#define MFD_INBOX_H

#include <pthread.h>
#include <stdatomic.h>
#include <protobuf-c/protobuf-c.h>

#include "counter.h"
#include "uplink.h"
#include "tasks.h"

#define MFD_INBOX_ROOM 64

struct mfd_inbox {
	struct mfd_uplink *session;
	struct mfd_tasks *tasks;
	pthread_t thread;
	int running; /* bool: there is a thread to join */
	int wake_fd; /* eventfd, the main thread's */

	pthread_mutex_t lock; /* guards everything below */
	struct {
		unsigned type;
		ProtobufCMessage *msg;
	} q[MFD_INBOX_ROOM];
	unsigned head, n;
	int lost; /* -errno once the connection has ended; err says why */
	struct mfd_error err;

	struct mfd_payload urgent; /* the inbox thread's own */
	struct mfd_run urgent_runs[MFD_WIRE_MAX_RUNS];
	mfd_counter faults; /* answered */
};

int mfd_inbox_start(struct mfd_inbox *in, struct mfd_uplink *s, struct mfd_tasks *t, int wake_fd);
/*
 * 1 and a message (the caller frees it), 0 = none, -errno with err: the connection is lost and the
 * queue empty.
 */
int mfd_inbox_next(struct mfd_inbox *in, unsigned *type, ProtobufCMessage **msg,
		   struct mfd_error *err);
/* Take the first message of this type out of the queue: nonzero when there was one. */
int mfd_inbox_take(struct mfd_inbox *in, unsigned type);
/* -errno once the connection is lost, whatever is in the queue. */
int mfd_inbox_lost(struct mfd_inbox *in);
/* Wait for the end of the thread; the control connection must have been shut down. */
void mfd_inbox_stop(struct mfd_inbox *in);

#endif
