/* SPDX-License-Identifier: GPL-2.0-only */
/* The source's end of a session: the control connection and the channels, from HELLO to JOINED, and reopening after a loss. */
#ifndef MFD_SOURCE_SESSION_H
#define MFD_SOURCE_SESSION_H

#include "control.h"
#include "multifd.h"
#include "options.h"
#include "sendchan.h"
#include "shared.h"

struct mfd_session {
	struct mfd_control control;
	struct mfd_wire_limits lim;
	struct mfd_sendchan chan[MFD_WIRE_MAX_CHANNELS];
	unsigned channels;	    /* that are open; == lim.channels once joined */
	struct mfd_sendchan urgent; /* postcopy: answers to faults; belongs to the inbox thread */
	int have_urgent;
	struct mfd_multifd *multifd;
	int wake_fd; /* eventfd that a failing channel writes to, the caller's; -1 = none */
};

/*
 * Steps 1 and 2 of the commit table: HELLO and all joins.  sh->target and sh->session must be set; fills id and secret.
 * The caller has zeroed *s and set wake_fd.
 */
int mfd_session_open(struct mfd_session *s, const struct mfd_options *o, struct mfd_shared *sh, struct mfd_error *err);
/* RESUME on a new control connection; *state gets the target's word (at least 32 bytes). */
int mfd_session_resume(struct mfd_session *s, const struct mfd_options *o, struct mfd_shared *sh, const char *outcome,
		       char *state, struct mfd_error *err);
/* Channels again after a RESUME of outcome "continue"; limits are the session's. */
int mfd_session_rejoin(struct mfd_session *s, const struct mfd_options *o, struct mfd_shared *sh, struct mfd_error *err);
/* Makes every blocking call on any of its connections fail. Any thread. */
void mfd_session_shutdown(struct mfd_session *s);
/* Stops the channel threads and closes everything. Statistics of the channels stay readable. */
void mfd_session_close(struct mfd_session *s);

/* Everything the channels have sent so far; only while they are synced or stopped. */
void mfd_session_totals(const struct mfd_session *s, struct mfd_sendchan_stats *sum);

#endif
