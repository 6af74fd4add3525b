/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Precopy: memory is sent in rounds while the tasks run.
 *
 * It happens inside the plugin's START, that is while CRIU stands in the plugin's init hook: the
 * session is open, no task is seized, no alarm of CRIU is set, no image is written.  A person, a
 * signal and CRIU's end are looked for between payloads, as in any wait.
 *
 *	round n	 meet the tree (tracked.h), and of each tracked task send what is new or was written
 *		 (lib/track.h); sync, ROUND n, ROUND_OK n
 *	...	 until criterion.h says that it is enough
 *	stop	 CRIU freezes the tasks; tasks.c sends what was written since (the round behind the
 *		 last), and END proves by a sum that the target has each page's last copy
 *
 * If anything fails in a round, nothing is frozen: the tasks run on, and the protection of their
 * memory is taken back.  What cannot be tracked is no failure: such a task is sent whole in the
 * stop.
 */
#ifndef MFD_PRECOPY_H
#define MFD_PRECOPY_H

#include <stdint.h>

#include "criterion.h"
#include "tracked.h"

struct mfd_worker;

struct mfd_precopy {
	struct mfd_tracked tracked;
	struct mfd_criterion criterion;
	enum mfd_criterion_end end;
	uint32_t answered;	    /* the latest ROUND_OK; tracked.rounds follows */
	uint64_t begun_ms;	    /* the first round, CLOCK_MONOTONIC */
	uint64_t pages, resent;	    /* sent in rounds; of these in rounds after the first */
	uint64_t last_us, total_us; /* the latest round, all of them */
	unsigned attach_us;	    /* the longest stop of one thread */
	char why[160];		    /* why there is none, or no more; empty */
};

/*
 * Before HELLO: shall the session have precopy?  `why` says why not, unless it was not asked for.
 */
int mfd_precopy_wanted(struct mfd_worker *w);
/* After JOINED: all rounds.  0, or -errno with w->err filled. */
int mfd_precopy_run(struct mfd_worker *w);
/* For the summary: NULL without precopy. */
struct json_object *mfd_precopy_json(const struct mfd_worker *w);

#endif
