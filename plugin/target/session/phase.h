/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where a session is on its way from HELLO to DONE.
 *
 *	         HELLO
 *	           |
 *	  QUEUED <-+-> STREAMING ----------+
 *	     |            |   ^            |
 *	     +------------|---+            |  END without IMAGES
 *	                IMAGES             |  (safe, safe+confirm, early)
 *	               /  |   \            |
 *	  (postcopy)  /   |    \ (early)   |
 *	   RESTORABLE     |   SETTLING     |
 *	      |    \      |    /           |
 *	   RUNNING  \     |   /            |
 *	       \     \    |  /             |
 *	        +------- READY <-----------+
 *	                 |  ^ |
 *	       (confirm) v  | |
 *	              RESTORED|
 *	                  \   |
 *	                 COMMITTED --> DONE
 *
 *	any of these but COMMITTED and DONE --> ABORTED
 *	COMMITTED, nothing restored --> ABORTED, by a person
 *
 * The transitions, and the function that makes each, are the table in phase.c.  The session's
 * thread makes them by mfd_session_enter(); it is the only writer of session->phase, apart from the
 * thread that sets a session up before its own thread runs.  A phase that must survive this process
 * is on disk before it is entered (mfd_session_advance): session.img is never behind the session.
 *
 * What holds in each phase (phase.c has the same list as code, and checks it at each transition and
 * before each event):
 *
 *	QUEUED		HELLO is not answered. No channel may join, no pager.
 *	STREAMING	No image is complete, so nothing is restored: no pager.
 *	IMAGES		Every image file is here.  A pager, but only if pages follow the images.
 *	SETTLING	Plan early; everything is verified and nothing comes any more (sealed).  The
 *			restored tasks are stopped, and their huge pages are being filled.
 *	RESTORABLE	Plan postcopy.  A restore may begin; its tasks wait for leave to run.
 *	RUNNING		Plan postcopy.  STARTED_OK came: the source cannot go on by itself.
 *	READY		Verified, durable, sealed: the source has had READY, or session.img says so.
 *	RESTORED	Plan with confirm: the restored tasks exist and are stopped.
 *	COMMITTED	The source's tasks are dead.  Never in doubt.
 *	DONE		Every page is installed.
 *	ABORTED		What was restored is dead; the source, if it lives, has its tasks.
 *
 *	before RUNNING	no leave to run was given
 *	before READY	(but RUNNING) not in doubt
 *	safe plans	restored tasks are continued in COMMITTED only
 *
 * Beside the phase, a session has four things that move on their own:
 *
 *	doubt	whether the source or a person must decide (RUNNING, READY, RESTORED)
 *	link	whether channels may join, or have
 *	copy	what the pager has reached
 *	leave	whether restored tasks may run
 */
#ifndef MFD_PHASE_H
#define MFD_PHASE_H

#include "images/session.pb-c.h"
#include "turns.h"

struct mfd_session;

#define MFD_PHASE_BIT(name) MFD_TURN_PHASE(MFD_PHASE_##name)
/* What is not verified yet. */
#define MFD_PHASES_UNVERIFIED                                                       \
	(MFD_PHASE_BIT(QUEUED) | MFD_PHASE_BIT(STREAMING) | MFD_PHASE_BIT(IMAGES) | \
	 MFD_PHASE_BIT(SETTLING) | MFD_PHASE_BIT(RESTORABLE) | MFD_PHASE_BIT(RUNNING))
/* Both ends hold a complete copy. */
#define MFD_PHASES_UNDECIDED (MFD_PHASE_BIT(READY) | MFD_PHASE_BIT(RESTORED))

struct mfd_transition {
	enum mfd_phase from, to;
	unsigned plans; /* bits 1 << enum mfd_plan_id */
	const char *by; /* the function that makes it */
};
extern const struct mfd_transition mfd_transitions[];
extern const size_t mfd_transitions_n;

/* Nonzero: the table has it. */
int mfd_phase_legal(enum mfd_phase from, enum mfd_phase to, enum mfd_plan_id plan);

/* The session's thread, or the thread that sets it up.  Assert that it is legal, and check. */
void mfd_session_enter(struct mfd_session *s, enum mfd_phase to);
/*
 * While it is reloaded from session.img.  The invariants hold only when its pager is back, and what
 * lies on a disk may be anything: mfd_reload_all looks at mfd_session_broken_invariant() then, and
 * refuses the session.
 */
void mfd_session_load(struct mfd_session *s, enum mfd_phase to);
/* The first invariant that does not hold, or NULL. */
const char *mfd_session_broken_invariant(const struct mfd_session *s);
/* Assert that all hold. */
void mfd_session_check(const struct mfd_session *s);
/* For mfd_assert_context(): name, plan and phase. */
void mfd_session_say(const void *session, char *buf, size_t len);

#endif
