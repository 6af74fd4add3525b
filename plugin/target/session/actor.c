// SPDX-License-Identifier: GPL-2.0-only
/*
 * The session's own thread: takes one thing after the other that others have left under
 * session->lock, and acts.  What a loss means says standing.c, how it ends ending.c.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "assert.h"
#include "own_restore.h"
#include "session_file.h"
#include "io.h"
#include "log.h"
#include "memory.h"
#include "session.h"
#include "ask_setting.h"

enum what {
	NOTHING,
	TICK,
	FAILED,
	PAGER,
	REQUEST,
	MAIL,
	LOST,
	RESUME,
	JOINED,
	ASKED,
	RESTORE_ENDED,
	OPEN,
	STOP,
	NEWS
};

#define QUEUED_TICK_MS 100

/* ---- what can happen ---- */

static int synced(const struct mfd_session *s, uint64_t sync)
{
	unsigned i;

	for (i = 0; sync && i < s->limits.channels; i++) {
		if (s->channels[i].sync < sync)
			return 0;
	}
	return 1;
}

/*
 * A lost data channel matters only while pages are due.  `lost` stays set until it has been dealt
 * with: a source that comes back meanwhile waits for that (session.c, oust).
 */
static void on_lost(struct mfd_session *s)
{
	char text[300];
	int control;

	pthread_mutex_lock(&s->lock);
	/*
	 * What the source said last may have come since next() looked, and the end of its
	 * connection behind it.
	 */
	if (s->mail && synced(s, s->mail->sync)) {
		pthread_mutex_unlock(&s->lock);
		return;
	}
	control = s->lost_control;
	snprintf(text, sizeof(text), "connection lost: %s", s->lost_text);
	pthread_mutex_unlock(&s->lock);
	if (control || (mfd_session_may_abort(s) && s->phase != MFD_PHASE_SETTLING) ||
	    s->phase == MFD_PHASE_RUNNING)
		mfd_session_broken(s, -ECONNRESET, text);
	pthread_mutex_lock(&s->lock);
	/*
	 * The control connection may have followed a channel that did not matter: then once more.
	 */
	if (s->lost_control == control)
		s->lost = s->lost_control = 0;
	pthread_cond_broadcast(&s->cond);
	pthread_mutex_unlock(&s->lock);
}

static void on_failed(struct mfd_session *s)
{
	struct mfd_error e;

	pthread_mutex_lock(&s->lock);
	e = s->failure;
	mfd_error_clear(&s->failure);
	pthread_mutex_unlock(&s->lock);
	mfd_session_broken(s, e.code, mfd_error_text(&e));
}

/* There is memory for it now: HELLO is answered. */
static void on_admitted(struct mfd_session *s)
{
	mfd_session_enter(s, MFD_PHASE_STREAMING);
	s->started_us = mfd_clean_now_us();
	s->join_deadline = mfd_io_now_ms() + s->server->stall_ms;
	pthread_mutex_lock(&s->lock);
	s->joining = 1;
	pthread_mutex_unlock(&s->lock);
	mfd_log_info("%s: there is memory for it now", s->name);
	if (mfd_session_store(s, 0))
		mfd_session_broken(s, -EIO, "session.img cannot be written");
	else
		mfd_hello_ok(s);
}

static void on_joined(struct mfd_session *s)
{
	Mfd__Joined m = MFD__JOINED__INIT;

	s->joined_said = 1;
	mfd_figures_time(&s->times.joined_us);
	pthread_mutex_lock(&s->lock);
	s->joining = 0;
	pthread_mutex_unlock(&s->lock);
	mfd_log_info("%s: %u channels joined", s->name, s->limits.channels);
	if (s->rejoin)
		s->in_doubt = s->error[0] = 0;
	if (mfd_session_store(s, 0)) {
		mfd_session_broken(s, -EIO, "session.img cannot be written");
		return;
	}
	mfd_session_send(s, MFD_WIRE_JOINED, &m.base);
	if (s->rejoin)
		mfd_verify_need_all(s);
	s->rejoin = 0;
}

static void on_started_ok(struct mfd_session *s)
{
	uint64_t start = mfd_io_now_us();

	mfd_assert(s->leave == MFD_LEAVE_WAIT);
	mfd_figures_time(&s->times.running_us);
	if (mfd_session_advance(s, MFD_PHASE_RUNNING)) {
		mfd_session_abort(s, -EIO, "session.img cannot be written");
		return;
	}
	mfd_commit_leave(s);
	if (mfd_confirm_continue(s))
		mfd_confirm_tell(s, mfd_io_now_us() - start + 1);
}

static void on_abort(struct mfd_session *s, const Mfd__Abort *m)
{
	s->aborted_by_source = 1;
	mfd_session_abort(s, -ECANCELED, "by the source: %.300s", m->reason);
}

/* Only what the table permits in this phase (turns.h). */
static void act_on(struct mfd_session *s, const struct mfd_mail *m)
{
	switch (m->type) {
	case MFD_WIRE_IMAGES:
		mfd_verify_images(s, (const Mfd__Images *)m->msg);
		break;
	case MFD_WIRE_END:
		mfd_verify_end(s, (const Mfd__End *)m->msg);
		break;
	case MFD_WIRE_STARTED_OK:
		on_started_ok(s);
		break;
	case MFD_WIRE_COMMIT:
		mfd_commit_commit(s, 1);
		break;
	case MFD_WIRE_ABORT:
		on_abort(s, (const Mfd__Abort *)m->msg);
		break;
	}
}

static void on_mail(struct mfd_session *s, struct mfd_mail *m)
{
	const char *name = mfd_wire_msg_name(m->type), *phase = mfd_turns_phase(s->phase);
	char text[128];

	mfd_log_debug("%s: %s", s->name, name);
	switch (mfd_turns_ask(MFD_SIDE_SOURCE, m->type, s->plan->id, s->phase)) {
	case MFD_TURN_TAKEN:
		act_on(s, m);
		break;
	case MFD_TURN_IGNORED:
		mfd_log_warn("%s: %s in phase %s is ignored", s->name, name, phase);
		break;
	case MFD_TURN_REFUSED:
		snprintf(text, sizeof(text), "%s may not come in phase %s, %s READY", name, phase,
			 mfd_session_in(s, MFD_PHASES_UNVERIFIED) ? "before" : "after");
		mfd_session_broken(s, -EPROTO, text);
		break;
	}
	protobuf_c_message_free_unpacked(m->msg, NULL);
	free(m);
}

static void reset_channels(struct mfd_session *s)
{
	unsigned i;

	mfd_figures_keep(s);
	pthread_mutex_lock(&s->lock);
	for (i = 0; i <= MFD_WIRE_MAX_CHANNELS; i++)
		s->channels[i].sync = 0;
	s->joining = 1;
	pthread_mutex_unlock(&s->lock);
	mfd_memory_resumed(s);
	s->rejoin = s->resumed = 1;
	s->joined_said = s->needed = 0;
	s->join_deadline = mfd_io_now_ms() + s->server->stall_ms;
}

static void resume_continue(struct mfd_session *s)
{
	Mfd__Ready ready = MFD__READY__INIT;

	/* What was verified needs no channels: the source only missed our READY. */
	if (s->phase == MFD_PHASE_READY || s->phase == MFD_PHASE_RESTORED) {
		ready.pages = s->lazy_pages;
		s->in_doubt = s->error[0] = 0;
		mfd_session_store(s, 1);
		mfd_session_send(s, MFD_WIRE_READY, &ready.base);
	}
	if (s->phase == MFD_PHASE_RESTORED)
		mfd_confirm_tell(s, 0);
}

static void on_resume(struct mfd_session *s)
{
	Mfd__ResumeOk ok = MFD__RESUME_OK__INIT;
	enum mfd_outcome outcome;

	pthread_mutex_lock(&s->lock);
	outcome = s->resume;
	s->resume = MFD_OUTCOME_NONE;
	pthread_mutex_unlock(&s->lock);
	mfd_log_info("%s: the source is back and wants to %s", s->name,
		     outcome == MFD_OUTCOME_COMMIT ? "commit" :
		     outcome == MFD_OUTCOME_ABORT  ? "abort" :
						     "continue");
	if (outcome == MFD_OUTCOME_CONTINUE && s->phase == MFD_PHASE_RUNNING)
		reset_channels(s); /* before RESUME_OK: channels join as soon as it is out */
	ok.state = (char *)mfd_session_state_text(s);
	ok.has_channels = ok.has_packet_size = 1;
	ok.channels = s->limits.channels;
	ok.packet_size = s->limits.packet_size;
	ok.has_settings = ok.settings = 1;
	ok.room = mfd_memory_room(s);
	ok.has_room = ok.room != UINT64_MAX;
	mfd_session_send(s, MFD_WIRE_RESUME_OK, &ok.base);
	if (outcome == MFD_OUTCOME_COMMIT || s->phase == MFD_PHASE_COMMITTED) {
		mfd_commit_commit(s, 1);
	} else if (outcome == MFD_OUTCOME_CONTINUE) {
		resume_continue(s);
	} else {
		s->aborted_by_source = 1;
		mfd_session_abort(s, -ECANCELED, "by the source after a broken connection");
	}
}

static const char *resolve(struct mfd_session *s, enum mfd_request_kind kind)
{
	if (!s->in_doubt)
		return "error: the session is not in doubt";
	if (kind == MFD_REQUEST_DISCARD) {
		mfd_session_abort(s, -ECANCELED, "discarded by resolve");
		return "ok";
	}
	if (s->phase != MFD_PHASE_READY && s->phase != MFD_PHASE_RESTORED)
		return "error: pages are missing, it cannot run";
	mfd_commit_commit(s, 0);
	return s->phase == MFD_PHASE_COMMITTED ? "ok" : "error: the commit could not be stored";
}

/* NULL: it is answered later. */
static const char *on_request(struct mfd_session *s, struct mfd_request *r)
{
	if (r->kind == MFD_REQUEST_SET)
		return mfd_setting_ask(s, r);
	if (r->kind != MFD_REQUEST_ABORT)
		return resolve(s, r->kind);
	if (!mfd_session_may_abort(s)) {
		if (s->phase == MFD_PHASE_COMMITTED)
			return "error: the session is committed: the source is gone";
		return "error: the session is verified: only its source, or `resolve` when it is in doubt, may end it";
	}
	mfd_session_abort(s, -ECANCELED, "by request");
	return "ok";
}

static void take_request(struct mfd_session *s)
{
	struct mfd_request *r = s->request; /* only we take it away */
	const char *answer = on_request(s, r);

	pthread_mutex_lock(&s->lock);
	s->request = NULL;
	if (answer) { /* else it may be gone by now */
		snprintf(r->answer, sizeof(r->answer), "%s", answer);
		r->done = 1;
	}
	pthread_cond_broadcast(&s->cond);
	pthread_mutex_unlock(&s->lock);
}

/* Tasks that run, or may run as soon as the source lets go, and whose pages only this pager has. */
static int has_tasks(struct mfd_session *s)
{
	int n;

	pthread_mutex_lock(&s->lock);
	n = s->holds && s->restored;
	pthread_mutex_unlock(&s->lock);
	return n;
}

static int connected(struct mfd_session *s)
{
	int yes;

	pthread_mutex_lock(&s->lock);
	yes = s->control != NULL;
	pthread_mutex_unlock(&s->lock);
	return yes;
}

/* Postcopy: they ran before READY, and the server ends when COMMIT has come. */
static int commit_is_due(struct mfd_session *s)
{
	return !s->plan->early && s->stop_seen == 1 && connected(s);
}

/*
 * Restored tasks keep the server alive until their pages are in, unless it is asked twice.  A
 * restore that is not finished is killed: nothing has left the store yet, so it can be repeated.
 */
static void on_stop(struct mfd_session *s)
{
	pthread_mutex_lock(&s->lock);
	s->stop_seen = s->stopping;
	pthread_mutex_unlock(&s->lock);
	if (mfd_session_may_abort(s)) {
		mfd_session_abort(s, -ESHUTDOWN, "the restore server ends");
		return;
	}
	if (mfd_session_keeps_tasks(s)) {
		if (commit_is_due(s))
			return;
		s->in_doubt = 1;
		mfd_session_set_error(s, "the restore server ended");
		s->over = MFD_OVER_KEPT;
		return;
	}
	if (has_tasks(s) && (s->stop_seen == 1 || (mfd_session_only_copy(s) && !s->gave_up))) {
		mfd_log_warn(
			"%s: restored tasks still lack pages; the server ends when they are in (or when asked again, "
			"then they are killed)",
			s->name);
		return;
	}
	if (has_tasks(s)) {
		mfd_session_set_error(s, "the restore server was stopped while pages were missing");
		s->over = s->phase == MFD_PHASE_COMMITTED ? MFD_OVER_BROKEN : MFD_OVER_ABORTED;
		return;
	}
	if (s->phase == MFD_PHASE_RUNNING) {
		mfd_session_abort(s, -ESHUTDOWN, "the restore server ends before the restore has");
		return;
	}
	if (s->phase == MFD_PHASE_READY || s->phase == MFD_PHASE_RESTORED) {
		s->in_doubt = 1;
		/* what was restored is killed: nothing has left the store */
		if (s->phase == MFD_PHASE_RESTORED)
			mfd_session_enter(s, MFD_PHASE_READY);
		mfd_session_set_error(s, "the restore server ended");
	}
	s->over = MFD_OVER_KEPT;
}

static unsigned tick_length(const struct mfd_session *s)
{
	if (s->phase == MFD_PHASE_QUEUED)
		return QUEUED_TICK_MS;
	return s->server->stall_ms < 6000 ? s->server->stall_ms / 6 : 1000;
}

static void tick(struct mfd_session *s)
{
	uint64_t now = mfd_io_now_ms();
	uint64_t heard = atomic_load_explicit(&s->heard_ms, memory_order_relaxed);
	Mfd__Ping ping = MFD__PING__INIT;

	s->tick_ms = now + tick_length(s);
	mfd_session_store_moving(s);
	mfd_setting_tick(s, NULL);
	mfd_memory_tick(s);
	if (s->phase == MFD_PHASE_QUEUED && mfd_memory_admitted(s))
		on_admitted(s);
	if (!connected(s))
		return;
	if (!s->joined_said && s->joining && now > s->join_deadline)
		mfd_session_broken(s, -ETIMEDOUT, "not all channels joined in time");
	else if (now > heard && now - heard > s->server->stall_ms)
		mfd_session_broken(
			s, -ETIMEDOUT,
			"connection lost: nothing came from the source within the stall timeout");
	else if (now >= s->ping_ms) {
		s->ping_ms = now + s->server->stall_ms / 3;
		mfd_session_send(s, MFD_WIRE_PING, &ping.base);
	}
}

/* ---- the loop ---- */

static int all_joined(const struct mfd_session *s)
{
	return s->control && s->joining &&
	       s->attached == s->limits.channels + (s->plan->follow ? 1U : 0U);
}

/*
 * The first that may be read.  Leave to run or an abort must not wait behind an END whose packets
 * are still on a slow link; the order of those that wait for a sync is that of their syncs.
 */
static struct mfd_mail **readable(struct mfd_session *s)
{
	struct mfd_mail **m;

	for (m = &s->mail; *m; m = &(*m)->next) {
		if (synced(s, (*m)->sync))
			return m;
	}
	return NULL;
}

static struct mfd_mail *take_mail(struct mfd_session *s)
{
	struct mfd_mail **at = readable(s), *m = *at;

	*at = m->next;
	s->n_mail--;
	if (!m->next)
		s->mail_end = at;
	return m;
}

/*
 * Mail goes before a loss: a COMMIT or ABORT that came is honoured though the connection closed
 * behind it.
 */
static enum what next(struct mfd_session *s)
{
	if (s->failure.code)
		return FAILED;
	if (s->restore.done)
		return RESTORE_ENDED;
	if (s->pager_done && !s->pager_seen)
		return PAGER;
	if (s->request)
		return REQUEST;
	if (s->resume != MFD_OUTCOME_NONE)
		return RESUME;
	if (readable(s))
		return MAIL;
	if (s->lost)
		return LOST;
	if (!s->joined_said && all_joined(s))
		return JOINED;
	if (s->asked)
		return ASKED;
	if (mfd_memory_may_open(s))
		return OPEN;
	if (s->stopping != s->stop_seen)
		return STOP;
	if (s->setting.news)
		return NEWS;
	return NOTHING;
}

static enum what wait_for_work(struct mfd_session *s, struct mfd_mail **mail)
{
	enum what w;

	pthread_mutex_lock(&s->lock);
	while ((w = next(s)) == NOTHING) {
		if (mfd_session_wait_until(s, s->tick_ms) == -ETIMEDOUT)
			break;
	}
	if (mfd_io_now_ms() >= s->tick_ms && w == NOTHING)
		w = TICK;
	if (w == MAIL)
		*mail = take_mail(s);
	pthread_mutex_unlock(&s->lock);
	return w;
}

static void step(struct mfd_session *s)
{
	struct mfd_mail *mail = NULL;

	enum what what = wait_for_work(s, &mail);

	mfd_session_check(s);
	switch (what) {
	case FAILED:
		on_failed(s);
		break;
	case PAGER:
		mfd_commit_pager_done(s);
		break;
	case REQUEST:
		take_request(s);
		break;
	case MAIL:
		on_mail(s, mail);
		break;
	case LOST:
		on_lost(s);
		break;
	case RESUME:
		on_resume(s);
		break;
	case JOINED:
		on_joined(s);
		break;
	case ASKED:
		mfd_commit_asked(s);
		break;
	case OPEN:
		mfd_memory_open(s);
		break;
	case RESTORE_ENDED:
		mfd_confirm_ended(s);
		break;
	case STOP:
		on_stop(s);
		break;
	case TICK:
		tick(s);
		break;
	case NEWS:
		mfd_session_store(s, 0);
		break;
	case NOTHING:
		break;
	}
}

static void session_thread(void *arg)
{
	struct mfd_session *s = arg;

	mfd_assert_context(mfd_session_say, s);
	mfd_session_check(s);
	/* reloaded, and nothing is restored any more though it may run; or everything is */
	if (s->phase == MFD_PHASE_COMMITTED && s->installed)
		s->over = MFD_OVER_DONE;
	else if (s->phase == MFD_PHASE_COMMITTED || s->phase == MFD_PHASE_RUNNING)
		mfd_confirm_begin(s);
	while (!s->over)
		step(s);
	mfd_session_wind_up(s);
	mfd_assert_context(NULL, NULL);
}

int mfd_session_start(struct mfd_session *s)
{
	uint64_t now = mfd_io_now_ms();

	s->tick_ms = now + tick_length(s);
	s->ping_ms = now + s->server->stall_ms / 3;
	s->join_deadline = now + s->server->stall_ms;
	mfd_session_heard(s, now);
	return mfd_threads_start(&s->server->pool, session_thread, s);
}
