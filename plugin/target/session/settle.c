// SPDX-License-Identifier: GPL-2.0-only
/* Requests of a person, by phase; see settle.h. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "assert.h"
#include "fate.h"
#include "rules.h"
#include "session.h"
#include "settle.h"
#include "verify.h"
#include "way.h"

static int in_doubt(const struct mfd_session *s)
{
	return s->in_doubt;
}

/* The source has said that its tasks are dead, and this copy can run. */
static int is_last(const struct mfd_session *s)
{
	return s->in_doubt && s->end.source_gone;
}

/* Nothing of it is restored: it may be impossible. */
static int may_give_up(const struct mfd_session *s)
{
	struct mfd_session *own = (struct mfd_session *)s; /* to take its lock */

	return !mfd_restore_has_tasks(&s->restore) && !atomic_load(&s->restored) &&
	       !mfd_restore_is_under_way(&s->restore) && !mfd_session_has_deposits(own);
}

static const char *source_of(const struct mfd_session *s)
{
	return s->source[0] ? s->source : "the source";
}

/* ---- what is lost ---- */

static void lose_running(struct mfd_session *s, char *text, size_t len)
{
	uint64_t missing = mfd_verify_missing(s);

	if (s->end.source_gone)
		snprintf(text, len,
			 "ok %llu of %llu pages had not come, and %s has said that its tasks are "
			 "dead: nothing is left of them",
			 (unsigned long long)missing, (unsigned long long)s->lazy_pages,
			 source_of(s));
	else
		snprintf(text, len,
			 "ok %llu of %llu pages had not come, what the tasks did here is lost; the "
			 "good copy is on %s, frozen as it was, if that host was not started anew "
			 "since: it goes on when its sender hears of this, or by: criu-multifd "
			 "resolve --source DIR --run",
			 (unsigned long long)missing, (unsigned long long)s->lazy_pages,
			 source_of(s));
}

static void lose_complete(struct mfd_session *s, char *text, size_t len)
{
	snprintf(text, len,
		 "ok what is thrown away was complete; what is left are the tasks of %s%s",
		 source_of(s),
		 s->plan->postcopy ? ", frozen as they were: they go on when their sender hears of "
				     "this, or by: criu-multifd resolve --source DIR --run" :
				     "");
}

static void lose_committed(struct mfd_session *s, char *text, size_t len)
{
	snprintf(text, len,
		 "ok what is thrown away was complete and committed: unless its tasks live on %s, "
		 "nothing is left of them",
		 source_of(s));
}

/* ---- what is done ---- */

/* What does not die at once is waited for when the session is taken down (ending.c). */
static void discard(struct mfd_session *s, const char *why)
{
	struct mfd_trouble t;

	mfd_assert(mfd_session_is_mine(s));
	mfd_assert(!s->over);
	mfd_trouble(&t, MFD_TROUBLE_PERSON, -ECANCELED, "%s", why);
	mfd_session_trouble(s, &t);
}

static void do_abort(struct mfd_session *s, char *answer, size_t len)
{
	snprintf(answer, len, "ok");
	discard(s, "by request");
}

static void do_discard(struct mfd_session *s, char *answer, size_t len)
{
	if (s->phase == MFD_PHASE_RUNNING)
		lose_running(s, answer, len);
	else if (s->phase == MFD_PHASE_COMMITTED)
		lose_committed(s, answer, len);
	else
		lose_complete(s, answer, len);
	discard(s, "discarded by resolve");
}

static void say_missing(struct mfd_session *s, char *answer, size_t len)
{
	snprintf(
		answer, len,
		"error: pages are missing, %llu of %llu: the tasks have leave to run here and wait "
		"for them; %s",
		(unsigned long long)mfd_verify_missing(s), (unsigned long long)s->lazy_pages,
		s->end.source_gone ?
			"the source has said that its tasks are dead, so they cannot come" :
			"only the frozen tasks of the source have them");
}

/* A copy that has run and died is not committed: the source would end the one that is left. */
static void do_run(struct mfd_session *s, char *answer, size_t len)
{
	struct mfd_trouble t;
	int ret = mfd_fate_look(s, &t);

	mfd_assert(mfd_session_in(s, MFD_PHASES_UNDECIDED));
	mfd_assert(!s->over);
	ret = ret ? ret : mfd_way_commit(s, 0, &t);
	if (ret)
		mfd_session_trouble(s, &t);
	if (s->phase == MFD_PHASE_COMMITTED)
		snprintf(answer, len, "ok");
	else
		snprintf(answer, len, "error: %s", t.text);
}

/* ---- which, and when ---- */

#define P(phase)   MFD_PHASE_BIT(phase)
#define EARLIER	   (MFD_PHASES_UNVERIFIED & ~P(RUNNING))
#define ALL_PHASES (MFD_PHASES_UNVERIFIED | MFD_PHASES_UNDECIDED | P(COMMITTED))
#define CONNECTED  "error: the session is not in doubt: its source is connected"

/* The first row that fits. */
static const struct row {
	enum mfd_request_kind kind;
	unsigned phases;
	int (*when)(const struct mfd_session *s); /* NULL: always */
	void (*act)(struct mfd_session *s, char *answer, size_t len);
	const char *refusal; /* where act is NULL */
} rows[] = {
	{ MFD_REQUEST_ABORT, ALL_PHASES, mfd_rules_may_abort, do_abort, NULL },
	{ MFD_REQUEST_ABORT, P(RUNNING), NULL, NULL,
	  "error: the tasks run here, and pages are missing that only its source has: only its "
	  "source, or `resolve` when it is in doubt, may end it" },
	{ MFD_REQUEST_ABORT, P(COMMITTED), NULL, NULL,
	  "error: the session is committed: the source is gone" },
	{ MFD_REQUEST_ABORT, EARLIER | MFD_PHASES_UNDECIDED, NULL, NULL,
	  "error: the session is verified: only its source, or `resolve` when it is in doubt, may end it" },

	{ MFD_REQUEST_RUN, P(RUNNING), in_doubt, say_missing, NULL },
	{ MFD_REQUEST_RUN, MFD_PHASES_UNDECIDED, in_doubt, do_run, NULL },
	{ MFD_REQUEST_RUN, P(COMMITTED), NULL, NULL,
	  "error: the session is not in doubt: it is committed, and may run here" },
	{ MFD_REQUEST_RUN, ALL_PHASES, NULL, NULL, CONNECTED },

	{ MFD_REQUEST_DISCARD, MFD_PHASES_UNDECIDED, is_last, NULL,
	  "error: the source has said that its tasks are dead, so this copy is complete and the "
	  "only one: let it run (--run)" },
	{ MFD_REQUEST_DISCARD, P(RUNNING) | MFD_PHASES_UNDECIDED, in_doubt, do_discard, NULL },
	{ MFD_REQUEST_DISCARD, P(COMMITTED), may_give_up, do_discard, NULL },
	{ MFD_REQUEST_DISCARD, P(COMMITTED), NULL, NULL,
	  "error: the session is not in doubt: it is committed, and its tasks are restored here, or "
	  "about to be" },
	{ MFD_REQUEST_DISCARD, EARLIER, NULL, NULL, CONNECTED ", and criu-multifd abort ends it" },
	{ MFD_REQUEST_DISCARD, ALL_PHASES, NULL, NULL, CONNECTED },
};

static const struct row *row_for(const struct mfd_session *s, enum mfd_request_kind kind)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		if (rows[i].kind == kind && mfd_session_in(s, rows[i].phases) &&
		    (!rows[i].when || rows[i].when(s)))
			return &rows[i];
	return NULL;
}

void mfd_settle(struct mfd_session *s, struct mfd_request *r)
{
	const struct row *row = row_for(s, r->kind);

	mfd_assert(mfd_session_is_mine(s));
	mfd_assert(row); /* each request has an answer in each phase */
	if (row->act)
		row->act(s, r->answer, sizeof(r->answer));
	else
		snprintf(r->answer, sizeof(r->answer), "%s", row->refusal);
}
