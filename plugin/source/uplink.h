/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The source's end of a session: the control connection and the channels, from HELLO to JOINED, and
 * reopening after a loss.
 */
#ifndef MFD_UPLINK_H
#define MFD_UPLINK_H

#include "congestion.h"
#include "control.h"
#include "multifd.h"
#include "options.h"
#include "queue.h"
#include "sendchan.h"
#include "shared.h"

struct mfd_uplink {
	struct mfd_control control;
	struct mfd_wire_limits lim;
	struct mfd_sendchan chan[MFD_WIRE_MAX_CHANNELS];
	unsigned channels;		      /* that are open; == lim.channels once joined */
	char congestion[MFD_CONGESTION_NAME]; /* what they use */
	/* the target restores as soon as it has the images; granted by HELLO_OK, for life */
	int early;
	/* postcopy, early: answers to faults; belongs to the inbox thread */
	struct mfd_sendchan urgent;
	int have_urgent;
	struct mfd_ratelimit limit; /* all channels together */
	struct mfd_queue queue;	    /* the target's memory */
	struct mfd_multifd *multifd;
	struct mfd_multifd_stats produced; /* of a multifd that has been stopped */
	uint64_t hello_us, joined_us;	   /* CLOCK_MONOTONIC: HELLO_OK and JOINED came */
	uint64_t hello_bandwidth;	   /* what HELLO said that max-bandwidth is */
	int (*waiting)(void *arg);	   /* see multifd.h; the caller's, may be NULL */
	void *waiting_arg;
	int wake_fd; /* eventfd that a failing channel writes to, the caller's; -1 = none */
};

/*
 * The target may restore before it has every page: images come first, faults on the urgent channel.
 */
static inline int mfd_uplink_pages_follow(const struct mfd_uplink *s, const struct mfd_options *o)
{
	return o->mode == MFD_MODE_POSTCOPY || s->early;
}

/*
 * Steps 1 and 2 of the commit table: HELLO and all joins.  sh->target and sh->session must be set;
 * fills id and secret. The caller has zeroed *s and set wake_fd.
 */
int mfd_uplink_open(struct mfd_uplink *s, const struct mfd_options *o, struct mfd_shared *sh,
		    struct mfd_error *err);
/* RESUME on a new control connection; *state gets the target's word (at least 32 bytes). */
int mfd_uplink_resume(struct mfd_uplink *s, const struct mfd_options *o, struct mfd_shared *sh,
		      const char *outcome, char *state, struct mfd_error *err);
/* Channels again after a RESUME of outcome "continue"; limits are the session's. */
int mfd_uplink_rejoin(struct mfd_uplink *s, const struct mfd_options *o, struct mfd_shared *sh,
		      struct mfd_error *err);
/* Makes every blocking call on any of its connections fail. Any thread. */
void mfd_uplink_shutdown(struct mfd_uplink *s);
/* Stops the channel threads and closes everything. Statistics of the channels stay readable. */
void mfd_uplink_close(struct mfd_uplink *s);

/* Everything the channels have sent so far; only while they are synced or stopped. */
void mfd_uplink_totals(const struct mfd_uplink *s, struct mfd_sendchan_stats *sum);

#endif
