/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The one phase of the sender's worker: how far a session is on the source.
 *
 * It lies in the memory that worker and supervisor share, so the supervisor of a worker that has
 * died reads from it what is left to do.  mfd_send_phase_event is the only function that writes it
 * (through `enter`); decide.c is the only file that calls it while the session goes on.
 *
 *	connecting
 *	    | JOINED
 *	dumping			CRIU freezes and dumps, pages flow
 *	    | GATE
 *	dumped			CRIU waits at its gate: its images are complete
 *	    | IMAGES
 *	images ----------- STARTED --> running	     (postcopy)
 *	    | END			| END
 *	verifying -------- STARTED --> running_all		LOST, from each of
 *	    |	\			|		lost <- running, running_all, rejoined,
 *	    |    READY (confirm)	|		 | \	 running_complete and lost itself
 *	    |      |			|	REJOINED  \
 *	    |    restoring		|		 |   DISCARD
 *	    |      |			|	rejoined      |
 *	  READY  RESTORED		| READY		 |    |
 *	    |      |			|		 | READY, COMMITTED
 *	complete <-+		running_complete <-------+----+
 *	    | VERDICT			| VERDICT		lost -- UNDO --> undone
 *	committing -- PARTLY -------> ending
 *	    | DEAD			| DEAD
 *	    +-----> released <----------+	the target must hear COMMIT
 *			|
 *	               over  <-- FINISHED, from every phase: an abort keeps the phase in which it
 *				 began, since the supervisor would have to finish from just there
 *
 * Invariants (send_phase.c, holds_*) are asserted before a phase is entered and at each message of
 * the target.  In the phases from `running` to `running_complete` the restored tasks may run, so a
 * failure never lets the tasks here go on: another worker takes over.  Two ways lead out of them.
 * `undone`: the target has shown that nothing runs there, or an operator says so; the tasks here go
 * on.  `ending`: everything is on the target; the sender ends the tasks, with CRIU or without it.
 *
 * In `committing` (the other plans) CRIU ends the tasks.  A failure there is an abort only if every
 * task lives; once one has died it is `ending`.
 *
 *	connecting	no task is known, the gate was not seen
 *	dumping		the session is open, channels and inbox work, the gate was not seen
 *	dumped		... CRIU was seen at its gate
 *	images		... every image has been sent and synced
 *	verifying	... no page is left to send, END has been sent
 *	restoring	... and READY has come; the plan has a confirmation
 *	complete	... and READY has come, and RESTORED where the plan has a confirmation
 *	running		as images; the plan is a postcopy one
 *	running_all	as verifying; the plan is a postcopy one
 *	lost		the plan is a postcopy one
 *	rejoined	the control connection is open again, nothing is left to scan
 *	running_complete	the plan is a postcopy one
 *	undone		the plan is a postcopy one
 *	committing	CRIU is known
 *	ending		CRIU is known
 *	released	CRIU is known, the tasks have been seen dead
 *	over		none
 *
 * What else the worker keeps (worker.h) is no phase: times, counters, and how CRIU's dump ended,
 * which may happen in any phase.
 */
#ifndef MFD_SEND_PHASE_H
#define MFD_SEND_PHASE_H

#include "turns.h"

struct mfd_shared;
struct mfd_worker;

/* What holds in a phase, whichever way led to it. */
enum mfd_send_fact {
	MFD_SEND_JOINED = 1 << 0, /* the target has the session: it must hear how it ends */
	MFD_SEND_GATE = 1 << 1,	  /* CRIU waits at its gate */
	MFD_SEND_IMAGED = 1 << 2, /* images and IMAGES have been sent */
	MFD_SEND_ENDED = 1 << 3,  /* END has been sent: the target may be in doubt from here on */
	/* There is no abort any more: the restored tasks may run, or a task here was ended. */
	MFD_SEND_LEAVE = 1 << 4,
	MFD_SEND_VERIFIED = 1 << 5, /* the target has everything */
	MFD_SEND_DECIDED = 1 << 6, /* nothing is waited for any more: the verdict is next, or out */
};

/* What the supervisor does when a worker dies in a phase. */
enum mfd_send_heir {
	MFD_SEND_HEIR_ABORT,  /* let CRIU's dump fail, tell the target */
	MFD_SEND_HEIR_WORKER, /* start another worker, which reconnects */
	MFD_SEND_HEIR_RESULT, /* all is done, the result is known */
};

/*
 * What happened.  Handlers and stages return these as positive numbers, decide.c applies them.
 */
enum mfd_send_event {
	MFD_SEND_NOTHING,   /* no event */
	MFD_SEND_STEP,	    /* a stage has done something, which changes no phase */
	MFD_SEND_EV_JOINED, /* HELLO_OK and JOINED have come, inbox and channels work */
	MFD_SEND_EV_GATE,   /* CRIU stands at its gate */
	MFD_SEND_EV_IMAGES,
	MFD_SEND_EV_END,
	MFD_SEND_EV_STARTED,
	MFD_SEND_EV_READY,
	MFD_SEND_EV_RESTORED,
	MFD_SEND_EV_COMMITTED, /* a person let the target go on while there was no connection */
	MFD_SEND_EV_LOST,
	MFD_SEND_EV_REJOINED,
	MFD_SEND_EV_DISCARD, /* a person lets the target go on, though it is out of reach */
	MFD_SEND_EV_UNDO,    /* nothing runs on the target: its word, or a person's */
	MFD_SEND_EV_VERDICT,
	MFD_SEND_EV_PARTLY, /* the verdict is out, and some of the tasks have died by it */
	MFD_SEND_EV_DEAD,
	MFD_SEND_EV_FINISHED,
	MFD_SEND_EVENTS,
};

/* One row of the table of transitions. */
struct mfd_send_transition {
	enum mfd_send_event event;
	unsigned from;	/* bits 1 << enum mfd_send_phase */
	unsigned plans; /* bits 1 << enum mfd_plan_id */
	int to;		/* MFD_SEND_PHASES: stays as it is */
	const char *by; /* the function that makes the event */
};
extern const struct mfd_send_transition mfd_send_transitions[];
extern const size_t mfd_send_transitions_n;

/* Where `event` leads from `phase`, or -1: there is no such transition. */
int mfd_send_phase_next(enum mfd_send_phase phase, enum mfd_send_event event,
			enum mfd_plan_id plan);
/* Bits of enum mfd_send_fact. */
unsigned mfd_send_phase_facts(enum mfd_send_phase phase);
enum mfd_send_heir mfd_send_phase_heir(enum mfd_send_phase phase);
/* Another sender begins in the phase that what was kept says (kept.h). */
void mfd_send_phase_again(struct mfd_shared *sh);

/* The phase now; any process and thread of the sender. */
enum mfd_send_phase mfd_send_phase(const struct mfd_shared *sh);
/* Nonzero when the fact holds now. */
int mfd_send_phase_has(const struct mfd_shared *sh, enum mfd_send_fact fact);

/*
 * By the worker's main thread.  Change the phase as the table says; an event without a transition
 * is an error of this program and ends the worker.  Returns the new phase.
 */
enum mfd_send_phase mfd_send_phase_event(struct mfd_worker *w, enum mfd_send_event event);
/* Assert the invariants of the phase as it is. */
void mfd_send_phase_check(const struct mfd_worker *w);
/* Assertions of this thread say which session, phase and plan they were in.  NULL: not any more. */
void mfd_send_phase_context(const struct mfd_worker *w);

#endif
