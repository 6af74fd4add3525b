/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a person asks of a live session: `abort`, `resolve --run`, `resolve --discard`.  A table has
 * the answer for each request in each phase; it says what is lost, and where the tasks live then.
 */
#ifndef MFD_SETTLE_H
#define MFD_SETTLE_H

struct mfd_request;
struct mfd_session;

/* The session's thread.  Fill r->answer: "ok", "ok TEXT" or "error: TEXT". */
void mfd_settle(struct mfd_session *s, struct mfd_request *r);

#endif
