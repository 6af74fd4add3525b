// SPDX-License-Identifier: GPL-2.0-only
/* The rows of turns.h. */
#include "turns.h"

#define P(id) MFD_TURN_PLAN(MFD_PLAN_##id)
#define ANY   (MFD_TURN_PLAN(MFD_PLANS) - 1)
#define FULL  (P(SAFE) | P(SAFE_CONFIRM) | P(EARLY)) /* the source decides when all is here */
#define POST  (P(POSTCOPY) | P(POSTCOPY_CONFIRM))

#define T(phase) MFD_TURN_PHASE(MFD_PHASE_##phase)
/* Phases in which a session's thread is at work. */
#define LIVE                                                                               \
	(T(QUEUED) | T(STREAMING) | T(IMAGES) | T(SETTLING) | T(RESTORABLE) | T(RUNNING) | \
	 T(READY) | T(RESTORED) | T(COMMITTED))

/* From the source; phases are the target's. */
#define FROM_SOURCE(name, kind, plans, phases, ignored)                                   \
	{                                                                                 \
		MFD_WIRE_##name, MFD_SIDE_SOURCE, MFD_TURN_##kind, plans, phases, ignored \
	}
/* From the target; phases are the source's. */
#define FROM_TARGET(name, kind, plans, phases, ignored)                                   \
	{                                                                                 \
		MFD_WIRE_##name, MFD_SIDE_TARGET, MFD_TURN_##kind, plans, phases, ignored \
	}

const struct mfd_turn mfd_turns[] = {
	FROM_SOURCE(HELLO, FIRST, ANY, T(NONE), 0),
	FROM_SOURCE(IMAGES, ORDERED, ANY, T(STREAMING), 0),
	/*
	 * Before IMAGES, too: then the images are what has come by then.  A second END while huge
	 * pages are filled is compared like the first.
	 */
	FROM_SOURCE(END, ORDERED, FULL, T(STREAMING) | T(IMAGES) | T(SETTLING), 0),
	FROM_SOURCE(END, ORDERED, POST, T(RESTORABLE) | T(RUNNING), 0),
	/* It may have crossed READY. */
	FROM_SOURCE(STARTED_OK, ORDERED, POST, T(RESTORABLE), LIVE & ~T(RESTORABLE)),
	FROM_SOURCE(STARTED_OK, ORDERED, FULL, 0, LIVE),
	FROM_SOURCE(COMMIT, ORDERED, ANY, T(READY) | T(RESTORED) | T(COMMITTED), 0),
	FROM_SOURCE(ABORT, ORDERED, ANY, LIVE & ~T(COMMITTED), T(COMMITTED)),
	FROM_SOURCE(RESUME, FIRST, ANY, LIVE, 0),
	FROM_SOURCE(PING, ANYTIME, ANY, LIVE, 0),
	FROM_SOURCE(PONG, ANYTIME, ANY, LIVE, 0),
	FROM_SOURCE(SETTING, ANYTIME, ANY, LIVE, 0),
	FROM_SOURCE(SIZE, ANYTIME, ANY, LIVE, 0),
};
const size_t mfd_turns_n = sizeof(mfd_turns) / sizeof(*mfd_turns);

const struct mfd_turn *mfd_turns_find(enum mfd_side from, unsigned type)
{
	for (size_t i = 0; i < mfd_turns_n; i++)
		if (mfd_turns[i].type == type && mfd_turns[i].from == from)
			return &mfd_turns[i];
	return NULL;
}

enum mfd_turn_answer mfd_turns_ask(enum mfd_side from, unsigned type, enum mfd_plan_id plan,
				   unsigned phase)
{
	for (size_t i = 0; i < mfd_turns_n; i++) {
		const struct mfd_turn *t = &mfd_turns[i];

		if (t->type != type || t->from != from || !(t->plans & MFD_TURN_PLAN(plan)))
			continue;
		if (t->phases & MFD_TURN_PHASE(phase))
			return MFD_TURN_TAKEN;
		if (t->ignored & MFD_TURN_PHASE(phase))
			return MFD_TURN_IGNORED;
	}
	return MFD_TURN_REFUSED;
}

static const char *const plans[] = {
	[MFD_PLAN_SAFE] = "safe",
	[MFD_PLAN_SAFE_CONFIRM] = "safe+confirm",
	[MFD_PLAN_EARLY] = "early",
	[MFD_PLAN_POSTCOPY] = "postcopy",
	[MFD_PLAN_POSTCOPY_CONFIRM] = "postcopy+confirm",
};

static const char *const phases[] = {
	[MFD_PHASE_NONE] = "none",	     [MFD_PHASE_QUEUED] = "queued",
	[MFD_PHASE_STREAMING] = "streaming", [MFD_PHASE_IMAGES] = "images",
	[MFD_PHASE_SETTLING] = "settling",   [MFD_PHASE_RESTORABLE] = "restorable",
	[MFD_PHASE_RUNNING] = "running",     [MFD_PHASE_READY] = "ready",
	[MFD_PHASE_RESTORED] = "restored",   [MFD_PHASE_COMMITTED] = "committed",
	[MFD_PHASE_DONE] = "done",	     [MFD_PHASE_ABORTED] = "aborted",
};
_Static_assert(sizeof(plans) / sizeof(*plans) == MFD_PLANS, "each plan has a name");
_Static_assert(sizeof(phases) / sizeof(*phases) == MFD_PHASES, "each phase has a name");

const char *mfd_turns_plan(unsigned plan)
{
	return plan < MFD_PLANS ? plans[plan] : "unknown";
}

const char *mfd_turns_phase(unsigned phase)
{
	return phase < MFD_PHASES ? phases[phase] : "unknown";
}
