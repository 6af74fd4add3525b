// SPDX-License-Identifier: GPL-2.0-only
/* Waiting for a target's memory, before and after the freeze. */
#include <errno.h>
#include <stdio.h>

#include "estimate.h"
#include "io.h"
#include "log.h"
#include "proto/control.pb-c.h"
#include "queue.h"
#include "size.h"
#include "wire.h"

uint64_t mfd_queue_begin(struct mfd_queue *q, pid_t criu, unsigned timeout_ms, unsigned stall_ms)
{
	q->stall_ms = stall_ms;
	q->root = mfd_estimate_root(criu);
	q->announced = mfd_estimate_tree(q->root, &q->shared);
	q->timeout_ms = timeout_ms;
	atomic_store(&q->room, UINT64_MAX);
	return q->announced;
}

static int send_size(struct mfd_queue *q, struct mfd_control *c, uint64_t bytes)
{
	Mfd__Size m = MFD__SIZE__INIT;

	q->announced = m.bytes = bytes;
	return mfd_control_send(c, MFD_WIRE_SIZE, &m.base);
}

/* The tasks run meanwhile: when the turn comes, what HELLO said may not be true any more. */
static int say_again(struct mfd_queue *q, struct mfd_control *c)
{
	uint64_t now = mfd_estimate_tree(q->root, &q->shared);

	return now && now != q->announced ? send_size(q, c, now) : 0;
}

static int give_up(struct mfd_queue *q, struct mfd_control *c, struct mfd_error *err)
{
	mfd_error_set(err, -ETIMEDOUT,
		      "the target had no memory for the session within %u ms (queue-timeout): %s",
		      q->timeout_ms, q->last);
	mfd_control_send_abort(c, -ETIMEDOUT, "the source would not wait for memory any longer");
	return -ETIMEDOUT;
}

int mfd_queue_told(struct mfd_queue *q, struct mfd_control *c, const ProtobufCMessage *msg,
		   struct mfd_error *err)
{
	const Mfd__Queued *m = (const Mfd__Queued *)msg;
	char need[MFD_SIZE_TEXT], room[MFD_SIZE_TEXT], limit[MFD_SIZE_TEXT];
	uint64_t now = mfd_io_now_us();
	int ret;

	snprintf(q->last, sizeof(q->last),
		 "%s are needed, %s of its limit of %s are free, %u sessions come first",
		 mfd_size_text(m->need, need), mfd_size_text(m->free, room),
		 mfd_size_text(m->limit, limit), m->ahead);
	if (!q->since_us) {
		q->since_us = now;
		mfd_log_info("the target has no memory for us yet, the tasks run on: %s", q->last);
	}
	if ((now - q->since_us) / 1000 >= q->timeout_ms)
		return give_up(q, c, err);
	ret = say_again(q, c);
	return ret ? mfd_error_sys(err, ret, "sending SIZE") : 0;
}

void mfd_queue_over(struct mfd_queue *q)
{
	if (!mfd_queue_waits(q))
		return;
	q->waited_us = mfd_io_now_us() - q->since_us + 1;
	mfd_log_info("the target has memory for us now, after %.1f s", (double)q->waited_us / 1e6);
}

int mfd_queue_size(struct mfd_queue *q, struct mfd_control *c, uint64_t tasks_bytes)
{
	if (!q->limited || tasks_bytes + q->shared <= q->announced)
		return 0;
	return send_size(q, c, tasks_bytes + q->shared);
}

int mfd_queue_may_send(struct mfd_queue *q, uint64_t bytes)
{
	if (mfd_queue_has_room(q, bytes)) {
		if (q->held_since_us)
			q->held_us += mfd_io_now_us() - q->held_since_us;
		q->held_since_us = 0;
		return 1;
	}
	if (!q->held_since_us) {
		q->held_since_us = mfd_io_now_us();
		mfd_log_info(
			"held: the target's memory limit leaves room for %llu KiB of pages; the rest follows when it has "
			"restored",
			(unsigned long long)(atomic_load(&q->room) >> 10));
	}
	return 0;
}
