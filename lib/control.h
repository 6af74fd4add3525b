/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Control messages over a connection: frame + protobuf.  Any thread may send: a lock inside puts
 * one message behind the other.  Receiving belongs to one thread.
 */
#ifndef MFD_CONTROL_H
#define MFD_CONTROL_H

#include <pthread.h>
#include <protobuf-c/protobuf-c.h>

#include "conn.h"
#include "error.h"

struct mfd_control {
	struct mfd_conn conn;
	pthread_mutex_t send_lock; /* guards the sending direction of conn */
	uint32_t max_body;	   /* longer ones are refused; MFD_WIRE_MAX_FRAME, or set smaller */
	int understood; /* bool: the peer has begun a message; before, it may be anything */
};

void mfd_control_init(struct mfd_control *c); /* conn is closed until the caller opens it */
void mfd_control_close(struct mfd_control *c);

/* `type` is an enum mfd_wire_msg and must be that of `msg`. */
int mfd_control_send(struct mfd_control *c, unsigned type, const ProtobufCMessage *msg);
/* The same, at the longest for ms (mfd_conn_sendv_within), which a slow reader cannot extend. */
int mfd_control_send_within(struct mfd_control *c, unsigned type, const ProtobufCMessage *msg,
			    unsigned ms);
/*
 * Receive the next message, unpacked (free with protobuf_c_message_free_unpacked(*msg, NULL)) and
 * its type.  -EPROTO for a bad frame, an unknown type or a body that does not parse, with the
 * reason in err; other codes as mfd_conn_recv.  Fields that this version does not know are left
 * out, and a body that would take much more memory than it has bytes does not parse.
 */
int mfd_control_recv(struct mfd_control *c, unsigned *type, ProtobufCMessage **msg,
		     struct mfd_error *err);
int mfd_control_send_abort(struct mfd_control *c, int code, const char *reason);

#endif
