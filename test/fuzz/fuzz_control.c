/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A control connection that receives the input and then ends.  Its operations read from memory:
 * mfd_control_recv must take every whole message and stop with an error at anything else.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "conn_ops.h"
#include "control.h"
#include "wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
	const uint8_t *data;
	size_t left;
};

static int input_recv(struct mfd_conn *c, void *buf, size_t len)
{
	struct input *in = c->transport;
	size_t n = len < in->left ? len : in->left;

	if (!len)
		return 0;
	memcpy(buf, in->data, n);
	in->data += n;
	in->left -= n;
	if (n == len)
		return 0;
	return n ? -EPIPE : -ECONNRESET;
}

static void input_close(struct mfd_conn *c)
{
	c->transport = NULL;
}

static const struct mfd_conn_ops input_ops = { .recv = input_recv, .close = input_close };

/* Its text fields are looked at, as a handler would. */
static void look(unsigned type, const ProtobufCMessage *msg)
{
	uint8_t *packed;

	if (!strcmp(mfd_wire_msg_name(type), "unknown") || !protobuf_c_message_check(msg))
		abort();
	packed = malloc(protobuf_c_message_get_packed_size(msg) + 1);
	if (packed)
		protobuf_c_message_pack(msg, packed);
	free(packed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { .data = data, .left = size };
	struct mfd_error err = { .code = 0 };
	struct mfd_control c;
	ProtobufCMessage *msg;
	unsigned type;
	int ret;

	mfd_control_init(&c);
	mfd_conn_swap(&c.conn, &input_ops, &in);
	while ((ret = mfd_control_recv(&c, &type, &msg, &err)) == 0) {
		look(type, msg);
		protobuf_c_message_free_unpacked(msg, NULL);
	}
	if (ret != -ECONNRESET && ret != -EPIPE && (ret != -EPROTO || err.code != -EPROTO))
		abort();
	mfd_control_close(&c);
	return 0;
}
