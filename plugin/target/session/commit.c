// SPDX-License-Identifier: GPL-2.0-only
/* READY, leave to run, COMMIT, the pager, DONE. */
#include <errno.h>
#include <fcntl.h>
#include <sys/pidfd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "take_address.h"
#include "holder.h"
#include "restored_notes.h"
#include "own_restore.h"
#include "io.h"
#include "lazysock.h"
#include "log.h"
#include "session.h"
#include "takeover.h"

/* ---- what the pager asks of us; called from its threads ---- */

static struct mfd_pagetable *op_table(void *arg, uint32_t task)
{
	struct mfd_session *s = arg;

	return mfd_tables_find(&s->tables, task);
}

static int op_started(void *arg)
{
	struct mfd_session *s = arg;
	int ret;

	if (!s->plan->postcopy && !s->plan->confirm)
		return 0;
	pthread_mutex_lock(&s->lock);
	/*
	 * What the server restores stays stopped until there is leave; nobody else may restore
	 * before.
	 */
	if (s->plan->confirm && (s->restore.busy || s->leave == MFD_LEAVE_WAIT)) {
		ret = s->restore.busy ? 0 : -ECANCELED;
		pthread_mutex_unlock(&s->lock);
		return ret;
	}
	if (s->leave == MFD_LEAVE_WAIT) {
		s->asked = 1;
		pthread_cond_broadcast(&s->cond);
	}
	while (s->leave == MFD_LEAVE_WAIT)
		pthread_cond_wait(&s->cond, &s->lock);
	ret = s->leave == MFD_LEAVE_GIVEN ? 0 : -ECANCELED;
	pthread_mutex_unlock(&s->lock);
	return ret;
}

static int op_want(void *arg, uint32_t task, uint64_t vaddr, uint64_t pages)
{
	struct mfd_session *s = arg;
	Mfd__Fault m = MFD__FAULT__INIT;
	Mfd__PageRange r = MFD__PAGE_RANGE__INIT;

	r.task = task;
	r.vaddr = vaddr;
	r.pages = pages;
	m.range = &r;
	return mfd_session_send(s, MFD_WIRE_FAULT, &m.base);
}

static int note_held(struct mfd_session *s, const struct mfd_pager_held *h, int ret)
{
	pthread_mutex_lock(&s->lock);
	if (!ret && h->task)
		s->held_tasks++;
	else if (!ret)
		s->held_conn = h->uffd + 1;
	pthread_mutex_unlock(&s->lock);
	return ret;
}

/* Nonzero when it is the last of a task: every page of every task is in then. */
static int note_unheld(struct mfd_session *s, int uffd)
{
	int last = 0;

	pthread_mutex_lock(&s->lock);
	if (s->held_conn == uffd + 1)
		s->held_conn = 0;
	else if (s->held_tasks)
		last = !--s->held_tasks;
	pthread_mutex_unlock(&s->lock);
	return last;
}

static int count_hold(struct mfd_session *s)
{
	int ret = 0;

	pthread_mutex_lock(&s->lock);
	if (s->ending)
		ret = -ESHUTDOWN;
	else
		s->holds++;
	pthread_mutex_unlock(&s->lock);
	return ret;
}

/*
 * Of a child that a task forks nobody can say which process it is, and the task waits for us: no
 * look at all processes.
 */
static int op_deposit(void *arg, struct mfd_pager_held *h)
{
	struct mfd_session *s = arg;
	int ret = count_hold(s), pid, sure, pidfd = -1;

	if (ret)
		return ret;
	if (h->forked)
		return note_held(s, h,
				 mfd_guard_deposit(&s->server->guard, s->name, h->task, h->uffd,
						   h->book, -1, 1));
	if (!h->task) {
		pidfd = mfd_lazysock_peer(h->uffd);
		ret = mfd_guard_deposit(&s->server->guard, s->name, 0, h->uffd, -1, pidfd, 0);
		mfd_io_close(&pidfd);
		return note_held(s, h, ret);
	}
	pid = mfd_holder_find(h->task, h->uffd, h->pid, &sure);
	if (pid)
		pidfd = pidfd_open(pid, 0);
	ret = mfd_notes_mark(s->dirfd, h->task, pid);
	if (!ret)
		ret = mfd_guard_deposit(&s->server->guard, s->name, h->task, h->uffd, h->book,
					pidfd, 0);
	mfd_log_debug("%s: task %u is process %d here", s->name, h->task, pid);
	h->pid = sure ? pid : 0;
	mfd_io_close(&pidfd);
	return note_held(s, h, ret);
}

/*
 * Early: before nobody holds anything any more by which whoever follows would know that the tasks
 * live and lack nothing.
 */
static void op_withdraw(void *arg, int uffd)
{
	struct mfd_session *s = arg;

	if (note_unheld(s, uffd) && s->plan->early && mfd_notes_add(s->dirfd, MFD_NOTE_COMPLETE))
		return; /* they are held until the commit */
	mfd_guard_withdraw(&s->server->guard, s->name, uffd);
}

static void op_abandon(void *arg)
{
	struct mfd_session *s = arg;

	mfd_guard_kill(&s->server->guard, s->name);
}

static void op_restored(void *arg)
{
	struct mfd_session *s = arg;
	int given, ret = mfd_notes_add(s->dirfd, MFD_NOTE_RESTORED);

	if (ret)
		mfd_log_error("%s: %s: %s", s->name, MFD_NOTES_FILE, strerror(-ret));
	if (ret &&
	    s->plan->early) /* whoever follows would not know that pages have left the store; here the source can still go on */
		mfd_session_fail(s, ret, "%s cannot be written", MFD_NOTES_FILE);
	mfd_figures_first(&s->times.restored_us);
	pthread_mutex_lock(&s->lock);
	given = s->leave == MFD_LEAVE_GIVEN;
	s->restored = 1;
	atomic_store_explicit(&s->hurry, 1, memory_order_relaxed);
	pthread_cond_broadcast(&s->cond);
	pthread_mutex_unlock(&s->lock);
	if (given) /* else confirm.c does, when they go on */
		mfd_address_lift(s);
	mfd_log_info("%s: restored", s->name);
}

static void op_done(void *arg, int code, const char *text)
{
	struct mfd_session *s = arg;

	pthread_mutex_lock(&s->lock);
	s->pager_done = 1;
	s->pager_code = code;
	snprintf(s->pager_text, sizeof(s->pager_text), "%s", text ? text : "");
	pthread_cond_broadcast(&s->cond);
	pthread_mutex_unlock(&s->lock);
}

static const struct mfd_pager_ops pager_ops = {
	.table = op_table,
	.started = op_started,
	.want = op_want,
	.deposit = op_deposit,
	.withdraw = op_withdraw,
	.abandon = op_abandon,
	.restored = op_restored,
	.done = op_done,
};

/* ---- the actor's part ---- */

static struct mfd_pager_config pager_config(struct mfd_session *s)
{
	return (struct mfd_pager_config){
		.dirfd = s->dirfd,
		.store = s->store,
		.postcopy = s->plan->follow,
		.threads = s->server->threads,
		.ops = &pager_ops,
		.arg = s,
	};
}

int mfd_commit_start_pager(struct mfd_session *s)
{
	struct mfd_pager_config config = pager_config(s);
	struct mfd_error err = { 0 };
	struct mfd_pager *p = NULL;
	int ret;

	if (atomic_load_explicit(&s->pager, memory_order_relaxed))
		return 0;
	/*
	 * lazy-pages.socket means: restore may begin.  What is dead on the source is not thrown
	 * away for want of an address.
	 */
	ret = mfd_address_take(s, &err);
	if (ret && s->phase != MFD_PHASE_COMMITTED) {
		mfd_session_set_error(s, mfd_error_text(&err));
		return ret;
	}
	mfd_error_clear(&err);
	ret = mfd_pager_start(&config, &p, &err);
	if (ret) {
		snprintf(s->error, sizeof(s->error), "pager: %s", mfd_error_text(&err));
		mfd_log_error("%s: %s", s->name, s->error);
		return ret;
	}
	/*
	 * Partner of the fence in receive.c: a channel that does not see the pager yet has set its
	 * page table words before the pager looks for the first of them, which is after leave to
	 * run was given.
	 */
	atomic_store_explicit(&s->pager, p, memory_order_seq_cst);
	return 0;
}

/*
 * The worker that served the restored tasks is dead: its pager is taken over.  Once everything was
 * verified a page that was just on its way has nobody to come from again.
 */
static int adopt_pager(struct mfd_session *s, struct mfd_pager_held *held, size_t n,
		       struct mfd_error *err)
{
	struct mfd_pager_config config = pager_config(s);
	struct mfd_pager *p = NULL;
	uint64_t again = 0;
	int ret;

	config.held = held;
	config.n_held = n;
	ret = mfd_pager_adopt(&config, &p, &again, err);
	if (ret)
		return ret;
	if (again && s->phase != MFD_PHASE_RUNNING) {
		mfd_pager_stop(p);
		return mfd_error_set(err, -ENODATA,
				     "%llu pages were lost on their way into the tasks",
				     (unsigned long long)again);
	}
	atomic_store_explicit(&s->pager, p, memory_order_seq_cst);
	return 0;
}

int mfd_commit_take_over(struct mfd_session *s, struct mfd_error *err)
{
	struct mfd_pager_held *held;
	size_t n, own;
	int ret = mfd_takeover_list(&s->server->takeover, s->name, &held, &n, &own);

	if (ret)
		return mfd_error_sys(err, ret, "take over");
	s->restored = 1;
	s->held_tasks = (unsigned)own;
	s->holds = 1; /* none may be left, but then there is nothing to kill or release either */
	s->leave = MFD_LEAVE_GIVEN;
	atomic_store_explicit(&s->hurry, 1, memory_order_relaxed);
	ret = adopt_pager(s, held, n, err);
	if (!ret) {
		mfd_takeover_done(&s->server->takeover, s->name, held, n);
		mfd_address_adopt(s);
		mfd_log_info("%s: %zu userfaultfds taken over from the worker that died", s->name,
			     own);
	}
	free(held);
	return ret;
}

/* A restore may run: those that wait go on, later ones do not wait. */
void mfd_commit_leave(struct mfd_session *s)
{
	pthread_mutex_lock(&s->lock);
	s->leave = MFD_LEAVE_GIVEN;
	s->asked = 0;
	pthread_cond_broadcast(&s->cond);
	pthread_mutex_unlock(&s->lock);
}

/* Postcopy: ask the source.  Once READY no leave of its own is needed, the commit is it. */
void mfd_commit_asked(struct mfd_session *s)
{
	Mfd__Started m = MFD__STARTED__INIT;

	pthread_mutex_lock(&s->lock);
	s->asked = 0;
	pthread_mutex_unlock(&s->lock);
	if (s->phase == MFD_PHASE_RESTORABLE)
		mfd_session_send(s, MFD_WIRE_STARTED, &m.base);
}

static void refuse_ready(struct mfd_session *s, const char *text)
{
	s->ready_us = 0;
	atomic_store_explicit(&s->sealed, 0, memory_order_release);
	mfd_session_broken(s, -EIO, text);
}

/*
 * Every page is in before the source has let go.  From here on the restored tasks need nobody,
 * whatever becomes of this server; that is noted, early before the last copies of their
 * userfaultfds are closed.  In postcopy it is noted from READY on: until then the source has its
 * tasks.
 */
static void stands_alone(struct mfd_session *s)
{
	int ret = mfd_notes_add(s->dirfd, MFD_NOTE_COMPLETE);

	if (ret) { /* they are held until the commit */
		mfd_log_error("%s: %s: %s", s->name, MFD_NOTES_FILE, strerror(-ret));
		return;
	}
	mfd_guard_withdraw_all(&s->server->guard, s->name);
	pthread_mutex_lock(&s->lock);
	s->holds = 0;
	pthread_mutex_unlock(&s->lock);
	s->alone = 1;
	s->stop_seen = 0; /* a server that is to end has waited for this */
	mfd_log_info("%s: every page is in the %s tasks", s->name,
		     s->plan->early ? "stopped" : "restored");
}

/* Everything is here and compared: make it durable, then say so. */
void mfd_commit_ready(struct mfd_session *s)
{
	Mfd__Ready m = MFD__READY__INIT;
	struct mfd_error err = { 0 };

	atomic_store_explicit(&s->sealed, 1, memory_order_release);
	if (mfd_filesink_sync(&s->files, &err) || mfd_pagestore_sync(s->store)) {
		refuse_ready(s, err.code ? mfd_error_text(&err) : "page store: fsync failed");
		return;
	}
	s->ready_us = mfd_clean_now_us();
	if (mfd_session_advance(s, MFD_PHASE_READY)) {
		refuse_ready(s, "session.img cannot be written");
		return;
	}
	if (s->plan->confirm && !s->plan->postcopy && mfd_commit_start_pager(s)) {
		mfd_session_abort(s, -EIO, "%s", s->error);
		return;
	}
	/* Nothing runs that could touch what is still absent, and nothing more comes. */
	if (s->plan->early)
		mfd_commit_complete(s);
	else if (s->plan->postcopy && s->installed)
		stands_alone(s);
	mfd_log_info("%s: ready: %llu lazy pages verified", s->name,
		     (unsigned long long)s->lazy_pages);
	m.pages = s->lazy_pages;
	mfd_session_send(s, MFD_WIRE_READY, &m.base);
	mfd_confirm_verified(s);
}

/* resumed_us: how long it took until the tasks ran; 0 = they do not, or did before. */
static void answer_committed(struct mfd_session *s, uint64_t resumed_us)
{
	Mfd__Committed m = MFD__COMMITTED__INIT;

	m.has_resumed_us = resumed_us > 0;
	m.resumed_us = resumed_us;
	mfd_session_send(s, MFD_WIRE_COMMITTED, &m.base);
}

static int store_commit(struct mfd_session *s)
{
	int doubt = s->in_doubt;

	s->committed_us = mfd_clean_now_us();
	s->in_doubt = 0;
	s->error[0] = 0;
	if (!mfd_session_advance(s, MFD_PHASE_COMMITTED))
		return 0;
	/*
	 * The source is dead and nothing was acknowledged: a person, or the source's next RESUME,
	 * can still decide.
	 */
	s->committed_us = 0;
	s->in_doubt = doubt;
	mfd_session_broken(s, -EIO, "the commit could not be stored");
	return -EIO;
}

void mfd_commit_complete(struct mfd_session *s)
{
	struct mfd_pager *p = atomic_load_explicit(&s->pager, memory_order_relaxed);

	if (s->plan->follow && !s->complete_said)
		mfd_pager_complete(p);
	s->complete_said = 1;
}

void mfd_commit_look_done(struct mfd_session *s)
{
	/* While CRIU is at work its end lets the tasks go on. */
	if (s->phase == MFD_PHASE_COMMITTED && s->installed && !mfd_confirm_busy(s))
		s->over = MFD_OVER_DONE;
}

static void after_commit(struct mfd_session *s)
{
	mfd_commit_leave(s);
	/*
	 * Restored, stopped and complete by the time of the commit: there may be no pager any more,
	 * and need not.
	 */
	if (s->installed) {
		mfd_commit_look_done(s);
		return;
	}
	if (s->gave_up || mfd_commit_start_pager(s)) {
		s->over = MFD_OVER_BROKEN;
		return;
	}
	mfd_commit_complete(s);
	mfd_confirm_begin(s); /* a server that was restarted meanwhile has nothing restored yet */
}

void mfd_commit_commit(struct mfd_session *s, int answer)
{
	uint64_t start = mfd_io_now_us(), resumed = 0;

	if (s->phase == MFD_PHASE_COMMITTED) {
		answer_committed(s, 0);
		return;
	}
	if (s->phase != MFD_PHASE_READY && s->phase != MFD_PHASE_RESTORED) {
		mfd_session_broken(s, -EPROTO, "COMMIT before READY");
		return;
	}
	if (store_commit(s))
		return;
	if (mfd_confirm_continue(s))
		resumed = mfd_io_now_us() - start + 1;
	mfd_log_info("%s: committed", s->name);
	if (answer)
		answer_committed(s, resumed);
	after_commit(s);
}

void mfd_commit_pager_done(struct mfd_session *s)
{
	char text[300];
	int code;

	pthread_mutex_lock(&s->lock);
	code = s->pager_code;
	snprintf(text, sizeof(text), "pager: %s",
		 s->pager_text[0] ? s->pager_text : strerror(-code));
	pthread_mutex_unlock(&s->lock);
	s->pager_seen = 1;
	s->gave_up = code != 0;
	if (!code) {
		s->installed = 1;
		mfd_figures_time(&s->times.installed_us);
		mfd_commit_look_done(s);
		if (s->plan->early ? s->phase != MFD_PHASE_COMMITTED : mfd_session_only_copy(s))
			stands_alone(s);
		if (s->phase == MFD_PHASE_SETTLING)
			mfd_verify_passed(s);
		return;
	}
	if (s->phase != MFD_PHASE_COMMITTED &&
	    !(s->plan->early && mfd_session_only_copy(s) && s->restore.ok)) {
		mfd_session_abort(s, code, "%s", text);
		return;
	}
	mfd_log_error("%s: %s", s->name, text);
	mfd_session_set_error(s, text);
	/*
	 * RESTORED may have been acted on: a source that is alive says so by an abort, and a person
	 * may.
	 */
	if (s->phase != MFD_PHASE_COMMITTED) {
		mfd_session_store(s, 1);
		return;
	}
	s->over = MFD_OVER_BROKEN;
}
