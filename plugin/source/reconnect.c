// SPDX-License-Identifier: GPL-2.0-only
/* New connections in the place of lost ones. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "assert.h"
#include "decide.h"
#include "log.h"
#include "person.h"
#include "reconnect.h"
#include "summary.h"
#include "worker.h"

#define RETRY_MS     500
#define MAX_RETRY_MS 15000 /* of a target that answers, and does not say what became of the tasks */
#define SAY_EVERY    20	   /* tries */

/* The time between two tries, in which a person may decide: as mfd_person_desk. */
static int wait_for_person(struct mfd_worker *w, int ms)
{
	struct pollfd p = { .fd = w->desk, .events = POLLIN };

	if (w->desk < 0) {
		usleep((useconds_t)ms * 1000);
		return MFD_SEND_NOTHING;
	}
	return poll(&p, 1, ms) > 0 ? mfd_person_desk(w) : MFD_SEND_NOTHING;
}

/*
 * A target that has verified everything, or was told to commit by a person, has no use for channels
 * and says the rest at once.
 */
static int pages_are_due(const char *state)
{
	return strcmp(state, "READY") && strcmp(state, "RESTORED") && strcmp(state, "COMMITTED") &&
	       strcmp(state, "DONE");
}

static void close_session(struct mfd_worker *w)
{
	struct mfd_uplink *s = &w->session;

	mfd_uplink_close(s);
	mfd_summary_keep(w);
	*s = (struct mfd_uplink){ .wake_fd = w->wake,
				  .waiting = s->waiting,
				  .waiting_arg = s->waiting_arg,
				  .plan = s->plan,
				  .lim = s->lim,
				  .queue = s->queue };
}

/* One try: MFD_SEND_EV_REJOINED, or -errno with w->err filled. */
static int try_again(struct mfd_worker *w)
{
	char state[MFD_UPLINK_STATE];
	int ret = mfd_uplink_resume(&w->session, w->o, w->sh, "continue", state, &w->err);

	mfd_assert(mfd_send_phase_has(w->sh, MFD_SEND_LEAVE));
	mfd_assert(!w->session.multifd && !w->session.have_urgent);
	if (!ret && pages_are_due(state))
		ret = mfd_uplink_join(&w->session, w->o, w->sh, &w->err);
	if (!ret)
		ret = mfd_inbox_start(&w->inbox, &w->session, &w->tasks, w->wake);
	if (ret)
		return ret;
	w->tasks.current = w->tasks.n; /* from here on the target says what it needs */
	w->past.reconnects++;
	return MFD_SEND_EV_REJOINED;
}

/* A try got an answer: channels, or a proof that the tasks may go on here. */
static int answered(struct mfd_worker *w, const struct mfd_error *why, int ret)
{
	mfd_assert(ret > 0 || mfd_proof_frees(w->session.proof));
	mfd_assert(why->code);
	mfd_doubt_end(w);
	/* The target's own reason says more than that it does not know the session any more. */
	if (ret < 0 && why->code == -ECANCELED)
		w->err = *why;
	return ret;
}

/* A target that answers is asked less and less often; one that is out of reach may be back soon. */
static int next_pause(const struct mfd_worker *w, int pause)
{
	if (w->doubt.kind == MFD_PROGRESS_LOST)
		return RETRY_MS;
	return pause * 2 < MAX_RETRY_MS ? pause * 2 : MAX_RETRY_MS;
}

static int keep_trying(struct mfd_worker *w, const struct mfd_error *why)
{
	int pause = RETRY_MS, ret;

	for (unsigned try = 0;; try++) {
		close_session(w);
		mfd_error_clear(&w->err);
		ret = try_again(w);
		if (ret > 0 || mfd_proof_frees(w->session.proof))
			return answered(w, why, ret);
		if (mfd_gate_criu_ended(&w->gate, 0))
			return mfd_error_set(&w->err, -ESRCH, "CRIU has ended");
		if (try % SAY_EVERY == 0)
			mfd_log_warn("no connection to %s yet: %s", w->sh->target.text,
				     w->err.text);
		mfd_doubt_begin(w, w->session.proof);
		mfd_error_clear(&w->err);
		ret = wait_for_person(w, pause);
		pause = next_pause(w, pause);
		if (ret) {
			mfd_uplink_close(&w->session);
			mfd_doubt_end(w);
			return ret;
		}
	}
}

int mfd_reconnect(struct mfd_worker *w)
{
	const struct mfd_error why = w->err;
	int ret;

	mfd_assert(mfd_send_phase_has(w->sh, MFD_SEND_LEAVE));
	mfd_assert(why.code);
	mfd_log_error(
		"%s; the tasks may run on the target, so they stay frozen here until it is back",
		why.text);
	ret = mfd_decide(w, MFD_SEND_EV_LOST);
	atomic_store(&w->progress->lost, MFD_PROGRESS_LOST);
	/* It may be a channel that broke: the inbox must end, too. */
	mfd_uplink_shutdown(&w->session);
	mfd_inbox_stop(&w->inbox);
	return ret ? ret : mfd_decide(w, keep_trying(w, &why));
}
