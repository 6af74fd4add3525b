// SPDX-License-Identifier: GPL-2.0-only
/* Opening a session: hello, limits, joining the channels. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "assert.h"
#include "give_address.h"
#include "io.h"
#include "joinproof.h"
#include "log.h"
#include "ports.h"
#include "proto/control.pb-c.h"
#include "uplink.h"

#ifndef MFD_VERSION
#define MFD_VERSION "unknown"
#endif

enum mfd_plan_id mfd_uplink_plan(const struct mfd_options *o, int early)
{
	int confirm = o->confirm == MFD_CONFIRM_RESTORE;

	if (o->mode == MFD_MODE_POSTCOPY)
		return confirm ? MFD_PLAN_POSTCOPY_CONFIRM : MFD_PLAN_POSTCOPY;
	if (!confirm)
		return MFD_PLAN_SAFE;
	return early ? MFD_PLAN_EARLY : MFD_PLAN_SAFE_CONFIRM;
}

/* What shows the target that this is the session's source. */
static int prove(const struct mfd_conn *conn, const struct mfd_shared *sh,
		 struct mfd_wire_greeting *g)
{
	struct mfd_joinproof j;
	int ret;

	memcpy(g->session, sh->id, sizeof(g->session));
	ret = mfd_joinproof_begin(&j, conn, g);
	if (!ret)
		mfd_joinproof_make(&j, sh->secret, g->secret);
	return ret;
}

/* `bound` and `like` as mfd_conn_connect takes them. */
static int connect_as(struct mfd_conn *conn, const struct mfd_shared *sh,
		      const struct mfd_options *o, int bound, const struct mfd_conn *like,
		      unsigned role, unsigned channel, struct mfd_error *err)
{
	const struct mfd_conn_config cfg = { .security = sh->security,
					     .connect_ms = o->connect_timeout,
					     .stall_ms = o->stall_timeout,
					     .congestion = o->congestion };
	struct mfd_wire_greeting g = { .role = (uint8_t)role, .channel = (uint16_t)channel };
	int ret;

	ret = mfd_conn_connect(conn, &sh->target, bound, like, &cfg, err);
	if (ret)
		return ret;
	if (sh->connected)
		ret = prove(conn, sh, &g);
	mfd_wire_greeting_seal(&g);
	if (!ret)
		ret = mfd_conn_send(conn, &g, sizeof(g), 0);
	if (ret) {
		mfd_conn_close(conn);
		return mfd_error_sys(err, ret, "greeting %s", sh->target.text);
	}
	return 0;
}

/*
 * In the queue for memory, which may take long, requests of a person and CRIU's end are looked for
 * between two messages.
 */
static int next_message(struct mfd_uplink *s, unsigned *type, ProtobufCMessage **msg,
			struct mfd_error *err)
{
	uint64_t end = mfd_io_now_ms() + s->queue.stall_ms;
	int ret = 0;

	while (!ret && mfd_queue_waits(&s->queue) && s->waiting &&
	       mfd_conn_wait(&s->control.conn, 100) == 0) {
		ret = s->waiting(s->waiting_arg);
		if (!ret && mfd_io_now_ms() > end)
			ret = -ETIMEDOUT;
	}
	return ret ? ret : mfd_control_recv(&s->control, type, msg, err);
}

/* Handle what a target may say at any time.  1 = it was that, *ret is the result. */
static int aside(struct mfd_uplink *s, unsigned type, const ProtobufCMessage *msg, int *ret,
		 struct mfd_error *err)
{
	Mfd__Pong pong = MFD__PONG__INIT;

	if (type == MFD_WIRE_PING)
		*ret = mfd_control_send(&s->control, MFD_WIRE_PONG, &pong.base);
	else if (type == MFD_WIRE_QUEUED)
		*ret = mfd_queue_told(&s->queue, &s->control, msg, err);
	else if (type == MFD_WIRE_ROOM)
		mfd_queue_room(&s->queue, ((const Mfd__Room *)msg)->bytes);
	else
		return 0;
	return 1;
}

/* It has said nothing that a restore server says: another service's port? */
static int foreign(const struct mfd_shared *sh, int ret, struct mfd_error *err)
{
	if (sh->connected)
		return ret;
	if (ret == -EPROTO) {
		mfd_error_clear(err);
		return mfd_error_set(
			err, ret,
			"what listens on %s is no restore server of criu-multifd: it answers in another protocol",
			sh->target.text);
	}
	if (ret == -ECONNRESET || ret == -EPIPE)
		return mfd_error_sys(
			err, ret,
			"%s has closed the connection without a word (is that the port of a restore "
			"server of criu-multifd?)",
			sh->target.text);
	return ret;
}

/*
 * Wait for the next message, which must be `type`.  An ABORT instead carries the target's reason
 * and is -ECANCELED, a code that no broken or refused connection has; s->proof is what it proves.
 */
static int expect(struct mfd_uplink *s, const struct mfd_shared *sh, unsigned type,
		  ProtobufCMessage **msg, struct mfd_error *err)
{
	unsigned got;
	int ret;

	mfd_assert(!*msg);
	mfd_assert(mfd_conn_is_open(&s->control.conn));
	/* A target that waits for slow joins, or for memory, says so, lest it counts as dead. */
	while (!(ret = next_message(s, &got, msg, err)) && aside(s, got, *msg, &ret, err)) {
		protobuf_c_message_free_unpacked(*msg, NULL);
		*msg = NULL;
		if (ret)
			break;
	}
	if (ret && !s->control.understood)
		ret = foreign(sh, ret, err);
	if (ret)
		return mfd_error_sys(err, ret, "waiting for the target's %s",
				     mfd_wire_msg_name(type));
	if (got == type)
		return 0;
	if (got == MFD_WIRE_ABORT)
		s->proof = mfd_proof_of((const Mfd__Abort *)*msg, sh->id);
	if (got == MFD_WIRE_ABORT)
		ret = mfd_error_set(err, -ECANCELED, "the target refuses: %s",
				    ((Mfd__Abort *)*msg)->reason);
	else
		ret = mfd_error_set(err, -EPROTO, "the target said %s instead of %s",
				    mfd_wire_msg_name(got), mfd_wire_msg_name(type));
	protobuf_c_message_free_unpacked(*msg, NULL);
	*msg = NULL;
	return ret;
}

#define MAX_RESTORE_OPTIONS 32

/* Cut `list` up at its commas. */
static size_t split(char *list, char **words)
{
	size_t n = 0;
	char *save;

	for (char *w = list ? strtok_r(list, ",", &save) : NULL; w && n < MAX_RESTORE_OPTIONS;
	     w = strtok_r(NULL, ",", &save))
		words[n++] = w;
	return n;
}

/* Packet flags that the option stands for. */
static uint32_t compress_flags(const struct mfd_options *o)
{
	switch (o->compress) {
	case MFD_COMPRESS_OFF:
		return 0;
	case MFD_COMPRESS_ZSTD:
		return MFD_WIRE_PACKET_ZSTD;
	case MFD_COMPRESS_LZ4:
		return MFD_WIRE_PACKET_LZ4;
	default:
		return MFD_WIRE_PACKET_ZSTD | MFD_WIRE_PACKET_LZ4;
	}
}

static int send_hello(struct mfd_uplink *s, const struct mfd_options *o, struct mfd_shared *sh,
		      struct mfd_error *err)
{
	char *list = o->restore_option ? strdup(o->restore_option) : NULL,
	     *words[MAX_RESTORE_OPTIONS];
	char text[MFD_NETADDR_MAX][MFD_ADDRESS_TEXT], *addresses[MFD_NETADDR_MAX];
	Mfd__Hello h = MFD__HELLO__INIT;
	char host[256] = "";
	struct utsname un;
	int ret;

	mfd_assert(!sh->connected);
	mfd_assert(s->plan < MFD_PLANS);
	uname(&un);
	gethostname(host, sizeof(host) - 1);
	h.session = sh->session;
	h.channels = o->channels;
	h.packet_size = o->packet_size;
	h.checksum = o->checksum != MFD_OFF;
	h.has_compress = 1;
	h.compress = compress_flags(o);
	h.postcopy = o->mode == MFD_MODE_POSTCOPY;
	h.confirm_restore = o->confirm == MFD_CONFIRM_RESTORE;
	h.has_early_restore = h.early_restore = h.confirm_restore && !h.postcopy;
	h.page_size = MFD_WIRE_PAGE_SIZE;
	h.source = host;
	h.arch = un.machine;
	h.program_version = (char *)MFD_VERSION;
	h.n_restore_option = split(list, words);
	h.restore_option = words;
	h.n_move_address = mfd_address_hello(o, addresses, text);
	h.move_address = addresses;
	h.has_settings = h.settings = 1;
	h.has_max_bandwidth = 1;
	h.max_bandwidth = s->hello_bandwidth = atomic_load(&sh->max_bandwidth);
	h.has_memory = h.has_wait_ms = 1;
	h.memory = mfd_queue_begin(&s->queue, sh->criu, o->queue_timeout, o->stall_timeout);
	h.wait_ms = o->queue_timeout;
	h.has_precopy = h.precopy = s->precopy;
	ret = mfd_control_send(&s->control, MFD_WIRE_HELLO, &h.base);
	free(list);
	return ret ? mfd_error_sys(err, ret, "sending HELLO to %s", sh->target.text) : 0;
}

/* Nothing in the answer may be larger than what was asked for. */
static int take_hello_ok(struct mfd_uplink *s, const struct mfd_options *o, struct mfd_shared *sh,
			 struct mfd_error *err)
{
	ProtobufCMessage *msg = NULL;
	Mfd__HelloOk *ok;
	int ret = expect(s, sh, MFD_WIRE_HELLO_OK, &msg, err);

	mfd_assert(!sh->connected);
	mfd_assert(!s->hello_us);
	if (ret)
		return ret;
	mfd_queue_over(&s->queue);
	ok = (Mfd__HelloOk *)msg;
	s->queue.limited = ok->memory_limit > 0;
	if (ok->has_room)
		atomic_store(&s->queue.room, ok->room);
	if (ok->session_id.len != sizeof(sh->id) || ok->secret.len != sizeof(sh->secret) ||
	    !ok->channels || ok->channels > o->channels || ok->packet_size > o->packet_size ||
	    ok->packet_size < MFD_WIRE_MIN_PACKET) {
		ret = mfd_error_set(err, -EPROTO, "the target's HELLO_OK makes no sense");
	} else if (ok->move_addresses != mfd_address_count(o)) {
		ret = mfd_error_set(err, -EPROTONOSUPPORT,
				    "the target's criu-multifd is too old to take over addresses");
	} else {
		memcpy(sh->id, ok->session_id.data, sizeof(sh->id));
		memcpy(sh->secret, ok->secret.data, sizeof(sh->secret));
		sh->connected = 1;
		sh->settings = ok->settings;
		s->plan = mfd_uplink_plan(o, ok->early_restore);
		s->hello_us = mfd_io_now_us();
		s->lim = (struct mfd_wire_limits){
			.channels = ok->channels,
			.packet_size = ok->packet_size / MFD_WIRE_PAGE_SIZE * MFD_WIRE_PAGE_SIZE,
			.checksum = o->checksum != MFD_OFF,
			.compress = (int)(ok->compress & compress_flags(o)),
			.precopy = s->precopy && ok->precopy,
		};
		if (compress_flags(o) && !s->lim.compress)
			mfd_log_info("the target takes no compressed packets");
		if (ok->channels < o->channels)
			mfd_log_info("the target allows %u channels of %u", ok->channels,
				     o->channels);
	}
	protobuf_c_message_free_unpacked(msg, NULL);
	return ret;
}

static int join(struct mfd_uplink *s, const struct mfd_options *o, const struct mfd_shared *sh,
		int bound, unsigned role, unsigned channel, struct mfd_sendchan *c,
		struct mfd_error *err)
{
	struct mfd_wire_joined j;
	struct mfd_conn conn = { 0 };
	int ret;

	mfd_assert(s->lim.packet_size);
	mfd_assert(channel < MFD_WIRE_MAX_CHANNELS);
	ret = connect_as(&conn, sh, o, bound, &s->control.conn, role, channel, err);
	if (ret)
		return ret;
	ret = mfd_conn_recv(&conn, &j, sizeof(j));
	if (ret)
		mfd_error_sys(err, ret, "joining channel %u", channel);
	else if (le32toh(j.magic) != MFD_WIRE_MAGIC_GREETING || j.status)
		ret = mfd_error_set(err, -ECONNREFUSED, "joining channel %u: %s", channel,
				    mfd_wire_join_error(le16toh(j.status)));
	if (role == MFD_WIRE_ROLE_URGENT)
		mfd_conn_prompt(&conn);
	if (!ret)
		ret = mfd_conn_congestion(&conn, o->congestion, s->congestion, err);
	if (!ret) {
		ret = mfd_sendchan_init(c, channel, &conn, &s->lim,
					s->lim.compress ? MFD_OFF : o->zerocopy, o->stall_timeout);
		if (ret)
			mfd_error_set(err, ret, "%s", c->err.text);
		/* The answer to a fault waits for nothing. */
		if (!ret && s->lim.compress && role == MFD_WIRE_ROLE_DATA)
			ret = mfd_compress_new(o->compress, o->compress_level, s->lim.compress,
					       &c->compress);
		c->limit = &s->limit;
		c->urgent = role == MFD_WIRE_ROLE_URGENT;
	}
	mfd_conn_close(&conn);
	return ret;
}

/* Each channel in a flow of its own; the urgent one, too, which must not queue behind memory. */
static int join_all(struct mfd_uplink *s, const struct mfd_options *o, const struct mfd_shared *sh,
		    struct mfd_error *err)
{
	int urgent = mfd_uplink_pages_follow(s), ret = 0;
	struct mfd_ports ports;

	mfd_assert(!s->have_urgent);
	mfd_assert(s->lim.channels <= MFD_WIRE_MAX_CHANNELS);
	mfd_ports_reserve(&ports, sh->target.sa.ss_family, s->lim.channels + (urgent ? 1 : 0));
	for (s->channels = 0; s->channels < s->lim.channels; s->channels++) {
		ret = join(s, o, sh, mfd_ports_take(&ports, s->channels), MFD_WIRE_ROLE_DATA,
			   s->channels, &s->chan[s->channels], err);
		if (ret)
			goto out;
	}
	if (urgent) {
		ret = join(s, o, sh, mfd_ports_take(&ports, s->channels), MFD_WIRE_ROLE_URGENT, 0,
			   &s->urgent, err);
		s->have_urgent = !ret;
	}
out:
	mfd_ports_release(&ports);
	return ret;
}

static void channel_failed(void *arg, unsigned channel, int code)
{
	(void)channel;
	(void)code;
	/* Wakes the main loop; the reason is in the channel. */
	eventfd_write(*(int *)arg, 1);
}

int mfd_uplink_join(struct mfd_uplink *s, const struct mfd_options *o, struct mfd_shared *sh,
		    struct mfd_error *err)
{
	struct mfd_multifd_ops ops = { .send = mfd_sendchan_send, .sync = mfd_sendchan_sync };
	void *priv[MFD_WIRE_MAX_CHANNELS];
	ProtobufCMessage *msg = NULL;
	int ret;

	mfd_assert(!s->multifd);
	mfd_assert(mfd_conn_is_open(&s->control.conn));
	for (unsigned i = 0; i < MFD_WIRE_MAX_CHANNELS; i++)
		priv[i] = &s->chan[i];
	mfd_ratelimit_set(&s->limit, atomic_load(&sh->max_bandwidth));
	ops.failed = s->wake_fd >= 0 ? channel_failed : NULL;
	ops.arg = &s->wake_fd;
	ops.waiting = s->waiting;
	ops.waiting_arg = s->waiting_arg;
	if (!s->lim.channels || s->lim.packet_size < MFD_WIRE_MIN_PACKET)
		return mfd_error_set(err, -EPROTO,
				     "the target does not say how many channels the session has");
	ret = join_all(s, o, sh, err);
	if (ret)
		return ret;
	ret = expect(s, sh, MFD_WIRE_JOINED, &msg, err);
	if (ret)
		return ret;
	protobuf_c_message_free_unpacked(msg, NULL);
	s->joined_us = mfd_io_now_us();
	ret = mfd_multifd_start(&s->multifd, s->channels, priv, &ops, MFD_WIRE_MAX_RUNS);
	return ret ? mfd_error_sys(err, ret, "starting %u channel threads", s->channels) : 0;
}

/* The connection was closed without a word: what may be the cause. */
static void hint(const struct mfd_shared *sh, int ret, struct mfd_error *err)
{
	size_t used = strlen(err->text);

	if (!sh->security && !sh->connected && (ret == -ECONNRESET || ret == -EPIPE))
		snprintf(err->text + used, sizeof(err->text) - used,
			 " (a restore server that expects TLS does that: tls-dir or tls-psk)");
}

int mfd_uplink_open(struct mfd_uplink *s, const struct mfd_options *o, struct mfd_shared *sh,
		    struct mfd_error *err)
{
	int ret;

	mfd_control_init(&s->control);
	ret = mfd_netaddr_check_here(o->move_address, err);
	if (!ret)
		ret = connect_as(&s->control.conn, sh, o, -1, NULL, MFD_WIRE_ROLE_CONTROL, 0, err);
	if (!ret)
		ret = send_hello(s, o, sh, err);
	if (!ret)
		ret = take_hello_ok(s, o, sh, err);
	if (ret)
		hint(sh, ret, err);
	if (!ret)
		ret = mfd_uplink_join(s, o, sh, err);
	if (ret)
		mfd_uplink_close(s);
	return ret;
}

int mfd_uplink_resume(struct mfd_uplink *s, const struct mfd_options *o, struct mfd_shared *sh,
		      const char *outcome, char *state, struct mfd_error *err)
{
	Mfd__Resume r = MFD__RESUME__INIT;
	ProtobufCMessage *msg = NULL;
	int ret;

	mfd_assert(!s->multifd);
	mfd_assert(!s->have_urgent);
	s->proof = MFD_PROOF_NONE;
	mfd_control_init(&s->control);
	ret = connect_as(&s->control.conn, sh, o, -1, NULL, MFD_WIRE_ROLE_CONTROL, 0, err);
	if (ret)
		return ret;
	r.session = sh->session;
	r.outcome = (char *)outcome;
	r.has_settings = r.settings = 1;
	r.has_max_bandwidth = 1;
	r.max_bandwidth = atomic_load(&sh->max_bandwidth);
	r.has_room = r.room = 1;
	r.has_evidence = r.evidence = 1;
	atomic_store(&s->queue.room, UINT64_MAX);
	s->queue.sent = 0;
	ret = mfd_control_send(&s->control, MFD_WIRE_RESUME, &r.base);
	if (ret)
		mfd_error_sys(err, ret, "sending RESUME");
	else
		ret = expect(s, sh, MFD_WIRE_RESUME_OK, &msg, err);
	if (!ret) {
		Mfd__ResumeOk *ok = (Mfd__ResumeOk *)msg;

		snprintf(state, MFD_UPLINK_STATE, "%s", ok->state);
		sh->settings = ok->settings;
		if (ok->has_room)
			atomic_store(&s->queue.room, ok->room);
		if (ok->channels && ok->channels <= MFD_WIRE_MAX_CHANNELS)
			s->lim.channels = ok->channels;
		if (ok->packet_size >= MFD_WIRE_MIN_PACKET &&
		    ok->packet_size <= MFD_WIRE_MAX_PACKET)
			s->lim.packet_size =
				ok->packet_size / MFD_WIRE_PAGE_SIZE * MFD_WIRE_PAGE_SIZE;
		s->lim.compress = (int)compress_flags(o);
		/* a worker that takes over has no limits yet */
		s->lim.checksum = o->checksum != MFD_OFF;
		protobuf_c_message_free_unpacked(msg, NULL);
	} else {
		mfd_control_close(&s->control);
	}
	return ret;
}

void mfd_uplink_shutdown(struct mfd_uplink *s)
{
	mfd_ratelimit_set(&s->limit, 0); /* no channel sleeps on */
	mfd_conn_shutdown(&s->control.conn);
	for (unsigned i = 0; i < s->channels; i++)
		mfd_conn_shutdown(&s->chan[i].conn);
	if (s->have_urgent)
		mfd_conn_shutdown(&s->urgent.conn);
}

void mfd_uplink_close(struct mfd_uplink *s)
{
	mfd_assert(s->channels <= MFD_WIRE_MAX_CHANNELS);
	mfd_assert(!s->have_urgent || mfd_uplink_pages_follow(s));
	mfd_uplink_shutdown(s);
	if (s->multifd)
		mfd_multifd_get_stats(s->multifd, &s->produced);
	mfd_multifd_stop(s->multifd);
	s->multifd = NULL;
	for (unsigned i = 0; i < s->channels; i++)
		mfd_sendchan_close(&s->chan[i]);
	if (s->have_urgent)
		mfd_sendchan_close(&s->urgent);
	s->have_urgent = 0;
	mfd_control_close(&s->control);
}

void mfd_uplink_totals(const struct mfd_uplink *s, struct mfd_sendchan_stats *sum)
{
	for (unsigned i = 0; i < s->channels; i++)
		mfd_sendchan_stats(&s->chan[i], sum);
}
