// SPDX-License-Identifier: GPL-2.0-only
/* The sender's phase: its rows, its transitions, its invariants, its only writer. */
#include <stdio.h>

#include "assert.h"
#include "command.h"
#include "io.h"
#include "kept.h"
#include "log.h"
#include "send_phase.h"
#include "worker.h"

#define PLAN(id) MFD_TURN_PLAN(MFD_PLAN_##id)
#define ANY	 (MFD_TURN_PLAN(MFD_PLANS) - 1)
#define POSTCOPY (PLAN(POSTCOPY) | PLAN(POSTCOPY_CONFIRM))
#define CONFIRM	 (PLAN(SAFE_CONFIRM) | PLAN(EARLY) | PLAN(POSTCOPY_CONFIRM))

static int is_plan(const struct mfd_worker *w, unsigned plans)
{
	return (MFD_TURN_PLAN(w->session.plan) & plans) != 0;
}

/* ---- invariants ---- */

static void holds_connecting(const struct mfd_worker *w)
{
	mfd_assert(atomic_load(&w->sh->ntasks) == 0);
	mfd_assert(!w->times.gate_us);
}

static void holds_open(const struct mfd_worker *w)
{
	mfd_assert(w->sh->connected);
	mfd_assert(w->sh->criu > 0);
	mfd_assert(mfd_conn_is_open(&w->session.control.conn));
	mfd_assert(w->inbox.running);
}

static void holds_dumping(const struct mfd_worker *w)
{
	holds_open(w);
	mfd_assert(w->session.multifd);
	mfd_assert(w->gate.end >= 0);
	mfd_assert(!w->times.gate_us);
}

static void holds_dumped(const struct mfd_worker *w)
{
	holds_open(w);
	mfd_assert(w->session.multifd);
	mfd_assert(w->gate.end >= 0);
	mfd_assert(w->times.gate_us);
}

static void holds_images(const struct mfd_worker *w)
{
	holds_dumped(w);
	mfd_assert(w->times.images_us);
}

static void holds_verifying(const struct mfd_worker *w)
{
	holds_images(w);
	mfd_assert(mfd_tasks_idle(&w->tasks));
	mfd_assert(w->times.sent_us);
}

static void holds_restoring(const struct mfd_worker *w)
{
	holds_verifying(w);
	mfd_assert(w->times.ready_us);
	mfd_assert(is_plan(w, CONFIRM));
}

static void holds_complete(const struct mfd_worker *w)
{
	holds_verifying(w);
	mfd_assert(w->times.ready_us);
	mfd_assert(w->times.restored_us || !is_plan(w, CONFIRM));
}

static void holds_running(const struct mfd_worker *w)
{
	holds_images(w);
	mfd_assert(is_plan(w, POSTCOPY));
}

static void holds_running_all(const struct mfd_worker *w)
{
	holds_verifying(w);
	mfd_assert(is_plan(w, POSTCOPY));
}

/* Also for a worker that has just taken over: it has nothing but what lies in shared memory. */
static void holds_lost(const struct mfd_worker *w)
{
	mfd_assert(w->sh->connected);
	mfd_assert(is_plan(w, POSTCOPY));
}

static void holds_rejoined(const struct mfd_worker *w)
{
	holds_open(w);
	mfd_assert(is_plan(w, POSTCOPY));
	mfd_assert(mfd_tasks_idle(&w->tasks));
}

static void holds_undone(const struct mfd_worker *w)
{
	mfd_assert(w->sh->connected);
	mfd_assert(is_plan(w, POSTCOPY));
	mfd_assert(w->err.code); /* the reason, which the target hears */
}

static void holds_committing(const struct mfd_worker *w)
{
	mfd_assert(w->sh->connected);
	mfd_assert(w->sh->criu > 0);
}

static void holds_released(const struct mfd_worker *w)
{
	holds_committing(w);
	mfd_assert(w->times.released_us);
}

static void holds_over(const struct mfd_worker *w)
{
	mfd_assert(w->sh->result == MFD_EXIT_OK || w->sh->result == MFD_EXIT_FAILED ||
		   w->sh->result == MFD_EXIT_DOUBT);
}

/* ---- rows ---- */

#define JOINED	 MFD_SEND_JOINED
#define GATE	 (JOINED | MFD_SEND_GATE)
#define IMAGED	 (GATE | MFD_SEND_IMAGED)
#define ENDED	 (IMAGED | MFD_SEND_ENDED)
#define LEAVE	 MFD_SEND_LEAVE
#define VERIFIED MFD_SEND_VERIFIED
#define DECIDED	 (VERIFIED | MFD_SEND_DECIDED)

#define NOTHING MFD_KEPT_NOTHING
#define UNTOLD	MFD__SOURCE_STATE__UNTOLD
#define RUNS	MFD__SOURCE_STATE__RUNS

static const struct {
	unsigned facts;
	enum mfd_send_heir heir;
	int left; /* enum source_state: what is left to be done if every process dies; kept.h */
	enum mfd_progress_phase progress; /* what people see from here on; 0: no change */
	void (*holds)(const struct mfd_worker *w);
} rows[] = {
	[MFD_SEND_CONNECTING] = { 0, MFD_SEND_HEIR_ABORT, NOTHING, 0, holds_connecting },
	[MFD_SEND_DUMPING] = { JOINED, MFD_SEND_HEIR_ABORT, NOTHING, MFD_PROGRESS_FREEZING,
			       holds_dumping },
	[MFD_SEND_DUMPED] = { GATE, MFD_SEND_HEIR_ABORT, NOTHING, 0, holds_dumped },
	[MFD_SEND_IMAGES] = { IMAGED, MFD_SEND_HEIR_ABORT, NOTHING, 0, holds_images },
	[MFD_SEND_VERIFYING] = { ENDED, MFD_SEND_HEIR_ABORT, UNTOLD, MFD_PROGRESS_VERIFYING,
				 holds_verifying },
	[MFD_SEND_RESTORING] = { ENDED | VERIFIED, MFD_SEND_HEIR_ABORT, UNTOLD,
				 MFD_PROGRESS_RESTORING, holds_restoring },
	[MFD_SEND_COMPLETE] = { ENDED | DECIDED, MFD_SEND_HEIR_ABORT, UNTOLD, 0, holds_complete },
	[MFD_SEND_RUNNING] = { IMAGED | LEAVE, MFD_SEND_HEIR_WORKER, RUNS, 0, holds_running },
	[MFD_SEND_RUNNING_ALL] = { ENDED | LEAVE, MFD_SEND_HEIR_WORKER, RUNS,
				   MFD_PROGRESS_VERIFYING, holds_running_all },
	[MFD_SEND_LOST] = { ENDED | LEAVE, MFD_SEND_HEIR_WORKER, RUNS, 0, holds_lost },
	[MFD_SEND_REJOINED] = { ENDED | LEAVE, MFD_SEND_HEIR_WORKER, RUNS, 0, holds_rejoined },
	[MFD_SEND_RUNNING_COMPLETE] = { ENDED | DECIDED | LEAVE, MFD_SEND_HEIR_WORKER, RUNS, 0,
					holds_lost },
	[MFD_SEND_UNDONE] = { ENDED, MFD_SEND_HEIR_ABORT, MFD__SOURCE_STATE__UNDOING, 0,
			      holds_undone },
	[MFD_SEND_COMMITTING] = { ENDED | DECIDED, MFD_SEND_HEIR_WORKER, MFD__SOURCE_STATE__GATE,
				  MFD_PROGRESS_RELEASING, holds_committing },
	[MFD_SEND_ENDING] = { ENDED | DECIDED | LEAVE, MFD_SEND_HEIR_WORKER,
			      MFD__SOURCE_STATE__ENDS, MFD_PROGRESS_RELEASING, holds_committing },
	[MFD_SEND_RELEASED] = { ENDED | DECIDED, MFD_SEND_HEIR_WORKER, MFD__SOURCE_STATE__GONE, 0,
				holds_released },
	/* The verdict has said whether anything is left. */
	[MFD_SEND_OVER] = { 0, MFD_SEND_HEIR_RESULT, NOTHING, 0, holds_over },
};
_Static_assert(sizeof(rows) / sizeof(*rows) == MFD_SEND_PHASES, "a row for each phase");

#define FROM(phase) MFD_TURN_PHASE(MFD_SEND_##phase)
#define STAYS	    MFD_SEND_PHASES

const struct mfd_send_transition mfd_send_transitions[] = {
	{ MFD_SEND_EV_JOINED, FROM(CONNECTING), ANY, MFD_SEND_DUMPING, "mfd_connect_start" },
	{ MFD_SEND_EV_GATE, FROM(DUMPING), ANY, MFD_SEND_DUMPED, "mfd_stream_gate" },
	{ MFD_SEND_EV_IMAGES, FROM(DUMPED), ANY, MFD_SEND_IMAGES, "mfd_stream_images" },
	{ MFD_SEND_EV_END, FROM(IMAGES), ANY, MFD_SEND_VERIFYING, "mfd_stream_end" },
	{ MFD_SEND_EV_END, FROM(RUNNING), POSTCOPY, MFD_SEND_RUNNING_ALL, "mfd_stream_end" },
	{ MFD_SEND_EV_STARTED, FROM(IMAGES), POSTCOPY, MFD_SEND_RUNNING, "mfd_messages_handle" },
	{ MFD_SEND_EV_STARTED, FROM(VERIFYING), POSTCOPY, MFD_SEND_RUNNING_ALL,
	  "mfd_messages_handle" },
	/* Another restore asks, or the target did not hear the answer before the link broke. */
	{ MFD_SEND_EV_STARTED, FROM(RUNNING) | FROM(RUNNING_ALL) | FROM(REJOINED), POSTCOPY, STAYS,
	  "mfd_messages_handle" },
	{ MFD_SEND_EV_READY, FROM(VERIFYING), ANY & ~CONFIRM, MFD_SEND_COMPLETE,
	  "mfd_messages_handle" },
	{ MFD_SEND_EV_READY, FROM(VERIFYING), CONFIRM, MFD_SEND_RESTORING, "mfd_messages_handle" },
	{ MFD_SEND_EV_READY, FROM(RUNNING_ALL) | FROM(REJOINED), POSTCOPY,
	  MFD_SEND_RUNNING_COMPLETE, "mfd_messages_handle" },
	{ MFD_SEND_EV_RESTORED, FROM(RESTORING), CONFIRM, MFD_SEND_COMPLETE,
	  "mfd_messages_handle" },
	/* STARTED has said so already. */
	{ MFD_SEND_EV_RESTORED,
	  FROM(RUNNING) | FROM(RUNNING_ALL) | FROM(REJOINED) | FROM(RUNNING_COMPLETE), POSTCOPY,
	  STAYS, "mfd_messages_handle" },
	{ MFD_SEND_EV_COMMITTED, FROM(REJOINED), POSTCOPY, MFD_SEND_RUNNING_COMPLETE,
	  "mfd_messages_handle" },
	{ MFD_SEND_EV_LOST,
	  FROM(RUNNING) | FROM(RUNNING_ALL) | FROM(REJOINED) | FROM(RUNNING_COMPLETE) | FROM(LOST),
	  POSTCOPY, MFD_SEND_LOST, "mfd_reconnect" },
	{ MFD_SEND_EV_REJOINED, FROM(LOST), POSTCOPY, MFD_SEND_REJOINED, "mfd_reconnect" },
	{ MFD_SEND_EV_DISCARD, FROM(LOST), POSTCOPY, MFD_SEND_RUNNING_COMPLETE, "mfd_person_desk" },
	{ MFD_SEND_EV_UNDO, FROM(LOST), POSTCOPY, MFD_SEND_UNDONE,
	  "mfd_reconnect, mfd_person_desk" },
	{ MFD_SEND_EV_VERDICT, FROM(COMPLETE), ANY, MFD_SEND_COMMITTING, "mfd_verdict_commit" },
	{ MFD_SEND_EV_VERDICT, FROM(RUNNING_COMPLETE), POSTCOPY, MFD_SEND_ENDING,
	  "mfd_verdict_commit" },
	{ MFD_SEND_EV_PARTLY, FROM(COMMITTING), ANY, MFD_SEND_ENDING, "mfd_verdict_abort" },
	{ MFD_SEND_EV_DEAD, FROM(COMMITTING) | FROM(ENDING), ANY, MFD_SEND_RELEASED,
	  "mfd_verdict_commit, mfd_verdict_abort" },
	{ MFD_SEND_EV_FINISHED, MFD_TURN_PHASE(MFD_SEND_OVER) - 1, ANY, MFD_SEND_OVER,
	  "mfd_worker_main" },
};
const size_t mfd_send_transitions_n = sizeof(mfd_send_transitions) / sizeof(*mfd_send_transitions);

int mfd_send_phase_next(enum mfd_send_phase phase, enum mfd_send_event event, enum mfd_plan_id plan)
{
	for (size_t i = 0; i < mfd_send_transitions_n; i++) {
		const struct mfd_send_transition *t = &mfd_send_transitions[i];

		if (t->event == event && t->from & MFD_TURN_PHASE(phase) &&
		    t->plans & MFD_TURN_PLAN(plan))
			return t->to == STAYS ? (int)phase : t->to;
	}
	return -1;
}

unsigned mfd_send_phase_facts(enum mfd_send_phase phase)
{
	return phase < MFD_SEND_PHASES ? rows[phase].facts : 0;
}

enum mfd_send_heir mfd_send_phase_heir(enum mfd_send_phase phase)
{
	return phase < MFD_SEND_PHASES ? rows[phase].heir : MFD_SEND_HEIR_ABORT;
}

void mfd_send_phase_again(struct mfd_shared *sh)
{
	static const enum mfd_send_phase begin[] = {
		[MFD__SOURCE_STATE__UNTOLD] = MFD_SEND_VERIFYING,
		[MFD__SOURCE_STATE__RUNS] = MFD_SEND_LOST,
		[MFD__SOURCE_STATE__UNDOING] = MFD_SEND_UNDONE,
		[MFD__SOURCE_STATE__GATE] = MFD_SEND_COMMITTING,
		[MFD__SOURCE_STATE__ENDS] = MFD_SEND_ENDING,
		[MFD__SOURCE_STATE__GONE] = MFD_SEND_RELEASED,
		[MFD__SOURCE_STATE__FREEZING] = MFD_SEND_DUMPING,
	};

	mfd_assert(sh->kept > MFD_KEPT_NOTHING && sh->kept <= MFD__SOURCE_STATE__FREEZING);
	/* run_on.c saves that while CRIU freezes. */
	mfd_assert(rows[begin[sh->kept]].left == sh->kept ||
		   sh->kept == MFD__SOURCE_STATE__FREEZING);
	atomic_store(&sh->phase, (int)begin[sh->kept]);
}

enum mfd_send_phase mfd_send_phase(const struct mfd_shared *sh)
{
	return (enum mfd_send_phase)atomic_load(&sh->phase);
}

int mfd_send_phase_has(const struct mfd_shared *sh, enum mfd_send_fact fact)
{
	return (mfd_send_phase_facts(mfd_send_phase(sh)) & fact) != 0;
}

void mfd_send_phase_check(const struct mfd_worker *w)
{
	enum mfd_send_phase phase = mfd_send_phase(w->sh);

	mfd_assert(phase < MFD_SEND_PHASES);
	rows[phase].holds(w);
}

/*
 * Leave to run has been saved before (decide.c), or is not given.  In the other phases a session
 * goes on without the file: it is for a second fault.
 */
static void save_left(struct mfd_worker *w, int left)
{
	struct mfd_error err = { 0 };

	mfd_assert(left != RUNS || w->sh->kept == RUNS || !w->sh->keeps);
	if (!mfd_kept_save(w->sh, w->o, left, &err))
		return;
	mfd_log_warn("%s", mfd_error_text(&err));
	/* "The tasks run on here" is worse than nothing once they may be dead. */
	if (w->sh->kept == UNTOLD && rows[mfd_send_phase(w->sh)].facts & DECIDED)
		mfd_kept_save(w->sh, w->o, NOTHING, NULL);
}

/*
 * The invariants come first: a worker that breaks them dies in the phase before, whose promises it
 * has kept.
 */
static void enter(struct mfd_worker *w, enum mfd_send_phase to)
{
	uint64_t now = mfd_io_now_us();

	mfd_assert(to < MFD_SEND_PHASES);
	mfd_assert(now >= w->times.phase_us); /* CLOCK_MONOTONIC */
	rows[to].holds(w);
	if (to != MFD_SEND_OVER)
		save_left(w, rows[to].left);
	w->times.phase_us = now;
	atomic_store(&w->sh->phase, (int)to);
	if (rows[to].progress)
		mfd_progress_phase(w->progress, rows[to].progress);
	if (rows[to].facts & LEAVE)
		atomic_store(&w->progress->running, 1);
}

enum mfd_send_phase mfd_send_phase_event(struct mfd_worker *w, enum mfd_send_event event)
{
	enum mfd_send_phase phase = mfd_send_phase(w->sh);
	int to;

	mfd_assert(phase < MFD_SEND_PHASES);
	to = mfd_send_phase_next(phase, event, w->session.plan);
	mfd_assert(to >= 0);
	if (to != (int)phase)
		enter(w, (enum mfd_send_phase)to);
	return (enum mfd_send_phase)to;
}

static void say(const void *arg, char *buf, size_t len)
{
	const struct mfd_worker *w = arg;

	snprintf(buf, len, "session %s, phase %s, plan %s", w->sh->session,
		 mfd_turns_send_phase(mfd_send_phase(w->sh)), mfd_turns_plan(w->session.plan));
}

void mfd_send_phase_context(const struct mfd_worker *w)
{
	mfd_assert_context(w ? say : NULL, w);
}
