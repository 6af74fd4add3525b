// SPDX-License-Identifier: GPL-2.0-only
/* The control connection's reader on the source. */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>

#include "gentle.h"
#include "inbox.h"
#include "log.h"
#include "proto/control.pb-c.h"
#include "live_setting.h"
#include "send_phase.h"

static void lost(struct mfd_inbox *in, int code)
{
	pthread_mutex_lock(&in->lock);
	in->lost = code;
	/* An answer to a fault may have failed, which need not be the link's error. */
	if (in->session->urgent.err.side == MFD_ERROR_OWN)
		in->err = in->session->urgent.err;
	mfd_error_sys(&in->err, code, "the connection to the target is lost");
	pthread_mutex_unlock(&in->lock);
	eventfd_write(in->wake_fd, 1);
}

static int enqueue(struct mfd_inbox *in, unsigned type, ProtobufCMessage *msg)
{
	int ret = 0;

	pthread_mutex_lock(&in->lock);
	if (in->n == MFD_INBOX_ROOM) {
		ret = -EPROTO;
	} else {
		unsigned i = (in->head + in->n++) % MFD_INBOX_ROOM;

		in->q[i].type = type;
		in->q[i].msg = msg;
	}
	pthread_mutex_unlock(&in->lock);
	eventfd_write(in->wake_fd, 1);
	return ret;
}

/* The range is at most what one packet carries: the target's pager asks for windows. */
static int answer_fault(struct mfd_inbox *in, const Mfd__PageRange *r)
{
	struct mfd_task *k = mfd_tasks_find(in->tasks, r->task);
	uint32_t max = in->session->lim.packet_size / MFD_WIRE_PAGE_SIZE;

	if (!k || !in->session->have_urgent || r->vaddr % MFD_WIRE_PAGE_SIZE || !r->pages ||
	    r->pages > max) {
		mfd_log_error(
			"the target asks for %llu pages at %#llx of task %u, which makes no sense",
			(unsigned long long)r->pages, (unsigned long long)r->vaddr, r->task);
		return -EPROTO;
	}
	in->urgent.type = MFD_PAYLOAD_PAGES;
	in->urgent.pages.reader = &k->reader;
	in->urgent.pages.task = r->task;
	in->urgent.sent = NULL;
	in->urgent.pages.nruns = 1;
	in->urgent.pages.npages = (uint32_t)r->pages;
	in->urgent.pages.runs = in->urgent_runs;
	in->urgent_runs[0] = (struct mfd_run){ .vaddr = r->vaddr, .pages = r->pages };
	mfd_counter_add(&in->faults, 1);
	mfd_tasks_answered(k, r->vaddr, r->pages);
	return mfd_sendchan_send(&in->session->urgent, &in->urgent);
}

static int on_ping(struct mfd_inbox *in, const ProtobufCMessage *msg)
{
	Mfd__Pong pong = MFD__PONG__INIT;

	(void)msg;
	return mfd_control_send(&in->session->control, MFD_WIRE_PONG, &pong.base);
}

static int on_pong(struct mfd_inbox *in, const ProtobufCMessage *msg)
{
	(void)in;
	(void)msg;
	return 0;
}

static int on_set(struct mfd_inbox *in, const ProtobufCMessage *msg)
{
	return mfd_setting_answer(in->session, in->tasks->shared, (const Mfd__Set *)msg);
}

static int on_room(struct mfd_inbox *in, const ProtobufCMessage *msg)
{
	mfd_queue_room(&in->session->queue, ((const Mfd__Room *)msg)->bytes);
	eventfd_write(in->wake_fd, 1);
	return 0;
}

static int on_fault(struct mfd_inbox *in, const ProtobufCMessage *msg)
{
	return answer_fault(in, ((const Mfd__Fault *)msg)->range);
}

/* The messages that this thread handles at once (MFD_TURN_ANYTIME in proto/turns.c). */
static const struct {
	unsigned type;
	int (*handle)(struct mfd_inbox *in, const ProtobufCMessage *msg);
} handlers[] = {
	{ MFD_WIRE_PING, on_ping }, { MFD_WIRE_PONG, on_pong },	  { MFD_WIRE_SET, on_set },
	{ MFD_WIRE_ROOM, on_room }, { MFD_WIRE_FAULT, on_fault },
};

static int handle_at_once(struct mfd_inbox *in, unsigned type, const ProtobufCMessage *msg)
{
	enum mfd_send_phase phase = mfd_send_phase(in->tasks->shared);

	if (mfd_turns_ask(MFD_SIDE_TARGET, type, in->session->plan, phase) == MFD_TURN_TAKEN)
		for (size_t i = 0; i < sizeof(handlers) / sizeof(*handlers); i++)
			if (handlers[i].type == type)
				return handlers[i].handle(in, msg);
	mfd_log_error("the target said %s out of turn", mfd_wire_msg_name(type));
	return -EPROTO;
}

/* Takes the message over. */
static int handle(struct mfd_inbox *in, unsigned type, ProtobufCMessage *msg)
{
	const struct mfd_turn *turn = mfd_turns_find(MFD_SIDE_TARGET, type);
	int ret;

	if (!turn || turn->kind != MFD_TURN_ANYTIME) {
		ret = enqueue(in, type, msg);
		if (!ret)
			return 0;
	} else {
		ret = handle_at_once(in, type, msg);
	}
	protobuf_c_message_free_unpacked(msg, NULL);
	return ret;
}

/*
 * Wait until something has come.  Silence is no proof: the target pings in the rhythm of its own
 * stall timeout, which may be longer than the source's.  So PING three times within that before the
 * connection counts as lost.
 */
static int wait_heard(struct mfd_inbox *in)
{
	struct mfd_conn *conn = &in->session->control.conn;
	Mfd__Ping ping = MFD__PING__INIT;
	int ret, ms = mfd_conn_stall_ms(conn);

	if (ms < 0)
		return ms;
	for (int i = 0; i < 3; i++) {
		ret = mfd_conn_wait(conn, ms ? ms / 3 + 1 : -1);
		if (ret > 0 || ret == -EINTR)
			return 0;
		ret = mfd_control_send(&in->session->control, MFD_WIRE_PING, &ping.base);
		if (ret)
			return ret;
	}
	return -ETIMEDOUT;
}

static void *inbox_main(void *arg)
{
	struct mfd_inbox *in = arg;
	int ret;

	mfd_gentle_first();
	do {
		ProtobufCMessage *msg = NULL;
		struct mfd_error err = { 0 };
		unsigned type;

		ret = wait_heard(in);
		if (!ret)
			ret = mfd_control_recv(&in->session->control, &type, &msg, &err);
		if (!ret)
			ret = handle(in, type, msg);
		else if (err.code)
			mfd_log_error("from the target: %s", err.text);
	} while (!ret);
	lost(in, ret);
	return NULL;
}

int mfd_inbox_start(struct mfd_inbox *in, struct mfd_uplink *s, struct mfd_tasks *t, int wake_fd)
{
	sigset_t all, old;
	int ret;

	memset(in, 0, sizeof(*in));
	in->session = s;
	in->tasks = t;
	in->wake_fd = wake_fd;
	pthread_mutex_init(&in->lock, NULL);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	ret = pthread_create(&in->thread, NULL, inbox_main, in);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	in->running = !ret;
	return -ret;
}

int mfd_inbox_next(struct mfd_inbox *in, unsigned *type, ProtobufCMessage **msg,
		   struct mfd_error *err)
{
	int ret = 0;

	pthread_mutex_lock(&in->lock);
	if (in->n) {
		*type = in->q[in->head].type;
		*msg = in->q[in->head].msg;
		in->head = (in->head + 1) % MFD_INBOX_ROOM;
		in->n--;
		ret = 1;
	} else if (in->lost) {
		ret = mfd_error_set(err, in->lost, "%s", in->err.text);
	}
	pthread_mutex_unlock(&in->lock);
	return ret;
}

int mfd_inbox_lost(struct mfd_inbox *in)
{
	int code;

	pthread_mutex_lock(&in->lock);
	code = in->lost;
	pthread_mutex_unlock(&in->lock);
	return code;
}

int mfd_inbox_take(struct mfd_inbox *in, unsigned type)
{
	unsigned i = 0;

	pthread_mutex_lock(&in->lock);
	while (i < in->n && in->q[(in->head + i) % MFD_INBOX_ROOM].type != type)
		i++;
	if (i == in->n) {
		pthread_mutex_unlock(&in->lock);
		return 0;
	}
	protobuf_c_message_free_unpacked(in->q[(in->head + i) % MFD_INBOX_ROOM].msg, NULL);
	for (in->n--; i < in->n; i++)
		in->q[(in->head + i) % MFD_INBOX_ROOM] = in->q[(in->head + i + 1) % MFD_INBOX_ROOM];
	pthread_mutex_unlock(&in->lock);
	return 1;
}

void mfd_inbox_stop(struct mfd_inbox *in)
{
	if (!in->running)
		return;
	pthread_join(in->thread, NULL);
	in->running = 0;
	while (in->n) {
		protobuf_c_message_free_unpacked(in->q[in->head].msg, NULL);
		in->head = (in->head + 1) % MFD_INBOX_ROOM;
		in->n--;
	}
	pthread_mutex_destroy(&in->lock);
}
