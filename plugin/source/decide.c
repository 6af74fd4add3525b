// SPDX-License-Identifier: GPL-2.0-only
/* Events of a session, and what follows from them. */
#include <signal.h>

#include "assert.h"
#include "decide.h"
#include "give_address.h"
#include "io.h"
#include "link.h"
#include "log.h"
#include "proto/control.pb-c.h"
#include "worker.h"

static int answer_start(struct mfd_worker *w)
{
	mfd_link_answer(w, MFD_LINK_OK, "connected");
	return 0;
}

/*
 * The point of no return of postcopy: the phase says already that the restored tasks may run.
 *
 * Should CRIU die, its tasks are no longer traced and would run: SIGSTOP keeps them from it then.
 * An abort undoes that.
 */
static int give_leave(struct mfd_worker *w)
{
	Mfd__StartedOk leave = MFD__STARTED_OK__INIT;
	uint64_t now;
	int ret;

	mfd_assert(mfd_send_phase_has(w->sh, MFD_SEND_LEAVE));
	mfd_assert(w->o->mode == MFD_MODE_POSTCOPY);
	mfd_shared_tasks_signal(w->sh, SIGSTOP);
	mfd_link_say(w, MFD_LINK_HOLD, 0, "the restored tasks may run on the target");
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

static int (*const follows[MFD_SEND_EVENTS])(struct mfd_worker *w) = {
	[MFD_SEND_EV_JOINED] = answer_start,
	[MFD_SEND_EV_STARTED] = give_leave,
	[MFD_SEND_EV_REJOINED] = say_connected_again,
	[MFD_SEND_EV_DISCARD] = say_discarded,
};

int mfd_decide(struct mfd_worker *w, int ret)
{
	if (ret <= MFD_SEND_STEP)
		return ret < 0 ? ret : 0;
	mfd_assert(ret < MFD_SEND_EVENTS);
	mfd_assert(mfd_send_phase(w->sh) != MFD_SEND_OVER);
	mfd_send_phase_event(w, (enum mfd_send_event)ret);
	return follows[ret] ? follows[ret](w) : 0;
}
