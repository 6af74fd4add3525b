// SPDX-License-Identifier: GPL-2.0-only
/* Tasks and families of the pager: how they begin, fork and end. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "image.h"
#include "io.h"
#include "log.h"
#include "pager_int.h"
#include "uffd.h"

/* ---- families ---- */

void mfd_pager_family_free(struct pager_family *f)
{
	mfd_ranges_free(&f->img);
	free(f->wanted);
	pthread_mutex_destroy(&f->lock);
	free(f);
}

static int load_ranges(struct pager_family *f, const char **why)
{
	struct mfd_lazy_range *lazy = NULL;
	size_t n = 0;
	int ret = mfd_image_lazy_ranges(f->p->dirfd, f->id, &lazy, &n, why);

	for (size_t i = 0; !ret && i < n; i++)
		ret = mfd_ranges_append(&f->img, lazy[i].start, lazy[i].pages);
	free(lazy);
	if (ret == -EINVAL)
		*why = "its lazy ranges are out of order or too many";
	return ret;
}

int mfd_pager_family_new(struct mfd_pager *p, uint32_t id, struct pager_family **out,
			 const char **why)
{
	struct pager_family *f = calloc(1, sizeof(*f));
	int ret;

	*why = "out of memory";
	*out = NULL;
	if (!f)
		return -ENOMEM;
	f->p = p;
	f->id = id;
	pthread_mutex_init(&f->lock, NULL);
	ret = load_ranges(f, why);
	if (!ret && p->postcopy) {
		f->wanted = calloc(mfd_pager_words(f->img.bits) + 1, sizeof(*f->wanted));
		ret = f->wanted ? 0 : -ENOMEM;
	}
	if (ret)
		mfd_pager_family_free(f);
	else
		*out = f;
	return ret;
}

struct pager_family *mfd_pager_family(struct mfd_pager *p, uint32_t id)
{
	struct pager_family *f;

	pthread_mutex_lock(&p->lock);
	for (f = p->families[id % PAGER_BUCKETS]; f && f->id != id;)
		f = f->next;
	pthread_mutex_unlock(&p->lock);
	return f;
}

struct pager_family **mfd_pager_families(struct mfd_pager *p, size_t *n)
{
	struct pager_family **all;

	*n = 0;
	pthread_mutex_lock(&p->lock);
	for (unsigned i = 0; i < PAGER_BUCKETS; i++)
		for (struct pager_family *f = p->families[i]; f; f = f->next)
			++*n;
	all = calloc(*n + 1, sizeof(struct pager_family *));
	*n = 0;
	for (unsigned i = 0; all && i < PAGER_BUCKETS; i++)
		for (struct pager_family *f = p->families[i]; f; f = f->next)
			all[(*n)++] = f;
	pthread_mutex_unlock(&p->lock);
	return all;
}

struct pager_task *mfd_pager_sibling(struct pager_family *f, struct pager_task *t)
{
	pthread_mutex_lock(&f->p->lock);
	t = t ? t->sibling : f->first;
	pthread_mutex_unlock(&f->p->lock);
	return t;
}

struct pager_task *mfd_pager_next_task(struct mfd_pager *p, struct pager_task *t)
{
	pthread_mutex_lock(&p->lock);
	t = t ? t->next : p->tasks;
	pthread_mutex_unlock(&p->lock);
	return t;
}

/* ---- tasks ---- */

void mfd_pager_task_free(struct pager_task *t)
{
	mfd_io_close(&t->uffd);
	mfd_io_close(&t->parked);
	mfd_ranges_free(&t->ranges);
	mfd_book_close(t);
	mfd_huge_free(t);
	pthread_rwlock_destroy(&t->lock);
	free(t);
}

/*
 * The lock prefers writers: events must be read although readers come all the time.  No thread
 * takes this lock for reading twice, which would deadlock then.
 */
static void init_lock(pthread_rwlock_t *lock)
{
	pthread_rwlockattr_t a;

	pthread_rwlockattr_init(&a);
	pthread_rwlockattr_setkind_np(&a, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(lock, &a);
	pthread_rwlockattr_destroy(&a);
}

struct pager_task *mfd_pager_task_new(struct pager_family *f)
{
	struct pager_task *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->p = f->p;
	t->fam = f;
	t->uffd = t->parked = -1;
	init_lock(&t->lock);
	return t;
}

/* *book is the caller's to close. */
static struct pager_task *new_task(struct pager_family *f, const struct mfd_ranges *ranges,
				   uint64_t parent, int *book)
{
	struct pager_task *t = mfd_pager_task_new(f);

	*book = -1;
	if (t && !mfd_ranges_copy(&t->ranges, ranges) && !mfd_book_make(t, parent, book)) {
		mfd_book_commit(t, 0);
		return t;
	}
	if (t)
		mfd_pager_task_free(t);
	return NULL;
}

static int deposit(struct pager_task *t, int book, int pid, int forked)
{
	struct mfd_pager_deposit h = {
		.task = t->fam->id, .uffd = t->uffd, .book = book, .pid = pid, .forked = forked
	};
	int ret = t->p->ops.deposit ? t->p->ops.deposit(t->p->arg, &h) : 0;

	mfd_assert(t->uffd >= 0);
	mfd_assert(t->fam && !t->linked);
	t->pid = h.forked ? 0 : h.pid;
	return ret;
}

void mfd_pager_task_link(struct pager_task *t, struct pager_family *new)
{
	struct mfd_pager *p = t->p;

	mfd_assert(!t->linked && !t->next && t->uffd >= 0);
	t->linked = 1;
	pthread_mutex_lock(&p->lock);
	mfd_assert(mfd_pager_phase(p) != PAGER_LISTENING);
	if (new) {
		new->next = p->families[new->id % PAGER_BUCKETS];
		p->families[new->id % PAGER_BUCKETS] = new;
	}
	if (p->last_task)
		p->last_task->next = t;
	else
		p->tasks = t;
	p->last_task = t;
	if (t->fam->last)
		t->fam->last->sibling = t;
	else
		t->fam->first = t;
	t->fam->last = t;
	pthread_mutex_unlock(&p->lock);
	if (!atomic_load(&t->left))
		atomic_store(&p->untidy, 1);
}

void mfd_pager_task_count(struct pager_task *t, uint64_t settled)
{
	struct mfd_pager *p = t->p;
	uint64_t bits = t->fam->img.bits;

	mfd_assert(settled <= bits);
	mfd_assert(!t->linked);
	atomic_store(&t->left, bits - settled);
	if (bits > settled)
		atomic_fetch_add(&p->pending, 1);
	atomic_fetch_add_explicit(&p->lazy, bits, memory_order_relaxed);
	atomic_fetch_add_explicit(&p->installed, settled, memory_order_relaxed);
	atomic_fetch_add_explicit(&p->ntasks, 1, memory_order_relaxed);
}

int mfd_pager_task_add(struct mfd_pager *p, uint32_t id, int uffd, int pid, const char **why)
{
	struct pager_family *f = NULL;
	struct pager_task *t;
	int ret, book = -1;

	*why = "it was announced twice";
	if (!mfd_pager_family(p, id))
		mfd_pager_family_new(p, id, &f, why);
	t = f ? new_task(f, &f->img, 0, &book) : NULL;
	if (!t) {
		close(uffd);
		if (f)
			mfd_pager_family_free(f);
		return -EBADMSG;
	}
	t->uffd = uffd;
	ret = deposit(t, book, pid, 0);
	close(book);
	if (ret) {
		*why = "its userfaultfd could not be secured";
		mfd_pager_task_free(t);
		mfd_pager_family_free(f);
		return ret;
	}
	mfd_pager_task_count(t, 0);
	mfd_pager_task_link(t, f);
	ret = mfd_pager_watch(p, uffd, t, 0);
	if (ret)
		*why = "cannot wait for its faults";
	return ret;
}

/*
 * The order matters for a process that takes over in the middle.  Until the child is deposited with
 * its book, the parent's message says that there is a child to be made; then the message is passed,
 * and only then may other threads serve the child: they could find it finished and let go of it.
 */
int mfd_pager_task_fork(struct pager_task *parent, int uffd, unsigned done)
{
	struct mfd_pager *p = parent->p;
	uint64_t left = atomic_load(&parent->left);
	struct pager_task *t;
	int ret, book;

	mfd_assert(parent->uffd >= 0);
	mfd_assert(parent->linked);
	t = new_task(parent->fam, &parent->ranges, mfd_book_serial(parent), &book);
	if (!t)
		return -ENOMEM;
	/*
	 * Nothing is put into the parent now (lock), and the kernel had refused that from before it
	 * copied the page tables.
	 */
	for (uint64_t i = 0; i < mfd_pager_words(parent->fam->img.bits); i++)
		atomic_store_explicit(&t->settled[i], atomic_load(&parent->settled[i]),
				      memory_order_relaxed);
	t->giveback = 1;
	t->uffd = uffd;
	ret = deposit(t, book, 0, 1);
	close(book);
	if (ret) {
		t->uffd = -1;
		mfd_pager_task_free(t);
		return ret;
	}
	atomic_store(&parent->fam->forked, 1);
	mfd_book_pass(parent, done);
	mfd_pager_task_count(t, parent->fam->img.bits - left);
	mfd_pager_task_link(t, NULL);
	ret = mfd_pager_watch(p, uffd, t, 0);
	mfd_pager_wake(p);
	return ret;
}

/* The other process first, so that the number never means two things to it. */
void mfd_pager_task_let_go(struct pager_task *t)
{
	if (t->uffd < 0)
		return;
	mfd_assert(t->parked < 0);
	if (t->p->ops.withdraw)
		t->p->ops.withdraw(t->p->arg, t->uffd);
	epoll_ctl(t->p->epfd, EPOLL_CTL_DEL, t->uffd, NULL);
	mfd_wait_forget(t);
	mfd_io_close(&t->uffd);
}

void mfd_pager_task_gone(struct pager_task *t)
{
	pthread_rwlock_wrlock(&t->lock);
	if (t->uffd >= 0) {
		mfd_log_debug("pager: task %u has ended with %llu pages not installed", t->fam->id,
			      (unsigned long long)atomic_load(&t->left));
		mfd_assert(t->linked && t->parked < 0);
		mfd_assert(atomic_load(&t->p->gone) < atomic_load(&t->p->ntasks));
		if (atomic_load(&t->left))
			atomic_fetch_add(&t->p->gone, 1);
		mfd_pager_task_let_go(t);
		mfd_pager_drop_rest(t);
	}
	pthread_rwlock_unlock(&t->lock);
}

/*
 * A task that lacks nothing needs the pager no more: what was left to the kernel becomes zero when
 * both copies of its userfaultfd are closed, and its later children have all it has.
 */
void mfd_pager_tidy(struct mfd_pager *p)
{
	struct pager_task *t;

	mfd_assert(mfd_pager_mine);
	mfd_assert(mfd_pager_phase(p) != PAGER_NEW);
	if (!mfd_pager_is_open(p) || mfd_pager_has_failed(p) || !atomic_exchange(&p->untidy, 0))
		return;
	for (t = mfd_pager_next_task(p, NULL); t; t = mfd_pager_next_task(p, t)) {
		if (atomic_load(&t->left))
			continue;
		pthread_rwlock_wrlock(&t->lock);
		mfd_pager_task_let_go(t);
		pthread_rwlock_unlock(&t->lock);
	}
}

/*
 * A restore died before it was final.  What is left of its tasks is about to be killed; if one
 * survived that, closing its userfaultfd would let it run on with zeros.  So the descriptors stay
 * open, unanswered, until the pager ends.
 */
void mfd_pager_forget(struct mfd_pager *p)
{
	struct pager_task *t;

	mfd_assert(!mfd_pager_is_open(p));
	mfd_assert(mfd_pager_phase(p) >= PAGER_RESTORING);
	/*
	 * First no task may be able to fork any more: children are appended, so this loop meets
	 * them, too.
	 */
	for (t = mfd_pager_next_task(p, NULL); t; t = mfd_pager_next_task(p, t)) {
		pthread_rwlock_wrlock(&t->lock);
		if (t->uffd >= 0)
			epoll_ctl(p->epfd, EPOLL_CTL_DEL, t->uffd, NULL);
		t->parked = t->uffd;
		t->uffd = -1;
		mfd_wait_forget(t);
		mfd_book_mark(t, PAGER_BOOK_PARKED);
		pthread_rwlock_unlock(&t->lock);
	}
	pthread_mutex_lock(&p->lock);
	if (p->last_task) {
		p->last_task->next = p->parked;
		p->parked = p->tasks;
	}
	p->tasks = p->last_task = p->turn = NULL;
	p->forgotten++;
	for (unsigned i = 0; i < PAGER_BUCKETS; i++) {
		for (struct pager_family *f = p->families[i], *next; f; f = next) {
			next = f->next;
			f->next = p->parked_families;
			p->parked_families = f;
		}
		p->families[i] = NULL;
	}
	p->pending = p->lazy = p->installed = p->zero = p->ntasks = p->gone = p->direct =
		p->dropped = 0;
	pthread_mutex_unlock(&p->lock);
}

static void free_list(struct pager_task *t)
{
	while (t) {
		struct pager_task *next = t->next;

		mfd_pager_task_free(t);
		t = next;
	}
}

static void free_families(struct pager_family *f)
{
	while (f) {
		struct pager_family *next = f->next;

		mfd_pager_family_free(f);
		f = next;
	}
}

void mfd_pager_free_tasks(struct mfd_pager *p)
{
	free_list(p->tasks);
	free_list(p->parked);
	for (unsigned i = 0; i < PAGER_BUCKETS; i++)
		free_families(p->families[i]);
	free_families(p->parked_families);
}
