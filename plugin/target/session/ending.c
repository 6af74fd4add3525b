// SPDX-License-Identifier: GPL-2.0-only
/*
 * The end of a session: what the source and the supervisor are told, in which order things are
 * taken down, what stays on disk.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "take_address.h"
#include "restored_notes.h"
#include "assert.h"
#include "cpr_reach.h"
#include "io.h"
#include "log.h"
#include "memory.h"
#include "own_restore.h"
#include "rules.h"
#include "say.h"
#include "record.h"
#include "session.h"
#include "session_file.h"
#include "ask_setting.h"

/* A source that sends on one of them must notice at once; it has nothing to read there. */
static void shutdown_data(struct mfd_session *s)
{
	unsigned i;

	for (i = 0; i <= MFD_WIRE_MAX_CHANNELS; i++) {
		if (s->link.channels[i].peer)
			mfd_conn_reset(&s->link.channels[i].peer->control.conn);
	}
}

/*
 * Shut down every connection and wait until their threads have let go.  The source gets `linger` ms
 * to read our last words and close the control connection itself.
 */
void mfd_session_disconnect(struct mfd_session *s, unsigned linger)
{
	uint64_t end = mfd_io_now_ms() + linger;

	mfd_assert(mfd_session_is_mine(s));
	mfd_assert(s->presence != MFD_PRESENCE_CLAIMED);
	mfd_setting_tick(s, "the source cannot be reached any more");
	pthread_mutex_lock(&s->lock);
	s->link.state = MFD_LINK_NONE;
	shutdown_data(s);
	while (linger && s->link.control && !mfd_session_wait_until(s, end))
		;
	if (s->link.control)
		mfd_conn_shutdown(&s->link.control->control.conn);
	while (s->link.control || s->link.attached)
		pthread_cond_wait(&s->cond, &s->lock);
	mfd_session_drop_mail(s);
	s->inbox.lost = MFD_LOST_NOTHING;
	s->inbox.resume = MFD_OUTCOME_NONE;
	pthread_cond_broadcast(&s->cond);
	pthread_mutex_unlock(&s->lock);
}

/*
 * Everything restored, by the server or by an operator.  If this worker dies in between, the next
 * one must not take over what was killed.
 */
static void kill_restored(struct mfd_session *s)
{
	if (mfd_restore_has_tasks(&s->restore) || mfd_session_has_deposits(s))
		mfd_notes_add(s->dirfd, MFD_NOTE_KILLED);
	mfd_restore_kill(&s->restore);
	if (mfd_session_has_deposits(s))
		mfd_guard_kill(&s->server->guard, s->name);
	/* Those that lack nothing are not held any more. */
	mfd_notes_kill(s->dirfd, s->name);
}

/* The tombstone; without an id, so that it is no evidence, if a restored task does not die. */
static void bury(struct mfd_session *s)
{
	Mfd__SessionEntry e;
	int ret;

	mfd_assert(mfd_session_is_mine(s));
	mfd_assert(s->error[0]);
	mfd_session_entry(s, &e);
	e.in_doubt = 0;
	e.has_by_person = e.by_person = s->end.by_person;
	e.has_session_id = s->end.dead;
	e.has_told = e.told = s->end.told;
	ret = mfd_session_file_bury(s->server->dirfd, s->name, &e);
	s->end.buried = !ret && e.has_session_id;
	if (ret)
		mfd_log_error("%s: no tombstone: %s", s->name, strerror(-ret));
}

/* What was restored and not let go has run: its source, if it goes on, does that again. */
static void say_ran(struct mfd_session *s, const struct mfd_trouble *t)
{
	char text[sizeof(s->error)];

	mfd_assert(mfd_session_is_mine(s));
	mfd_assert(s->error[0]);
	if (!mfd_own_restore_look(s) || s->times.running_us || s->times.committed_us)
		return;
	snprintf(text, sizeof(text),
		 "%.300s; restored process %d RAN HERE before that, though it was held", t->text,
		 s->restore.hold.ran);
	mfd_session_set_error(s, text);
	mfd_log_error(
		"%s: BOTH HAVE RUN, if the source's tasks go on: restored process %d ran here "
		"though it was held",
		s->name, s->restore.hold.ran);
}

/*
 * In this order: what was restored is dead before that is on disk, and it is on disk before the
 * source hears that its tasks are the only ones.
 */
static void abort_it(struct mfd_session *s, const struct mfd_trouble *t)
{
	mfd_assert(mfd_session_is_mine(s));
	mfd_assert(s->phase != MFD_PHASE_COMMITTED || t->kind == MFD_TROUBLE_PERSON);
	mfd_session_set_error(s, t->text);
	mfd_log_error("%s: aborted: %s", s->name, t->text);
	say_ran(s, t);
	kill_restored(s);
	s->end.dead = mfd_notes_fate(s->dirfd) != MFD_NOTES_ALIVE;
	mfd_address_drop(s);
	s->end.by_person = t->kind == MFD_TROUBLE_PERSON;
	s->end.told = t->kind == MFD_TROUBLE_SOURCE && !s->restore.hold.ran;
	bury(s);
	if (t->kind != MFD_TROUBLE_SOURCE)
		mfd_say_abort(s, t->code, t->text);
	else if (s->end.answers && s->end.buried)
		mfd_say_resume_ok(s);
	s->over = MFD_OVER_ABORTED;
}

static void doubt(struct mfd_session *s, const struct mfd_trouble *t)
{
	mfd_assert(mfd_session_is_mine(s));
	mfd_assert(mfd_session_in(s, MFD_PHASES_UNDECIDED | MFD_PHASE_BIT(RUNNING)));
	mfd_log_warn("%s: in doubt (%s): %s", s->name, mfd_session_state_text(s), t->text);
	mfd_session_set_error(s, t->text);
	mfd_session_doubt(s, 1);
	mfd_session_store(s, 1);
	mfd_session_disconnect(s, 0);
}

static void note(struct mfd_session *s, const struct mfd_trouble *t)
{
	snprintf(s->error, sizeof(s->error), "%.450s%s", t->text,
		 t->kind == MFD_TROUBLE_RESTORE ? "; try again with criu-multifd restore" : "");
	mfd_log_error("%s: %s", s->name, s->error);
}

void mfd_session_trouble(struct mfd_session *s, const struct mfd_trouble *t)
{
	mfd_assert(t->code && t->text[0]);
	mfd_assert(s->over == MFD_OVER_NO);
	switch (mfd_rules_remedy(s, t->kind)) {
	case MFD_REMEDY_ABORT:
		abort_it(s, t);
		break;
	case MFD_REMEDY_DOUBT:
		doubt(s, t);
		break;
	case MFD_REMEDY_NOTE:
		note(s, t);
		mfd_session_store(s, 1);
		break;
	case MFD_REMEDY_BREAK:
		note(s, t);
		s->over = MFD_OVER_BROKEN;
		break;
	case MFD_REMEDY_LOG:
		mfd_log_debug("%s: after the commit: %s", s->name, t->text);
		break;
	}
}

/*
 * No channel is left that could use it.  Its own threads may be inside our callbacks, which `leave`
 * lets go.
 */
static void stop_pager(struct mfd_session *s)
{
	struct mfd_pager *p = atomic_exchange_explicit(&s->pager, NULL, memory_order_acq_rel);

	mfd_assert(s->over);
	mfd_assert(!s->link.attached && !s->link.control);
	if (!p)
		return;
	mfd_pager_get_stats(p, &s->figures.pager);
	mfd_pager_stop(p);
}

static void remove_store(struct mfd_session *s)
{
	mfd_assert(s->over);
	mfd_assert(s->dirfd >= 0);
	if (s->store)
		mfd_pagestore_close(s->store);
	s->store = NULL;
	mfd_pagestore_remove(s->dirfd);
}

static void end_done(struct mfd_session *s)
{
	mfd_assert(s->over == MFD_OVER_DONE);
	mfd_assert(!atomic_load(&s->pager));
	mfd_session_doubt(s, 0);
	mfd_session_enter(s, MFD_PHASE_DONE);
	s->times.done_us = mfd_clean_now_us();
	s->error[0] = 0;
	remove_store(s);
	mfd_session_store(s, 1);
	mfd_clean_done(s->dirfd);
	mfd_log_info("%s: done: %llu pages installed", s->name,
		     (unsigned long long)s->figures.pager.installed_pages);
}

static void end_aborted(struct mfd_session *s)
{
	int ret;

	mfd_assert(s->over == MFD_OVER_ABORTED);
	mfd_assert(!atomic_load(&s->pager));
	mfd_address_drop(s);
	mfd_session_doubt(s, 0);
	mfd_session_enter(s, MFD_PHASE_ABORTED);
	/* A full file system may be the very reason, and the tombstone needs room. */
	remove_store(s);
	/* Before the notes go with the folder. */
	s->end.dead = s->end.dead || mfd_notes_fate(s->dirfd) != MFD_NOTES_ALIVE;
	if (!s->end.buried)
		bury(s);
	ret = mfd_record_remove(s->server->dirfd, s->name);
	if (ret)
		mfd_log_error("%s: cannot remove its folder: %s", s->name, strerror(-ret));
	if (!s->end.buried)
		bury(s);
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
	int keeps = s->over == MFD_OVER_KEPT && mfd_rules_keeps_tasks(s);

	mfd_assert(mfd_session_is_mine(s));
	mfd_assert(s->over);
	pthread_mutex_lock(&s->lock);
	s->presence = MFD_PRESENCE_ENDING;
	s->leave = s->over == MFD_OVER_DONE ? MFD_LEAVE_GIVEN : MFD_LEAVE_REFUSED;
	if (s->inbox.request) {
		snprintf(s->inbox.request->answer, sizeof(s->inbox.request->answer),
			 "error: session %s has just ended", s->name);
		s->inbox.request->done = 1;
		s->inbox.request = NULL;
	}
	pthread_cond_broadcast(&s->cond);
	pthread_mutex_unlock(&s->lock);
	mfd_session_disconnect(s, s->over == MFD_OVER_KEPT ? 0 : MFD_SESSION_LINGER);
	if (s->over == MFD_OVER_DONE || keeps)
		mfd_restore_release(&s->restore);
	else
		mfd_restore_kill(&s->restore);
	/*
	 * The pager's own userfaultfds go with it: a task that still lacks pages must be dead by
	 * then.
	 */
	if (s->over == MFD_OVER_ABORTED) {
		kill_restored(s);
	} else if (s->over != MFD_OVER_DONE && !keeps && mfd_session_has_deposits(s)) {
		mfd_notes_add(s->dirfd, MFD_NOTE_KILLED);
		mfd_guard_kill(&s->server->guard, s->name);
	}
	stop_pager(s);
	/* Should we die before DONE is written: they run and lack nothing. */
	if (s->over == MFD_OVER_DONE)
		mfd_notes_add(s->dirfd, MFD_NOTE_COMPLETE);
	if ((s->over == MFD_OVER_DONE || keeps) && mfd_session_has_deposits(s))
		mfd_guard_withdraw_all(&s->server->guard, &s->restore.holds, s->name);
	if (s->over == MFD_OVER_DONE)
		end_done(s);
	else if (s->over == MFD_OVER_ABORTED)
		end_aborted(s);
	else
		mfd_session_store(s, 1);
	if (s->over == MFD_OVER_KEPT && !keeps)
		unlinkat(s->dirfd, MFD_NOTES_FILE, 0);
	if (s->over == MFD_OVER_DONE || s->over == MFD_OVER_ABORTED)
		mfd_cpr_reach_drop(s);
	mfd_memory_end(s);
	mfd_clean_ended(s->server);
	count_end(s);
	mfd_session_unclaim(s);
}
