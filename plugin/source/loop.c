// SPDX-License-Identifier: GPL-2.0-only
/* The sender's event loop. */
#include <errno.h>
#include <poll.h>

#include "assert.h"
#include "decide.h"
#include "link.h"
#include "loop.h"
#include "messages.h"
#include "person.h"
#include "stages.h"
#include "turns.h"
#include "worker.h"

/* In their order: what ends the session comes first. */
enum source { SIGNALS, DESK, INBOX, LINK, SOURCES };

static int (*const handle[SOURCES])(struct mfd_worker *w) = {
	[SIGNALS] = mfd_person_signal,
	[DESK] = mfd_person_desk,
	[INBOX] = mfd_messages_take,
	[LINK] = mfd_link_read,
};

static int round_of(struct mfd_worker *w)
{
	struct pollfd p[SOURCES] = { [SIGNALS] = { w->signals, POLLIN, 0 },
				     [DESK] = { w->desk, POLLIN, 0 },
				     [INBOX] = { w->wake, POLLIN, 0 },
				     [LINK] = { w->link, POLLIN, 0 } };
	int ret = 0;

	if (poll(p, SOURCES, mfd_stages_wait_ms(w)) < 0) {
		if (errno != EINTR)
			return mfd_error_sys(&w->err, -errno, "poll");
		return 0;
	}
	for (int i = 0; i < SOURCES && !ret; i++)
		if (p[i].revents)
			ret = mfd_decide(w, handle[i](w));
	return ret ? ret : mfd_decide(w, mfd_stages_step(w));
}

/*
 * READY or RESTORED may have lain in the socket while this process was stopped.  A target that has
 * closed the connection meanwhile, because it was in doubt for too long, may have been told by a
 * person to throw everything away: its word does not count any more.
 */
static int still_there(struct mfd_worker *w)
{
	if (mfd_conn_gone(&w->session.control.conn, 0) <= 0)
		return 0;
	return mfd_error_blame(
		&w->err, MFD_ERROR_LINK,
		mfd_error_set(&w->err, -ECONNRESET,
			      "the target has closed the connection before the verdict"));
}

int mfd_loop_run(struct mfd_worker *w)
{
	int ret = 0;

	mfd_assert(mfd_send_phase(w->sh) != MFD_SEND_LOST);
	mfd_assert(mfd_send_phase(w->sh) < MFD_SEND_COMMITTING);
	while (!ret && !mfd_send_phase_has(w->sh, MFD_SEND_DECIDED))
		ret = round_of(w);
	return ret ? ret : still_there(w);
}

static int criu_hung_up(struct mfd_worker *w)
{
	struct pollfd p = { w->link, 0, 0 };

	if (poll(&p, 1, 0) <= 0 || !(p.revents & POLLHUP) ||
	    mfd_send_phase_has(w->sh, MFD_SEND_LEAVE))
		return 0;
	return mfd_error_blame(&w->err, MFD_ERROR_OWN,
			       mfd_error_set(&w->err, -EPIPE, "CRIU has ended"));
}

/* Leave to run, asked for ahead of its turn. */
static int started_came(struct mfd_worker *w)
{
	return w->inbox.running &&
	       mfd_turns_ask(MFD_SIDE_TARGET, MFD_WIRE_STARTED, w->session.plan,
			     mfd_send_phase(w->sh)) == MFD_TURN_TAKEN &&
	       mfd_inbox_take(&w->inbox, MFD_WIRE_STARTED);
}

int mfd_loop_glance(void *worker)
{
	struct mfd_worker *w = worker;
	struct pollfd p[2] = { { w->signals, POLLIN, 0 }, { w->desk, POLLIN, 0 } };
	int ret = 0;

	if (mfd_queue_waits(&w->session.queue))
		mfd_progress_phase(w->progress, MFD_PROGRESS_QUEUED);
	if (poll(p, 2, 0) > 0) {
		if (p[0].revents)
			ret = mfd_decide(w, mfd_person_signal(w));
		if (!ret && p[1].revents)
			ret = mfd_decide(w, mfd_person_desk(w));
	}
	if (!ret)
		ret = criu_hung_up(w);
	if (!ret && started_came(w))
		ret = mfd_decide(w, MFD_SEND_EV_STARTED);
	return ret;
}
