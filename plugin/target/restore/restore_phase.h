/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How far the server's restore of a session is.
 *
 *	         NONE <------------------------------------------+
 *	        /  |  \                                          |
 *	  start/   |   \ adopt                                   | kill
 *	      v    |    \                                        |
 *	  AT_WORK  |     +------------------+                    |
 *	      |    |                        v                    |
 *	      +-> ENDED -- note_tasks --> STOPPED -- continue --> CONTINUED
 *	             \                      |                    /
 *	              +------ release ------+-> RELEASED <------+
 *
 * mfd_restore_enter() is the only writer, with the lock of mfd_restore_what held.  The thread that
 * waits for CRIU's end makes the one step from AT_WORK to ENDED, the owner's thread every other.
 * So the owner may look without the lock: what it has made stays, and AT_WORK may have become
 * ENDED.
 *
 *	NONE		no process, no task
 *	AT_WORK		CRIU runs, or is about to; its tasks wait for pages
 *	ENDED		CRIU has ended; its owner has not looked yet.  `code` and `text` say how.
 *	STOPPED		all tasks exist, stopped: `tasks` are those to be continued
 *	CONTINUED	... and were let go on
 *	RELEASED	they are on their own: no process, no task is known any more
 *
 * A kill does not leave AT_WORK: CRIU is dead, but the thread that waits for its end must see that
 * first.  Nothing begins then, as the session is over.
 */
#ifndef MFD_RESTORE_PHASE_H
#define MFD_RESTORE_PHASE_H

enum mfd_restore_phase {
	MFD_RESTORE_NONE,
	MFD_RESTORE_AT_WORK,
	MFD_RESTORE_ENDED,
	MFD_RESTORE_STOPPED,
	MFD_RESTORE_CONTINUED,
	MFD_RESTORE_RELEASED,
	MFD_RESTORE_PHASES,
};

struct mfd_restore;

const char *mfd_restore_phase_name(enum mfd_restore_phase phase);
/* The function that makes this transition; NULL: there is none. */
const char *mfd_restore_transition(enum mfd_restore_phase from, enum mfd_restore_phase to);

/* Lock held.  Assert that it is legal, and check. */
void mfd_restore_enter(struct mfd_restore *r, enum mfd_restore_phase to);
void mfd_restore_enter_locked(struct mfd_restore *r, enum mfd_restore_phase to); /* takes it */
/* Assert what holds in the phase.  By the thread that has entered it. */
void mfd_restore_check(const struct mfd_restore *r);

#endif
