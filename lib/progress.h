/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How far a dump is, for the program that started it: a small file that the sender maps and keeps
 * up to date and `migrate` maps and looks at.  CRIU_MULTIFD_SENDER_PROGRESS in the sender's
 * environment names it; unset, the sender writes to memory of its own.
 *
 * Every field is written by the sender's main thread alone.  Readers see each field whole, but not
 * all at one moment; `error` is complete once the sender has ended (waitpid orders that).
 */
#ifndef MFD_PROGRESS_H
#define MFD_PROGRESS_H

#include <stdatomic.h>
#include <stdint.h>

#include "error.h"

#define MFD_PROGRESS_ENV "CRIU_MULTIFD_SENDER_PROGRESS"

/* Only ever rises. */
enum mfd_progress_phase {
	MFD_PROGRESS_STARTING, /* no sender yet */
	MFD_PROGRESS_CONNECTING,
	MFD_PROGRESS_QUEUED,   /* the target has no memory yet; the tasks run on */
	MFD_PROGRESS_PRECOPY,  /* memory is sent in rounds while the tasks run */
	MFD_PROGRESS_FREEZING, /* connected; CRIU stops the tasks */
	MFD_PROGRESS_STREAMING,
	MFD_PROGRESS_VERIFYING, /* everything is sent */
	MFD_PROGRESS_RESTORING, /* verified; the target restores */
	MFD_PROGRESS_RELEASING, /* the verdict is given: the tasks die */
	MFD_PROGRESS_RELEASED,
	MFD_PROGRESS_ABORTED,
};

/* Whether the target is known to run the tasks. */
enum mfd_progress_doubt {
	MFD_PROGRESS_SURE,
	MFD_PROGRESS_LOST,    /* they may run there, and the target cannot be reached */
	MFD_PROGRESS_UNKNOWN, /* ... and the target does not say what became of them */
	MFD_PROGRESS_DIED,    /* they ran there and are dead; they are frozen here */
	MFD_PROGRESS_DAMAGED, /* they may run there, and what they lack is lost: a task here died */
	MFD_PROGRESS_GIVEN_UP, /* they may run there; the connections break as soon as they stand */
	MFD_PROGRESS_UNTOLD,   /* they are dead here, and the target has not acknowledged that */
};

struct mfd_progress {
	uint32_t magic;
	_Atomic uint32_t phase;	 /* enum mfd_progress_phase */
	_Atomic uint32_t passed; /* bit N: phase N was entered */
	/* postcopy: the restored tasks may run, there is no abort any more */
	_Atomic uint32_t running;
	_Atomic uint32_t lost; /* enum mfd_progress_doubt */
	/* postcopy: the target has no memory for more pages until it has restored */
	_Atomic uint32_t held;
	/* precopy: as of the latest round */
	_Atomic uint32_t round, expected_ms; /* how long the tasks would stand still */
	_Atomic uint64_t left, written;	     /* bytes; bytes per second */
	_Atomic uint64_t bytes_total;	     /* of memory; an estimate until STREAMING is over */
	_Atomic uint64_t bytes_sent;	     /* of them, given to the channels */
	int32_t criu_failed;		     /* CRIU's own error: its log says which */
	int32_t code;			     /* -errno */
	uint32_t failed_in;		     /* the phase in which it was ABORTED */
	int32_t untold;			     /* released, but the target could not be told */
	int32_t both;			     /* the tasks run on here, and on the target, too */
	int32_t doubt; /* the sender was ended in doubt: the tasks stay frozen */
	int32_t ran;   /* a task here ran beside its copy */
	char error[512];
};

/* Make the file, which must not exist; the caller unmaps. NULL with err. */
struct mfd_progress *mfd_progress_create(const char *path, struct mfd_error *err);
/*
 * The sender's: the file of the environment, else memory of its own; never NULL but when there is
 * no memory at all.
 */
struct mfd_progress *mfd_progress_open(void);
void mfd_progress_close(struct mfd_progress *p);

const char *mfd_progress_word(unsigned phase); /* "streaming"; "?" for what is none */

static inline void mfd_progress_phase(struct mfd_progress *p, enum mfd_progress_phase phase)
{
	if (atomic_load_explicit(&p->phase, memory_order_relaxed) >= (uint32_t)phase)
		return;
	/* In this order: a reader of a phase sees all before it, however short they were. */
	atomic_fetch_or_explicit(&p->passed, 1U << phase, memory_order_relaxed);
	atomic_store_explicit(&p->phase, (uint32_t)phase, memory_order_release);
}

#endif
