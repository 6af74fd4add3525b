/* SPDX-License-Identifier: GPL-2.0-only */
/* Control messages: one table names the protobuf message of every frame type. */
#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "control.h"
#include "wire.h"
#include "proto/control.pb-c.h"

static const ProtobufCMessageDescriptor *const messages[] = {
	[MFD_WIRE_HELLO] = &mfd__hello__descriptor,
	[MFD_WIRE_HELLO_OK] = &mfd__hello_ok__descriptor,
	[MFD_WIRE_JOINED] = &mfd__joined__descriptor,
	[MFD_WIRE_IMAGES] = &mfd__images__descriptor,
	[MFD_WIRE_IMAGES_OK] = &mfd__images_ok__descriptor,
	[MFD_WIRE_END] = &mfd__end__descriptor,
	[MFD_WIRE_NEED] = &mfd__need__descriptor,
	[MFD_WIRE_READY] = &mfd__ready__descriptor,
	[MFD_WIRE_STARTED] = &mfd__started__descriptor,
	[MFD_WIRE_STARTED_OK] = &mfd__started_ok__descriptor,
	[MFD_WIRE_FAULT] = &mfd__fault__descriptor,
	[MFD_WIRE_RESTORED] = &mfd__restored__descriptor,
	[MFD_WIRE_COMMIT] = &mfd__commit__descriptor,
	[MFD_WIRE_COMMITTED] = &mfd__committed__descriptor,
	[MFD_WIRE_ABORT] = &mfd__abort__descriptor,
	[MFD_WIRE_RESUME] = &mfd__resume__descriptor,
	[MFD_WIRE_RESUME_OK] = &mfd__resume_ok__descriptor,
	[MFD_WIRE_PING] = &mfd__ping__descriptor,
	[MFD_WIRE_PONG] = &mfd__pong__descriptor,
	[MFD_WIRE_SET] = &mfd__set__descriptor,
	[MFD_WIRE_SETTING] = &mfd__setting__descriptor,
	[MFD_WIRE_QUEUED] = &mfd__queued__descriptor,
	[MFD_WIRE_ROOM] = &mfd__room__descriptor,
	[MFD_WIRE_SIZE] = &mfd__size__descriptor,
	[MFD_WIRE_ROUND] = &mfd__round__descriptor,
	[MFD_WIRE_ROUND_OK] = &mfd__round_ok__descriptor,
	[MFD_WIRE_PROBE] = &mfd__probe__descriptor,
	[MFD_WIRE_PROBED] = &mfd__probed__descriptor,
};

static const ProtobufCMessageDescriptor *descriptor(unsigned type)
{
	return type < sizeof(messages) / sizeof(messages[0]) ? messages[type] : NULL;
}

void mfd_control_init(struct mfd_control *c)
{
	c->conn = (struct mfd_conn){ 0 };
	c->max_body = MFD_WIRE_MAX_FRAME;
	c->understood = 0;
	pthread_mutex_init(&c->send_lock, NULL);
}

void mfd_control_close(struct mfd_control *c)
{
	mfd_conn_close(&c->conn);
	pthread_mutex_destroy(&c->send_lock);
}

#define NO_LIMIT UINT_MAX

static int send_message(struct mfd_control *c, unsigned type, const ProtobufCMessage *msg,
			unsigned ms)
{
	struct mfd_wire_frame frame = { .type = (uint16_t)type };
	struct iovec iov[2];
	size_t len;
	void *body;
	int ret;

	if (!descriptor(type) || msg->descriptor != descriptor(type))
		return -EINVAL;
	len = protobuf_c_message_get_packed_size(msg);
	if (len > MFD_WIRE_MAX_FRAME)
		return -EMSGSIZE;
	body = malloc(len + 1);
	if (!body)
		return -ENOMEM;
	protobuf_c_message_pack(msg, body);
	frame.len = (uint32_t)len;
	mfd_wire_frame_seal(&frame);
	iov[0] = (struct iovec){ .iov_base = &frame, .iov_len = sizeof(frame) };
	iov[1] = (struct iovec){ .iov_base = body, .iov_len = len };

	pthread_mutex_lock(&c->send_lock);
	ret = ms == NO_LIMIT ? mfd_conn_sendv(&c->conn, iov, 2, 0) :
			       mfd_conn_sendv_within(&c->conn, iov, 2, ms);
	pthread_mutex_unlock(&c->send_lock);
	free(body);
	return ret;
}

int mfd_control_send(struct mfd_control *c, unsigned type, const ProtobufCMessage *msg)
{
	return send_message(c, type, msg, NO_LIMIT);
}

int mfd_control_send_within(struct mfd_control *c, unsigned type, const ProtobufCMessage *msg,
			    unsigned ms)
{
	return send_message(c, type, msg, ms);
}

/*
 * Memory for one message.  An unknown field of two bytes would take 72 (measured with protobuf-c
 * 1.4), a message of ours at most 9 times its bytes: NEED with many ranges.
 */
#define MAX_GROWTH 16U
#define FLOOR	   65536U

static void *take(void *arg, size_t size)
{
	size_t *left = arg;

	if (size > *left)
		return NULL;
	*left -= size;
	return malloc(size);
}

static void give(void *arg, void *p)
{
	(void)arg;
	free(p);
}

/* A message that waits for its turn holds what is understood of it, no more. */
static void drop_unknown(ProtobufCMessage *m)
{
	for (unsigned i = 0; i < m->n_unknown_fields; i++)
		free(m->unknown_fields[i].data);
	free(m->unknown_fields);
	m->unknown_fields = NULL;
	m->n_unknown_fields = 0;
}

static ProtobufCMessage *unpack(unsigned type, size_t len, const uint8_t *body)
{
	size_t left = MAX_GROWTH * len + FLOOR;
	ProtobufCAllocator bounded = { .alloc = take, .free = give, .allocator_data = &left };
	ProtobufCMessage *m = protobuf_c_message_unpack(descriptor(type), &bounded, len, body);

	if (m)
		drop_unknown(m);
	return m;
}

static int recv_body(struct mfd_control *c, const struct mfd_wire_frame *frame,
		     ProtobufCMessage **msg, struct mfd_error *err)
{
	uint8_t *body;
	int ret;

	if (frame->len > c->max_body)
		return mfd_error_set(err, -EPROTO, "control message %s of %u bytes is too long",
				     mfd_wire_msg_name(frame->type), frame->len);
	body = malloc(frame->len + 1UL);
	if (!body)
		return -ENOMEM;
	ret = mfd_conn_recv(&c->conn, body, frame->len);
	if (ret == -ECONNRESET)
		ret = -EPIPE; /* it ended inside a message */
	if (!ret) {
		*msg = unpack(frame->type, frame->len, body);
		if (!*msg)
			ret = mfd_error_set(err, -EPROTO,
					    "control message %s of %u bytes does not parse",
					    mfd_wire_msg_name(frame->type), frame->len);
	}
	free(body);
	return ret;
}

int mfd_control_recv(struct mfd_control *c, unsigned *type, ProtobufCMessage **msg,
		     struct mfd_error *err)
{
	struct mfd_wire_frame frame;
	const char *why;
	int ret;

	ret = mfd_conn_recv(&c->conn, &frame, sizeof(frame));
	if (ret)
		return ret;
	ret = mfd_wire_frame_open(&frame, &why);
	if (ret)
		return mfd_error_set(err, ret, "control channel: %s", why);
	c->understood = 1;
	if (!descriptor(frame.type))
		return mfd_error_set(err, -EPROTO, "control channel: unknown message type %u",
				     frame.type);
	*type = frame.type;
	return recv_body(c, &frame, msg, err);
}

int mfd_control_send_abort(struct mfd_control *c, int code, const char *reason)
{
	Mfd__Abort abort_msg = MFD__ABORT__INIT;

	abort_msg.reason = (char *)(uintptr_t)reason;
	abort_msg.has_code = 1;
	abort_msg.code = code;
	return mfd_control_send(c, MFD_WIRE_ABORT, &abort_msg.base);
}
