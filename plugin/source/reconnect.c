// SPDX-License-Identifier: GPL-2.0-only
/* New connections in the place of lost ones. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "assert.h"
#include "decide.h"
#include "io.h"
#include "log.h"
#include "person.h"
#include "reconnect.h"
#include "summary.h"
#include "worker.h"

/*
 * A try waits for a tenth of the time that the target has been out of reach already, within these
 * bounds, in ms.
 */
#define PAUSE_MIN 500
#define PAUSE_MAX 10000
#define LOOK_MS	  1000	/* between two looks at the tasks that are held */
#define SHORT_MS  10000 /* a connection that is lost within that did not last */
#define SAY_EVERY 20	/* tries */

/* What happens between two tries: a person, a signal, a task that runs: as mfd_person_desk. */
static int look_around(struct mfd_worker *w, int ms)
{
	int ret = mfd_person_wait(w, ms);

	if (mfd_hold_look(w->sh))
		mfd_log_error(
			"process %d ran here, though its copy may run on %s; it is held again",
			w->sh->hold.ran, w->sh->target.text);
	return ret;
}

/* Until the next try. */
static int wait_for_person(struct mfd_worker *w)
{
	struct mfd_retry *d = &w->retry;
	int ret = 0;

	while (!ret) {
		uint64_t now = mfd_io_now_ms();

		if (d->next_ms && now >= d->next_ms)
			break;
		ret = look_around(w, d->next_ms && d->next_ms - now < LOOK_MS ?
					     (int)(d->next_ms - now) :
					     LOOK_MS);
	}
	return ret;
}

/* Whether there is a point in another try. */
static int is_worth(const struct mfd_worker *w)
{
	return !mfd_doubt_is_damage(w) && !mfd_retry_is_spent(&w->retry);
}

static void plan_next_try(struct mfd_worker *w)
{
	struct mfd_retry *d = &w->retry;
	uint64_t now = mfd_io_now_ms(), pause = (now - d->since_ms) / 10;

	pause = pause < PAUSE_MIN ? PAUSE_MIN : pause > PAUSE_MAX ? PAUSE_MAX : pause;
	d->next_ms = is_worth(w) ? now + pause : 0;
}

/* Whether there is a point in another try, and when the first one is. */
static void begin_retry(struct mfd_worker *w)
{
	struct mfd_retry *d = &w->retry;
	uint64_t now = mfd_io_now_ms();

	d->shorts = d->joined_ms && now - d->joined_ms < SHORT_MS ? d->shorts + 1 : 0;
	d->since_ms = now;
	d->next_ms = now + d->shorts * PAUSE_MIN;
	d->tries = 0;
	if (!is_worth(w))
		d->next_ms = 0;
	mfd_doubt_begin(w, MFD_PROOF_NONE);
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

/*
 * By a worker that has taken over: those that are not open yet.  A want of descriptors or memory
 * may pass; a task that has died stays dead.
 */
static int reopen_tasks(struct mfd_worker *w)
{
	int ret = 0;

	mfd_assert(w->tasks.n <= atomic_load(&w->sh->ntasks));
	mfd_assert(w->sh->hold.kind != MFD_HOLD_NONE);
	for (unsigned i = w->tasks.n; i < atomic_load(&w->sh->ntasks) && !ret; i++)
		ret = mfd_tasks_reopen(&w->tasks, i, &w->err);
	return mfd_error_blame(&w->err, MFD_ERROR_OWN, ret);
}

/*
 * One try: MFD_SEND_EV_REJOINED, or -errno with w->err filled.  The target is asked first: a task
 * that has died here is no reason not to hear its evidence, nor for it not to have everything.
 */
static int try_again(struct mfd_worker *w)
{
	char state[MFD_UPLINK_STATE];
	int ret;

	mfd_assert(mfd_send_phase_has(w->sh, MFD_SEND_LEAVE));
	mfd_assert(!w->session.multifd && !w->session.have_urgent);
	ret = mfd_uplink_resume(&w->session, w->o, w->sh, "continue", state, &w->err);
	if (!ret && pages_are_due(state)) {
		ret = reopen_tasks(w);
		if (!ret)
			ret = mfd_uplink_join(&w->session, w->o, w->sh, &w->err);
	}
	if (!ret)
		ret = mfd_inbox_start(&w->inbox, &w->session, &w->tasks, w->wake);
	if (ret)
		return ret;
	w->tasks.current = w->tasks.n; /* from here on the target says what it needs */
	w->past.reconnects++;
	w->retry.joined_ms = mfd_io_now_ms();
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

static int keep_trying(struct mfd_worker *w, const struct mfd_error *why)
{
	struct mfd_retry *d = &w->retry;
	int ret;

	for (;;) {
		close_session(w);
		mfd_error_clear(&w->err);
		ret = wait_for_person(w);
		if (ret) {
			if (ret > 0)
				mfd_doubt_end(w);
			return ret;
		}
		d->tries++;
		ret = try_again(w);
		if (ret > 0 || mfd_proof_frees(w->session.proof))
			return answered(w, why, ret);
		if (d->tries % SAY_EVERY == 1)
			mfd_log_warn("no connection to %s yet: %s", w->sh->target.text,
				     w->err.text);
		mfd_doubt_begin(w, w->session.proof);
		plan_next_try(w);
	}
}

static void say_doubt(const struct mfd_worker *w)
{
	if (w->retry.next_ms)
		mfd_log_error("%s; the tasks may run on the target, so they stay frozen here until "
			      "it is back",
			      w->doubt.why);
	else
		mfd_log_error(
			"%s; the tasks may run on the target, so they stay frozen here.  Another "
			"connection does not mend that: an operator decides, with 'criu-multifd "
			"resolve' on both sides, or has it tried again with 'criu-multifd resolve "
			"--source DIR --retry'",
			w->doubt.why);
}

/* Nothing runs on the target, which says so itself. */
static int undo(struct mfd_worker *w, int ret)
{
	mfd_assert(w->err.code);
	return mfd_proof_frees(w->session.proof) ? MFD_SEND_EV_UNDO : ret;
}

int mfd_reconnect(struct mfd_worker *w)
{
	const struct mfd_error why = w->err;
	int ret;

	mfd_assert(mfd_send_phase_has(w->sh, MFD_SEND_LEAVE));
	mfd_assert(why.code);
	begin_retry(w);
	say_doubt(w);
	ret = mfd_decide(w, MFD_SEND_EV_LOST);
	/* It may be a channel that broke: the inbox must end, too. */
	mfd_uplink_shutdown(&w->session);
	mfd_inbox_stop(&w->inbox);
	if (ret)
		return ret;
	ret = keep_trying(w, &why);
	ret = mfd_decide(w, ret < 0 ? undo(w, ret) : ret);
	return mfd_send_phase(w->sh) == MFD_SEND_UNDONE ? w->err.code : ret;
}
