/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * confirm = restore, the session thread's part: restore as soon as that is possible, stopped; tell
 * the source; continue the tasks when it has let go (safe: COMMIT; postcopy: STARTED_OK).  Until
 * then everything can be killed, and from the page store restored again.
 *
 * early: the restore begins when the images are here, and pages that come after it has finished go
 * straight into the stopped tasks, which are then the only place they are in.  Before READY a
 * failure ends the session anyway.  From READY on the tasks must not be lost: a worker that follows
 * takes them over, pages still to be put in or not (MFD_NOTE_COMPLETE), and leaves them
 * stopped.
 */
#ifndef MFD_CONFIRM_H
#define MFD_CONFIRM_H

struct mfd_session;

/*
 * Start criu restore, unless it was started.  A failure ends the session, or is noted when it is
 * committed already.
 */
void mfd_confirm_begin(struct mfd_session *s);
/* criu restore runs, or nobody has looked at its end yet */
int mfd_confirm_busy(struct mfd_session *s);
void mfd_confirm_ended(struct mfd_session *s);	  /* restore.done */
void mfd_confirm_verified(struct mfd_session *s); /* READY was sent */
/* The source has let go: continue, if the tasks exist and are stopped.  1 = just done. */
int mfd_confirm_continue(struct mfd_session *s);
/*
 * After a takeover (takeover.h): the tasks run, or were just about to; early, and not committed:
 * they are stopped, and stay so.  Of these alone: 0, or -errno when there are none.
 */
int mfd_confirm_adopt(struct mfd_session *s);
/* RESTORED; 0 = still stopped */
void mfd_confirm_tell(struct mfd_session *s, unsigned long long resumed_us);

#endif
