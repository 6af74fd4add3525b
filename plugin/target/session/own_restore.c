// SPDX-License-Identifier: GPL-2.0-only
/* confirm = restore: when to restore, what its end means, when the tasks go on. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "take_address.h"
#include "restored_notes.h"
#include "own_restore.h"
#include "log.h"
#include "session.h"

#define LAST_WORD_MS 1000

int mfd_confirm_busy(struct mfd_session *s)
{
	int busy;

	pthread_mutex_lock(&s->lock);
	busy = s->restore.busy || s->restore.done;
	pthread_mutex_unlock(&s->lock);
	return busy;
}

/*
 * The tasks on the source are gone when it is committed: then everything stays for a person to
 * restore.
 */
static void failed(struct mfd_session *s, int code, const char *text)
{
	struct mfd_pager *p = atomic_load_explicit(&s->pager, memory_order_relaxed);

	mfd_restore_kill(&s->restore);
	if (p)
		mfd_pager_undo(p);
	if (s->phase != MFD_PHASE_COMMITTED) {
		mfd_session_abort(s, code, "criu restore failed: %.400s", text);
		return;
	}
	snprintf(s->error, sizeof(s->error),
		 "criu restore failed: %.400s; try again with criu-multifd restore", text);
	mfd_log_error("%s: %s", s->name, s->error);
	mfd_session_store(s, 1);
}

void mfd_confirm_begin(struct mfd_session *s)
{
	struct mfd_pager *p = atomic_load_explicit(&s->pager, memory_order_relaxed);
	char text[480];
	int ret;

	if (!s->plan->confirm || !s->server->restore || !p || s->restore.ok || mfd_confirm_busy(s))
		return;
	/*
	 * While pages come a failure ends the session, so nothing will be repeated, and they go
	 * into the stopped tasks.
	 */
	if (s->phase != MFD_PHASE_IMAGES)
		mfd_pager_provisional(p);
	else
		mfd_pager_expect_stop(p, s->server->huge_pages);
	mfd_log_info("%s: restoring", s->name);
	ret = mfd_restore_start(&s->restore, s->dirfd, s->restore_options, s->n_restore_options,
				text, sizeof(text));
	if (!ret)
		mfd_notes_mark(s->dirfd, 0, s->restore.warden);
	else
		failed(s, ret, text);
}

void mfd_confirm_tell(struct mfd_session *s, unsigned long long resumed_us)
{
	Mfd__Restored m = MFD__RESTORED__INIT;

	m.has_pid = s->restore.root > 0;
	m.pid = (uint32_t)s->restore.root;
	m.has_resumed_us = resumed_us > 0;
	m.resumed_us = resumed_us;
	mfd_session_send(s, MFD_WIRE_RESTORED, &m.base);
}

/* An early restore ended a while ago, and the source lets go by this word. */
static void now_restored(struct mfd_session *s)
{
	int ret = mfd_restore_look_again(&s->restore, s->huge);

	if (ret) {
		failed(s, ret,
		       ret == -EBUSY ? "somebody has let a restored task go on" :
				       "a restored task has died");
		return;
	}
	if (mfd_session_advance(s, MFD_PHASE_RESTORED)) {
		mfd_session_abort(s, -EIO, "session.img cannot be written");
		return;
	}
	mfd_confirm_tell(s, 0);
}

static void succeeded(struct mfd_session *s)
{
	Mfd__Started started = MFD__STARTED__INIT;

	s->restore.ok = 1;
	mfd_figures_first(&s->times.restored_us);
	mfd_log_info("%s: restored as process %d, stopped", s->name, s->restore.root);
	switch (s->phase) {
	case MFD_PHASE_COMMITTED:
		mfd_confirm_continue(s);
		mfd_session_store(s, 1);
		mfd_commit_look_done(s);
		break;
	case MFD_PHASE_RUNNING: /* again, after the worker that had leave died */
		mfd_confirm_continue(s);
		break;
	case MFD_PHASE_READY:
		now_restored(s);
		break;
	case MFD_PHASE_IMAGES: /* early: when everything is verified */
		s->huge = mfd_pager_tasks_stopped(
			atomic_load_explicit(&s->pager, memory_order_relaxed));
		break;
	/* pages still come: leave to run is what the source gives now */
	case MFD_PHASE_RESTORABLE:
		mfd_session_send(s, MFD_WIRE_STARTED, &started.base);
		break;
	default:
		mfd_session_abort(s, -EPROTO, "restored at the wrong time");
	}
}

/* CRIU has said it before it ended; the pager's threads may be just about to read it. */
static void await_last_word(struct mfd_session *s)
{
	struct mfd_pager *p = atomic_load_explicit(&s->pager, memory_order_relaxed);

	for (unsigned ms = 0; ms < LAST_WORD_MS && !mfd_pager_finished(p); ms++)
		usleep(1000);
}

int mfd_confirm_adopt(struct mfd_session *s)
{
	int ret;

	if (!s->plan->confirm)
		return 0;
	ret = mfd_restore_adopt(&s->restore, s->dirfd);
	s->restore.ok = 1;
	if (s->plan->early && s->phase != MFD_PHASE_COMMITTED)
		return ret;
	s->restore.resumed = 1;
	if (!ret)
		mfd_restore_continue(&s->restore);
	return 0;
}

void mfd_confirm_ended(struct mfd_session *s)
{
	char text[480];
	int code;

	pthread_mutex_lock(&s->lock);
	s->restore.done = 0;
	code = s->restore.code;
	snprintf(text, sizeof(text), "%s", s->restore.text);
	pthread_mutex_unlock(&s->lock);
	if (!code) {
		await_last_word(s);
		code = mfd_restore_note_tasks(&s->restore, s->dirfd);
		snprintf(text, sizeof(text),
			 "criu says that it succeeded, but there are no restored tasks");
	}
	if (code)
		failed(s, code, text);
	else
		succeeded(s);
}

void mfd_confirm_verified(struct mfd_session *s)
{
	if (!s->plan->confirm || s->restore.resumed)
		return;
	if (s->restore.ok)
		now_restored(s);
	else
		mfd_confirm_begin(s);
}

int mfd_confirm_continue(struct mfd_session *s)
{
	struct mfd_pager *p = atomic_load_explicit(&s->pager, memory_order_relaxed);

	if (!s->restore.ok || s->restore.resumed)
		return 0;
	/*
	 * First: should the worker die in between, the tasks are taken over and continued, and not
	 * restored a second time.
	 */
	if (p)
		mfd_pager_keep(p);
	mfd_address_lift(s);
	mfd_restore_continue(&s->restore);
	mfd_log_info("%s: the restored tasks go on", s->name);
	return 1;
}
