/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The sender as the plugin sees it: a process it starts, questions it asks, and where it may be
 * found.
 */
#ifndef MFD_SENDER_H
#define MFD_SENDER_H

#include "options.h"
#include "pluginlink.h"

struct mfd_sender {
	int link;   /* -1 = none */
	int frozen; /* bool: what CRIU is told to freeze was so when the dump began */
};

/*
 * Start `criu-multifd send` as a process that is not CRIU's child and tell it to connect; returns
 * when the target has accepted the session and every channel, or -errno with the sender's words in
 * err.
 */
int mfd_sender_start(struct mfd_sender *s, const struct mfd_options *o, struct mfd_error *err);
/*
 * Ask and wait for OK: 0; FAILED or a vanished sender: -errno.  *given (may be NULL) is a
 * descriptor that came with OK, the caller's, or -1.
 */
int mfd_sender_ask(struct mfd_sender *s, enum mfd_link_type what, int value, int *given,
		   struct mfd_error *err);
/* CRIU freezes next, by a control group or without one.  Nothing to do without a sender. */
int mfd_sender_freezes(struct mfd_sender *s, struct mfd_error *err);
/*
 * Tell the result of the dump and collect the sender's last words; `reply->type` is 0 when none
 * came in time.
 */
void mfd_sender_end(struct mfd_sender *s, int ret, struct mfd_link_msg *reply);

#endif
