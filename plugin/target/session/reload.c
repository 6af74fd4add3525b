// SPDX-License-Identifier: GPL-2.0-only
/*
 * What an earlier worker or server has left in DIR.
 *
 *	RECEIVING, RESTORABLE	the source has resumed: cleaned, tombstone
 *	READY			kept, in doubt until the source comes back
 *	COMMITTED, not restored	kept, the pager starts
 *	a restore was under way	its tasks have no pager any more: the supervisor has killed them, or
 *				they are killed here by what .attached says.  If it was not
 *				finished, nothing has left the store, and it can be repeated.
 *				Otherwise COMMITTED stays for a person and everything else is
 *				cleaned: the source still has its tasks
 *	restored, complete	(READY or later, MFD_NOTE_COMPLETE) the tasks need no pager: they
 *				stay, after an early restore stopped until the commit, whichever
 *				processes of the server died
 *	DONE, ABORTED		stay as they are
 *	a tombstone of its id	it has ended: what is left of it goes
 *	it cannot be loaded	(no memory, no descriptors ...) kept, says why, and is tried again:
 *				when its source or a person asks for it, and now and then; if it
 *				could not be looked at, its restored tasks wait (takeover.h)
 *
 * When only the worker died, or a standby (standby.h) has kept what a killed server held, a restore
 * that was finished goes on: its tasks are taken over (takeover.h), in whatever state the session
 * is.  One that was not finished has failed, its tasks are killed, and the next may begin; in
 * postcopy also where the source has given leave already.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "evidence.h"
#include "take_address.h"
#include "held.h"
#include "restored_notes.h"
#include "session_file.h"
#include "io.h"
#include "life.h"
#include "log.h"
#include "record.h"
#include "revive.h"
#include "session.h"
#include "takeover.h"

#define UNREADABLE_NOTES "what it says of its restored tasks cannot be read"

#define HELD_MS	     1000 /* what was killed leaves its control group */
#define AGAIN_MIN_MS 2000 /* between two tries to load what could not be loaded */
#define AGAIN_MAX_MS 60000

static void bury(struct mfd_server *sv, int dirfd, const char *name, Mfd__SessionEntry *e,
		 const char *why)
{
	Mfd__SessionEntry copy = MFD__SESSION_ENTRY__INIT;
	int ret;

	mfd_log_warn("%s: cleaned: %s", name, why);
	if (e)
		copy = *e;
	copy.name = (char *)name;
	copy.format = MFD_SESSION_FILE_FORMAT;
	copy.state = MFD__SESSION_STATE__ABORTED;
	copy.error = (char *)why;
	copy.has_in_doubt = 1;
	copy.in_doubt = 0;
	/* Evidence, if every task of it is dead. */
	if (mfd_notes_fate(dirfd) == MFD_NOTES_ALIVE)
		copy.has_session_id = 0;
	if (e && (e->postcopy || e->early_restore))
		mfd_address_give_up(name, e->move_address, e->n_move_address);
	ret = mfd_session_file_bury(sv->dirfd, name, &copy);
	mfd_pagestore_remove(dirfd);
	if (ret == -ENOSPC || ret == -EDQUOT) /* now there is room */
		ret = mfd_session_file_bury(sv->dirfd, name, &copy);
	if (ret) { /* without which its source never hears of it: is_doomed */
		mfd_log_error("%s: no tombstone: %s; its folder stays until there is one", name,
			      strerror(-ret));
		atomic_store(&sv->reload.waits, 1);
		return;
	}
	if (mfd_record_remove(sv->dirfd, name))
		mfd_log_error("%s: its folder cannot be removed", name);
}

static void note_broken(int dirfd, Mfd__SessionEntry *e, const char *why)
{
	char *old = e->error;

	if (old && old[0])
		return;
	e->error = (char *)why;
	mfd_session_file_store(dirfd, e, 1);
	e->error = old;
}

/* Nothing is thrown away that may be the only copy. */
static void note_unloadable(int dirfd, const char *name, Mfd__SessionEntry *e, const char *why)
{
	Mfd__SessionEntry copy = *e; /* shallow */

	mfd_log_error("%s: cannot be loaded: %s", name, why);
	copy.unloadable = (char *)why;
	copy.has_in_doubt = 1;
	copy.in_doubt = e->state != MFD__SESSION_STATE__COMMITTED;
	copy.has_server_pid = 1;
	copy.server_pid = (uint32_t)getppid();
	if (!e->unloadable || strcmp(e->unloadable, why))
		mfd_session_file_store(dirfd, &copy, 1);
}

static void keep(struct mfd_server *sv, int dirfd, const char *name, Mfd__SessionEntry *e,
		 enum mfd_notes_left left)
{
	struct mfd_error err = { 0 };
	int ret = mfd_revive(sv, dirfd, name, e, left, &err);

	if (!ret || ret == -EEXIST || ret == -ESHUTDOWN) /* it is alive, or the server ends */
		return;
	note_unloadable(dirfd, name, e, mfd_error_text(&err));
	atomic_store(&sv->reload.waits, 1);
}

/* It is not known whether a copy is there: none is killed, and another one must not be made. */
static void spare(struct mfd_server *sv, int dirfd, const char *name, Mfd__SessionEntry *e,
		  const char *why)
{
	mfd_takeover_spare(&sv->takeover, name);
	note_unloadable(dirfd, name, e, why);
	atomic_store(&sv->reload.waits, 1);
}

static int may_be_restored(const Mfd__SessionEntry *e)
{
	return e->state == MFD__SESSION_STATE__RUNNING || e->state == MFD__SESSION_STATE__READY ||
	       e->state == MFD__SESSION_STATE__RESTORED ||
	       e->state == MFD__SESSION_STATE__COMMITTED;
}

/*
 * The store goes when the tasks have gone on, just before DONE is written.  Nothing of a session
 * that is DONE is held any more.
 */
static void finish(struct mfd_server *sv, int dirfd, const char *name, Mfd__SessionEntry *e)
{
	mfd_log_info("%s: done, its worker had no time to say so", name);
	mfd_takeover_needless(&sv->takeover, dirfd, name);
	mfd_held_release(dirfd);
	mfd_pagestore_remove(dirfd);
	e->state = MFD__SESSION_STATE__DONE;
	e->done_us = mfd_clean_now_us();
	e->has_done_us = 1;
	mfd_session_file_store(dirfd, e, 1);
	mfd_clean_done(dirfd);
}

/*
 * The worker died, the supervisor lives: 1 = the restored tasks are served again; 0 = there are
 * none any more.
 */
static int follow(struct mfd_server *sv, int dirfd, const char *name, Mfd__SessionEntry *e)
{
	enum mfd_notes_left left = may_be_restored(e) ? mfd_notes_left(dirfd) : MFD_NOTES_NOTHING;
	struct mfd_error err = { 0 };

	if (left == MFD_NOTES_COMPLETE && e->state == MFD__SESSION_STATE__COMMITTED &&
	    !mfd_pagestore_exists(dirfd)) {
		finish(sv, dirfd, name, e);
		return 1;
	}
	if (left == MFD_NOTES_RESTORED || left == MFD_NOTES_COMPLETE) {
		if (!mfd_revive(sv, dirfd, name, e, left, &err))
			return 1;
		if (err.code == -EEXIST || err.code == -ESHUTDOWN) { /* later, see keep() */
			mfd_takeover_spare(&sv->takeover, name);
			return 1;
		}
		if (left == MFD_NOTES_COMPLETE && err.code != -ESRCH) {
			/*
			 * They need no server, and may be the only copy: whatever it is that fails
			 * here, it is no reason to kill them.
			 */
			mfd_log_warn("%s: its restored tasks stay as they are", name);
			note_unloadable(dirfd, name, e, mfd_error_text(&err));
			atomic_store(&sv->reload.waits, 1);
			mfd_takeover_needless(&sv->takeover, dirfd, name);
			return 1;
		}
		if (mfd_life_cannot_tell(err.code)) { /* of our own: no reason to kill them */
			spare(sv, dirfd, name, e, mfd_error_text(&err));
			return 1;
		}
		mfd_log_error("%s: the restored tasks cannot be taken over and are killed: %s",
			      name, mfd_error_text(&err));
	}
	mfd_takeover_kill(&sv->takeover, name);
	return 0;
}

/* Every task that was restored has ended, be it with the host. */
static int is_all_dead(int dirfd)
{
	return mfd_notes_fate(dirfd) == MFD_NOTES_DEAD && !mfd_notes_warden(dirfd);
}

/* They lacked no page, so the store is empty; what they did after the commit is their own. */
static void end_dead(struct mfd_server *sv, int dirfd, const char *name, Mfd__SessionEntry *e)
{
	static char why[] = "the restored tasks have ended, with every page in them (was this host "
			    "started anew?)";
	char *old = e->error;

	if (e->state != MFD__SESSION_STATE__COMMITTED) {
		bury(sv, dirfd, name, e, why);
		return;
	}
	e->error = why;
	finish(sv, dirfd, name, e);
	e->error = old;
}

static void reload(struct mfd_server *sv, int dirfd, const char *name, Mfd__SessionEntry *e)
{
	/*
	 * After a server was killed: tasks that lack pages are held by its standby, and by no other
	 * process.
	 */
	int reborn = mfd_takeover_expected(&sv->takeover, name), restored;
	enum mfd_notes_left left;

	/*
	 * Its tasks are on their own, also if the lines about them could not be removed any more.
	 */
	if (e->state == MFD__SESSION_STATE__DONE) {
		mfd_clean_done(dirfd);
		return;
	}
	left = mfd_notes_left(dirfd);
	if (left == MFD_NOTES_UNREADABLE) {
		spare(sv, dirfd, name, e, UNREADABLE_NOTES);
		return;
	}
	if (may_be_restored(e) && left == MFD_NOTES_COMPLETE && is_all_dead(dirfd)) {
		end_dead(sv, dirfd, name, e);
		return;
	}
	if ((reborn || (may_be_restored(e) && left == MFD_NOTES_COMPLETE)) &&
	    follow(sv, dirfd, name, e))
		return;
	restored = mfd_notes_kill(dirfd, name);
	if (restored < 0) {
		spare(sv, dirfd, name, e, UNREADABLE_NOTES);
		return;
	}
	mfd_held_remove(dirfd, HELD_MS);
	switch (e->state) {
	case MFD__SESSION_STATE__DONE:
	case MFD__SESSION_STATE__ABORTED:
		return;
	case MFD__SESSION_STATE__RUNNING:
		if (restored || !reborn)
			bury(sv, dirfd, name, e, "the restore server was restarted");
		else
			keep(sv, dirfd, name, e, MFD_NOTES_NOTHING);
		return;
	case MFD__SESSION_STATE__READY:
	case MFD__SESSION_STATE__RESTORED:
		if (restored)
			bury(sv, dirfd, name, e,
			     "the restore server died while pages were missing; the restored tasks were killed");
		else
			keep(sv, dirfd, name, e, MFD_NOTES_NOTHING);
		return;
	case MFD__SESSION_STATE__COMMITTED:
		if (restored)
			note_broken(
				dirfd, e,
				"the restore server died while pages were missing; the restored tasks were killed");
		else
			keep(sv, dirfd, name, e, MFD_NOTES_NOTHING);
		return;
	default:
		bury(sv, dirfd, name, e, "the restore server was restarted");
	}
}

/* Its tombstone was written before its folder could be removed: what is left of it goes. */
static void finish_burial(struct mfd_server *sv, int dirfd, const char *name)
{
	mfd_log_info("%s: has ended; the rest of it is removed", name);
	mfd_takeover_kill(&sv->takeover, name);
	if (mfd_notes_kill(dirfd, name) >= 0) /* else the next server tries again */
		mfd_record_remove(sv->dirfd, name);
}

static void leave_alone(struct mfd_server *sv, const char *name, const char *why)
{
	mfd_log_warn("%s: left alone: %s", name, why);
	mfd_takeover_spare(&sv->takeover, name);
	if (mfd_takeover_spares(&sv->takeover, name))
		atomic_store(&sv->reload.waits, 1);
}

/* Call `each` for every session of the list that has a folder and a session.img. */
static void for_each(struct mfd_server *sv, const struct mfd_session_file *list, size_t n,
		     void (*each)(struct mfd_server *sv, int dirfd, const char *name,
				  Mfd__SessionEntry *e))
{
	for (size_t i = 0; i < n; i++) {
		const struct mfd_session_file *f = &list[i];
		int fd = f->ended || !f->entry ?
				 -1 :
				 openat(sv->dirfd, f->name,
					O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

		if (fd >= 0)
			each(sv, fd, f->name, f->entry);
		else if (!f->ended)
			leave_alone(sv, f->name, f->why ? f->why : strerror(errno));
		if (fd >= 0)
			close(fd);
	}
}

static void reload_folder(struct mfd_server *sv, int dirfd, const char *name, Mfd__SessionEntry *e)
{
	int buried = mfd_evidence_buried(sv->dirfd, e);

	if (buried > 0)
		finish_burial(sv, dirfd, name);
	else if (buried && e->state != MFD__SESSION_STATE__DONE)
		spare(sv, dirfd, name, e, "whether it has ended cannot be looked up");
	else
		reload(sv, dirfd, name, e);
}

/* What no session has taken over, and none that could not be looked at may need, goes. */
static void end_takeover(struct mfd_server *sv)
{
	mfd_takeover_end(&sv->takeover);
	atomic_store(&sv->reload.spares, mfd_takeover_spares(&sv->takeover, NULL));
}

void mfd_reload_all(struct mfd_server *sv)
{
	struct mfd_session_file *list = NULL;
	size_t n = 0;
	int ret = mfd_session_file_list(sv->dirfd, &list, &n);

	pthread_mutex_init(&sv->reload.lock, NULL);
	if (ret) {
		mfd_log_error("%s: %s", sv->dir, strerror(-ret));
		mfd_takeover_spare(&sv->takeover, NULL);
		atomic_store(&sv->reload.waits, 1);
	}
	for_each(sv, list, n, reload_folder);
	mfd_session_file_list_free(list, n);
	mfd_record_settle_all(sv->dirfd);
	end_takeover(sv);
}

/* ---- later ---- */

/*
 * Restored tasks that lacked pages when their worker died cannot be had again, and what has left
 * the store neither.
 */
static int may_be_loaded(int dirfd, const Mfd__SessionEntry *e, enum mfd_notes_left *left)
{
	*left = mfd_notes_left(dirfd);
	return may_be_restored(e) && ((*left == MFD_NOTES_COMPLETE && !is_all_dead(dirfd)) ||
				      (*left == MFD_NOTES_NOTHING && !mfd_notes_restored(dirfd)));
}

/* It was to be buried, and no tombstone could be written. */
static int is_doomed(int dirfd, const Mfd__SessionEntry *e, enum mfd_notes_left left)
{
	if (e->state == MFD__SESSION_STATE__RECEIVING || e->state == MFD__SESSION_STATE__RESTORABLE)
		return 1;
	return may_be_restored(e) && e->state != MFD__SESSION_STATE__COMMITTED &&
	       left == MFD_NOTES_NOTHING && mfd_notes_restored(dirfd);
}

static void try_again(struct mfd_server *sv, int dirfd, const char *name, Mfd__SessionEntry *e)
{
	struct mfd_session *s = mfd_session_find(sv, name);
	enum mfd_notes_left left;
	int buried;

	mfd_session_put(s);
	if (!s && mfd_takeover_again(&sv->takeover, name)) {
		mfd_log_info("%s: is looked at once more; its restored tasks wait", name);
		reload_folder(sv, dirfd, name, e);
		return;
	}
	if (s)
		return;
	buried = mfd_evidence_buried(sv->dirfd, e);
	if (buried < 0)
		atomic_store(&sv->reload.waits, 1);
	if (buried > 0)
		finish_burial(sv, dirfd, name);
	if (buried)
		return;
	if (!may_be_loaded(dirfd, e, &left)) {
		if (is_doomed(dirfd, e, left))
			reload(sv, dirfd, name, e);
		return;
	}
	mfd_log_info("%s: is loaded once more", name);
	keep(sv, dirfd, name, e, left);
}

void mfd_reload_again(struct mfd_server *sv, const char *name)
{
	struct mfd_session_file *list = NULL, one;
	size_t n = 0;

	pthread_mutex_lock(&sv->reload.lock);
	if (name && !mfd_session_file_find(sv->dirfd, name, &one)) {
		for_each(sv, &one, 1, try_again);
		mfd_session_file_release(&one);
	} else if (!name && !mfd_session_file_list(sv->dirfd, &list, &n)) {
		for_each(sv, list, n, try_again);
		mfd_session_file_list_free(list, n);
	}
	if (atomic_load(&sv->reload.spares)) {
		end_takeover(sv);
		mfd_takeover_free(&sv->takeover);
	}
	pthread_mutex_unlock(&sv->reload.lock);
}

void mfd_reload_give_up(struct mfd_server *sv, const char *name)
{
	pthread_mutex_lock(&sv->reload.lock);
	if (mfd_takeover_again(&sv->takeover, name)) {
		mfd_takeover_kill(&sv->takeover, name);
		end_takeover(sv);
		mfd_takeover_free(&sv->takeover);
	}
	pthread_mutex_unlock(&sv->reload.lock);
}

static void again_thread(void *arg)
{
	mfd_reload_again(arg, NULL);
}

void mfd_reload_tick(struct mfd_server *sv)
{
	struct mfd_reload *r = &sv->reload;
	uint64_t now = mfd_io_now_ms();

	if (!r->pause_ms)
		r->pause_ms = AGAIN_MIN_MS;
	if (!r->due_ms)
		r->due_ms = now + r->pause_ms;
	if (!atomic_load(&r->waits) || now < r->due_ms)
		return;
	atomic_store(&r->waits, 0); /* the thread sets it again */
	r->pause_ms = r->pause_ms * 2 < AGAIN_MAX_MS ? r->pause_ms * 2 : AGAIN_MAX_MS;
	r->due_ms = now + r->pause_ms;
	if (mfd_threads_start(&sv->pool, again_thread, sv))
		atomic_store(&r->waits, 1);
}
