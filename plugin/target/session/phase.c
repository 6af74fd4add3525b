// SPDX-License-Identifier: GPL-2.0-only
/* Transitions and invariants of a session; phase.h shows them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "assert.h"
#include "log.h"
#include "session.h"

/* ---- transitions ---- */

#define P(id) MFD_TURN_PLAN(MFD_PLAN_##id)
#define ANY   (MFD_TURN_PLAN(MFD_PLANS) - 1)
#define FULL  (P(SAFE) | P(SAFE_CONFIRM) | P(EARLY))
#define POST  (P(POSTCOPY) | P(POSTCOPY_CONFIRM))
#define OWN   (P(SAFE_CONFIRM) | P(EARLY) | P(POSTCOPY_CONFIRM)) /* the server restores */

#define STEP(from, to, plans, by)                           \
	{                                                   \
		MFD_PHASE_##from, MFD_PHASE_##to, plans, by \
	}

const struct mfd_transition mfd_transitions[] = {
	STEP(NONE, QUEUED, ANY, "mfd_hello_open"),
	STEP(NONE, STREAMING, ANY, "mfd_hello_open"),
	STEP(NONE, RUNNING, POST, "mfd_reload_all"),
	STEP(NONE, READY, ANY, "mfd_reload_all"),
	STEP(NONE, COMMITTED, ANY, "mfd_reload_all"),
	STEP(QUEUED, STREAMING, ANY, "mfd_way_admitted"),
	STEP(STREAMING, IMAGES, ANY, "mfd_way_images"),
	STEP(STREAMING, READY, FULL, "mfd_commit_ready"),
	STEP(IMAGES, RESTORABLE, POST, "mfd_way_images"),
	STEP(IMAGES, SETTLING, P(EARLY), "mfd_way_end"),
	STEP(IMAGES, READY, FULL, "mfd_commit_ready"),
	STEP(SETTLING, READY, P(EARLY), "mfd_commit_ready"),
	STEP(RESTORABLE, RUNNING, POST, "mfd_way_started_ok"),
	STEP(RESTORABLE, READY, POST, "mfd_commit_ready"),
	STEP(RUNNING, READY, POST, "mfd_commit_ready"),
	STEP(READY, RESTORED, OWN, "mfd_own_restore_confirm"),
	/* The server ends, and what was restored is killed: it can be restored again. */
	STEP(RESTORED, READY, OWN, "on_stop"),
	STEP(READY, COMMITTED, ANY, "mfd_commit_store"),
	STEP(RESTORED, COMMITTED, OWN, "mfd_commit_store"),
	STEP(COMMITTED, DONE, ANY, "mfd_session_wind_up"),
	/* A person gives up what could not be restored. */
	STEP(COMMITTED, ABORTED, ANY, "mfd_session_wind_up"),
	STEP(QUEUED, ABORTED, ANY, "mfd_session_wind_up"),
	STEP(STREAMING, ABORTED, ANY, "mfd_session_wind_up"),
	STEP(IMAGES, ABORTED, ANY, "mfd_session_wind_up"),
	STEP(SETTLING, ABORTED, P(EARLY), "mfd_session_wind_up"),
	STEP(RESTORABLE, ABORTED, POST, "mfd_session_wind_up"),
	STEP(RUNNING, ABORTED, POST, "mfd_session_wind_up"),
	STEP(READY, ABORTED, ANY, "mfd_session_wind_up"),
	STEP(RESTORED, ABORTED, OWN, "mfd_session_wind_up"),
};
const size_t mfd_transitions_n = sizeof(mfd_transitions) / sizeof(*mfd_transitions);

int mfd_phase_legal(enum mfd_phase from, enum mfd_phase to, enum mfd_plan_id plan)
{
	for (size_t i = 0; i < mfd_transitions_n; i++) {
		const struct mfd_transition *t = &mfd_transitions[i];

		if (t->from == from && t->to == to && t->plans & MFD_TURN_PLAN(plan))
			return 1;
	}
	return 0;
}

/* ---- invariants ---- */

static int has_pager(const struct mfd_session *s)
{
	return atomic_load_explicit(&s->pager, memory_order_relaxed) != NULL;
}

static int has_plan(const struct mfd_session *s)
{
	return s->plan != NULL;
}

static int no_pager(const struct mfd_session *s)
{
	return !has_pager(s);
}

/* While IMAGES is handled the pager is only about to start. */
static int pager_if_followed(const struct mfd_session *s)
{
	return s->plan->follow || !has_pager(s);
}

static int no_channels(const struct mfd_session *s)
{
	return s->link.state == MFD_LINK_NONE;
}

static int no_leave(const struct mfd_session *s)
{
	return s->leave == MFD_LEAVE_WAIT || s->over;
}

static int not_in_doubt(const struct mfd_session *s)
{
	return !s->in_doubt;
}

static int is_sealed(const struct mfd_session *s)
{
	return atomic_load(&s->sealed);
}

static int is_open(const struct mfd_session *s)
{
	return !atomic_load(&s->sealed);
}

static int is_settling(const struct mfd_session *s)
{
	return s->plan->early && s->huge && has_pager(s) &&
	       (mfd_restore_has_tasks(&s->restore) || s->over);
}

static int is_postcopy(const struct mfd_session *s)
{
	return s->plan->postcopy && (has_pager(s) || mfd_session_installed(s) || s->over);
}

static int is_confirmed(const struct mfd_session *s)
{
	return s->plan->confirm && (mfd_restore_has_tasks(&s->restore) || s->over);
}

static int not_continued(const struct mfd_session *s)
{
	return s->plan->postcopy || mfd_restore_phase(&s->restore) != MFD_RESTORE_CONTINUED;
}

static int is_done(const struct mfd_session *s)
{
	return s->over == MFD_OVER_DONE && mfd_session_installed(s);
}

static int is_over(const struct mfd_session *s)
{
	return s->over == MFD_OVER_ABORTED && !mfd_restore_has_tasks(&s->restore);
}

#define T(phase) MFD_PHASE_BIT(phase)
#define ALL	 (MFD_TURN_PHASE(MFD_PHASES) - 1)

static const struct {
	unsigned phases;
	int (*holds)(const struct mfd_session *s);
	const char *text;
} invariants[] = {
	{ ALL & ~T(NONE), has_plan, "a session has a plan" },
	{ T(QUEUED) | T(STREAMING), no_pager, "nothing can be restored before the images are in" },
	{ T(IMAGES), pager_if_followed, "no restore before READY, unless pages follow the images" },
	{ T(QUEUED), no_channels, "no channel joins before HELLO is answered" },
	{ MFD_PHASES_UNVERIFIED & ~T(RUNNING), no_leave, "leave to run before STARTED_OK" },
	{ MFD_PHASES_UNVERIFIED & ~T(RUNNING), not_in_doubt,
	  "the source can go on by itself: nothing is in doubt" },
	{ T(QUEUED) | T(STREAMING) | T(IMAGES) | T(RESTORABLE) | T(RUNNING), is_open,
	  "pages may come" },
	{ T(SETTLING) | MFD_PHASES_UNDECIDED | T(COMMITTED), is_sealed, "no page may come" },
	{ T(SETTLING), is_settling, "stopped tasks of an early restore get huge pages" },
	{ T(RESTORABLE) | T(RUNNING), is_postcopy, "a pager serves a postcopy session" },
	{ T(RESTORED), is_confirmed, "the server has restored the tasks" },
	{ MFD_PHASES_UNVERIFIED | MFD_PHASES_UNDECIDED, not_continued,
	  "restored tasks stay stopped before COMMIT, but in postcopy" },
	{ T(COMMITTED) | T(DONE) | T(ABORTED), not_in_doubt, "it is decided" },
	{ T(DONE), is_done, "every page is installed" },
	{ T(ABORTED), is_over, "what was restored is dead" },
};

const char *mfd_session_broken_invariant(const struct mfd_session *s)
{
	for (size_t i = 0; i < sizeof(invariants) / sizeof(*invariants); i++)
		if (invariants[i].phases & MFD_TURN_PHASE(s->phase) && !invariants[i].holds(s))
			return invariants[i].text;
	return NULL;
}

void mfd_session_check(const struct mfd_session *s)
{
	const char *broken = mfd_session_broken_invariant(s);

	if (broken)
		mfd_assert_failed(broken, __FILE__, __LINE__, __func__);
}

void mfd_session_say(const void *session, char *buf, size_t len)
{
	const struct mfd_session *s = session;

	snprintf(buf, len, "session %s, plan %s, phase %s%s", s->name,
		 s->plan ? s->plan->name : "none", mfd_turns_phase(s->phase),
		 s->in_doubt ? ", in doubt" : "");
}

void mfd_session_load(struct mfd_session *s, enum mfd_phase to)
{
	mfd_assert(s->plan);
	mfd_assert(s->phase == MFD_PHASE_NONE);
	s->phase = to;
}

/*
 * For test/fault: an invariant that is broken when the phase that the server's environment names is
 * entered.  A peer cannot set it.
 */
static int is_broken_by_test(enum mfd_phase to)
{
	const char *name = getenv("MFD_TEST_BREAK");

	return name && !strcmp(name, mfd_turns_phase(to));
}

void mfd_session_enter(struct mfd_session *s, enum mfd_phase to)
{
	mfd_assert(mfd_session_is_mine(s));
	mfd_assert(s->plan);
	mfd_assert(mfd_phase_legal(s->phase, to, s->plan->id));
	mfd_assert(!is_broken_by_test(to));
	mfd_log_info("%s: %s -> %s, of %s", s->name, mfd_turns_phase(s->phase), mfd_turns_phase(to),
		     mfd_owner_text(&s->owner));
	s->phase = to;
	mfd_session_check(s);
}
