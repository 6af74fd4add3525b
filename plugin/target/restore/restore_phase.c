// SPDX-License-Identifier: GPL-2.0-only
/* Transitions and invariants of a restore; restore_phase.h shows them. */
#include <stddef.h>

#include "assert.h"
#include "restore_run.h"

static const char *const names[MFD_RESTORE_PHASES] = {
	[MFD_RESTORE_NONE] = "none",	       [MFD_RESTORE_AT_WORK] = "at work",
	[MFD_RESTORE_ENDED] = "ended",	       [MFD_RESTORE_STOPPED] = "stopped",
	[MFD_RESTORE_CONTINUED] = "continued", [MFD_RESTORE_RELEASED] = "released",
};

static const struct transition {
	enum mfd_restore_phase from, to;
	const char *by;
} transitions[] = {
	{ MFD_RESTORE_NONE, MFD_RESTORE_AT_WORK, "mfd_restore_start" },
	{ MFD_RESTORE_AT_WORK, MFD_RESTORE_NONE, "mfd_restore_start, failed" },
	{ MFD_RESTORE_AT_WORK, MFD_RESTORE_ENDED, "CRIU has ended" },
	{ MFD_RESTORE_ENDED, MFD_RESTORE_STOPPED, "mfd_restore_note_tasks" },
	{ MFD_RESTORE_NONE, MFD_RESTORE_STOPPED, "mfd_restore_adopt" },
	{ MFD_RESTORE_STOPPED, MFD_RESTORE_CONTINUED, "mfd_restore_continue" },
	{ MFD_RESTORE_ENDED, MFD_RESTORE_NONE, "mfd_restore_kill" },
	{ MFD_RESTORE_STOPPED, MFD_RESTORE_NONE, "mfd_restore_kill" },
	{ MFD_RESTORE_CONTINUED, MFD_RESTORE_NONE, "mfd_restore_kill" },
	{ MFD_RESTORE_ENDED, MFD_RESTORE_RELEASED, "mfd_restore_release" },
	{ MFD_RESTORE_STOPPED, MFD_RESTORE_RELEASED, "mfd_restore_release" },
	{ MFD_RESTORE_CONTINUED, MFD_RESTORE_RELEASED, "mfd_restore_release" },
};

const char *mfd_restore_phase_name(enum mfd_restore_phase phase)
{
	return (unsigned)phase < MFD_RESTORE_PHASES ? names[phase] : "?";
}

const char *mfd_restore_transition(enum mfd_restore_phase from, enum mfd_restore_phase to)
{
	for (size_t i = 0; i < sizeof(transitions) / sizeof(*transitions); i++)
		if (transitions[i].from == from && transitions[i].to == to)
			return transitions[i].by;
	return NULL;
}

static void check_no_task(const struct mfd_restore *r)
{
	mfd_assert(!r->warden && r->warden_fd < 0);
	mfd_assert(!r->tasks && !r->n_tasks && !r->n_alive);
}

/* After a takeover they may have ended meanwhile: then none is known, and there is no warden. */
static void check_tasks(const struct mfd_restore *r)
{
	mfd_assert(!r->warden == (r->warden_fd < 0));
	mfd_assert(r->n_tasks <= r->n_alive && (r->tasks || !r->n_tasks));
}

void mfd_restore_check(const struct mfd_restore *r)
{
	switch (mfd_restore_phase(r)) {
	case MFD_RESTORE_NONE:
		mfd_assert(r->link < 0 && !r->root);
		check_no_task(r);
		break;
	case MFD_RESTORE_AT_WORK: /* as it is entered: the process is started later */
		mfd_assert(r->link < 0 && !r->root);
		check_no_task(r);
		break;
	case MFD_RESTORE_ENDED: /* by another thread: the rest is its owner's */
		mfd_assert(r->link < 0 && r->code <= 0);
		break;
	case MFD_RESTORE_STOPPED:
	case MFD_RESTORE_CONTINUED:
		mfd_assert(r->link < 0);
		check_tasks(r);
		break;
	case MFD_RESTORE_RELEASED:
		mfd_assert(r->link < 0);
		check_no_task(r);
		break;
	case MFD_RESTORE_PHASES:
		mfd_assert(mfd_restore_phase(r) < MFD_RESTORE_PHASES);
	}
}

void mfd_restore_enter(struct mfd_restore *r, enum mfd_restore_phase to)
{
	mfd_assert(r->what.lock);
	mfd_assert(mfd_restore_transition(mfd_restore_phase(r), to));
	atomic_store(&r->phase, to);
	mfd_restore_check(r);
}

void mfd_restore_enter_locked(struct mfd_restore *r, enum mfd_restore_phase to)
{
	pthread_mutex_lock(r->what.lock);
	mfd_restore_enter(r, to);
	pthread_mutex_unlock(r->what.lock);
}
