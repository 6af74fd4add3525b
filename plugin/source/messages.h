/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Messages of the target that the inbox thread leaves to the main thread.  Which may come in which
 * phase is in the table of proto/turns.c; what each means is in the table of messages.c.
 */
#ifndef MFD_MESSAGES_H
#define MFD_MESSAGES_H

#include <protobuf-c/protobuf-c.h>

struct mfd_worker;

/* One message: 0, an enum mfd_send_event, or -errno with w->err filled. */
int mfd_messages_handle(struct mfd_worker *w, unsigned type, const ProtobufCMessage *msg);
/* All that the inbox thread has left, each decided about: 0, or what ends the caller's loop. */
int mfd_messages_take(struct mfd_worker *w);

#endif
