/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The source's end of a session: the control connection and the channels, from HELLO to JOINED, and
 * reopening after a loss.  Main thread, unless said otherwise.
 */
#ifndef MFD_UPLINK_H
#define MFD_UPLINK_H

#include "congestion.h"
#include "control.h"
#include "multifd.h"
#include "options.h"
#include "proof.h"
#include "queue.h"
#include "sendchan.h"
#include "shared.h"
#include "turns.h"

#define MFD_UPLINK_STATE 32 /* bytes of the target's word for its state */

struct mfd_uplink {
	struct mfd_control control;
	struct mfd_wire_limits lim;
	struct mfd_sendchan chan[MFD_WIRE_MAX_CHANNELS];
	unsigned channels;		      /* that are open; == lim.channels once joined */
	char congestion[MFD_CONGESTION_NAME]; /* what they use */
	enum mfd_plan_id plan; /* what is asked for; from HELLO_OK on what is granted, for life */
	/* if pages follow: answers to faults; belongs to the inbox thread */
	struct mfd_sendchan urgent;
	int have_urgent;	    /* bool: it is open */
	struct mfd_ratelimit limit; /* all channels together */
	struct mfd_queue queue;	    /* the target's memory */
	struct mfd_multifd *multifd;
	struct mfd_multifd_stats produced; /* of a multifd that has been stopped */
	uint64_t hello_us, joined_us;	   /* CLOCK_MONOTONIC: HELLO_OK and JOINED came */
	enum mfd_proof proof;		   /* of the target's latest refusal */
	int precopy;			   /* bool: it is asked for; lim.precopy: granted */
	uint64_t hello_bandwidth;	   /* what HELLO said that max-bandwidth is */
	int (*waiting)(void *arg);	   /* see multifd.h; the caller's, may be NULL */
	void *waiting_arg;
	int wake_fd; /* eventfd that a failing channel writes to, the caller's; -1 = none */
};

/*
 * The target may restore before it has every page: images come first, faults on the urgent channel.
 */
static inline int mfd_uplink_pages_follow(const struct mfd_uplink *s)
{
	return s->plan == MFD_PLAN_EARLY || s->plan == MFD_PLAN_POSTCOPY ||
	       s->plan == MFD_PLAN_POSTCOPY_CONFIRM;
}

/* The plan that the options ask for; `early`: the target grants an early restore. */
enum mfd_plan_id mfd_uplink_plan(const struct mfd_options *o, int early);

/*
 * Steps 1 and 2 of the commit table: HELLO and all joins.  sh->target and sh->session must be set;
 * fills id and secret. The caller has zeroed *s and set wake_fd.
 */
int mfd_uplink_open(struct mfd_uplink *s, const struct mfd_options *o, struct mfd_shared *sh,
		    struct mfd_error *err);
/* RESUME on a new control connection; *state gets the target's word (MFD_UPLINK_STATE bytes). */
int mfd_uplink_resume(struct mfd_uplink *s, const struct mfd_options *o, struct mfd_shared *sh,
		      const char *outcome, char *state, struct mfd_error *err);
/*
 * Join all channels and start their threads; after HELLO_OK, or after a RESUME of outcome
 * "continue".  The limits are the session's.
 */
int mfd_uplink_join(struct mfd_uplink *s, const struct mfd_options *o, struct mfd_shared *sh,
		    struct mfd_error *err);
/* Make each blocking call on any of its connections fail. Any thread. */
void mfd_uplink_shutdown(struct mfd_uplink *s);
/* Stop the channel threads and close everything. Statistics of the channels stay readable. */
void mfd_uplink_close(struct mfd_uplink *s);

/* Everything the channels have sent so far; only while they are synced or stopped. */
void mfd_uplink_totals(const struct mfd_uplink *s, struct mfd_sendchan_stats *sum);

#endif
