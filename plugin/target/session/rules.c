// SPDX-License-Identifier: GPL-2.0-only
/*
 * Who depends on a session: what may be thrown away, and what a broken connection means.
 *
 * One question decides: can the source still go on by itself?  Before READY (postcopy: before leave
 * to run was given) it can, and will, so everything here is thrown away.  Afterwards nobody but the
 * source or a person can tell, so the session is kept, in doubt.
 */
#include "log.h"
#include "session.h"

/* READY or RESTORED may have been acted on: the source's tasks are dead, and COMMIT was lost. */
int mfd_session_only_copy(const struct mfd_session *s)
{
	return mfd_session_in(s, s->plan->precious);
}

int mfd_session_keeps_tasks(const struct mfd_session *s)
{
	return mfd_session_only_copy(s) && s->alone;
}

/*
 * An early restore may be finishing just now, and then pages leave the store: until RESTORED was
 * said the source waits for it, and can go on.
 */
int mfd_session_may_abort(const struct mfd_session *s)
{
	return mfd_session_in(s, s->plan->abortable) ||
	       (mfd_session_in(s, s->plan->unconfirmed) && !s->restore.ok);
}

static void doubt(struct mfd_session *s, const char *text)
{
	mfd_log_warn("%s: in doubt (%s): %s", s->name, mfd_session_state_text(s), text);
	mfd_session_set_error(s, text);
	s->in_doubt = 1;
	mfd_session_store(s, 1);
	mfd_session_disconnect(s, 0);
}

void mfd_session_broken(struct mfd_session *s, int code, const char *text)
{
	if (mfd_session_may_abort(s))
		mfd_session_abort(s, code, "%s", text);
	else if (s->phase != MFD_PHASE_COMMITTED)
		doubt(s, text);
	else
		mfd_log_debug("%s: after the commit: %s", s->name, text);
}
