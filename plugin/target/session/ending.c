// SPDX-License-Identifier: GPL-2.0-only
/*
 * The end of a session: what is told to whom, in which order things are taken down, what stays on
 * disk.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "take_address.h"
#include "restored_notes.h"
#include "own_restore.h"
#include "io.h"
#include "log.h"
#include "memory.h"
#include "session.h"
#include "session_file.h"
#include "ask_setting.h"

void mfd_session_abort(struct mfd_session *s, int code, const char *fmt, ...)
{
	Mfd__Abort m = MFD__ABORT__INIT;
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	mfd_session_set_error(s, text);
	mfd_log_error("%s: aborted: %s", s->name, text);
	m.reason = text;
	m.has_code = 1;
	m.code = code;
	/* Should we die in between: whoever follows shall not take for tasks what was killed. */
	if (s->plan->early && s->restore.ok)
		mfd_notes_add(s->dirfd, MFD_NOTE_KILLED);
	/* Before the source hears that its tasks are the only ones. */
	mfd_restore_kill(&s->restore);
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

/*
 * Shut down every connection and wait until their threads have let go.  The source gets `linger` ms
 * to read our last words and close the control connection itself.
 */
void mfd_session_disconnect(struct mfd_session *s, unsigned linger)
{
	uint64_t end = mfd_io_now_ms() + linger;

	mfd_setting_tick(s, "the source cannot be reached any more");
	pthread_mutex_lock(&s->lock);
	s->joining = 0;
	shutdown_data(s);
	while (linger && s->control && !mfd_session_wait_until(s, end))
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

/*
 * No channel is left that could use it.  Its own threads may be inside our callbacks, which `leave`
 * lets go.
 */
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
	s->in_doubt = 0;
	mfd_session_enter(s, MFD_PHASE_DONE);
	s->done_us = mfd_clean_now_us();
	s->error[0] = 0;
	remove_store(s);
	mfd_session_store(s, 1);
	unlinkat(s->dirfd, MFD_NOTES_FILE, 0);
	mfd_log_info("%s: done: %llu pages installed", s->name,
		     (unsigned long long)s->pager_last.installed_pages);
}

static void end_aborted(struct mfd_session *s)
{
	Mfd__SessionEntry e;
	int ret, buried;

	mfd_address_drop(s);
	s->in_doubt = 0;
	mfd_session_enter(s, MFD_PHASE_ABORTED);
	mfd_session_entry(s, &e);
	/*
	 * The store first: a full file system may be the very reason, and the tombstone needs room.
	 */
	remove_store(s);
	buried = mfd_session_file_bury(s->server->dirfd, s->name, &e);
	ret = mfd_clean_tree(s->server->dirfd, s->name);
	if (ret)
		mfd_log_error("%s: cannot remove its folder: %s", s->name, strerror(-ret));
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
	mfd_threads_wake(&sv->pool);
}

void mfd_session_wind_up(struct mfd_session *s)
{
	int keeps = s->over == MFD_OVER_KEPT && mfd_session_keeps_tasks(s);

	pthread_mutex_lock(&s->lock);
	s->ending = 1;
	s->leave = s->over == MFD_OVER_DONE ? MFD_LEAVE_GIVEN : MFD_LEAVE_REFUSED;
	if (s->request) {
		snprintf(s->request->answer, sizeof(s->request->answer),
			 "error: session %s has just ended", s->name);
		s->request->done = 1;
		s->request = NULL;
	}
	pthread_cond_broadcast(&s->cond);
	pthread_mutex_unlock(&s->lock);
	mfd_session_disconnect(s, s->over == MFD_OVER_KEPT ? 0 : MFD_SESSION_LINGER);
	if (s->over == MFD_OVER_DONE || keeps)
		mfd_restore_release(&s->restore);
	else
		mfd_restore_kill(&s->restore);
	/*
	 * The pager's own userfaultfds go with it: whoever still lacks pages must be dead by then.
	 */
	if (s->over != MFD_OVER_DONE && !keeps && has_holds(s)) {
		mfd_notes_add(s->dirfd, MFD_NOTE_KILLED);
		mfd_guard_kill(&s->server->guard, s->name);
	}
	/* Those that lack nothing are not held any more, and their source may go on. */
	if (s->over == MFD_OVER_ABORTED)
		mfd_notes_kill(s->dirfd, s->name);
	stop_pager(s);
	/* Should we die before DONE is written: they run and lack nothing. */
	if (s->over == MFD_OVER_DONE)
		mfd_notes_add(s->dirfd, MFD_NOTE_COMPLETE);
	if ((s->over == MFD_OVER_DONE || keeps) && has_holds(s))
		mfd_guard_withdraw_all(&s->server->guard, s->name);
	if (s->over == MFD_OVER_DONE)
		end_done(s);
	else if (s->over == MFD_OVER_ABORTED)
		end_aborted(s);
	else
		mfd_session_store(s, 1);
	if (s->over == MFD_OVER_KEPT && !keeps)
		unlinkat(s->dirfd, MFD_NOTES_FILE, 0);
	if (s->over == MFD_OVER_DONE || s->over == MFD_OVER_ABORTED)
		mfd_cpr_ended(s);
	mfd_memory_end(s);
	count_end(s);
	mfd_session_unclaim(s);
}
