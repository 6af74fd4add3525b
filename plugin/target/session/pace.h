/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How fast a peer may send, all its sessions together (max-bandwidth of its block).  A receiver
 * waits before it takes a payload, so the connection fills up and the source waits, too.  What a
 * restored task waits for is counted and not held up.
 *
 * A source that changes settings while it runs is told the limit as well (say.h), and keeps to it
 * by itself: then its packets do not stand in its socket.
 */
#ifndef MFD_PACE_H
#define MFD_PACE_H

#include <stdint.h>

struct mfd_pace;
struct mfd_server;
struct mfd_session;

/* server->lock held: the pace of the session's owner, or NULL: it has no limit. */
struct mfd_pace *mfd_pace_take(struct mfd_server *sv, const struct mfd_session *s);
/* server->lock held; fine with NULL. */
void mfd_pace_put(struct mfd_server *sv, struct mfd_pace *p);
/* Before `bytes` are received; fine with NULL. */
void mfd_pace_wait(struct mfd_pace *p, uint64_t bytes, int urgent);

#endif
