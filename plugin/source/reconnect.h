/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Postcopy, the connections are lost after the restored tasks were given leave to run: the tasks
 * here stay frozen, those there block on what they lack, and the worker tries to get back for as
 * long as it takes, or until a person decides.
 *
 *	running, running_all, rejoined, running_complete -> lost -> rejoined
 *							      |--> running_complete: discard
 *							      `--> undone: nothing runs there
 *
 * Only an error of the link is worth a try.  One of the tasks here (a task was killed: what it had
 * is nowhere else) leaves the session to a person at once, and so do connections that are lost
 * again and again as soon as they are there.  `status --source` shows when the next try is, if any.
 */
#ifndef MFD_RECONNECT_H
#define MFD_RECONNECT_H

#include <stdint.h>

struct mfd_worker;

/* Of the worker; all zero at the start. */
struct mfd_retry {
	uint64_t since_ms;  /* the connections were lost */
	uint64_t next_ms;   /* of the next try; 0: there is none */
	unsigned tries;	    /* since then */
	unsigned shorts;    /* connections in a row that did not last */
	uint64_t joined_ms; /* the latest connection; 0: none but the first */
};

/*
 * w->err says why the connections are lost.  0: the phase is rejoined, or a person has discarded
 * the tasks here.  -errno with w->err filled: in phase undone nothing runs on the target (it says
 * so, or a person does); in phase lost a person has ended the sender.
 */
int mfd_reconnect(struct mfd_worker *w);

#endif
