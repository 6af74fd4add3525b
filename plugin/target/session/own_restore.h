/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * confirm = restore, the session thread's part: restore as soon as that is possible, stopped; tell
 * the source; continue the tasks when the source has let go (safe: COMMIT; postcopy: STARTED_OK).
 * Until then everything can be killed, and from the page store restored again.
 *
 * Plan early: the restore begins when the images are here, and pages that come after it has
 * finished go straight into the stopped tasks, which then are their only place.  Before READY a
 * failure ends the session anyway.  From READY on the tasks must not be lost: the next worker takes
 * them over, pages still to be put in or not (MFD_NOTE_COMPLETE), and leaves them stopped.
 *
 * These report trouble (0, or -errno and *t) and leave it to the actor.
 */
#ifndef MFD_OWN_RESTORE_H
#define MFD_OWN_RESTORE_H

#include "rules.h"

/* Start criu restore, if the plan has it, a pager is there and it was not started before. */
int mfd_own_restore_begin(struct mfd_session *s, struct mfd_trouble *t);
/* CRIU has ended (MFD_RESTORE_ENDED): 0 = the tasks exist, stopped. */
int mfd_own_restore_ended(struct mfd_session *s, struct mfd_trouble *t);
/* In READY: look at the tasks once more and enter RESTORED, by which the source lets go. */
int mfd_own_restore_confirm(struct mfd_session *s, struct mfd_trouble *t);
/* The source has let go: continue the tasks, if they exist and are stopped.  1 = just done. */
int mfd_own_restore_continue(struct mfd_session *s);
/*
 * After a takeover (takeover.h): the tasks run, or were just about to; early, and not committed:
 * they are stopped, and stay so.  adopt looks for them, and changes nothing: 0; -errno: of those
 * that stay stopped there are none, or (mfd_life_cannot_tell) it is not known.  adopted: they have
 * a pager, and those that are to run do.
 */
int mfd_own_restore_adopt(struct mfd_session *s);
void mfd_own_restore_adopted(struct mfd_session *s);

/* STOPPED tasks: look whether something has let one run, and say so.  Nonzero: one has run. */
int mfd_own_restore_look(struct mfd_session *s);
/*
 * A stopped task has died, and nothing has left the store: kill the rest, so that it can be
 * restored once more.
 */
void mfd_own_restore_undo(struct mfd_session *s);

#endif
