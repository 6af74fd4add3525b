/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * When precopy stops: after each round the tasks either run on for another one, or are frozen.
 *
 * The downtime that a freeze would bring now is
 *
 *	floor	  CRIU's own part, which grows with memory, tasks and threads
 *	transfer  what was written since the round, at the rate of the rounds
 *	verify, restore
 *
 * and rounds end when the transfer fits into what the others leave of downtime-limit, or is as
 * short as a round can be.  Only the transfer can be made shorter by another round.
 */
#ifndef MFD_CRITERION_H
#define MFD_CRITERION_H

#include <stdint.h>

enum mfd_criterion_end {
	MFD_CRITERION_GO_ON,
	MFD_CRITERION_REACHED,	 /* the transfer is short enough */
	MFD_CRITERION_ROUNDS,	 /* max-rounds */
	MFD_CRITERION_TIMEOUT,	 /* precopy-timeout */
	MFD_CRITERION_UNBOUNDED, /* the tasks write as fast as pages are sent */
	MFD_CRITERION_ENDS,
};
const char *mfd_criterion_word(enum mfd_criterion_end end); /* "reached", of the summary */

struct mfd_criterion {
	/* options */
	uint32_t limit_ms, max_rounds, timeout_ms;
	/* of the tree */
	uint64_t memory; /* bytes */
	unsigned tasks, threads;
	int confirm; /* bool: the target restores before the verdict */
	int listed;  /* bool: the sender, not CRIU, lists pages of large mappings (page-dump) */
	/* so far */
	unsigned round;
	uint64_t rate;	  /* bytes per second, an average in which the latest round counts most */
	uint64_t left;	  /* bytes that were written since the latest round, or never sent */
	uint64_t written; /* bytes per second that the tasks wrote in the latest round */
	unsigned growing; /* rounds in a row that left hardly less than the one before */
	uint32_t floor_ms, expected_ms;
};

/*
 * A round is over that sent `bytes` in `round_us`; `left` is what another one would send, now, and
 * `elapsed_ms` since the first began.
 */
enum mfd_criterion_end mfd_criterion_round(struct mfd_criterion *c, uint64_t bytes,
					   uint64_t round_us, uint64_t left, uint64_t elapsed_ms);

#endif
