/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * In doubt: the tasks here are frozen, or dead, and the target is not known to run them.  A state
 * that lasts until there is a proof (proof.h) or a person decides; `status --source`, the log and
 * `migrate` show it, with its reason.
 */
#ifndef MFD_DOUBT_H
#define MFD_DOUBT_H

#include "progress.h"
#include "proof.h"

struct mfd_worker;

struct mfd_doubt {
	enum mfd_progress_doubt kind; /* MFD_PROGRESS_SURE: none */
	char why[512];		      /* a sentence */
};

/*
 * Nonzero: w->err is one of a task here that has died, and what it had is nowhere else: no other
 * connection mends that.
 */
int mfd_doubt_is_damage(const struct mfd_worker *w);
/* By the main thread.  What the latest try has shown: w->err, and what the target's word proves. */
void mfd_doubt_begin(struct mfd_worker *w, enum mfd_proof proof);
void mfd_doubt_end(struct mfd_worker *w);

/*
 * The tasks here are dead, and the target has not acknowledged COMMIT over the session's own
 * connection: tell it over new ones.  `migrate` waits for first_ms (MFD_TELL_MS); after that this
 * process goes on telling, until the target answers or a person ends it (`resolve --source DIR
 * --discard`; SIGTERM ends the process alone, and another one may tell on).  `rests`: what
 * mfd_person_rest has given meanwhile; nonzero ends it at once.
 */
void mfd_doubt_tell(struct mfd_worker *w, unsigned first_ms, int rests);

#endif
