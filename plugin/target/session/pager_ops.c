// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the pager asks of its session, from its own threads, and how the session starts it: anew, or
 * with what it has taken over from a worker that died.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>

#include "assert.h"
#include "holder.h"
#include "io.h"
#include "lazysock.h"
#include "log.h"
#include "pager_ops.h"
#include "restored_notes.h"
#include "session.h"
#include "take_address.h"
#include "takeover.h"

static struct mfd_pagetable *op_table(void *arg, uint32_t task)
{
	struct mfd_session *s = arg;

	return mfd_tables_find(&s->tables, task);
}

static int op_started(void *arg)
{
	struct mfd_session *s = arg;
	int ret, at_work;

	mfd_assert(s->plan);
	if (!s->plan->postcopy && !s->plan->confirm)
		return 0;
	pthread_mutex_lock(&s->lock);
	/*
	 * What the server restores stays stopped until there is leave; no other restore may
	 * begin before.
	 */
	at_work = mfd_restore_phase(&s->restore) == MFD_RESTORE_AT_WORK;
	mfd_assert(!at_work || s->server->restore);
	if (s->plan->confirm && (at_work || s->leave == MFD_LEAVE_WAIT)) {
		ret = at_work ? 0 : -ECANCELED;
		pthread_mutex_unlock(&s->lock);
		return ret;
	}
	if (s->leave == MFD_LEAVE_WAIT) {
		s->inbox.events |= MFD_INBOX_ASKED;
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

static int note_deposit(struct mfd_session *s, const struct mfd_pager_deposit *h, int ret)
{
	mfd_assert(h->uffd >= 0);
	pthread_mutex_lock(&s->lock);
	mfd_assert(s->deposits.tasks < UINT_MAX);
	if (!ret && h->task)
		s->deposits.tasks++;
	else if (!ret)
		s->deposits.conn = h->uffd + 1;
	pthread_mutex_unlock(&s->lock);
	return ret;
}

/* LAST_TASK: every page of every task is in then. */
enum withdrawn { CONNECTION, TASK, LAST_TASK };

static enum withdrawn note_withdrawal(struct mfd_session *s, int uffd)
{
	enum withdrawn what = TASK;

	mfd_assert(s->plan);
	mfd_assert(uffd >= 0);
	pthread_mutex_lock(&s->lock);
	if (s->deposits.conn == uffd + 1) {
		s->deposits.conn = 0;
		what = CONNECTION;
	} else if (s->deposits.tasks && !--s->deposits.tasks) {
		what = LAST_TASK;
	}
	pthread_mutex_unlock(&s->lock);
	return what;
}

static int count_deposit(struct mfd_session *s)
{
	int ret = 0;

	mfd_assert(s->plan);
	pthread_mutex_lock(&s->lock);
	mfd_assert(s->deposits.all < UINT_MAX);
	if (s->presence == MFD_PRESENCE_ENDING)
		ret = -ESHUTDOWN;
	else
		s->deposits.all++;
	pthread_mutex_unlock(&s->lock);
	return ret;
}

/*
 * Which process is the child that a task forks is not known, and the task waits for this call: no
 * look at all processes.
 */
static int op_deposit(void *arg, struct mfd_pager_deposit *h)
{
	struct mfd_session *s = arg;
	int ret = count_deposit(s), pid, sure, pidfd = -1;

	if (ret)
		return ret;
	if (h->forked)
		return note_deposit(s, h,
				    mfd_guard_deposit(&s->server->guard, &s->restore.holds, s->name,
						      h->task, h->uffd, h->book, -1, 1));
	if (!h->task) {
		pidfd = mfd_lazysock_peer(h->uffd);
		ret = mfd_guard_deposit(&s->server->guard, &s->restore.holds, s->name, 0, h->uffd,
					-1, pidfd, 0);
		mfd_io_close(&pidfd);
		return note_deposit(s, h, ret);
	}
	pid = mfd_holder_find(h->task, h->uffd, h->pid, &sure);
	if (pid)
		pidfd = pidfd_open(pid, 0);
	ret = mfd_notes_mark(s->dirfd, h->task, pid);
	if (!ret)
		ret = mfd_guard_deposit(&s->server->guard, &s->restore.holds, s->name, h->task,
					h->uffd, h->book, pidfd, 0);
	mfd_log_debug("%s: task %u is process %d here", s->name, h->task, pid);
	h->pid = sure ? pid : 0;
	mfd_io_close(&pidfd);
	return note_deposit(s, h, ret);
}

/*
 * Early restore: write COMPLETE before the last userfaultfd is withdrawn.  Afterwards it is the
 * next worker's only sign that these tasks live and lack no page.
 */
static void op_withdraw(void *arg, int uffd)
{
	struct mfd_session *s = arg;
	enum withdrawn what = note_withdrawal(s, uffd);

	if (what == CONNECTION) {
		mfd_guard_withdraw_conn(&s->server->guard, s->name, uffd);
		return;
	}
	if (what == LAST_TASK && s->plan->early && !s->plan->whole &&
	    mfd_notes_add(s->dirfd, MFD_NOTE_COMPLETE))
		return; /* they are held until the commit */
	mfd_guard_withdraw(&s->server->guard, &s->restore.holds, s->name, uffd);
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

	mfd_assert(s->plan);
	mfd_assert(!atomic_load(&s->restored));
	if (ret)
		mfd_log_error("%s: %s: %s", s->name, MFD_NOTES_FILE, strerror(-ret));
	/*
	 * The next worker would not know that pages have left the store; at this moment the source
	 * can still go on.
	 */
	if (ret && s->plan->early && !s->plan->whole)
		mfd_session_fail(s, ret, "%s cannot be written", MFD_NOTES_FILE);
	mfd_figures_first(&s->times.restored_us);
	pthread_mutex_lock(&s->lock);
	given = s->leave == MFD_LEAVE_GIVEN;
	atomic_store(&s->restored, 1);
	pthread_cond_broadcast(&s->cond);
	pthread_mutex_unlock(&s->lock);
	if (given) /* else own_restore.c does, when they go on */
		mfd_address_lift(s);
	mfd_log_info("%s: restored", s->name);
}

static void op_done(void *arg, int code, const char *text)
{
	struct mfd_session *s = arg;

	mfd_assert(code <= 0);
	pthread_mutex_lock(&s->lock);
	mfd_assert(!(s->inbox.events & MFD_INBOX_PAGER));
	s->inbox.events |= MFD_INBOX_PAGER;
	s->inbox.pager_code = code;
	snprintf(s->inbox.pager_text, sizeof(s->inbox.pager_text), "%s", text ? text : "");
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

/* ---- starting it ---- */

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

int mfd_pager_ops_start(struct mfd_session *s)
{
	struct mfd_pager_config config = pager_config(s);
	struct mfd_error err = { 0 };
	struct mfd_pager *p = NULL;
	int ret;

	mfd_assert(mfd_session_is_mine(s));
	mfd_assert(!mfd_session_in(s, MFD_PHASE_BIT(NONE) | MFD_PHASE_BIT(QUEUED) |
					      MFD_PHASE_BIT(STREAMING)));
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
 * verified a page that was just on its way cannot be had again.
 */
static int adopt_pager(struct mfd_session *s, struct mfd_pager_deposit *deposits, size_t n,
		       struct mfd_error *err)
{
	struct mfd_pager_config config = pager_config(s);
	struct mfd_pager *p = NULL;
	uint64_t again = 0;
	int ret;

	mfd_assert(!atomic_load(&s->thread));
	mfd_assert(!atomic_load(&s->pager));
	config.deposits = deposits;
	config.n_deposits = n;
	config.all_came = s->phase != MFD_PHASE_RUNNING;
	ret = mfd_pager_adopt(&config, &p, &again, err);
	if (ret)
		return ret;
	atomic_store_explicit(&s->pager, p, memory_order_seq_cst);
	return 0;
}

int mfd_pager_ops_take_over(struct mfd_session *s, struct mfd_error *err)
{
	struct mfd_pager_deposit *deposits;
	size_t n, own;
	int ret = mfd_takeover_list(&s->server->takeover, s->name, &deposits, &n, &own);

	mfd_assert(!atomic_load(&s->thread));
	mfd_assert(!atomic_load(&s->pager));
	if (ret)
		return mfd_error_sys(err, ret, "take over");
	atomic_store(&s->restored, 1);
	s->deposits.tasks = (unsigned)own;
	s->deposits.all =
		1; /* none may be left, but then there is nothing to kill or release either */
	s->leave = MFD_LEAVE_GIVEN;
	ret = adopt_pager(s, deposits, n, err);
	if (!ret) {
		mfd_takeover_done(&s->server->takeover, s->name, deposits, n);
		mfd_address_adopt(s);
		mfd_log_info("%s: %zu userfaultfds taken over from the worker that died", s->name,
			     own);
	}
	for (size_t i = 0; ret && i < n; i++)
		if (deposits[i].taken) /* a child has a task of its own: no second try */
			ret = err->code = -ECANCELED;
	free(deposits);
	return ret;
}

void mfd_pager_ops_complete(struct mfd_session *s)
{
	struct mfd_pager *p = atomic_load_explicit(&s->pager, memory_order_relaxed);

	mfd_assert(mfd_session_in(s, MFD_PHASES_UNDECIDED | MFD_PHASE_BIT(IMAGES) |
					     MFD_PHASE_BIT(SETTLING) | MFD_PHASE_BIT(COMMITTED)));
	mfd_assert(p || !s->plan->follow || mfd_session_installed(s));
	if (p && s->plan->follow)
		mfd_pager_complete(p);
}

void mfd_pager_ops_leave(struct mfd_session *s)
{
	mfd_assert(s->phase == MFD_PHASE_RUNNING || s->phase == MFD_PHASE_COMMITTED);
	mfd_assert(s->leave != MFD_LEAVE_REFUSED);
	pthread_mutex_lock(&s->lock);
	s->leave = MFD_LEAVE_GIVEN;
	s->inbox.events &= ~MFD_INBOX_ASKED;
	pthread_cond_broadcast(&s->cond);
	pthread_mutex_unlock(&s->lock);
}
