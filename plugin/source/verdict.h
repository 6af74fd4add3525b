/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How a session ends on the source.
 *
 * Commit: tell the plugin (so that its dead man's switch stays quiet), open the gate, see the tasks
 * die, tell the target.  The target hears COMMIT only when no task is left alive here, so there is
 * no moment at which both may run; if it cannot be told it keeps the session, in doubt.
 *
 *	complete -> committing -> released	CRIU ends the tasks
 *	running_complete -> ending -> released	the sender does, with CRIU or without it
 *
 * Abort: tell target and plugin why, close the gate, and see CRIU's dump fail; nothing holds the
 * tasks any more.  The phase stays, except that an abort in `committing` first looks at what became
 * of the tasks: once one of them has died the others are ended, and the target hears COMMIT.
 */
#ifndef MFD_VERDICT_H
#define MFD_VERDICT_H

struct mfd_worker;

/*
 * The session is decided.  0: the tasks are dead, and the target knows, or it could not be told.
 * -errno with w->err filled: mfd_verdict_abort has to look what is left.
 */
int mfd_verdict_commit(struct mfd_worker *w);
/*
 * An operator has ended the sender (w->err) while the session is in doubt: nothing is decided.  The
 * tasks stay held, and CRIU is let go.  Returns the exit code.
 */
int mfd_verdict_leave(struct mfd_worker *w);
/* In phase `ending`: end the tasks, however long it takes, and tell the target. */
void mfd_verdict_end(struct mfd_worker *w);
/*
 * w->err says why; not in a phase with MFD_SEND_LEAVE.  Nonzero: it was too late, the tasks have
 * died and the target has been told to run.
 */
int mfd_verdict_abort(struct mfd_worker *w);

#endif
