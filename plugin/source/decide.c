// SPDX-License-Identifier: GPL-2.0-only
/* Events of a session, and what follows from them. */
#include <errno.h>

#include "assert.h"
#include "decide.h"
#include "give_address.h"
#include "image.h"
#include "io.h"
#include "kept.h"
#include "link.h"
#include "log.h"
#include "proto/control.pb-c.h"
#include "worker.h"

static int answer_start(struct mfd_worker *w)
{
	mfd_link_answer(w, MFD_LINK_OK, "connected");
	return 0;
}

static int let_go_before_leave(struct mfd_worker *w)
{
	mfd_hold_release(w->sh);
	return mfd_error_blame(&w->err, MFD_ERROR_OWN,
			       mfd_error_set(&w->err, -ESRCH,
					     "CRIU has ended and let its tasks go"));
}

/* All images are complete by now. */
static void note_stopped(struct mfd_worker *w)
{
	unsigned n = atomic_load(&w->sh->ntasks);

	mfd_assert(w->sh->hold.kind == MFD_HOLD_SIGNAL);
	mfd_assert(!mfd_send_phase_has(w->sh, MFD_SEND_LEAVE));
	for (unsigned i = 0; i < n; i++)
		w->sh->task[i].stopped = mfd_image_was_stopped(w->image_dir, w->sh->task[i].vpid);
}

/* Before they are held: leave to run is not given yet, and may never be. */
static int keep_hold(void *worker)
{
	struct mfd_worker *w = worker;

	if (w->sh->hold.kind == MFD_HOLD_SIGNAL)
		note_stopped(w);
	return mfd_kept_save(w->sh, w->o, MFD__SOURCE_STATE__UNTOLD, &w->err);
}

/*
 * The tasks are held before the phase says that the restored ones may run, and only then CRIU is
 * looked for: should it have died a moment ago, its tasks may have run on here.  What another
 * sender would need is kept before, too: without it there is no leave.
 */
static int hold_tasks(struct mfd_worker *w)
{
	char how[MFD_HOLD_PATH + 64];
	int ret;

	if (mfd_send_phase_has(w->sh, MFD_SEND_LEAVE))
		return 0;
	ret = mfd_hold_begin(w->sh, keep_hold, w, &w->err);
	if (ret)
		return mfd_error_blame(&w->err, MFD_ERROR_OWN, ret);
	if (mfd_gate_criu_ended(&w->gate, 0) || mfd_shared_tasks_let_go(w->sh))
		return let_go_before_leave(w);
	ret = mfd_kept_save(w->sh, w->o, MFD__SOURCE_STATE__RUNS, &w->err);
	if (ret)
		return mfd_error_blame(&w->err, MFD_ERROR_OWN, ret);
	mfd_log_info("%s holds the tasks here, as their copy may run on the target from now on",
		     mfd_hold_text(w->sh, how, sizeof(how)));
	return 0;
}

/* The point of no return of postcopy: the phase says already that the restored tasks may run. */
static int give_leave(struct mfd_worker *w)
{
	Mfd__StartedOk leave = MFD__STARTED_OK__INIT;
	uint64_t now;
	int ret;

	mfd_assert(mfd_send_phase_has(w->sh, MFD_SEND_LEAVE));
	mfd_assert(w->o->mode == MFD_MODE_POSTCOPY);
	mfd_assert(w->sh->hold.kind != MFD_HOLD_NONE);
	mfd_link_say(w, MFD_LINK_LEAVE, 0, "the restored tasks may run on the target");
	mfd_address_release(w->o);
	ret = mfd_control_send(&w->session.control, MFD_WIRE_STARTED_OK, &leave.base);
	now = mfd_io_now_us();
	if (!w->times.leave_us)
		w->times.leave_us = now;
	/* A target that restores by itself asks only after it has succeeded. */
	if (w->session.plan == MFD_PLAN_POSTCOPY_CONFIRM && !w->times.restored_us)
		w->times.restored_us = now;
	if (!ret)
		return 0;
	return mfd_error_blame(&w->err, MFD_ERROR_LINK,
			       mfd_error_sys(&w->err, ret, "sending STARTED_OK"));
}

static int say_connected_again(struct mfd_worker *w)
{
	mfd_log_info("connected to %s again", w->sh->target.text);
	return 0;
}

static int say_discarded(struct mfd_worker *w)
{
	(void)w;
	mfd_log_warn("a person has resolved the session: the tasks here are discarded");
	return 0;
}

/* What must have been done before the phase changes; a failure leaves it as it is. */
static int (*const precedes[MFD_SEND_EVENTS])(struct mfd_worker *w) = {
	[MFD_SEND_EV_STARTED] = hold_tasks,
};

static int (*const follows[MFD_SEND_EVENTS])(struct mfd_worker *w) = {
	[MFD_SEND_EV_JOINED] = answer_start,
	[MFD_SEND_EV_STARTED] = give_leave,
	[MFD_SEND_EV_REJOINED] = say_connected_again,
	[MFD_SEND_EV_DISCARD] = say_discarded,
};

int mfd_decide(struct mfd_worker *w, int ret)
{
	enum mfd_send_event event;

	if (ret <= MFD_SEND_STEP)
		return ret < 0 ? ret : 0;
	mfd_assert(ret < MFD_SEND_EVENTS);
	mfd_assert(mfd_send_phase(w->sh) != MFD_SEND_OVER);
	event = (enum mfd_send_event)ret;
	ret = precedes[event] ? precedes[event](w) : 0;
	if (ret)
		return ret;
	mfd_send_phase_event(w, event);
	return follows[event] ? follows[event](w) : 0;
}
