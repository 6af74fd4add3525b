// SPDX-License-Identifier: GPL-2.0-only
/*
 * Take over the userfaultfds of a pager that died with its process.
 *
 * Each comes with its book (pager_book.c): which pages are in, where the others belong, and the
 * messages that the dead process had taken but not dealt with.  Those messages are followed first,
 * in the order in which the tasks appeared, so that a child that was just being forked is made
 * before its own messages count.  The child's userfaultfd is found by the number that it had in the
 * dead process, which stands in the message.
 *
 * Faults need no record: all waiting threads are woken, and those that lack a page fault again.
 *
 * Nothing here touches a task's memory, so everything may be given up until the last check has
 * passed.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "pager_int.h"
#include "uffd.h"

struct adoption {
	struct mfd_pager *p;
	struct mfd_pager_deposit *deposits;
	size_t n;
	struct pager_task **tasks; /* at most n, in the order of their serials */
	size_t n_tasks;
	struct mfd_error *err;
};

static int refuse(struct adoption *a, int ret, uint32_t task, const char *why)
{
	return mfd_error_set(a->err, ret, "task %u cannot be taken over: %s", task, why);
}

/* ---- reading the books ---- */

static int load_task(struct adoption *a, const struct mfd_pager_deposit *h, struct pager_task **out)
{
	struct pager_family *f = mfd_pager_family(a->p, h->task), *new = NULL;
	const char *why = "no memory";
	struct pager_task *t = NULL;
	int ret = 0;

	if (!f)
		ret = mfd_pager_family_new(a->p, h->task, &new, &why);
	f = f ? f : new;
	if (!ret)
		t = mfd_pager_task_new(f);
	ret = ret || t ? ret : -ENOMEM;
	if (ret)
		goto err;
	ret = mfd_book_open(t, h->book, &why);
	if (ret) {
		mfd_pager_task_free(t);
		goto err;
	}
	t->uffd = h->uffd;
	/*
	 * The family is known from now on, so that its next member finds it; tasks are linked
	 * later, in their order.
	 */
	if (new) {
		new->next = a->p->families[new->id % PAGER_BUCKETS];
		a->p->families[new->id % PAGER_BUCKETS] = new;
	}
	*out = t;
	return 0;
err:
	if (new)
		mfd_pager_family_free(new);
	return refuse(a, ret, h->task, why);
}

static int take_one(struct adoption *a, const struct mfd_pager_deposit *h)
{
	enum pager_book_state state;
	const char *why = NULL;
	uint32_t task;
	int ret;

	/*
	 * Not a task's: the connection of the restore, which is over, or a userfaultfd that a
	 * message may name (follow_fork looks for it).
	 */
	if (h->book < 0)
		return 0;
	ret = mfd_book_peek(h->book, &task, &state, &why);
	if (!ret && task != h->task) {
		why = "its book is another task's";
		ret = -EBADMSG;
	}
	if (!ret && state == PAGER_BOOK_BROKEN) {
		why = "its mappings could not be followed";
		ret = -EIO;
	}
	if (ret)
		return refuse(a, ret, h->task, why);
	if (state == PAGER_BOOK_PARKED) { /* of a restore that failed before this one */
		a->p->inherited[a->p->n_inherited++] = h->uffd;
		return 0;
	}
	ret = load_task(a, h, &a->tasks[a->n_tasks]);
	a->n_tasks += !ret;
	return ret;
}

static int by_serial(const void *a, const void *b)
{
	uint64_t x = mfd_book_serial(*(struct pager_task *const *)a),
		 y = mfd_book_serial(*(struct pager_task *const *)b);

	return (x > y) - (x < y);
}

static int put_in_order(struct adoption *a)
{
	struct mfd_pager *p = a->p;

	qsort(a->tasks, a->n_tasks, sizeof(*a->tasks), by_serial);
	for (size_t i = 0; i < a->n_tasks; i++) {
		struct pager_task *t = a->tasks[i];
		uint64_t serial = mfd_book_serial(t);

		if (i && serial == mfd_book_serial(a->tasks[i - 1]))
			return refuse(a, -EBADMSG, t->fam->id, "it is deposited twice");
		if (!mfd_book_parent(t) && t->fam->first)
			return refuse(a, -EBADMSG, t->fam->id, "it was restored twice");
		if (mfd_book_parent(t))
			atomic_store(&t->fam->forked, 1);
		atomic_store(&p->serial, serial);
		mfd_assert(!t->linked && t->book && t->uffd >= 0);
		mfd_pager_task_count(t, mfd_pager_settled_count(t));
		mfd_pager_task_link(t, NULL);
	}
	return 0;
}

/* ---- messages that were not dealt with ---- */

static struct mfd_pager_deposit *find_deposit(const struct adoption *a, int writer, int number)
{
	for (size_t i = 0; i < a->n; i++)
		if (a->deposits[i].writer == writer && a->deposits[i].number == number)
			return &a->deposits[i];
	return NULL;
}

/*
 * The child has a book if the dead process had come so far; the task made from that says more than
 * the descriptor.
 */
static int follow_fork(struct adoption *a, struct pager_task *t, const struct uffd_msg *m,
		       unsigned done)
{
	struct mfd_pager_deposit *h = find_deposit(a, mfd_book_writer(t), (int)m->arg.fork.ufd);

	if (!h)
		return refuse(a, -ENOENT, t->fam->id, "a child that it was forking is lost");
	if (h->book < 0) {
		h->taken = 1;
		return mfd_pager_task_fork(t, h->uffd, done);
	}
	for (size_t i = 0; i < a->n_tasks; i++) {
		if (a->tasks[i]->uffd == h->uffd &&
		    mfd_book_parent(a->tasks[i]) == mfd_book_serial(t)) {
			mfd_book_pass(t, done);
			return 0;
		}
	}
	return refuse(a, -EBADMSG, t->fam->id,
		      "a child that it was forking belongs to another task");
}

static int replay(struct adoption *a, struct pager_task *t)
{
	struct uffd_msg *inbox = mfd_book_inbox(t);
	unsigned i = mfd_book_done(t);
	int ret = 0;

	for (; !ret && i < PAGER_BATCH && inbox[i].event; i++) {
		struct uffd_msg m = inbox[i];

		if (m.event == UFFD_EVENT_PAGEFAULT)
			continue;
		mfd_log_info("pager: task %u: event 0x%x of the dead worker is dealt with",
			     t->fam->id, m.event);
		ret = m.event == UFFD_EVENT_FORK ? follow_fork(a, t, &m, i + 1) :
						   mfd_pager_follow(t, &m, i + 1);
	}
	if (ret)
		return a->err->code ? ret :
				      refuse(a, ret, t->fam->id,
					     "an event of its mappings cannot be followed");
	mfd_book_clear(t, PAGER_BATCH);
	return 0;
}

/* ---- is it all there? ---- */

/* A page that is not in must have a place, else it would never be put in. */
static int has_places(struct pager_task *t)
{
	uint64_t with_place = 0;

	for (size_t i = 0; i < t->ranges.n; i++) {
		uint64_t bit = t->ranges.by_bit[i].bit, end = bit + t->ranges.by_bit[i].pages, n;

		for (; (n = mfd_pager_unsettled(t, &bit, end)); bit += n)
			with_place += n;
	}
	return with_place == atomic_load(&t->left);
}

/*
 * Pages [bit, bit + n) of image address img went straight into the tasks: those that did not arrive
 * in one of them must come again, and become ABSENT.
 */
static int unsay(struct pager_family *f, struct mfd_pagetable *table, uint64_t bit, uint64_t n,
		 uint64_t img, uint64_t *again)
{
	struct pager_task *t;
	int ret = 0;

	for (t = f->first; t; t = t->sibling) {
		uint64_t at = bit, run;

		for (; !ret && (run = mfd_pager_unsettled(t, &at, bit + n)); at += run) {
			*again += run;
			ret = mfd_pagetable_set(table, img / PAGER_PAGE + (at - bit), run, 0);
		}
	}
	return ret;
}

static int unsay_family(struct pager_family *f, uint64_t *again)
{
	struct mfd_pagetable *table = f->p->ops.table(f->p->arg, f->id);
	int ret = 0;

	for (size_t i = 0; table && i < f->img.n; i++) {
		const struct mfd_range *r = &f->img.by_bit[i];
		uint64_t n, word;

		for (uint64_t off = 0; !ret && off < r->pages; off += n) {
			n = mfd_pager_state(f, r->img + off * PAGER_PAGE, r->pages - off, &word);
			if (mfd_page_state(word) == MFD_PAGE_DIRECT)
				ret = unsay(f, table, r->bit + off, n, r->img + off * PAGER_PAGE,
					    again);
		}
	}
	return ret;
}

static int check(struct adoption *a, uint64_t *again)
{
	struct mfd_pager *p = a->p;
	int ret = 0;

	for (struct pager_task *t = p->tasks; t; t = t->next)
		if (!has_places(t))
			return refuse(a, -EBADMSG, t->fam->id,
				      "its book does not say where all its pages belong");
	for (unsigned i = 0; !ret && i < PAGER_BUCKETS; i++)
		for (struct pager_family *f = p->families[i]; !ret && f; f = f->next)
			ret = unsay_family(f, again);
	return ret ? mfd_error_sys(a->err, ret, "the page tables cannot be changed") : 0;
}

static int start(struct adoption *a)
{
	struct mfd_pager *p = a->p;

	mfd_assert(p->sock.listen < 0 && p->sock.conn < 0);
	mfd_assert(p->expect == PAGER_EXPECT_RUN);
	mfd_pager_enter_locked(p, PAGER_FILLING);
	for (struct pager_task *t = p->tasks; t; t = t->next) {
		mfd_pager_giveback(t);
		mfd_uffd_wake_all(t->uffd);
	}
	for (size_t i = 0; i < a->n_tasks; i++) {
		int ret = mfd_pager_watch(p, a->tasks[i]->uffd, a->tasks[i], 0);

		if (ret)
			return mfd_error_sys(a->err, ret, "cannot wait for faults");
	}
	return 0;
}

int mfd_pager_take_over(struct mfd_pager *p, struct mfd_pager_deposit *deposits, size_t n,
			uint64_t *again, struct mfd_error *err)
{
	struct adoption a = { .p = p, .deposits = deposits, .n = n, .err = err };
	int ret = 0;

	mfd_assert(mfd_pager_phase(p) == PAGER_NEW);
	mfd_assert(!p->tasks && !p->inherited);
	*again = 0;
	a.tasks = calloc(n + 1, sizeof(struct pager_task *));
	p->inherited = calloc(n + 1, sizeof(*p->inherited));
	if (!a.tasks || !p->inherited)
		return mfd_error_set(err, -ENOMEM, "no memory");
	for (size_t i = 0; i < n && !ret; i++)
		ret = take_one(&a, &deposits[i]);
	ret = ret ? ret : put_in_order(&a);
	for (size_t i = 0; i < a.n_tasks && !ret; i++)
		ret = replay(&a, a.tasks[i]);
	ret = ret ? ret : check(&a, again);
	ret = ret ? ret : start(&a);
	/* The pager frees the linked ones. */
	for (size_t i = 0; i < a.n_tasks; i++)
		if (!a.tasks[i]->linked) {
			a.tasks[i]->uffd = -1;
			mfd_pager_task_free(a.tasks[i]);
		}
	free(a.tasks);
	return ret;
}

static int is_deposited(const struct mfd_pager_deposit *deposits, size_t n, int uffd)
{
	for (size_t i = 0; i < n; i++)
		if (deposits[i].uffd == uffd)
			return 1;
	return 0;
}

void mfd_pager_hand_back(struct mfd_pager *p, const struct mfd_pager_deposit *deposits, size_t n)
{
	mfd_assert(!atomic_load(&p->stop)); /* the threads wait */
	mfd_assert(deposits || !n);
	for (struct pager_task *t = p->tasks; t; t = t->next)
		if (is_deposited(deposits, n, t->uffd))
			t->uffd = -1;
	p->n_inherited = 0;
}
