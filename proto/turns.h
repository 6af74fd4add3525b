/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Whose turn it is: which control message may come when.  PROTOCOL.md prints these rows, and both
 * ends ask them before they act on a message; neither has tests of its own.
 *
 * A session follows one of five plans from HELLO_OK on, and each end is in one phase of it at a
 * time.  A row names a message, the end that sends it, the plans that have it, the phases of the
 * receiving end in which it is taken, and those in which it is dropped without an error because it
 * may have crossed something or have been sent twice.  Anything else is a protocol error.
 */
#ifndef MFD_TURNS_H
#define MFD_TURNS_H

#include <stddef.h>

#include "wire.h"

/* What the two ends have agreed on; session/plan.h says what follows from each. */
enum mfd_plan_id {
	MFD_PLAN_SAFE,		   /* everything is sent, then the source lets go */
	MFD_PLAN_SAFE_CONFIRM,	   /* ... after the target has restored the tasks, stopped */
	MFD_PLAN_EARLY,		   /* likewise, and the restore begins while pages still come */
	MFD_PLAN_POSTCOPY,	   /* the tasks run on the target while pages still come */
	MFD_PLAN_POSTCOPY_CONFIRM, /* likewise, restored by the target */
	MFD_PLANS,
};

/* The target's phases; session/phase.h says what holds in each and what leads from one to another.
 */
enum mfd_phase {
	MFD_PHASE_NONE,	      /* before HELLO, or before it was read from session.img */
	MFD_PHASE_QUEUED,     /* HELLO waits for memory */
	MFD_PHASE_STREAMING,  /* channels join, pages and image files come */
	MFD_PHASE_IMAGES,     /* every image is here; pages come */
	MFD_PHASE_SETTLING,   /* early: all is verified, huge pages are being filled */
	MFD_PHASE_RESTORABLE, /* postcopy: a restore may begin, and waits for leave to run */
	MFD_PHASE_RUNNING,    /* postcopy: the tasks may run here; pages come */
	MFD_PHASE_READY,      /* verified and durable; the source decides */
	MFD_PHASE_RESTORED,   /* confirm: the tasks exist, stopped, and the source was told so */
	MFD_PHASE_COMMITTED,  /* the source's tasks are dead */
	MFD_PHASE_DONE,	      /* every page is installed, the tasks need no server */
	MFD_PHASE_ABORTED,    /* nothing is left but the tombstone */
	MFD_PHASES,
};

/*
 * The source's phases; plugin/source/send_phase.h says what holds in each and what leads from one
 * to another.
 */
enum mfd_send_phase {
	MFD_SEND_CONNECTING, /* no task is frozen for this session */
	MFD_SEND_DUMPING,    /* CRIU freezes and dumps the tasks; pages are sent */
	MFD_SEND_DUMPED,     /* CRIU waits, its images are complete; pages are sent */
	MFD_SEND_IMAGES,     /* IMAGES was sent; pages are sent */
	MFD_SEND_VERIFYING,  /* END was sent: READY or NEED is awaited */
	MFD_SEND_RESTORING,  /* READY has come: RESTORED is awaited */
	MFD_SEND_COMPLETE,   /* all that was awaited has come */
	/* postcopy, STARTED_OK was sent: the restored tasks may run */
	MFD_SEND_RUNNING,	   /* pages are sent */
	MFD_SEND_RUNNING_ALL,	   /* END was sent */
	MFD_SEND_LOST,		   /* no connection; RESUME is tried again and again */
	MFD_SEND_REJOINED,	   /* RESUME_OK has come: READY, COMMITTED or NEED is awaited */
	MFD_SEND_RUNNING_COMPLETE, /* all that was awaited has come */
	/* the verdict is out */
	MFD_SEND_UNDONE,     /* nothing runs on the target: the tasks go on here */
	MFD_SEND_COMMITTING, /* CRIU's dump may succeed, the tasks die */
	MFD_SEND_ENDING,     /* the sender ends the tasks, whatever becomes of CRIU */
	MFD_SEND_RELEASED,   /* they are dead: COMMIT is sent until COMMITTED comes */
	MFD_SEND_OVER,
	MFD_SEND_PHASES,
};

enum mfd_side { MFD_SIDE_SOURCE, MFD_SIDE_TARGET };

/* How the receiving end takes a message. */
enum mfd_turn_kind {
	MFD_TURN_FIRST,	  /* the first message of a connection */
	MFD_TURN_ORDERED, /* one after the other, behind the packets that it names */
	MFD_TURN_ANYTIME, /* by the reader of the connection, at once */
};

struct mfd_turn {
	unsigned type; /* enum mfd_wire_msg */
	enum mfd_side from;
	enum mfd_turn_kind kind;
	unsigned plans;		  /* bits 1 << enum mfd_plan_id */
	unsigned phases, ignored; /* bits 1 << phase of the receiving end */
};

#define MFD_TURN_PLAN(id)     (1U << (id))
#define MFD_TURN_PHASE(phase) (1U << (phase))

/* All rows, in the order of their types; a message of both ends has two. */
extern const struct mfd_turn mfd_turns[];
extern const size_t mfd_turns_n;

/* The row of a message, or NULL: that end never sends it. */
const struct mfd_turn *mfd_turns_find(enum mfd_side from, unsigned type);

enum mfd_turn_answer { MFD_TURN_REFUSED, MFD_TURN_IGNORED, MFD_TURN_TAKEN };
enum mfd_turn_answer mfd_turns_ask(enum mfd_side from, unsigned type, enum mfd_plan_id plan,
				   unsigned phase);

/* Names for PROTOCOL.md, logs and tests: "safe+confirm"; "unknown" if out of range. */
const char *mfd_turns_plan(unsigned plan);
const char *mfd_turns_phase(unsigned phase);
const char *mfd_turns_send_phase(unsigned phase); /* the source's: "running+all" */

#endif
