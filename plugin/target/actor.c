// SPDX-License-Identifier: GPL-2.0-only
/*
 * The session's own thread: takes one thing after the other that others have left under session->lock, and acts.
 *
 * What a broken connection means depends on one question: can the source still go on by itself?  Before READY (postcopy: before leave to
 * run was given) it can, and will, so everything here is thrown away.  Afterwards nobody but the source or a person
 * can tell, so the session is kept, in doubt.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "address.h"
#include "confirm.h"
#include "session_file.h"
#include "io.h"
#include "log.h"
#include "memory.h"
#include "session.h"
#include "setting.h"

enum what { NOTHING, TICK, FAILED, PAGER, REQUEST, MAIL, LOST, RESUME, JOINED, ASKED, RESTORE_ENDED, OPEN, STOP, NEWS };

#define QUEUED_TICK_MS 100

/* ---- session.img ---- */

void mfd_session_entry(struct mfd_session *s, Mfd__SessionEntry *e)
{
	mfd__session_entry__init(e);
	e->name = s->name;
	e->format = MFD_SESSION_FILE_FORMAT;
	e->state = s->state;
	e->error = s->error[0] ? s->error : NULL;
	e->has_in_doubt = 1;
	e->in_doubt = s->in_doubt;
	e->source = s->source[0] ? s->source : NULL;
	e->has_session_id = e->has_secret = 1;
	e->session_id.data = s->id;
	e->session_id.len = sizeof(s->id);
	e->secret.data = s->secret;
	e->secret.len = sizeof(s->secret);
	e->has_postcopy = e->has_confirm_restore = e->has_channels = e->has_packet_size = e->has_server_pid = 1;
	e->postcopy = s->postcopy;
	e->confirm_restore = s->confirm;
	e->has_early_restore = s->early;
	e->early_restore = s->early;
	e->channels = s->limits.channels;
	e->packet_size = s->limits.packet_size;
	e->restore_option = s->restore_options;
	e->n_restore_option = s->n_restore_options;
	e->move_address = s->move_addresses;
	e->n_move_address = s->n_move_addresses;
	e->has_restored_pid = s->restore.root > 0;
	e->restored_pid = (uint32_t)s->restore.root;
	e->server_pid = (uint32_t)getppid(); /* the supervisor: what a person would signal */
	pthread_mutex_lock(&s->lock);
	e->has_max_bandwidth = s->setting.known;
	e->max_bandwidth = s->setting.max_bandwidth;
	s->setting.news = 0;
	pthread_mutex_unlock(&s->lock);
	mfd_figures_entry(s, e);
	mfd_memory_entry(s, e);
}

int mfd_session_store(struct mfd_session *s, int sync)
{
	Mfd__SessionEntry e;
	int rc;

	mfd_session_entry(s, &e);
	rc = mfd_session_file_store(s->dirfd, &e, sync);
	if (rc)
		mfd_log_error("%s: session.img: %s", s->name, strerror(-rc));
	return rc;
}

/* ---- ending ---- */

static void set_text(char *to, size_t len, const char *text)
{
	if (to != text)
		snprintf(to, len, "%s", text);
}

void mfd_session_abort(struct mfd_session *s, int code, const char *fmt, ...)
{
	Mfd__Abort m = MFD__ABORT__INIT;
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	set_text(s->error, sizeof(s->error), text);
	mfd_log_error("%s: aborted: %s", s->name, text);
	m.reason = text;
	m.has_code = 1;
	m.code = code;
	/* Should we die in between: whoever follows shall not take for tasks what was killed. */
	if (s->early && s->restore.ok)
		mfd_commit_note(s, MFD_SESSION_KILLED_LINE "\n");
	/* Before the source hears that its tasks are the only ones. */
	mfd_restorer_kill(s);
	mfd_address_drop(s);
	if (!s->aborted_by_source)
		mfd_session_send(s, MFD_WIRE_ABORT, &m.base);
	s->over = MFD_OVER_ABORTED;
}

static void shutdown_data(struct mfd_session *s)
{
	unsigned i;

	for (i = 0; i <= MFD_WIRE_MAX_CHANNELS; i++) {
		if (s->channels[i].peer)
			mfd_conn_shutdown(&s->channels[i].peer->control.conn);
	}
}

static int wait_until(struct mfd_session *s, uint64_t ms)
{
	struct timespec ts = { .tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000 };

	return -pthread_cond_timedwait(&s->cond, &s->lock, &ts);
}

/*
 * Shut down every connection and wait until their threads have let go.  The source gets `linger` ms to read our last words and
 * close the control connection itself.
 */
static void disconnect(struct mfd_session *s, unsigned linger)
{
	uint64_t end = mfd_io_now_ms() + linger;

	mfd_setting_tick(s, "the source cannot be reached any more");
	pthread_mutex_lock(&s->lock);
	s->joining = 0;
	shutdown_data(s);
	while (linger && s->control && !wait_until(s, end))
		;
	if (s->control)
		mfd_conn_shutdown(&s->control->control.conn);
	while (s->control || s->attached)
		pthread_cond_wait(&s->cond, &s->lock);
	mfd_session_drop_mail(s);
	s->lost = s->lost_control = 0;
	s->resume = MFD_OUTCOME_NONE;
	pthread_cond_broadcast(&s->cond);
	pthread_mutex_unlock(&s->lock);
}

/* No channel is left that could use it.  Its own threads may be inside our callbacks, which `leave` lets go. */
static void stop_pager(struct mfd_session *s)
{
	struct mfd_pager *p = atomic_exchange_explicit(&s->pager, NULL, memory_order_acq_rel);

	if (!p)
		return;
	mfd_pager_get_stats(p, &s->pager_last);
	mfd_pager_stop(p);
}

static int has_holds(struct mfd_session *s)
{
	int n;

	pthread_mutex_lock(&s->lock);
	n = s->holds > 0;
	pthread_mutex_unlock(&s->lock);
	return n;
}

static void remove_store(struct mfd_session *s)
{
	if (s->store)
		mfd_pagestore_close(s->store);
	s->store = NULL;
	mfd_pagestore_remove(s->dirfd);
}

static void end_done(struct mfd_session *s)
{
	s->state = MFD__SESSION_STATE__DONE;
	s->done_us = mfd_clean_now_us();
	s->error[0] = 0;
	s->in_doubt = 0;
	remove_store(s);
	mfd_session_store(s, 1);
	unlinkat(s->dirfd, MFD_SESSION_ATTACHED, 0);
	mfd_log_info("%s: done: %llu pages installed", s->name, (unsigned long long)s->pager_last.installed_pages);
}

static void end_aborted(struct mfd_session *s)
{
	Mfd__SessionEntry e;
	int rc, buried;

	mfd_address_drop(s);
	s->state = MFD__SESSION_STATE__ABORTED;
	s->in_doubt = 0;
	mfd_session_entry(s, &e);
	/* The store first: a full file system may be the very reason, and the tombstone needs room. */
	remove_store(s);
	buried = mfd_session_file_bury(s->server->dirfd, s->name, &e);
	rc = mfd_clean_tree(s->server->dirfd, s->name);
	if (rc)
		mfd_log_error("%s: cannot remove its folder: %s", s->name, strerror(-rc));
	if (buried)
		buried = mfd_session_file_bury(s->server->dirfd, s->name, &e);
	if (buried)
		mfd_log_error("%s: no tombstone: %s", s->name, strerror(-buried));
}

static void count_end(struct mfd_session *s)
{
	struct mfd_server *sv = s->server;

	pthread_mutex_lock(&sv->lock);
	if (s->over != MFD_OVER_KEPT && !sv->ended++)
		sv->result = s->over == MFD_OVER_DONE ? 0 : 1;
	pthread_mutex_unlock(&sv->lock);
	mfd_listener_wake(sv);
}

/* Early and verified: the stopped tasks may be all there is, should the source have let go. */
static int only_copy(const struct mfd_session *s)
{
	return s->early && (s->state == MFD__SESSION_STATE__READY || s->state == MFD__SESSION_STATE__RESTORED);
}

/* They are complete as well, so that whoever reloads the session finds them. */
static int keeps_tasks(const struct mfd_session *s)
{
	return only_copy(s) && s->alone;
}

static void wind_up(struct mfd_session *s)
{
	int keeps = s->over == MFD_OVER_KEPT && keeps_tasks(s);

	pthread_mutex_lock(&s->lock);
	s->ending = 1;
	s->leave = s->over == MFD_OVER_DONE ? MFD_LEAVE_GIVEN : MFD_LEAVE_REFUSED;
	if (s->request) {
		snprintf(s->request->answer, sizeof(s->request->answer), "error: session %s has just ended", s->name);
		s->request->done = 1;
		s->request = NULL;
	}
	pthread_cond_broadcast(&s->cond);
	pthread_mutex_unlock(&s->lock);
	disconnect(s, s->over == MFD_OVER_KEPT ? 0 : MFD_SESSION_LINGER);
	if (s->over == MFD_OVER_DONE || keeps)
		mfd_restorer_release(s);
	else
		mfd_restorer_kill(s);
	/* The pager's own userfaultfds go with it: whoever still lacks pages must be dead by then. */
	if (s->over != MFD_OVER_DONE && !keeps && has_holds(s)) {
		mfd_commit_note(s, MFD_SESSION_KILLED_LINE "\n");
		mfd_guard_kill(s->server, s->name);
	}
	stop_pager(s);
	/* Should we die before DONE is written: they run and lack nothing. */
	if (s->over == MFD_OVER_DONE)
		mfd_commit_note(s, MFD_SESSION_COMPLETE_LINE "\n");
	if ((s->over == MFD_OVER_DONE || keeps) && has_holds(s))
		mfd_guard_release(s->server, s->name);
	if (s->over == MFD_OVER_DONE)
		end_done(s);
	else if (s->over == MFD_OVER_ABORTED)
		end_aborted(s);
	else
		mfd_session_store(s, 1);
	if (s->over == MFD_OVER_KEPT && !keeps)
		unlinkat(s->dirfd, MFD_SESSION_ATTACHED, 0);
	if (s->over == MFD_OVER_DONE || s->over == MFD_OVER_ABORTED)
		mfd_cpr_ended(s);
	mfd_memory_end(s);
	count_end(s);
	mfd_session_unclaim(s);
}

/* ---- what can happen ---- */

/*
 * Early, and RESTORED has not been said: the source waits for it and can go on.  The session is not kept: the restore may be finishing just
 * now, and then pages leave the store.
 */
static int unconfirmed(const struct mfd_session *s)
{
	return s->early && s->state == MFD__SESSION_STATE__READY && !s->restore.ok;
}

static int may_abort(const struct mfd_session *s)
{
	return s->state == MFD__SESSION_STATE__RECEIVING || s->state == MFD__SESSION_STATE__RESTORABLE ||
	       unconfirmed(s);
}

static void doubt(struct mfd_session *s, const char *text)
{
	mfd_log_warn("%s: in doubt (%s): %s", s->name, mfd_session_file_state(s->state), text);
	set_text(s->error, sizeof(s->error), text);
	s->in_doubt = 1;
	mfd_session_store(s, 1);
	disconnect(s, 0);
}

void mfd_session_broken(struct mfd_session *s, int code, const char *text)
{
	if (may_abort(s))
		mfd_session_abort(s, code, "%s", text);
	else if (s->state != MFD__SESSION_STATE__COMMITTED)
		doubt(s, text);
	else
		mfd_log_debug("%s: after the commit: %s", s->name, text);
}

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
 * A lost data channel matters only while pages are due.  `lost` stays set until it has been dealt with: a source that comes back
 * meanwhile waits for that (session.c, oust).
 */
static void on_lost(struct mfd_session *s)
{
	char text[300];
	int control;

	pthread_mutex_lock(&s->lock);
	/* What the source said last may have come since next() looked, and the end of its connection behind it. */
	if (s->mail && synced(s, s->mail->sync)) {
		pthread_mutex_unlock(&s->lock);
		return;
	}
	control = s->lost_control;
	snprintf(text, sizeof(text), "connection lost: %s", s->lost_text);
	pthread_mutex_unlock(&s->lock);
	if (control || may_abort(s) || s->state == MFD__SESSION_STATE__RUNNING)
		mfd_session_broken(s, -ECONNRESET, text);
	pthread_mutex_lock(&s->lock);
	/* The control connection may have followed a channel that did not matter: then once more. */
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
	s->queued = 0;
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

	if (!s->postcopy || s->state != MFD__SESSION_STATE__RESTORABLE || s->leave != MFD_LEAVE_WAIT) {
		mfd_log_debug("%s: STARTED_OK ignored in %s", s->name, mfd_session_file_state(s->state));
		return;
	}
	s->state = MFD__SESSION_STATE__RUNNING;
	mfd_figures_time(&s->times.running_us);
	if (mfd_session_store(s, 1)) {
		s->state = MFD__SESSION_STATE__RESTORABLE;
		mfd_session_abort(s, -EIO, "session.img cannot be written");
		return;
	}
	mfd_commit_leave(s);
	if (mfd_confirm_continue(s))
		mfd_confirm_tell(s, mfd_io_now_us() - start + 1);
}

static void on_abort(struct mfd_session *s, const Mfd__Abort *m)
{
	if (s->state == MFD__SESSION_STATE__COMMITTED) {
		mfd_log_warn("%s: ABORT after the commit ignored: %s", s->name, m->reason);
		return;
	}
	s->aborted_by_source = 1;
	mfd_session_abort(s, -ECANCELED, "by the source: %.300s", m->reason);
}

static void on_mail(struct mfd_session *s, struct mfd_mail *m)
{
	mfd_log_debug("%s: %s", s->name, mfd_wire_msg_name(m->type));
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
	default:
		mfd_session_broken(s, -EPROTO, "unexpected control message");
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
	if (s->state == MFD__SESSION_STATE__READY || s->state == MFD__SESSION_STATE__RESTORED) {
		ready.pages = s->lazy_pages;
		s->in_doubt = s->error[0] = 0;
		mfd_session_store(s, 1);
		mfd_session_send(s, MFD_WIRE_READY, &ready.base);
	}
	if (s->state == MFD__SESSION_STATE__RESTORED)
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
	if (outcome == MFD_OUTCOME_CONTINUE && s->state == MFD__SESSION_STATE__RUNNING)
		reset_channels(s); /* before RESUME_OK: channels join as soon as it is out */
	ok.state = (char *)mfd_session_file_state(s->state);
	ok.has_channels = ok.has_packet_size = 1;
	ok.channels = s->limits.channels;
	ok.packet_size = s->limits.packet_size;
	ok.has_settings = ok.settings = 1;
	ok.room = mfd_memory_room(s);
	ok.has_room = ok.room != UINT64_MAX;
	mfd_session_send(s, MFD_WIRE_RESUME_OK, &ok.base);
	if (outcome == MFD_OUTCOME_COMMIT || s->state == MFD__SESSION_STATE__COMMITTED) {
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
	if (s->state != MFD__SESSION_STATE__READY && s->state != MFD__SESSION_STATE__RESTORED)
		return "error: pages are missing, it cannot run";
	mfd_commit_commit(s, 0);
	return s->state == MFD__SESSION_STATE__COMMITTED ? "ok" : "error: the commit could not be stored";
}

/* NULL: it is answered later. */
static const char *on_request(struct mfd_session *s, struct mfd_request *r)
{
	if (r->kind == MFD_REQUEST_SET)
		return mfd_setting_ask(s, r);
	if (r->kind != MFD_REQUEST_ABORT)
		return resolve(s, r->kind);
	if (!may_abort(s)) {
		if (s->state == MFD__SESSION_STATE__COMMITTED)
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

/*
 * Restored tasks keep the server alive until their pages are in, unless it is asked twice.  A restore that is not finished is killed: nothing
 * has left the store yet, so it can be repeated.
 */
static void on_stop(struct mfd_session *s)
{
	pthread_mutex_lock(&s->lock);
	s->stop_seen = s->stopping;
	pthread_mutex_unlock(&s->lock);
	if (may_abort(s)) {
		mfd_session_abort(s, -ESHUTDOWN, "the restore server ends");
		return;
	}
	if (keeps_tasks(s)) {
		s->in_doubt = 1;
		set_text(s->error, sizeof(s->error), "the restore server ended");
		s->over = MFD_OVER_KEPT;
		return;
	}
	if (has_tasks(s) && (s->stop_seen == 1 || (only_copy(s) && !s->pager_code))) {
		mfd_log_warn(
			"%s: restored tasks still lack pages; the server ends when they are in (or when asked again, "
			"then they are killed)",
			s->name);
		return;
	}
	if (has_tasks(s)) {
		set_text(s->error, sizeof(s->error), "the restore server was stopped while pages were missing");
		s->over = s->state == MFD__SESSION_STATE__COMMITTED ? MFD_OVER_BROKEN : MFD_OVER_ABORTED;
		return;
	}
	if (s->state == MFD__SESSION_STATE__RUNNING) {
		mfd_session_abort(s, -ESHUTDOWN, "the restore server ends before the restore has");
		return;
	}
	if (s->state == MFD__SESSION_STATE__READY || s->state == MFD__SESSION_STATE__RESTORED) {
		s->in_doubt = 1;
		s->state = MFD__SESSION_STATE__READY; /* what was restored is killed: nothing has left the store */
		set_text(s->error, sizeof(s->error), "the restore server ended");
	}
	s->over = MFD_OVER_KEPT;
}

static int connected(struct mfd_session *s)
{
	int yes;

	pthread_mutex_lock(&s->lock);
	yes = s->control != NULL;
	pthread_mutex_unlock(&s->lock);
	return yes;
}

/* With every tick, while something moves. */
static void store_moving(struct mfd_session *s)
{
	Mfd__SessionEntry e;
	uint64_t moved;

	if (!s->joined_said && s->state == MFD__SESSION_STATE__RECEIVING)
		return;
	mfd_session_entry(s, &e);
	moved = e.wire_bytes + e.installed_pages + e.faults;
	if (moved != s->moved)
		mfd_session_file_store(s->dirfd, &e, 0);
	s->moved = moved;
}

static unsigned tick_length(const struct mfd_session *s)
{
	if (s->queued)
		return QUEUED_TICK_MS;
	return s->server->stall_ms < 6000 ? s->server->stall_ms / 6 : 1000;
}

static void tick(struct mfd_session *s)
{
	uint64_t now = mfd_io_now_ms();
	uint64_t heard = atomic_load_explicit(&s->heard_ms, memory_order_relaxed);
	Mfd__Ping ping = MFD__PING__INIT;

	s->tick_ms = now + tick_length(s);
	store_moving(s);
	mfd_setting_tick(s, NULL);
	mfd_memory_tick(s);
	if (s->queued && mfd_memory_admitted(s))
		on_admitted(s);
	if (!connected(s))
		return;
	if (!s->joined_said && s->joining && now > s->join_deadline)
		mfd_session_broken(s, -ETIMEDOUT, "not all channels joined in time");
	else if (now > heard && now - heard > s->server->stall_ms)
		mfd_session_broken(s, -ETIMEDOUT,
				   "connection lost: nothing came from the source within the stall timeout");
	else if (now >= s->ping_ms) {
		s->ping_ms = now + s->server->stall_ms / 3;
		mfd_session_send(s, MFD_WIRE_PING, &ping.base);
	}
}

/* ---- the loop ---- */

static int all_joined(const struct mfd_session *s)
{
	return s->control && s->joining && s->attached == s->limits.channels + (mfd_session_pages_follow(s) ? 1U : 0U);
}

/*
 * The first that may be read.  Leave to run or an abort must not wait behind an END whose packets are still on a slow link; the
 * order of those that wait for a sync is that of their syncs.
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

/* Mail goes before a loss: a COMMIT or ABORT that came is honoured though the connection closed behind it. */
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
		if (wait_until(s, s->tick_ms) == -ETIMEDOUT)
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

	switch (wait_for_work(s, &mail)) {
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

	/* reloaded, and nothing is restored any more though it may run; or everything is */
	if (s->state == MFD__SESSION_STATE__COMMITTED && s->installed)
		s->over = MFD_OVER_DONE;
	else if (s->state == MFD__SESSION_STATE__COMMITTED || s->state == MFD__SESSION_STATE__RUNNING)
		mfd_confirm_begin(s);
	while (!s->over)
		step(s);
	wind_up(s);
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
