// SPDX-License-Identifier: GPL-2.0-only
/* confirm = restore: when to restore, what its end means, when the tasks go on. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "take_address.h"
#include "restored_notes.h"
#include "assert.h"
#include "own_restore.h"
#include "life.h"
#include "log.h"
#include "session.h"

#define LAST_WORD_MS 1000

static int failed(struct mfd_session *s, struct mfd_trouble *t, int code, const char *text)
{
	struct mfd_pager *p = atomic_load_explicit(&s->pager, memory_order_relaxed);

	mfd_restore_kill(&s->restore);
	if (p)
		mfd_pager_undo(p);
	return mfd_trouble(t, MFD_TROUBLE_RESTORE, code, "criu restore failed: %.400s", text);
}

int mfd_own_restore_begin(struct mfd_session *s, struct mfd_trouble *t)
{
	struct mfd_pager *p = atomic_load_explicit(&s->pager, memory_order_relaxed);
	char text[480];
	int ret;

	if (!s->plan->confirm || !s->server->restore || !p ||
	    mfd_restore_phase(&s->restore) != MFD_RESTORE_NONE)
		return 0;
	mfd_assert(mfd_session_in(s, s->plan->restore_from));
	mfd_assert(!s->over);
	/*
	 * While pages come a failure ends the session, so nothing will be repeated, and they go
	 * into the stopped tasks.  With precopy few come, and the tasks are filled when they run.
	 */
	if (s->phase != MFD_PHASE_IMAGES || s->plan->whole)
		mfd_pager_provisional(p);
	else
		mfd_pager_expect_stop(p, s->server->huge_pages);
	mfd_log_info("%s: restoring", s->name);
	ret = mfd_restore_start(&s->restore, s->dirfd, s->asked.restore_options,
				s->asked.n_restore_options, text, sizeof(text));
	if (ret)
		return failed(s, t, ret, text);
	mfd_notes_mark(s->dirfd, 0, s->restore.warden);
	return 0;
}

/*
 * The source may still be the one to go on: then what it ran here has happened twice, and both ends
 * say so.
 */
int mfd_own_restore_look(struct mfd_session *s)
{
	mfd_assert(mfd_session_is_mine(s));
	mfd_assert(!s->over || s->over == MFD_OVER_ABORTED);
	if (mfd_restore_phase(&s->restore) != MFD_RESTORE_STOPPED)
		return s->restore.hold.ran;
	if (mfd_restore_look_at_hold(&s->restore)) {
		mfd_log_error(
			"%s: restored process %d ran here before its source let go, though %s "
			"holds it; it is held again",
			s->name, s->restore.hold.ran, s->held_by);
		mfd_session_store(s, 1);
	}
	return s->restore.hold.ran;
}

/* For people, in log and status. */
static void say_hold(struct mfd_session *s)
{
	mfd_assert(mfd_restore_phase(&s->restore) == MFD_RESTORE_STOPPED);
	mfd_assert(s->restore.hold.kind != MFD_RESTORE_HOLD_NONE);
	mfd_restore_hold_text(&s->restore.hold, s->held_by, sizeof(s->held_by));
	mfd_log_info("%s: %s holds the restored tasks", s->name, s->held_by);
}

static void go_on(struct mfd_session *s)
{
	mfd_assert(mfd_restore_phase(&s->restore) == MFD_RESTORE_STOPPED);
	s->held_by[0] = 0;
	mfd_restore_continue(&s->restore);
	mfd_assert(!s->restore.hold.kind);
}

int mfd_own_restore_confirm(struct mfd_session *s, struct mfd_trouble *t)
{
	int ret = mfd_restore_look_again(&s->restore);
	char text[MFD_SPACE_TEXT + 64];

	mfd_assert(s->phase == MFD_PHASE_READY);
	mfd_assert(mfd_restore_phase(&s->restore) == MFD_RESTORE_STOPPED);
	/* It may have read zeros where a page had not come (pager_huge.c). */
	if (!ret && mfd_own_restore_look(s) && s->huge)
		ret = -EBUSY;
	if (ret)
		return failed(s, t, ret,
			      ret == -EBUSY ? "something has let a restored task go on" :
					      "a restored task has died");
	if (mfd_session_advance(s, MFD_PHASE_RESTORED))
		return mfd_trouble(t, MFD_TROUBLE_UNTOLD, -EIO, "%s",
				   mfd_session_unwritten(s, text));
	return 0;
}

/* CRIU has said it before it ended; the pager's threads may be just about to read it. */
static void await_last_word(struct mfd_session *s)
{
	struct mfd_pager *p = atomic_load_explicit(&s->pager, memory_order_relaxed);

	for (unsigned ms = 0; ms < LAST_WORD_MS && !mfd_pager_finished(p); ms++)
		usleep(1000);
}

int mfd_own_restore_ended(struct mfd_session *s, struct mfd_trouble *t)
{
	char text[480];
	int code;

	mfd_assert(s->plan->confirm);
	mfd_assert(!s->over);
	code = mfd_restore_result(&s->restore, text, sizeof(text));
	if (!code) {
		await_last_word(s);
		code = mfd_restore_note_tasks(&s->restore, s->dirfd);
		snprintf(text, sizeof(text),
			 "criu says that it succeeded, but there are no restored tasks");
	}
	if (code)
		return failed(s, t, code, text);
	mfd_figures_first(&s->times.restored_us);
	mfd_log_info("%s: restored as process %d, stopped", s->name, s->restore.root);
	say_hold(s);
	return 0;
}

/* Until the source has let go. */
static int stays_stopped(const struct mfd_session *s)
{
	return !s->plan->whole && s->plan->early && s->phase != MFD_PHASE_COMMITTED;
}

int mfd_own_restore_adopt(struct mfd_session *s)
{
	int ret;

	mfd_assert(s->plan && !atomic_load(&s->thread));
	mfd_assert(mfd_restore_phase(&s->restore) == MFD_RESTORE_NONE);
	if (!s->plan->confirm)
		return 0;
	ret = mfd_restore_adopt(&s->restore, s->dirfd);
	return mfd_life_cannot_tell(ret) || stays_stopped(s) ? ret : 0;
}

void mfd_own_restore_adopted(struct mfd_session *s)
{
	mfd_assert(s->plan && !atomic_load(&s->thread));
	mfd_assert(!s->plan->confirm || mfd_restore_phase(&s->restore) == MFD_RESTORE_STOPPED);
	if (!s->plan->confirm)
		return;
	if (stays_stopped(s))
		say_hold(s);
	else
		go_on(s);
}

int mfd_own_restore_continue(struct mfd_session *s)
{
	struct mfd_pager *p = atomic_load_explicit(&s->pager, memory_order_relaxed);

	if (mfd_restore_phase(&s->restore) != MFD_RESTORE_STOPPED)
		return 0;
	mfd_assert(s->phase == MFD_PHASE_COMMITTED ||
		   (s->phase == MFD_PHASE_RUNNING && s->plan->postcopy));
	mfd_assert(!s->over);
	/*
	 * First: if the worker dies in between, the tasks are taken over and continued, and not
	 * restored a second time.
	 */
	if (p)
		mfd_pager_keep(p);
	mfd_address_lift(s);
	mfd_own_restore_look(s);
	go_on(s);
	mfd_log_info("%s: the restored tasks go on", s->name);
	return 1;
}

void mfd_own_restore_undo(struct mfd_session *s)
{
	struct mfd_pager *p = atomic_load_explicit(&s->pager, memory_order_relaxed);

	mfd_assert(s->phase == MFD_PHASE_COMMITTED && s->plan->whole);
	mfd_assert(mfd_restore_phase(&s->restore) == MFD_RESTORE_STOPPED);
	mfd_log_warn("%s: a stopped task has died (out of memory?); restoring once more", s->name);
	mfd_restore_kill(&s->restore);
	if (p)
		mfd_pager_undo(p);
}
