// SPDX-License-Identifier: GPL-2.0-only
/* The fate of restored tasks, as part of the verdict; see fate.h. */
#include <errno.h>

#include "assert.h"
#include "fate.h"
#include "restored_notes.h"
#include "session.h"

/* Every task that the pager knows ended before it had its pages. */
static int all_gone(const struct mfd_session *s)
{
	struct mfd_pager *p = atomic_load_explicit(&s->pager, memory_order_relaxed);
	struct mfd_pager_stats st;

	if (!p)
		return 0;
	mfd_pager_get_stats(p, &st);
	return st.tasks > 0 && st.gone == st.tasks;
}

static int is_restored(const struct mfd_session *s)
{
	return s->plan->confirm ? mfd_restore_phase(&s->restore) == MFD_RESTORE_CONTINUED :
				  atomic_load(&s->restored);
}

/* What has run is dead, all of it. */
static int has_died(const struct mfd_session *s)
{
	if (!is_restored(s))
		return 0;
	if (s->plan->confirm ? mfd_restore_warden_lives(&s->restore) : !all_gone(s))
		return 0;
	return mfd_notes_fate(s->dirfd) == MFD_NOTES_DEAD;
}

/*
 * One of those that never ran is.  Without a warden, that is its own death, and with it that of the
 * tasks only if they are in its pid namespace: the notes tell.
 */
static int stopped_died(const struct mfd_session *s)
{
	if (!s->plan->confirm || s->plan->postcopy ||
	    mfd_restore_phase(&s->restore) != MFD_RESTORE_STOPPED ||
	    mfd_restore_look_again(&s->restore) != -ESRCH)
		return 0;
	return mfd_restore_warden_lives(&s->restore) || mfd_notes_fate(s->dirfd) != MFD_NOTES_ALIVE;
}

int mfd_fate_look(const struct mfd_session *s, struct mfd_trouble *t)
{
	mfd_assert(s->plan && !s->over);
	if (!s->plan->postcopy ||
	    !mfd_session_in(s, MFD_PHASE_BIT(RUNNING) | MFD_PHASES_UNDECIDED) || !has_died(s))
		return 0;
	return mfd_trouble(
		t, MFD_TROUBLE_FATE, -ESRCH,
		"the restored tasks ran here and have all died before the commit (killed? "
		"out of memory? or ended by themselves); the source has its tasks, frozen, as they were before");
}

int mfd_fate_restore_again(const struct mfd_session *s)
{
	return s->plan->whole && stopped_died(s);
}

int mfd_fate_before_commit(const struct mfd_session *s, struct mfd_trouble *t)
{
	mfd_assert(mfd_session_in(s, MFD_PHASES_UNDECIDED));
	if (s->plan->whole || !stopped_died(s))
		return 0;
	return mfd_trouble(t, MFD_TROUBLE_FATE, -ESRCH,
			   "a restored task was killed here, stopped, before the commit (out of "
			   "memory?), and pages that it had are nowhere else");
}
