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

#define S(phase) MFD_TURN_PHASE(MFD_SEND_##phase)
/* Phases of the source in which a connection may be open. */
#define OPEN	(S(OVER) - 1)
#define RESUMED S(REJOINED)

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
	FROM_SOURCE(ROUND, ORDERED, ANY, T(STREAMING), 0),
	FROM_SOURCE(PROBE, FIRST, ANY, T(NONE), 0),

	FROM_TARGET(HELLO_OK, FIRST, ANY, S(CONNECTING), 0),
	FROM_TARGET(QUEUED, FIRST, ANY, S(CONNECTING), 0),
	FROM_TARGET(RESUME_OK, FIRST, ANY, OPEN, 0),
	FROM_TARGET(JOINED, ORDERED, ANY, S(CONNECTING) | S(LOST), 0),
	/* STARTED overtakes it at a source that waits for a channel. */
	FROM_TARGET(IMAGES_OK, ORDERED, POST,
		    S(IMAGES) | S(VERIFYING) | S(RUNNING) | S(RUNNING_ALL), 0),
	FROM_TARGET(NEED, ORDERED, FULL, S(VERIFYING), 0),
	FROM_TARGET(NEED, ORDERED, POST, S(VERIFYING) | S(RUNNING_ALL) | RESUMED, 0),
	FROM_TARGET(READY, ORDERED, FULL, S(VERIFYING), 0),
	FROM_TARGET(READY, ORDERED, POST, S(VERIFYING) | S(RUNNING_ALL) | RESUMED, 0),
	/* More than one restore may ask; each gets an answer. */
	FROM_TARGET(STARTED, ORDERED, POST,
		    S(IMAGES) | S(VERIFYING) | S(RUNNING) | S(RUNNING_ALL) | RESUMED, 0),
	FROM_TARGET(RESTORED, ORDERED, P(SAFE_CONFIRM) | P(EARLY), S(RESTORING), 0),
	FROM_TARGET(RESTORED, ORDERED, P(POSTCOPY_CONFIRM),
		    S(RESTORING) | S(RUNNING) | S(RUNNING_ALL) | RESUMED | S(RUNNING_COMPLETE), 0),
	FROM_TARGET(COMMITTED, ORDERED, FULL, S(RELEASED), 0),
	FROM_TARGET(COMMITTED, ORDERED, POST, RESUMED | S(RELEASED), 0),
	FROM_TARGET(ABORT, ORDERED, ANY, OPEN & ~S(RELEASED), S(RELEASED)),
	/* The reader of the connection may be a moment ahead of the phase: hence dumped, lost. */
	FROM_TARGET(FAULT, ANYTIME, POST | P(EARLY), OPEN & ~S(CONNECTING) & ~S(DUMPING), 0),
	FROM_TARGET(PING, ANYTIME, ANY, OPEN, 0),
	FROM_TARGET(PONG, ANYTIME, ANY, OPEN, 0),
	FROM_TARGET(SET, ANYTIME, ANY, OPEN, 0),
	FROM_TARGET(ROOM, ANYTIME, POST, OPEN, 0),
	FROM_TARGET(ROUND_OK, ORDERED, ANY, S(CONNECTING), 0),
	FROM_TARGET(PROBED, FIRST, ANY, S(CONNECTING), 0),
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

static const char *const send_phases[] = {
	[MFD_SEND_CONNECTING] = "connecting",
	[MFD_SEND_DUMPING] = "dumping",
	[MFD_SEND_DUMPED] = "dumped",
	[MFD_SEND_IMAGES] = "images",
	[MFD_SEND_VERIFYING] = "verifying",
	[MFD_SEND_RESTORING] = "restoring",
	[MFD_SEND_COMPLETE] = "complete",
	[MFD_SEND_RUNNING] = "running",
	[MFD_SEND_RUNNING_ALL] = "running+all",
	[MFD_SEND_LOST] = "lost",
	[MFD_SEND_REJOINED] = "rejoined",
	[MFD_SEND_RUNNING_COMPLETE] = "running+complete",
	[MFD_SEND_UNDONE] = "undone",
	[MFD_SEND_COMMITTING] = "committing",
	[MFD_SEND_ENDING] = "ending",
	[MFD_SEND_RELEASED] = "released",
	[MFD_SEND_OVER] = "over",
};
_Static_assert(sizeof(send_phases) / sizeof(*send_phases) == MFD_SEND_PHASES,
	       "each phase has a name");

const char *mfd_turns_plan(unsigned plan)
{
	return plan < MFD_PLANS ? plans[plan] : "unknown";
}

const char *mfd_turns_phase(unsigned phase)
{
	return phase < MFD_PHASES ? phases[phase] : "unknown";
}

const char *mfd_turns_send_phase(unsigned phase)
{
	return phase < MFD_SEND_PHASES ? send_phases[phase] : "unknown";
}
