// SPDX-License-Identifier: GPL-2.0-only
/* What follows from what; see way.h. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "assert.h"
#include "commit.h"
#include "fate.h"
#include "io.h"
#include "log.h"
#include "own_restore.h"
#include "pager_ops.h"
#include "say.h"
#include "session.h"
#include "verify.h"
#include "way.h"

static int not_stored(const struct mfd_session *s, struct mfd_trouble *t,
		      enum mfd_trouble_kind kind)
{
	char text[MFD_SPACE_TEXT + 64];

	return mfd_trouble(t, kind, -EIO, "%s", mfd_session_unwritten(s, text));
}

/* Committed, every page is in, the tasks go on.  While CRIU is at work its end lets them go on. */
static void look_done(struct mfd_session *s)
{
	mfd_assert(mfd_session_is_mine(s));
	mfd_assert(!s->over);
	if (s->phase == MFD_PHASE_COMMITTED && mfd_session_installed(s) &&
	    !mfd_restore_is_under_way(&s->restore))
		s->over = MFD_OVER_DONE;
}

int mfd_way_begin(struct mfd_session *s, struct mfd_trouble *t)
{
	mfd_assert(!s->over);
	mfd_session_check(s);
	/* Reloaded: everything is restored, or nothing is restored any more though it may run. */
	if (s->phase == MFD_PHASE_COMMITTED && mfd_session_installed(s)) {
		s->over = MFD_OVER_DONE;
		return 0;
	}
	if (s->phase == MFD_PHASE_COMMITTED || s->phase == MFD_PHASE_RUNNING)
		return mfd_own_restore_begin(s, t);
	return 0;
}

int mfd_way_admitted(struct mfd_session *s, struct mfd_trouble *t)
{
	mfd_assert(s->phase == MFD_PHASE_QUEUED);
	mfd_assert(s->link.state == MFD_LINK_NONE);
	mfd_session_enter(s, MFD_PHASE_STREAMING);
	s->times.started_us = mfd_clean_now_us();
	s->link.deadline_ms = mfd_io_now_ms() + s->server->stall_ms;
	pthread_mutex_lock(&s->lock);
	s->link.state = MFD_LINK_JOINING;
	pthread_mutex_unlock(&s->lock);
	mfd_log_info("%s: there is memory for it now", s->name);
	if (mfd_session_store(s, 0))
		return not_stored(s, t, MFD_TROUBLE_LINK);
	mfd_say_hello_ok(s);
	return 0;
}

int mfd_way_joined(struct mfd_session *s, struct mfd_trouble *t)
{
	int again = s->link.rounds > 0;

	mfd_assert(s->link.state == MFD_LINK_JOINING);
	mfd_assert(s->phase != MFD_PHASE_QUEUED);
	mfd_figures_time(&s->times.joined_us);
	pthread_mutex_lock(&s->lock);
	s->link.state = MFD_LINK_JOINED;
	pthread_mutex_unlock(&s->lock);
	mfd_log_info("%s: %u channels joined", s->name, s->limits.channels);
	if (again) {
		mfd_session_doubt(s, 0);
		s->error[0] = 0;
	}
	if (mfd_session_store(s, 0))
		return not_stored(s, t, MFD_TROUBLE_LINK);
	mfd_say_joined(s);
	mfd_say_limit(s);
	return again ? mfd_verify_need_all(s, t) : 0;
}

int mfd_way_images(struct mfd_session *s, const Mfd__Images *m, struct mfd_trouble *t)
{
	int ret = mfd_verify_images(s, m, t);
	char text[200];

	mfd_assert(s->phase == MFD_PHASE_STREAMING);
	mfd_assert(!atomic_load(&s->pager));
	if (ret)
		return ret;
	ret = mfd_rounds_images(s, text, sizeof(text));
	if (ret)
		return mfd_trouble(t, MFD_TROUBLE_LINK, ret, "%s", text);
	mfd_session_enter(s, MFD_PHASE_IMAGES);
	mfd_figures_time(&s->times.images_us);
	if (!s->plan->follow)
		return 0;
	if (mfd_pager_ops_start(s))
		return mfd_trouble(t, MFD_TROUBLE_LINK, -EIO, "%s", s->error);
	if (s->plan->early)
		return mfd_own_restore_begin(s, t);
	mfd_figures_time(&s->times.restorable_us);
	if (mfd_session_advance(s, MFD_PHASE_RESTORABLE))
		return not_stored(s, t, MFD_TROUBLE_LINK);
	mfd_log_info("%s: restorable, %llu lazy pages", s->name, (unsigned long long)s->lazy_pages);
	mfd_say_images_ok(s);
	return mfd_own_restore_begin(s, t);
}

/* Once READY no leave of its own is needed, the commit is it. */
int mfd_way_asked(struct mfd_session *s, struct mfd_trouble *t)
{
	mfd_assert(mfd_session_is_mine(s));
	mfd_assert(s->plan->postcopy);
	(void)t;
	pthread_mutex_lock(&s->lock);
	s->inbox.events &= ~MFD_INBOX_ASKED;
	pthread_mutex_unlock(&s->lock);
	if (s->phase == MFD_PHASE_RESTORABLE)
		mfd_say_started(s);
	return 0;
}

int mfd_way_started_ok(struct mfd_session *s, struct mfd_trouble *t)
{
	uint64_t start = mfd_io_now_us(), before = s->times.running_us;

	mfd_assert(s->leave == MFD_LEAVE_WAIT);
	mfd_assert(mfd_restore_phase(&s->restore) != MFD_RESTORE_CONTINUED);
	mfd_figures_time(&s->times.running_us);
	if (mfd_session_advance(s, MFD_PHASE_RUNNING)) {
		s->times.running_us = before; /* nothing was continued: evidence.h */
		return not_stored(s, t, MFD_TROUBLE_UNTOLD);
	}
	mfd_pager_ops_leave(s);
	if (mfd_own_restore_continue(s))
		mfd_say_restored(s, mfd_io_now_us() - start + 1);
	return 0;
}

static int now_restored(struct mfd_session *s, struct mfd_trouble *t)
{
	int ret = mfd_own_restore_confirm(s, t);

	if (!ret)
		mfd_say_restored(s, 0);
	return ret;
}

/* READY is on disk: nothing runs that could touch what is still absent, and nothing more comes. */
static int now_ready(struct mfd_session *s, struct mfd_trouble *t)
{
	if (s->plan->confirm && !s->plan->postcopy && mfd_pager_ops_start(s))
		return mfd_trouble(t, MFD_TROUBLE_UNTOLD, -EIO, "%s", s->error);
	if (s->plan->early)
		mfd_pager_ops_complete(s);
	else if (s->plan->postcopy && mfd_session_installed(s))
		mfd_commit_stands_alone(s);
	mfd_log_info("%s: ready: %llu lazy pages verified", s->name,
		     (unsigned long long)s->lazy_pages);
	mfd_say_ready(s);
	if (!s->plan->confirm || mfd_restore_phase(&s->restore) == MFD_RESTORE_CONTINUED)
		return 0;
	return mfd_restore_has_tasks(&s->restore) ? now_restored(s, t) :
						    mfd_own_restore_begin(s, t);
}

/* From here on the tasks of an early restore are needed: nothing of theirs may be half in. */
static int verified(struct mfd_session *s, struct mfd_trouble *t)
{
	struct mfd_pager *p = atomic_load_explicit(&s->pager, memory_order_relaxed);
	int ret;

	if (s->plan->early && p && mfd_pager_make_whole(p))
		return mfd_trouble(t, MFD_TROUBLE_LINK, -EIO, "the pager has failed");
	ret = mfd_fate_look(s, t);
	ret = ret ? ret : mfd_commit_ready(s, t);
	return ret ? ret : now_ready(s, t);
}

int mfd_way_end(struct mfd_session *s, const Mfd__End *m, struct mfd_trouble *t)
{
	int ret = mfd_verify_end(s, m, t);

	mfd_assert(mfd_session_is_mine(s));
	mfd_assert(!s->over);
	if (ret != MFD_VERIFY_PASSED)
		return ret;
	if (!s->plan->early || !s->huge || mfd_session_installed(s))
		return verified(s, t);
	mfd_pager_ops_complete(s);
	if (s->phase != MFD_PHASE_SETTLING)
		mfd_session_enter(s, MFD_PHASE_SETTLING);
	return 0;
}

int mfd_way_restored(struct mfd_session *s, struct mfd_trouble *t)
{
	int ret = mfd_own_restore_ended(s, t);

	mfd_assert(mfd_session_is_mine(s));
	mfd_assert(s->plan->confirm);
	if (ret)
		return ret;
	switch (s->phase) {
	case MFD_PHASE_COMMITTED:
		mfd_own_restore_continue(s);
		mfd_session_store(s, 1);
		look_done(s);
		return 0;
	case MFD_PHASE_RUNNING: /* again, after the worker that had leave died */
		mfd_own_restore_continue(s);
		return 0;
	case MFD_PHASE_READY:
		return now_restored(s, t);
	case MFD_PHASE_IMAGES: /* early: when everything is verified */
		s->huge = mfd_pager_tasks_stopped(
			atomic_load_explicit(&s->pager, memory_order_relaxed));
		return 0;
	case MFD_PHASE_RESTORABLE: /* pages still come: leave to run is what the source gives now */
		mfd_say_started(s);
		return 0;
	default:
		return mfd_trouble(t, MFD_TROUBLE_UNTOLD, -EPROTO, "restored at the wrong time");
	}
}

static int now_installed(struct mfd_session *s, struct mfd_trouble *t)
{
	mfd_assert(mfd_session_is_mine(s));
	mfd_assert(s->copy == MFD_COPY_COMING);
	s->copy = MFD_COPY_INSTALLED;
	mfd_figures_time(&s->times.installed_us);
	look_done(s);
	if (s->plan->early && !s->plan->whole ? s->phase != MFD_PHASE_COMMITTED :
						mfd_rules_only_copy(s))
		mfd_commit_stands_alone(s);
	return s->phase == MFD_PHASE_SETTLING ? verified(s, t) : 0;
}

int mfd_way_pager(struct mfd_session *s, struct mfd_trouble *t)
{
	char text[300];
	int code;

	mfd_assert(s->copy == MFD_COPY_COMING);
	mfd_assert(atomic_load(&s->pager));
	pthread_mutex_lock(&s->lock);
	s->inbox.events &= ~MFD_INBOX_PAGER;
	code = s->inbox.pager_code;
	snprintf(text, sizeof(text), "pager: %s",
		 s->inbox.pager_text[0] ? s->inbox.pager_text : strerror(-code));
	pthread_mutex_unlock(&s->lock);
	if (!code)
		return now_installed(s, t);
	s->copy = MFD_COPY_FAILED;
	return mfd_trouble(t, MFD_TROUBLE_PAGER, code, "%s", text);
}

static int after_commit(struct mfd_session *s, struct mfd_trouble *t)
{
	mfd_assert(s->phase == MFD_PHASE_COMMITTED);
	mfd_assert(!s->over);
	mfd_pager_ops_leave(s);
	/*
	 * Restored, stopped and complete by the time of the commit: there may be no pager any more,
	 * and need not.
	 */
	if (mfd_session_installed(s)) {
		look_done(s);
		return 0;
	}
	if (s->copy == MFD_COPY_FAILED || mfd_pager_ops_start(s)) {
		s->over = MFD_OVER_BROKEN;
		return 0;
	}
	mfd_pager_ops_complete(s);
	/* A server that was restarted meanwhile has nothing restored yet. */
	return mfd_own_restore_begin(s, t);
}

int mfd_way_commit(struct mfd_session *s, int answer, struct mfd_trouble *t)
{
	uint64_t start = mfd_io_now_us(), resumed = 0;
	int again, ret;

	if (s->phase == MFD_PHASE_COMMITTED) {
		mfd_say_committed(s, 0);
		return 0;
	}
	again = mfd_fate_restore_again(s);
	ret = mfd_fate_before_commit(s, t);
	ret = ret ? ret : mfd_commit_store(s, t);
	if (ret)
		return ret;
	if (again)
		mfd_own_restore_undo(s);
	else if (mfd_own_restore_continue(s))
		resumed = mfd_io_now_us() - start + 1;
	mfd_log_info("%s: committed", s->name);
	if (answer)
		mfd_say_committed(s, resumed);
	return after_commit(s, t);
}
