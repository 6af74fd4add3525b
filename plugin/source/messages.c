// SPDX-License-Identifier: GPL-2.0-only
/* What the target's messages mean to the source. */
#include <errno.h>
#include <sys/eventfd.h>

#include "assert.h"
#include "decide.h"
#include "io.h"
#include "log.h"
#include "messages.h"
#include "proto/control.pb-c.h"
#include "stream.h"
#include "turns.h"
#include "worker.h"

static int on_images_ok(struct mfd_worker *w, const ProtobufCMessage *msg)
{
	(void)w;
	(void)msg;
	mfd_log_info("the target can restore now; pages follow");
	return MFD_SEND_NOTHING;
}

static int on_started(struct mfd_worker *w, const ProtobufCMessage *msg)
{
	(void)w;
	(void)msg;
	return MFD_SEND_EV_STARTED;
}

static int on_ready(struct mfd_worker *w, const ProtobufCMessage *msg)
{
	(void)msg;
	w->times.ready_us = mfd_io_now_us();
	return MFD_SEND_EV_READY;
}

static int on_restored(struct mfd_worker *w, const ProtobufCMessage *msg)
{
	const Mfd__Restored *m = (const Mfd__Restored *)msg;

	if (m->has_pid)
		mfd_log_info("restored on the target as process %u", m->pid);
	if (m->has_resumed_us)
		w->times.resumed_us = m->resumed_us;
	if (!w->times.restored_us)
		w->times.restored_us = mfd_io_now_us();
	return MFD_SEND_EV_RESTORED;
}

static int on_committed(struct mfd_worker *w, const ProtobufCMessage *msg)
{
	(void)w;
	(void)msg;
	return MFD_SEND_EV_COMMITTED;
}

static int on_round_ok(struct mfd_worker *w, const ProtobufCMessage *msg)
{
	uint32_t n = ((const Mfd__RoundOk *)msg)->n, awaited = w->precopy.tracked.rounds + 1;

	mfd_assert(w->precopy.answered <= awaited);
	mfd_assert(mfd_send_phase(w->sh) == MFD_SEND_CONNECTING);
	if (n != awaited)
		return mfd_error_blame(&w->err, MFD_ERROR_PEER,
				       mfd_error_set(&w->err, -EPROTO,
						     "the target ends round %u instead of %u", n,
						     awaited));
	w->precopy.answered = n;
	return MFD_SEND_STEP;
}

static int on_abort(struct mfd_worker *w, const ProtobufCMessage *msg)
{
	return mfd_error_blame(&w->err, MFD_ERROR_PEER,
			       mfd_error_set(&w->err, -ECANCELED, "the target aborted: %s",
					     ((const Mfd__Abort *)msg)->reason));
}

static const struct {
	unsigned type;
	int (*handle)(struct mfd_worker *w, const ProtobufCMessage *msg);
} handlers[] = {
	{ MFD_WIRE_IMAGES_OK, on_images_ok }, { MFD_WIRE_STARTED, on_started },
	{ MFD_WIRE_NEED, mfd_stream_need },   { MFD_WIRE_READY, on_ready },
	{ MFD_WIRE_RESTORED, on_restored },   { MFD_WIRE_COMMITTED, on_committed },
	{ MFD_WIRE_ABORT, on_abort },	      { MFD_WIRE_ROUND_OK, on_round_ok },
};

int mfd_messages_handle(struct mfd_worker *w, unsigned type, const ProtobufCMessage *msg)
{
	enum mfd_turn_answer turn =
		mfd_turns_ask(MFD_SIDE_TARGET, type, w->session.plan, mfd_send_phase(w->sh));

	mfd_send_phase_check(w);
	if (turn == MFD_TURN_IGNORED)
		return MFD_SEND_NOTHING;
	for (size_t i = 0; i < sizeof(handlers) / sizeof(*handlers) && turn == MFD_TURN_TAKEN; i++)
		if (handlers[i].type == type)
			return handlers[i].handle(w, msg);
	return mfd_error_blame(&w->err, MFD_ERROR_PEER,
			       mfd_error_set(&w->err, -EPROTO, "the target said %s out of turn",
					     mfd_wire_msg_name(type)));
}

int mfd_messages_take(struct mfd_worker *w)
{
	ProtobufCMessage *msg;
	eventfd_t count;
	unsigned type;
	int ret;

	eventfd_read(w->wake, &count);
	while ((ret = mfd_inbox_next(&w->inbox, &type, &msg, &w->err)) > 0) {
		ret = mfd_decide(w, mfd_messages_handle(w, type, msg));
		protobuf_c_message_free_unpacked(msg, NULL);
		if (ret)
			return ret;
	}
	return mfd_error_blame(&w->err, MFD_ERROR_LINK, ret);
}
