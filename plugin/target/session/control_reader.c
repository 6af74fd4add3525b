// SPDX-License-Identifier: GPL-2.0-only
/*
 * The thread of a control connection: HELLO or RESUME, then a reader that answers PING, notes
 * SETTING and hands everything else to the session's thread.  It never waits for the session, so
 * the source is answered and its end is seen at any time.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hello.h"
#include "io.h"
#include "log.h"
#include "probe.h"
#include "memory.h"
#include "ask_setting.h"

static const char *ended(int ret, const struct mfd_error *err)
{
	if (err->code)
		return mfd_error_text(err);
	return ret == -ECONNRESET ? "closed by the source" : strerror(-ret);
}

static uint64_t sync_of(unsigned type, const ProtobufCMessage *msg)
{
	if (type == MFD_WIRE_IMAGES)
		return ((const Mfd__Images *)msg)->sync;
	if (type == MFD_WIRE_END)
		return ((const Mfd__End *)msg)->sync;
	if (type == MFD_WIRE_ROUND)
		return ((const Mfd__Round *)msg)->sync;
	return 0;
}

static int handle(struct mfd_session *s, unsigned type, ProtobufCMessage *msg,
		  struct mfd_error *err)
{
	const struct mfd_turn *turn = mfd_turns_find(MFD_SIDE_SOURCE, type);
	Mfd__Pong pong = MFD__PONG__INIT;
	int ret = 0;

	if (turn && turn->kind == MFD_TURN_ORDERED) {
		ret = mfd_session_post(s, type, sync_of(type, msg), msg);
		return ret ? mfd_error_set(err, ret, "too many control messages") : 0;
	}
	if (!turn || turn->kind != MFD_TURN_ANYTIME)
		ret = mfd_error_set(err, -EPROTO, "unexpected %s", mfd_wire_msg_name(type));
	else if (type == MFD_WIRE_SETTING)
		mfd_setting_came(s, (const Mfd__Setting *)msg);
	else if (type == MFD_WIRE_SIZE)
		mfd_memory_size(s, ((const Mfd__Size *)msg)->bytes);
	else if (type == MFD_WIRE_PING)
		ret = mfd_session_send_within(s, MFD_WIRE_PONG, &pong.base, 0);
	if (ret == -ETIMEDOUT)
		mfd_error_set(err, ret, "it sends PING and does not read the answers");
	protobuf_c_message_free_unpacked(msg, NULL);
	return ret;
}

static void read_all(struct mfd_session *s, struct mfd_peer *p)
{
	struct mfd_error err = { 0 };
	ProtobufCMessage *msg;
	unsigned type;
	int ret;

	do {
		ret = mfd_control_recv(&p->control, &type, &msg, &err);
		if (ret)
			break;
		mfd_session_heard(s, mfd_io_now_ms());
		ret = handle(s, type, msg, &err);
	} while (!ret);
	if (err.code)
		mfd_log_warn("%s: %s: %s", s->name, p->text, mfd_error_text(&err));
	mfd_session_detach_control(s, p, ended(ret, &err));
}

/*
 * Say why and give the source a moment to read it: closing with unread bytes would reset the
 * connection.
 */
static void refuse(struct mfd_peer *p, int code, const char *why)
{
	char rest[4096];

	mfd_log_warn("%s: refused: %s", p->text, why);
	mfd_peer_answered(p);
	if (mfd_control_send_abort(&p->control, code, why) || mfd_peer_has_expired(p))
		return;
	/* The deadline of a pending connection ends this at the latest. */
	while (!mfd_conn_recv(&p->control.conn, rest, sizeof(rest)))
		;
}

static void open_session(struct mfd_peer *p, const Mfd__Hello *h)
{
	struct mfd_error err = { 0 };
	struct mfd_session *s = NULL;

	if (mfd_hello_open(p, h, &s, &err)) {
		refuse(p, err.code, mfd_error_text(&err));
		return;
	}
	read_all(s, p);
	mfd_session_put(s);
}

static void reopen_session(struct mfd_peer *p, const struct mfd_wire_greeting *g,
			   const Mfd__Resume *r)
{
	struct mfd_error err = { 0 };
	struct mfd_session *s = NULL;
	int ret;

	ret = mfd_hello_resume(p, g, r, MFD_RESUME_FIRST, &s, &err);
	if (ret == -EAGAIN) {
		mfd_error_clear(&err);
		mfd_reload_again(p->server, r->session);
		ret = mfd_hello_resume(p, g, r, MFD_RESUME_LAST, &s, &err);
	}
	if (ret < 0)
		refuse(p, err.code, mfd_error_text(&err));
	else if (s)
		read_all(s, p);
	mfd_session_put(s);
}

static int zeros(const uint8_t *b, size_t n)
{
	while (n--) {
		if (*b++)
			return 0;
	}
	return 1;
}

void mfd_control_main(struct mfd_peer *p, const struct mfd_wire_greeting *g)
{
	int fresh = zeros(g->session, sizeof(g->session));
	struct mfd_error err = { 0 };
	ProtobufCMessage *msg;
	unsigned type;
	int ret = mfd_control_recv(&p->control, &type, &msg, &err);

	mfd_peer_serve(p);
	if (ret) {
		refuse(p, ret,
		       mfd_peer_has_expired(p) ? "the time for HELLO or RESUME was over" :
		       err.code		       ? mfd_error_text(&err) :
						 strerror(-ret));
		return;
	}
	if (fresh && type == MFD_WIRE_HELLO)
		open_session(p, (const Mfd__Hello *)msg);
	else if (!fresh && type == MFD_WIRE_RESUME)
		reopen_session(p, g, (const Mfd__Resume *)msg);
	else if (fresh && type == MFD_WIRE_PROBE)
		mfd_probe_main(p, (const Mfd__Probe *)msg);
	else
		refuse(p, -EPROTO, "neither HELLO nor RESUME came first");
	protobuf_c_message_free_unpacked(msg, NULL);
}
