// SPDX-License-Identifier: GPL-2.0-only
/*
 * The session's own thread: take one thing after the other that other threads have left under
 * session->lock, and act.  What follows is in way.c; what a loss means rules.c says, and how a
 * session ends ending.c.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "assert.h"
#include "fate.h"
#include "io.h"
#include "log.h"
#include "memory.h"
#include "own_restore.h"
#include "session.h"
#include "rules.h"
#include "say.h"
#include "settle.h"
#include "ask_setting.h"
#include "way.h"

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
		if (s->link.channels[i].sync < sync)
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
	struct mfd_trouble t;
	char text[300];
	enum mfd_lost lost;

	mfd_assert(mfd_session_is_mine(s));
	mfd_assert(!s->over);
	pthread_mutex_lock(&s->lock);
	/*
	 * What the source said last may have come since next() looked, and the end of its
	 * connection behind it.
	 */
	if (s->inbox.mail && synced(s, s->inbox.mail->sync)) {
		pthread_mutex_unlock(&s->lock);
		return;
	}
	lost = s->inbox.lost;
	snprintf(text, sizeof(text), "connection lost: %s", s->inbox.lost_text);
	pthread_mutex_unlock(&s->lock);
	if (lost == MFD_LOST_CONTROL || mfd_rules_needs_channels(s)) {
		mfd_trouble(&t, MFD_TROUBLE_LINK, -ECONNRESET, "%s", text);
		mfd_session_trouble(s, &t);
	}
	pthread_mutex_lock(&s->lock);
	/*
	 * The control connection may have followed a channel that did not matter: then once more.
	 */
	if (s->inbox.lost == lost)
		s->inbox.lost = MFD_LOST_NOTHING;
	pthread_cond_broadcast(&s->cond);
	pthread_mutex_unlock(&s->lock);
}

static int on_failed(struct mfd_session *s, struct mfd_trouble *t)
{
	struct mfd_error e;

	pthread_mutex_lock(&s->lock);
	e = s->inbox.failure;
	mfd_error_clear(&s->inbox.failure);
	pthread_mutex_unlock(&s->lock);
	return mfd_trouble(t, MFD_TROUBLE_LINK, e.code, "%s", mfd_error_text(&e));
}

static int heard_commit(struct mfd_session *s, struct mfd_trouble *t)
{
	mfd_assert(mfd_session_is_mine(s));
	mfd_assert(!s->over);
	s->end.source_gone = 1;
	return mfd_way_commit(s, 1, t);
}

/* Only what the table permits in this phase (turns.h). */
static int act_on(struct mfd_session *s, const struct mfd_mail *m, struct mfd_trouble *t)
{
	switch (m->type) {
	case MFD_WIRE_ROUND:
		return mfd_rounds_end(s, (const Mfd__Round *)m->msg, t);
	case MFD_WIRE_IMAGES:
		return mfd_way_images(s, (const Mfd__Images *)m->msg, t);
	case MFD_WIRE_END:
		return mfd_way_end(s, (const Mfd__End *)m->msg, t);
	case MFD_WIRE_STARTED_OK:
		return mfd_way_started_ok(s, t);
	case MFD_WIRE_COMMIT:
		return heard_commit(s, t);
	default: /* ABORT */
		mfd_assert(m->type == MFD_WIRE_ABORT);
		return mfd_trouble(t, MFD_TROUBLE_SOURCE, -ECANCELED, "by the source: %.300s",
				   ((const Mfd__Abort *)m->msg)->reason);
	}
}

static int on_mail(struct mfd_session *s, struct mfd_mail *m, struct mfd_trouble *t)
{
	const char *name = mfd_wire_msg_name(m->type), *phase = mfd_turns_phase(s->phase);
	int ret = 0;

	mfd_log_debug("%s: %s", s->name, name);
	switch (mfd_turns_ask(MFD_SIDE_SOURCE, m->type, s->plan->id, s->phase)) {
	case MFD_TURN_TAKEN:
		ret = act_on(s, m, t);
		break;
	case MFD_TURN_IGNORED:
		mfd_log_warn("%s: %s in phase %s is ignored", s->name, name, phase);
		break;
	case MFD_TURN_REFUSED:
		ret = mfd_trouble(t, MFD_TROUBLE_LINK, -EPROTO,
				  "%s may not come in phase %s, %s READY", name, phase,
				  mfd_session_in(s, MFD_PHASES_UNVERIFIED) ? "before" : "after");
		break;
	}
	protobuf_c_message_free_unpacked(m->msg, NULL);
	free(m);
	return ret;
}

static void reset_channels(struct mfd_session *s)
{
	unsigned i;

	mfd_assert(s->phase == MFD_PHASE_RUNNING);
	mfd_assert(s->plan->postcopy);
	mfd_figures_keep(s);
	pthread_mutex_lock(&s->lock);
	for (i = 0; i <= MFD_WIRE_MAX_CHANNELS; i++)
		s->link.channels[i].sync = 0;
	s->link.state = MFD_LINK_JOINING;
	pthread_mutex_unlock(&s->lock);
	mfd_memory_resumed(s);
	s->link.rounds++;
	s->need.state = MFD_NEED_NONE;
	s->link.deadline_ms = mfd_io_now_ms() + s->server->stall_ms;
}

static int resume_continue(struct mfd_session *s, struct mfd_trouble *t)
{
	int ret = mfd_fate_look(s, t);

	if (ret)
		return ret;
	mfd_assert(mfd_session_is_mine(s));
	mfd_assert(!s->over);
	/* What was verified needs no channels: the source only missed our READY. */
	if (mfd_session_in(s, MFD_PHASES_UNDECIDED)) {
		mfd_session_doubt(s, 0);
		s->error[0] = 0;
		mfd_session_store(s, 1);
		mfd_say_ready(s);
	}
	if (s->phase == MFD_PHASE_RESTORED)
		mfd_say_restored(s, 0);
	return 0;
}

/* As if COMMIT had come, where the table permits it. */
static int resume_commit(struct mfd_session *s, struct mfd_trouble *t)
{
	mfd_assert(mfd_session_is_mine(s));
	mfd_assert(!s->over);
	if (mfd_turns_ask(MFD_SIDE_SOURCE, MFD_WIRE_COMMIT, s->plan->id, s->phase) ==
	    MFD_TURN_TAKEN)
		return heard_commit(s, t);
	s->end.source_gone = 1; /* all the same, and in vain */
	return mfd_trouble(t, MFD_TROUBLE_LINK, -EPROTO,
			   "the source says that its tasks are dead, before every page is here: "
			   "COMMIT before READY");
}

static int on_resume(struct mfd_session *s, struct mfd_trouble *t)
{
	enum mfd_outcome outcome;

	mfd_assert(mfd_session_is_mine(s));
	mfd_assert(!s->over);
	pthread_mutex_lock(&s->lock);
	outcome = s->inbox.resume;
	s->inbox.resume = MFD_OUTCOME_NONE;
	pthread_mutex_unlock(&s->lock);
	mfd_log_info("%s: the source is back and wants to %s", s->name,
		     outcome == MFD_OUTCOME_COMMIT ? "commit" :
		     outcome == MFD_OUTCOME_ABORT  ? "abort" :
						     "continue");
	if (outcome == MFD_OUTCOME_CONTINUE && s->phase == MFD_PHASE_RUNNING)
		reset_channels(s); /* before RESUME_OK: channels join as soon as it is out */
	if (outcome == MFD_OUTCOME_ABORT && s->phase != MFD_PHASE_COMMITTED &&
	    mfd_own_restore_look(s))
		return mfd_trouble(t, MFD_TROUBLE_FATE, -ECANCELED,
				   "by the source after a broken connection");
	/* What a source has heard it does not tell again: it hears it when it is so. */
	s->end.answers = outcome == MFD_OUTCOME_ABORT && s->phase != MFD_PHASE_COMMITTED;
	if (s->end.answers)
		return mfd_trouble(t, MFD_TROUBLE_SOURCE, -ECANCELED,
				   "by the source after a broken connection");
	mfd_say_resume_ok(s);
	if (outcome == MFD_OUTCOME_ABORT) {
		mfd_log_error("%s: BOTH RUN: the source's tasks run on, and it is committed",
			      s->name);
		s->end.both_run = 1;
		mfd_session_store(s, 1);
	}
	if (outcome == MFD_OUTCOME_COMMIT)
		return resume_commit(s, t);
	if (s->phase == MFD_PHASE_COMMITTED)
		return mfd_way_commit(s, 1, t);
	return resume_continue(s, t);
}

/* ---- what a person asks for ---- */

static void take_request(struct mfd_session *s)
{
	struct mfd_request *r = s->inbox.request; /* only we take it away */
	const char *answer = r->answer;

	mfd_assert(mfd_session_is_mine(s));
	mfd_assert(!r->done);
	if (r->kind == MFD_REQUEST_SET)
		answer = mfd_setting_ask(s, r); /* whose answer may come, and end `r`, at once */
	else
		mfd_settle(s, r);
	pthread_mutex_lock(&s->lock);
	s->inbox.request = NULL;
	if (answer) { /* else it may be gone by now */
		if (answer != r->answer)
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
	n = s->deposits.all && atomic_load(&s->restored);
	pthread_mutex_unlock(&s->lock);
	return n;
}

static int connected(struct mfd_session *s)
{
	int yes;

	pthread_mutex_lock(&s->lock);
	yes = s->link.control != NULL;
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
static int on_stop(struct mfd_session *s, struct mfd_trouble *t)
{
	mfd_assert(mfd_session_is_mine(s));
	mfd_assert(!s->over);
	pthread_mutex_lock(&s->lock);
	s->stop_seen = s->inbox.stopping;
	pthread_mutex_unlock(&s->lock);
	if (mfd_rules_may_abort(s))
		return mfd_trouble(t, MFD_TROUBLE_SERVER, -ESHUTDOWN, "the restore server ends");
	if (mfd_rules_keeps_tasks(s)) {
		if (commit_is_due(s))
			return 0;
		mfd_session_doubt(s, 1);
		mfd_session_set_error(s, "the restore server ended");
		s->over = MFD_OVER_KEPT;
		return 0;
	}
	if (has_tasks(s) &&
	    (s->stop_seen == 1 || (mfd_rules_only_copy(s) && s->copy != MFD_COPY_FAILED))) {
		mfd_log_warn(
			"%s: restored tasks still lack pages; the server ends when they are in (or when asked again, "
			"then they are killed)",
			s->name);
		return 0;
	}
	if (has_tasks(s)) {
		mfd_session_set_error(s, "the restore server was stopped while pages were missing");
		s->over = s->phase == MFD_PHASE_COMMITTED ? MFD_OVER_BROKEN : MFD_OVER_ABORTED;
		return 0;
	}
	if (s->phase == MFD_PHASE_RUNNING)
		return mfd_trouble(t, MFD_TROUBLE_SERVER, -ESHUTDOWN,
				   "the restore server ends before the restore has");
	if (s->phase == MFD_PHASE_READY || s->phase == MFD_PHASE_RESTORED) {
		mfd_session_doubt(s, 1);
		/* what was restored is killed: nothing has left the store */
		if (s->phase == MFD_PHASE_RESTORED)
			mfd_session_enter(s, MFD_PHASE_READY);
		mfd_session_set_error(s, "the restore server ended");
	}
	s->over = MFD_OVER_KEPT;
	return 0;
}

static unsigned tick_length(const struct mfd_session *s)
{
	if (s->phase == MFD_PHASE_QUEUED)
		return QUEUED_TICK_MS;
	return s->server->stall_ms < 6000 ? s->server->stall_ms / 6 : 1000;
}

static int tick(struct mfd_session *s, struct mfd_trouble *t)
{
	uint64_t now = mfd_io_now_ms();
	uint64_t heard = atomic_load_explicit(&s->heard_ms, memory_order_relaxed);
	int ret = 0;

	s->tick_ms = now + tick_length(s);
	mfd_session_store_moving(s);
	mfd_setting_tick(s, NULL);
	mfd_memory_tick(s);
	if (s->phase == MFD_PHASE_QUEUED && mfd_memory_admitted(s))
		ret = mfd_way_admitted(s, t);
	mfd_own_restore_look(s);
	if (!ret && s->phase == MFD_PHASE_RUNNING)
		ret = mfd_fate_look(s, t);
	if (ret || !connected(s))
		return ret;
	if (s->link.state == MFD_LINK_JOINING && now > s->link.deadline_ms)
		return mfd_trouble(t, MFD_TROUBLE_LINK, -ETIMEDOUT,
				   "not all channels joined in time");
	if (now > heard && now - heard > s->server->stall_ms)
		return mfd_trouble(
			t, MFD_TROUBLE_LINK, -ETIMEDOUT,
			"connection lost: nothing came from the source within the stall timeout");
	if (now >= s->ping_ms) {
		s->ping_ms = now + s->server->stall_ms / 3;
		mfd_say_ping(s);
	}
	return 0;
}

/* ---- the loop ---- */

static int all_joined(const struct mfd_session *s)
{
	return s->link.control && s->link.state == MFD_LINK_JOINING &&
	       s->link.attached == s->limits.channels + (s->plan->follow ? 1U : 0U);
}

/*
 * The first that may be read.  Leave to run or an abort must not wait behind an END whose packets
 * are still on a slow link; the order of those that wait for a sync is that of their syncs.
 */
static struct mfd_mail **readable(struct mfd_session *s)
{
	struct mfd_mail **m;

	for (m = &s->inbox.mail; *m; m = &(*m)->next) {
		if (synced(s, (*m)->sync))
			return m;
	}
	return NULL;
}

static struct mfd_mail *take_mail(struct mfd_session *s)
{
	struct mfd_mail **at = readable(s), *m = *at;

	mfd_assert(m);
	mfd_assert(s->inbox.n_mail > 0);
	*at = m->next;
	s->inbox.n_mail--;
	if (!m->next)
		s->inbox.mail_end = at;
	return m;
}

/*
 * Mail goes before a loss: a COMMIT or ABORT that came is honoured though the connection closed
 * behind it.
 */
static enum what next(struct mfd_session *s)
{
	if (s->inbox.failure.code)
		return FAILED;
	if (mfd_restore_phase(&s->restore) == MFD_RESTORE_ENDED)
		return RESTORE_ENDED;
	if (s->inbox.events & MFD_INBOX_PAGER && s->copy == MFD_COPY_COMING)
		return PAGER;
	if (s->inbox.request)
		return REQUEST;
	if (s->inbox.resume != MFD_OUTCOME_NONE)
		return RESUME;
	if (readable(s))
		return MAIL;
	if (s->inbox.lost)
		return LOST;
	if (all_joined(s))
		return JOINED;
	if (s->inbox.events & MFD_INBOX_ASKED)
		return ASKED;
	if (mfd_memory_may_open(s))
		return OPEN;
	if (s->inbox.stopping != s->stop_seen)
		return STOP;
	if (s->inbox.events & MFD_INBOX_NEWS)
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

static int act(struct mfd_session *s, enum what what, struct mfd_mail *mail, struct mfd_trouble *t)
{
	switch (what) {
	case FAILED:
		return on_failed(s, t);
	case PAGER:
		return mfd_way_pager(s, t);
	case REQUEST:
		take_request(s);
		return 0;
	case MAIL:
		return on_mail(s, mail, t);
	case LOST:
		on_lost(s);
		return 0;
	case RESUME:
		return on_resume(s, t);
	case JOINED:
		return mfd_way_joined(s, t);
	case ASKED:
		return mfd_way_asked(s, t);
	case OPEN:
		mfd_memory_open(s);
		return 0;
	case RESTORE_ENDED:
		return mfd_way_restored(s, t);
	case STOP:
		return on_stop(s, t);
	case TICK:
		return tick(s, t);
	case NEWS:
		mfd_session_store(s, 0);
		return 0;
	case NOTHING:
		return 0;
	}
	return 0;
}

static void step(struct mfd_session *s)
{
	struct mfd_mail *mail = NULL;
	enum what what = wait_for_work(s, &mail);
	struct mfd_trouble t = { 0 };

	mfd_session_check(s);
	if (act(s, what, mail, &t))
		mfd_session_trouble(s, &t);
}

static void session_thread(void *arg)
{
	struct mfd_session *s = arg;
	struct mfd_trouble t = { 0 };

	atomic_store_explicit(&s->thread, pthread_self(), memory_order_relaxed);
	mfd_assert_context(mfd_session_say, s);
	mfd_assert(s->phase != MFD_PHASE_NONE);
	mfd_assert(s->presence != MFD_PRESENCE_CLAIMED && !s->over);
	if (mfd_way_begin(s, &t))
		mfd_session_trouble(s, &t);
	while (!s->over)
		step(s);
	mfd_session_wind_up(s);
	mfd_assert_context(NULL, NULL);
}

void mfd_session_start(struct mfd_session *s, struct mfd_thread *thread)
{
	uint64_t now = mfd_io_now_ms();

	mfd_assert(s->presence == MFD_PRESENCE_LIVE && s->phase != MFD_PHASE_NONE);
	mfd_assert(!s->over && !atomic_load(&s->thread));
	s->tick_ms = now + tick_length(s);
	s->ping_ms = now + s->server->stall_ms / 3;
	s->link.deadline_ms = now + s->server->stall_ms;
	mfd_session_heard(s, now);
	mfd_threads_use(thread, session_thread, s);
}
