// SPDX-License-Identifier: GPL-2.0-only
/* The pager's threads and life; pager_int.h says which file does what. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "gentle.h"
#include "io.h"
#include "log.h"
#include "pager_int.h"
#include "threadname.h"

#define EVENTS 8

/* ---- the end ---- */

/* Tell the failure, if no other thread does. */
static void report_failure(struct mfd_pager *p)
{
	struct mfd_error e;
	int mine;

	pthread_mutex_lock(&p->lock);
	mine = atomic_load(&p->health) == PAGER_FAILED;
	if (mine)
		atomic_store(&p->health, PAGER_FAILURE_TOLD);
	mfd_assert(mfd_pager_phase(p) != PAGER_DONE);
	e = p->error;
	mfd_assert(!mine || e.code < 0);
	pthread_mutex_unlock(&p->lock);
	if (mine)
		p->ops.done(p->arg, e.code, mfd_error_text(&e));
}

/* Nonzero: every page of every task is settled, and no new one can come. */
static int is_all_in(const struct mfd_pager *p)
{
	enum pager_phase phase = mfd_pager_phase(p);

	return phase > PAGER_OPENING && phase < PAGER_DONE && !atomic_load(&p->pending);
}

/* Nonzero for one thread alone. */
static int enter_done(struct mfd_pager *p)
{
	int mine;

	mfd_assert(mfd_pager_mine);
	mfd_assert(mfd_pager_phase(p) != PAGER_NEW);
	pthread_mutex_lock(&p->lock);
	mine = is_all_in(p) && !mfd_pager_has_failed(p);
	if (mine)
		mfd_pager_enter(p, PAGER_DONE);
	pthread_mutex_unlock(&p->lock);
	return mine;
}

/*
 * What was left to the kernel becomes zero when the descriptors close, those of the other process,
 * too.  A child is appended while its parent's lock is held and the parent's userfaultfd is open,
 * so the loop meets every child.
 */
static void report_success(struct mfd_pager *p)
{
	uint64_t absent = atomic_load(&p->absent);
	struct pager_task *t;

	if (!enter_done(p))
		return;
	if (absent)
		mfd_log_warn("pager: %llu lazy pages were never received and are zero",
			     (unsigned long long)absent);
	for (t = mfd_pager_next_task(p, NULL); t; t = mfd_pager_next_task(p, t)) {
		pthread_rwlock_wrlock(&t->lock);
		mfd_assert(!atomic_load(&t->left));
		mfd_pager_task_let_go(t); /* a thread in mfd_pager_tidy may not have come to it */
		pthread_rwlock_unlock(&t->lock);
	}
	p->ops.done(p->arg, 0, NULL);
}

static void look_for_end(struct mfd_pager *p)
{
	if (mfd_pager_has_failed(p)) {
		if (atomic_load(&p->health) == PAGER_FAILED)
			report_failure(p);
	} else if (is_all_in(p)) {
		report_success(p);
	}
}

/* ---- threads ---- */

/* The threads are there before adoption changes anything, and touch nothing before it is over. */
static void await_gate(struct mfd_pager *p)
{
	pthread_mutex_lock(&p->gate);
	pthread_mutex_unlock(&p->gate);
}

/* The next of its kind, whose counts begin at `first`. */
static void be_thread(struct mfd_pager *p, const char *name, _Atomic unsigned *named,
		      unsigned first)
{
	unsigned number = atomic_fetch_add_explicit(named, 1, memory_order_relaxed);

	mfd_threadname_set(name, number);
	mfd_pager_mine = &p->count[first + number];
}

static void look_around(struct mfd_pager *p)
{
	mfd_pager_tidy(p);
	look_for_end(p);
}

/*
 * A thread on call sleeps until a task waits or CRIU speaks, and has precedence over bulk work
 * then.  It never does bulk work: at that priority it would keep the tasks, and the threads that
 * fetch their pages, from the processor (1 GiB, postcopy: 12 to 20 ms for a fault instead of one).
 */
static void *on_call(void *arg)
{
	struct epoll_event ev[EVENTS];
	struct mfd_pager *p = arg;

	await_gate(p);
	be_thread(p, "fault", &p->named_on_call, 0);
	mfd_gentle_first();
	while (!atomic_load(&p->stop)) {
		int n = epoll_wait(p->epfd, ev, EVENTS, -1);

		for (int i = 0; i < n && !atomic_load(&p->stop); i++) {
			void *ptr = ev[i].data.ptr;

			if (ptr == PAGER_SOCK(p))
				mfd_pager_restore_event(p);
			else if (ptr != p)
				mfd_pager_serve(ptr);
		}
		look_around(p);
	}
	return NULL;
}

static void *in_bulk(void *arg)
{
	struct mfd_pager *p = arg;
	struct pollfd wake[2] = { { p->ctl, POLLIN, 0 }, { p->work, POLLIN, 0 } };
	struct pager_stripe mine = { 0 };

	await_gate(p);
	be_thread(p, "pager", &p->named_bulk, p->on_call);
	while (!atomic_load(&p->stop)) {
		int worked = mfd_pager_chunk(p, &mine);

		/* Before it sleeps: the chunk's call may have taken the wake that was for this. */
		look_around(p);
		if (!worked)
			poll(wake, 2, -1);
	}
	return NULL;
}

static int start_thread(struct mfd_pager *p, void *(*body)(void *))
{
	int ret = -pthread_create(&p->threads[p->nthreads], NULL, body, p);

	mfd_assert(p->nthreads < PAGER_MAX_THREADS);
	mfd_assert(p->epfd >= 0);
	p->nthreads += !ret;
	return ret;
}

/*
 * For bulk as many as were asked for, or one for each processor; on call always two at least: one
 * may have to wait for the source's leave.
 */
static int start_threads(struct mfd_pager *p, unsigned bulk, struct mfd_error *err)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	sigset_t all, old;
	int ret = 0;

	mfd_assert(!p->nthreads);
	if (!bulk)
		bulk = cpus > 1 ? (unsigned)cpus : 1;
	if (bulk > PAGER_MAX_THREADS * 3 / 4)
		bulk = PAGER_MAX_THREADS * 3 / 4;
	p->on_call = 2 + bulk / 8;
	mfd_assert(p->on_call + bulk <= PAGER_MAX_THREADS);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	while (!ret && p->nthreads < p->on_call + bulk)
		ret = start_thread(p, p->nthreads < p->on_call ? on_call : in_bulk);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return ret ? mfd_error_sys(err, ret, "cannot start the pager's threads") : 0;
}

/* ---- life ---- */

/* adopt: there is nothing to listen for, the restore is finished. */
static int open_fds(struct mfd_pager *p, int adopt, struct mfd_error *err)
{
	int ret;

	mfd_assert(mfd_pager_phase(p) == PAGER_NEW);
	mfd_assert(p->epfd < 0 && p->ctl < 0 && p->work < 0);
	p->dirfd = fcntl(p->dirfd, F_DUPFD_CLOEXEC, 0);
	p->epfd = epoll_create1(EPOLL_CLOEXEC);
	p->ctl = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	p->work = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (p->dirfd < 0 || p->epfd < 0 || p->ctl < 0 || p->work < 0)
		return mfd_error_sys(err, -errno, "cannot set up the pager");
	ret = adopt ? 0 : mfd_lazysock_open(&p->sock, p->dirfd, err);
	if (ret)
		return ret;
	ret = mfd_pager_watch(p, p->ctl, p, 0);
	if (!ret && !adopt)
		ret = mfd_pager_watch(p, p->sock.listen, PAGER_SOCK(p), 1);
	return ret ? mfd_error_sys(err, ret, "cannot set up the pager") : 0;
}

static struct mfd_pager *new_pager(const struct mfd_pager_config *c)
{
	struct mfd_pager *p = aligned_alloc(64, sizeof(*p));

	if (!p)
		return NULL;
	memset(p, 0, sizeof(*p));
	p->dirfd = c->dirfd;
	p->store = c->store;
	p->postcopy = c->postcopy;
	p->ops = *c->ops;
	p->arg = c->arg;
	p->sock.listen = p->sock.conn = p->sock.peer_pidfd = -1;
	p->epfd = p->ctl = p->work = -1;
	atomic_store(&p->phase, PAGER_NEW);
	atomic_store(&p->pages, c->postcopy ? PAGER_PAGES_COME : PAGER_PAGES_ALL);
	atomic_store(&p->health, PAGER_SOUND);
	pthread_mutex_init(&p->lock, NULL);
	pthread_mutex_init(&p->gate, NULL);
	pthread_mutex_init(&p->sock_lock, NULL);
	pthread_mutex_init(&p->waits.lock, NULL);
	return p;
}

int mfd_pager_start(const struct mfd_pager_config *c, struct mfd_pager **out, struct mfd_error *err)
{
	struct mfd_pager *p = new_pager(c);
	int ret;

	mfd_assert(c->ops && c->ops->table && c->ops->done);
	mfd_assert(!c->n_deposits);
	if (!p)
		return mfd_error_set(err, -ENOMEM, "no memory for the pager");
	ret = open_fds(p, 0, err);
	if (!ret) {
		mfd_pager_enter_locked(p, PAGER_LISTENING);
		ret = start_threads(p, c->threads, err);
	}
	if (ret)
		mfd_pager_stop(p);
	else
		*out = p;
	return ret;
}

int mfd_pager_adopt(const struct mfd_pager_config *c, struct mfd_pager **out, uint64_t *again,
		    struct mfd_error *err)
{
	struct mfd_pager *p = new_pager(c);
	int ret;

	if (!p)
		return mfd_error_set(err, -ENOMEM, "no memory for the pager");
	pthread_mutex_lock(&p->gate);
	ret = open_fds(p, 1, err);
	if (!ret)
		ret = start_threads(p, c->threads, err);
	if (!ret)
		ret = mfd_pager_take_over(p, c->deposits, c->n_deposits, again, err);
	if (!ret && *again && c->all_came)
		ret = mfd_error_set(err, -ENODATA,
				    "%llu pages were lost on their way into the tasks",
				    (unsigned long long)*again);
	if (ret) {
		mfd_pager_hand_back(p, c->deposits, c->n_deposits);
		atomic_store(&p->stop, 1);
	}
	pthread_mutex_unlock(&p->gate);
	if (ret) {
		mfd_pager_stop(p);
		return ret;
	}
	*out = p;
	mfd_pager_wake(p);
	return 0;
}

void mfd_pager_stop(struct mfd_pager *p)
{
	uint64_t one = 1;

	if (!p)
		return;
	mfd_assert(!p->nthreads || p->ctl >= 0);
	mfd_assert(p->nthreads <= PAGER_MAX_THREADS);
	atomic_store(&p->stop, 1);
	if (p->ctl >= 0)
		(void)!write(p->ctl, &one, sizeof(one));
	for (unsigned i = 0; i < p->nthreads; i++)
		pthread_join(p->threads[i], NULL);
	mfd_lazysock_close(&p->sock);
	mfd_pager_free_tasks(p);
	while (p->n_inherited)
		close(p->inherited[--p->n_inherited]);
	free(p->inherited);
	mfd_io_close(&p->epfd);
	mfd_io_close(&p->ctl);
	mfd_io_close(&p->work);
	mfd_io_close(&p->dirfd);
	pthread_mutex_destroy(&p->lock);
	pthread_mutex_destroy(&p->gate);
	pthread_mutex_destroy(&p->sock_lock);
	pthread_mutex_destroy(&p->waits.lock);
	free(p);
}

/* ---- postcopy ---- */

/*
 * Answer the faults on pages that will not come: 64 pages at a time, if a task waits for any of
 * them.
 */
static void complete_family(struct pager_family *f)
{
	struct pager_task *t;

	mfd_pager_family_sync(f);
	for (t = mfd_pager_sibling(f, NULL); t; t = mfd_pager_sibling(f, t)) {
		/*
		 * Chunks that began before PAGER_PAGES_ALL are over when this thread has had the
		 * lock; the cursor then goes over all again.
		 */
		pthread_rwlock_wrlock(&t->lock);
		pthread_rwlock_unlock(&t->lock);
		pthread_mutex_lock(&f->p->lock);
		t->cursor = 0;
		pthread_mutex_unlock(&f->p->lock);
		for (uint64_t bit = 0; f->wanted && bit < f->img.bits; bit += 64)
			if (atomic_load(&f->wanted[bit / 64]))
				mfd_pager_fill_wait(
					t, bit, bit + 64 < f->img.bits ? bit + 64 : f->img.bits, 1);
	}
}

void mfd_pager_complete(struct mfd_pager *p)
{
	struct pager_family **all;
	size_t n;

	mfd_assert(p->postcopy || mfd_pager_all_here(p));
	mfd_assert(mfd_pager_phase(p) != PAGER_NEW);
	if (atomic_exchange(&p->pages, PAGER_PAGES_ALL) == PAGER_PAGES_ALL)
		return;
	all = mfd_pager_families(p, &n);
	if (!all)
		mfd_pager_fail(p, -ENOMEM, "cannot complete the session");
	for (size_t i = 0; i < n; i++)
		complete_family(all[i]);
	free(all);
	mfd_pager_wake(p);
}

/* Ask for what a task waits for in interval r and is still absent. */
static void want_range(struct pager_family *f, const struct mfd_range *r)
{
	uint64_t n, word;

	for (uint64_t off = 0; off < r->pages; off += n) {
		uint64_t img = r->img + off * PAGER_PAGE;

		n = mfd_pager_state(f, img, r->pages - off, &word);
		if (mfd_page_state(word) != MFD_PAGE_ABSENT)
			continue;
		n = 1;
		if (!mfd_pager_is_wanted(f, r->bit + off, 1))
			continue;
		while (off + n < r->pages && mfd_pager_is_wanted(f, r->bit + off + n, 1))
			n++;
		n = mfd_pager_state(f, img, n, &word);
		if (mfd_page_state(word) == MFD_PAGE_ABSENT)
			f->p->ops.want(f->p->arg, f->id, img, n);
	}
}

void mfd_pager_want_again(struct mfd_pager *p)
{
	struct pager_family **all;
	size_t n;

	all = mfd_pager_families(p, &n);
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; all[i]->wanted && k < all[i]->img.n; k++)
			want_range(all[i], &all[i]->img.by_bit[k]);
	free(all);
}

void mfd_pager_get_stats(struct mfd_pager *p, struct mfd_pager_stats *st)
{
	int over = mfd_pager_phase(p) == PAGER_DONE;

	memset(st, 0, sizeof(*st));
	st->lazy_pages = atomic_load(&p->lazy);
	st->installed_pages = atomic_load(&p->installed) + (over ? atomic_load(&p->zero) : 0);
	st->faults = atomic_load(&p->faults);
	st->remote_faults = atomic_load(&p->remote);
	st->tasks = atomic_load(&p->ntasks);
	st->gone = atomic_load(&p->gone);
	st->zero_pages = over ? atomic_load(&p->zero) : 0;
	st->dropped_pages = atomic_load(&p->dropped);
	st->direct_pages = atomic_load(&p->direct);
	mfd_wait_stats(p, st);
	st->threads = p->nthreads;
	for (unsigned i = 0; i < p->nthreads; i++) {
		st->thread[i].pages = mfd_counter_get(&p->count[i].pages);
		st->thread[i].chunks = mfd_counter_get(&p->count[i].chunks);
		st->thread[i].faults = mfd_counter_get(&p->count[i].faults);
	}
}
