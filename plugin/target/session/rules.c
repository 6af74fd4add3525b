// SPDX-License-Identifier: GPL-2.0-only
/* Trouble and what to do about it, by plan and phase; see rules.h. */
#include <stdarg.h>
#include <stdio.h>

#include "assert.h"
#include "rules.h"
#include "session.h"

int mfd_trouble(struct mfd_trouble *t, enum mfd_trouble_kind kind, int code, const char *fmt, ...)
{
	va_list ap;

	t->kind = kind;
	t->code = code;
	va_start(ap, fmt);
	vsnprintf(t->text, sizeof(t->text), fmt, ap);
	va_end(ap);
	return code;
}

int mfd_rules_only_copy(const struct mfd_session *s)
{
	return mfd_session_in(s, s->plan->precious);
}

int mfd_rules_keeps_tasks(const struct mfd_session *s)
{
	return mfd_rules_only_copy(s) && s->copy == MFD_COPY_ALONE;
}

/*
 * An early restore may be finishing just now, and then pages leave the store: until RESTORED was
 * said the source waits for it, and can go on.
 */
int mfd_rules_may_abort(const struct mfd_session *s)
{
	return mfd_session_in(s, s->plan->abortable) ||
	       (mfd_session_in(s, s->plan->unconfirmed) && !mfd_restore_has_tasks(&s->restore));
}

int mfd_rules_needs_channels(const struct mfd_session *s)
{
	return s->phase == MFD_PHASE_RUNNING ||
	       (mfd_rules_may_abort(s) && s->phase != MFD_PHASE_SETTLING);
}

static enum mfd_remedy of_link(const struct mfd_session *s)
{
	if (mfd_rules_may_abort(s))
		return MFD_REMEDY_ABORT;
	return s->phase == MFD_PHASE_COMMITTED ? MFD_REMEDY_LOG : MFD_REMEDY_DOUBT;
}

static enum mfd_remedy abort_it(const struct mfd_session *s)
{
	mfd_assert(s->phase != MFD_PHASE_COMMITTED);
	return MFD_REMEDY_ABORT;
}

/* Committed: only what is not restored (actor.c). */
static enum mfd_remedy of_person(const struct mfd_session *s)
{
	mfd_assert(s->phase != MFD_PHASE_COMMITTED || !mfd_restore_has_tasks(&s->restore));
	return MFD_REMEDY_ABORT;
}

/* The tasks on the source are dead when it is committed: then everything stays for a person. */
static enum mfd_remedy of_restore(const struct mfd_session *s)
{
	return s->phase == MFD_PHASE_COMMITTED ? MFD_REMEDY_NOTE : MFD_REMEDY_ABORT;
}

/*
 * Early: RESTORED may have been acted on.  A source that is alive says so by ABORT, and a person
 * may discard it.
 */
static enum mfd_remedy of_pager(const struct mfd_session *s)
{
	if (s->phase == MFD_PHASE_COMMITTED)
		return MFD_REMEDY_BREAK;
	if (s->plan->early && mfd_rules_only_copy(s) && mfd_restore_has_tasks(&s->restore))
		return MFD_REMEDY_NOTE;
	return MFD_REMEDY_ABORT;
}

static enum mfd_remedy (*const remedies[])(const struct mfd_session *s) = {
	[MFD_TROUBLE_LINK] = of_link,	    [MFD_TROUBLE_UNTOLD] = abort_it,
	[MFD_TROUBLE_RESTORE] = of_restore, [MFD_TROUBLE_PAGER] = of_pager,
	[MFD_TROUBLE_FATE] = abort_it,	    [MFD_TROUBLE_SERVER] = abort_it,
	[MFD_TROUBLE_PERSON] = of_person,   [MFD_TROUBLE_SOURCE] = abort_it,
};
_Static_assert(sizeof(remedies) / sizeof(*remedies) == MFD_TROUBLES, "each trouble has a remedy");

enum mfd_remedy mfd_rules_remedy(const struct mfd_session *s, enum mfd_trouble_kind kind)
{
	mfd_assert(kind > MFD_TROUBLE_NONE && kind < MFD_TROUBLES);
	mfd_assert(s->phase < MFD_PHASE_DONE);
	return remedies[kind](s);
}
