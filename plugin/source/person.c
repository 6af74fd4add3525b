// SPDX-License-Identifier: GPL-2.0-only
/* Requests of a person, by situation. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "live_setting.h"
#include "log.h"
#include "person.h"
#include "summary.h"
#include "worker.h"

/* Bits: what a request meets. */
#define BEFORE	  1  /* the restored tasks do not run: an abort undoes everything */
#define CONNECTED 2  /* they may run, and the target is connected */
#define LOST	  4  /* they may run, and the target is out of reach: in doubt */
#define DEAD	  8  /* the tasks here are dead; the target has not acknowledged that */
#define DYING	  16 /* the verdict is out: the tasks here are being ended */
#define ALWAYS	  (BEFORE | CONNECTED | LOST | DEAD | DYING)

static unsigned situation(const struct mfd_worker *w)
{
	switch (mfd_send_phase(w->sh)) {
	case MFD_SEND_LOST:
		return LOST;
	case MFD_SEND_COMMITTING:
	case MFD_SEND_ENDING:
		return DYING;
	case MFD_SEND_RELEASED:
		return DEAD;
	default:
		break;
	}
	return mfd_send_phase_has(w->sh, MFD_SEND_LEAVE) ? CONNECTED : BEFORE;
}

static int do_abort(struct mfd_worker *w, const struct mfd_desk_request *r)
{
	mfd_desk_answer(r->caller, NULL);
	return mfd_error_set(&w->err, -EINTR, "stopped by request");
}

static int do_run(struct mfd_worker *w, const struct mfd_desk_request *r)
{
	if (!mfd_shared_tasks_alive(w->sh)) {
		mfd_desk_answer(r->caller,
				"no task of the session lives here, so none can go on: if the "
				"target has a copy, it is the only one");
		return MFD_SEND_NOTHING;
	}
	mfd_desk_answer(r->caller, NULL);
	mfd_error_set(&w->err, -ECANCELED,
		      "a person has resolved the session: the tasks run on here");
	return MFD_SEND_EV_UNDO;
}

static int do_discard(struct mfd_worker *w, const struct mfd_desk_request *r)
{
	(void)w;
	mfd_desk_answer(r->caller, NULL);
	return MFD_SEND_EV_DISCARD;
}

static int do_retry(struct mfd_worker *w, const struct mfd_desk_request *r)
{
	mfd_retry_renew(&w->retry);
	mfd_desk_answer(r->caller, NULL);
	return MFD_SEND_NOTHING;
}

/* The target is not told any more: doubt.c. */
static int do_give_up(struct mfd_worker *w, const struct mfd_desk_request *r)
{
	(void)w;
	mfd_desk_answer(r->caller, NULL);
	return MFD_SEND_STEP;
}

static int do_status(struct mfd_worker *w, const struct mfd_desk_request *r)
{
	mfd_summary_say(w, r->caller);
	return MFD_SEND_NOTHING;
}

static int do_set(struct mfd_worker *w, const struct mfd_desk_request *r)
{
	struct mfd_error err = { 0 };
	struct mfd_setting change;
	char text[160];

	if (mfd_send_phase_has(w->sh, MFD_SEND_VERIFIED)) {
		mfd_desk_answer(r->caller, "too late: everything has been sent already");
		return MFD_SEND_NOTHING;
	}
	if (mfd_setting_change(&w->session, w->sh, r->name, r->value, &change, &err)) {
		mfd_desk_answer(r->caller, mfd_error_text(&err));
		return MFD_SEND_NOTHING;
	}
	mfd_setting_tell(&w->session, w->sh, r->name, &change);
	snprintf(text, sizeof(text), "%s %s %s", r->name, change.old, change.now);
	mfd_desk_say(r->caller, text);
	return MFD_SEND_NOTHING;
}

#define GONE_HERE "the tasks are gone here; the target is told until it answers"
#define TOO_LATE                                                        \
	"too late: the target has everything, and the tasks end here; " \
	"criu-multifd status --source says which is not dead yet"
#define NOT_IN_DOUBT "the session is not in doubt: its target is connected"

static const struct {
	enum mfd_desk_verb verb;
	unsigned when;
	int (*act)(struct mfd_worker *w, const struct mfd_desk_request *r);
	const char *refusal; /* where act is NULL */
} verbs[] = {
	{ MFD_DESK_ABORT, BEFORE, do_abort, NULL },
	{ MFD_DESK_ABORT, CONNECTED, NULL, "too late: the tasks may run on the target already" },
	{ MFD_DESK_ABORT, LOST, NULL,
	  "in doubt: the tasks may run on the target; criu-multifd resolve --source settles it" },
	{ MFD_DESK_ABORT, DYING, NULL, TOO_LATE },
	{ MFD_DESK_RUN, DYING, NULL, TOO_LATE },
	{ MFD_DESK_DISCARD, DYING, NULL, TOO_LATE },
	{ MFD_DESK_ABORT, DEAD, NULL, GONE_HERE },
	{ MFD_DESK_RUN, DEAD, NULL, GONE_HERE },
	{ MFD_DESK_DISCARD, DEAD, do_give_up, NULL },
	{ MFD_DESK_RUN, LOST, do_run, NULL },
	{ MFD_DESK_RUN, BEFORE | CONNECTED, NULL, NOT_IN_DOUBT },
	{ MFD_DESK_DISCARD, LOST, do_discard, NULL },
	{ MFD_DESK_DISCARD, BEFORE | CONNECTED, NULL, NOT_IN_DOUBT },
	{ MFD_DESK_RETRY, LOST, do_retry, NULL },
	{ MFD_DESK_RETRY, BEFORE | CONNECTED, NULL, NOT_IN_DOUBT },
	{ MFD_DESK_RETRY, DYING, NULL, TOO_LATE },
	{ MFD_DESK_RETRY, DEAD, NULL, GONE_HERE },
	{ MFD_DESK_SET, ALWAYS, do_set, NULL },
	{ MFD_DESK_STATUS, ALWAYS, do_status, NULL },
};

int mfd_person_desk(struct mfd_worker *w)
{
	struct mfd_desk_request r;
	enum mfd_desk_verb verb = mfd_desk_next(w->desk, &r);
	unsigned now = situation(w);

	for (size_t i = 0; i < sizeof(verbs) / sizeof(*verbs); i++) {
		if (verbs[i].verb != verb || !(verbs[i].when & now))
			continue;
		if (verbs[i].act)
			return mfd_error_blame(&w->err, MFD_ERROR_OWN, verbs[i].act(w, &r));
		mfd_desk_answer(r.caller, verbs[i].refusal);
	}
	return MFD_SEND_NOTHING;
}

int mfd_person_signal(struct mfd_worker *w)
{
	struct signalfd_siginfo si;
	const char *name;

	if (read(w->signals, &si, sizeof(si)) != (ssize_t)sizeof(si))
		return MFD_SEND_NOTHING;
	name = strsignal((int)si.ssi_signo);
	if (situation(w) & (LOST | BEFORE | DEAD))
		return mfd_error_blame(&w->err, MFD_ERROR_OWN,
				       mfd_error_set(&w->err, -EINTR, "stopped by %s", name));
	mfd_log_warn("ignoring %s: %s", name,
		     situation(w) == DYING ?
			     "the target has everything, and the tasks end here" :
			     "the tasks may run on the target already, which is connected");
	return MFD_SEND_NOTHING;
}

int mfd_person_wait(struct mfd_worker *w, int ms)
{
	struct pollfd p[2] = { { w->desk, POLLIN, 0 }, { w->signals, POLLIN, 0 } };
	int ret = MFD_SEND_NOTHING;

	if (poll(p, 2, ms) <= 0)
		return ret;
	if (p[0].revents)
		ret = mfd_person_desk(w);
	if (!ret && p[1].revents)
		ret = mfd_person_signal(w);
	return ret;
}

int mfd_person_rest(struct mfd_worker *w, int ms)
{
	int ret = mfd_person_wait(w, ms);

	if (ret)
		mfd_error_clear(&w->err);
	return ret;
}
