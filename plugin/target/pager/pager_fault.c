// SPDX-License-Identifier: GPL-2.0-only
/*
 * What comes from a task's userfaultfd: faults, and changes of its mappings.
 *
 * Reading a message about the mappings lets the task run on.  So task->lock is held for writing
 * from before the message is read until the task's ranges are changed, and the message is read into
 * memory that outlives this process (pager_book.c).  Faults are answered after that with the lock
 * held for reading, and with ranges looked up afresh.
 *
 * A fault is never kept: if it cannot be answered just now, the task's thread is woken and faults
 * again (which a kernel before 5.7 would not let it do twice in a system call).
 *
 * Not covered, as in CRIU: the kernel numbers no messages.  If one thread of a task unmaps a piece
 * while another moves lazy memory there, the two messages may come in the wrong order.
 */
#include <errno.h>
#include <unistd.h>

#include "io.h"
#include "pager_int.h"
#include "uffd.h"

struct wish { /* for ops->want */
	uint64_t img, pages;
};

/*
 * Memory that was never lazy, or not any more: put zeros from here to the end of the window or to
 * the next lazy page.
 */
static int answer_outside(struct pager_task *t, uint64_t addr)
{
	const struct mfd_range *next = mfd_ranges_above(&t->ranges, addr);
	uint64_t window = PAGER_WINDOW * PAGER_PAGE, end = (addr | (window - 1)) + 1, done;
	int ret;

	if (next && next->cur < end)
		end = next->cur;
	ret = mfd_uffd_zero(t->uffd, addr, end - addr, &done);
	/* The window may reach over the end of the address space. */
	return ret == -EINVAL ? mfd_uffd_zero(t->uffd, addr, PAGER_PAGE, &done) : ret;
}

struct place { /* of a fault in a lazy range */
	const struct mfd_range *r;
	uint64_t bit, lo, hi; /* the page, and the window around it, as bits */
};

static struct place find_place(const struct mfd_range *r, uint64_t addr)
{
	uint64_t window = PAGER_WINDOW * PAGER_PAGE, start = addr & ~(window - 1),
		 end = start + window;
	uint64_t r_end = r->cur + r->pages * PAGER_PAGE;
	struct place w = { .r = r, .bit = r->bit + (addr - r->cur) / PAGER_PAGE };

	w.lo = start > r->cur ? r->bit + (start - r->cur) / PAGER_PAGE : r->bit;
	w.hi = r->bit + ((end < r_end ? end : r_end) - r->cur) / PAGER_PAGE;
	return w;
}

static uint64_t img_of(const struct place *w, uint64_t bit)
{
	return w->r->img + (bit - w->r->bit) * PAGER_PAGE;
}

static uint64_t cur_of(const struct place *w, uint64_t bit)
{
	return w->r->cur + (bit - w->r->bit) * PAGER_PAGE;
}

/* Nonzero if this page is ABSENT and has not been asked for.  family->lock held. */
static int may_wish(struct pager_task *t, const struct place *w, uint64_t bit)
{
	uint64_t word;

	mfd_pager_state(t->fam, img_of(w, bit), 1, &word);
	return mfd_page_state(word) == MFD_PAGE_ABSENT && !mfd_pager_is_wanted(t->fam, bit, 1);
}

/*
 * Note that a task waits for this page, and ask for as much of its window as has not been asked
 * for.
 */
static struct wish make_wish(struct pager_task *t, const struct place *w)
{
	struct wish wish = { 0, 0 };
	uint64_t lo = w->bit, hi = w->bit;

	mfd_assert(t->fam->wanted);
	mfd_assert(w->lo <= w->bit && w->bit < w->hi);
	pthread_mutex_lock(&t->fam->lock);
	if (may_wish(t, w, hi)) {
		while (lo > w->lo && may_wish(t, w, lo - 1))
			lo--;
		for (hi++; hi < w->hi && may_wish(t, w, hi);)
			hi++;
		wish.img = img_of(w, lo);
		wish.pages = hi - lo;
	} else {
		hi++; /* waited for in any case: it may be on its way to the store only */
	}
	for (; lo < hi; lo++)
		atomic_fetch_or_explicit(&t->fam->wanted[lo / 64], 1ULL << (lo % 64),
					 memory_order_release);
	pthread_mutex_unlock(&t->fam->lock);
	return wish;
}

static void note_remote(struct pager_task *t, uint64_t bit)
{
	mfd_assert(bit < t->fam->img.bits);
	mfd_assert(t->fam->wanted); /* postcopy: safe mode has all pages */
	atomic_fetch_add_explicit(&t->p->remote, 1, memory_order_relaxed);
	mfd_wait_asked(t, bit);
}

/*
 * Return the page's word.  A page that is not here yet is wished for, and then looked up once more
 * (mfd_pager_family_sync).
 */
static uint64_t look_up(struct pager_task *t, const struct place *w, int *complete,
			struct wish *wish)
{
	uint64_t word;

	mfd_assert(t->p == t->fam->p);
	mfd_assert(w->bit >= w->r->bit && w->bit < w->r->bit + w->r->pages);
	*complete = mfd_pager_all_here(t->p);
	mfd_pager_state(t->fam, img_of(w, w->bit), 1, &word);
	if (mfd_page_state(word) != MFD_PAGE_ABSENT || *complete || !t->fam->wanted)
		return word;
	*wish = make_wish(t, w);
	*complete = mfd_pager_all_here(t->p);
	mfd_pager_state(t->fam, img_of(w, w->bit), 1, &word);
	if (mfd_page_state(word) != MFD_PAGE_ABSENT || *complete)
		wish->pages = 0;
	else
		note_remote(t, w->bit);
	return word;
}

static int answer_stored(struct pager_task *t, const struct place *w, uint64_t word)
{
	uint64_t bit = w->lo, done;
	int ret;

	if (mfd_pager_is_settled(t, w->bit))
		return 0; /* another thread was faster; its place in the store may be gone */
	ret = mfd_pager_put(t, w->bit, cur_of(w, w->bit), 1,
			    mfd_pagestore_at(t->p->store, mfd_page_index(word)), &done);
	/* The task runs on while its neighbours come; if that fails, the task faults there. */
	return ret ? ret : mfd_pager_fill(t, &bit, w->hi);
}

static int answer_zero(struct pager_task *t, const struct place *w, int complete)
{
	uint64_t word, done, n = mfd_pager_state(t->fam, img_of(w, w->bit), w->hi - w->bit, &word);

	if (mfd_page_state(word) != MFD_PAGE_ZERO)
		n = complete && mfd_page_state(word) == MFD_PAGE_ABSENT ? 1 : 0;
	/*
	 * Also if the page counts as settled: it was left to the kernel, which does its part only
	 * when the userfaultfd closes.
	 */
	return n ? mfd_pager_put(t, w->bit, cur_of(w, w->bit), n, NULL, &done) : -EAGAIN;
}

static int answer_lazy(struct pager_task *t, const struct place *w, struct wish *wish)
{
	int complete;
	uint64_t word = look_up(t, w, &complete, wish);

	switch (mfd_page_state(word)) {
	case MFD_PAGE_STORED:
		return answer_stored(t, w, word);
	case MFD_PAGE_ZERO:
		return answer_zero(t, w, complete);
	case MFD_PAGE_ABSENT:
		return complete || !t->fam->wanted ? answer_zero(t, w, 1) : -EINPROGRESS;
	case MFD_PAGE_DIRECT:
		break;
	}
	/* its receiver is about to put it in, which wakes */
	return mfd_pager_is_settled(t, w->bit) ? 0 : -EINPROGRESS;
}

/* After -EAGAIN the task faults again, and has waited all the time. */
static int answer(struct pager_task *t, uint64_t addr, uint64_t read_us, struct wish *wish)
{
	const struct mfd_range *r = mfd_ranges_find(&t->ranges, addr);
	struct place w;
	int ret;

	if (!r)
		return answer_outside(t, addr);
	w = find_place(r, addr);
	mfd_wait_begin(t, w.bit, img_of(&w, w.bit), read_us);
	ret = answer_lazy(t, &w, wish);
	if (ret != -EINPROGRESS && ret != -EAGAIN)
		mfd_wait_over(t, w.bit, 1, !ret);
	return ret;
}

static void fault(struct pager_task *t, uint64_t addr, uint64_t read_us)
{
	struct mfd_pager *p = t->p;
	struct wish wish = { 0, 0 };
	int ret = -EINPROGRESS;

	atomic_fetch_add_explicit(&p->faults, 1, memory_order_relaxed);
	pthread_rwlock_rdlock(&t->lock);
	if (t->uffd >= 0)
		ret = answer(t, addr, read_us, &wish);
	/*
	 * What woke it may have come before it slept, and EAGAIN or an unmapped page wake no
	 * thread.
	 */
	if (t->uffd >= 0 && ret != -EINPROGRESS)
		mfd_uffd_wake(t->uffd, addr, PAGER_PAGE);
	pthread_rwlock_unlock(&t->lock);
	/* If this is lost with its connection, mfd_pager_want_again repeats it. */
	if (wish.pages)
		p->ops.want(p->arg, t->fam->id, wish.img, wish.pages);
	if (!ret && mfd_pager_mine)
		mfd_counter_add(&mfd_pager_mine->faults, 1);
	if (ret != -EINPROGRESS)
		mfd_pager_verdict(t, ret);
}

/* ---- mappings; task->lock held for writing ---- */

static void dropped(void *arg, const struct mfd_range *piece)
{
	mfd_pager_settle(arg, piece->bit, piece->pages, PAGER_DROPPED);
}

/* Threads that wait for a page where there is none any more must look again. */
static int removed(struct pager_task *t, uint64_t start, uint64_t end)
{
	int ret = mfd_ranges_remove(&t->ranges, start, end - start, dropped, t);

	mfd_uffd_wake(t->uffd, start, end - start);
	return ret;
}

static int remapped(struct pager_task *t, uint64_t from, uint64_t to, uint64_t len)
{
	int ret = mfd_ranges_remap(&t->ranges, from, to, len, dropped, t);

	mfd_uffd_wake(t->uffd, from, len);
	return ret;
}

int mfd_pager_follow(struct pager_task *t, const struct uffd_msg *m, unsigned done)
{
	int ret;

	mfd_assert(done > 0 && done <= PAGER_BATCH);
	mfd_assert(m->event != UFFD_EVENT_PAGEFAULT);
	switch (m->event) {
	case UFFD_EVENT_FORK:
		return mfd_pager_task_fork(t, (int)m->arg.fork.ufd, done);
	case UFFD_EVENT_REMAP:
		ret = remapped(t, m->arg.remap.from, m->arg.remap.to, m->arg.remap.len);
		break;
	case UFFD_EVENT_REMOVE: /* the mapping stays and is zero from now on */
	case UFFD_EVENT_UNMAP:
		ret = removed(t, m->arg.remove.start, m->arg.remove.end);
		break;
	default:
		ret = -EPROTO;
	}
	if (!ret)
		mfd_book_commit(t, done);
	return ret;
}

/*
 * The task has gone on and the ranges have not: it is not known any more which page belongs where.
 */
static void lost_track(struct pager_task *t, const struct uffd_msg *m, int ret)
{
	mfd_book_mark(t, PAGER_BOOK_BROKEN);
	mfd_pager_fail(t->p, ret, "cannot follow event 0x%x of task %u", m->event, t->fam->id);
}

/* Handle n messages of the inbox; return how many are faults, and their addresses in `faults`. */
static int handle(struct pager_task *t, int n, uint64_t *faults)
{
	struct uffd_msg *inbox = mfd_book_inbox(t);
	int nfaults = 0, ret = 0;

	mfd_assert(n <= (int)PAGER_BATCH && t->uffd >= 0);
	for (int i = 0; !ret && i < n; i++) {
		struct uffd_msg m = inbox[i];

		if (m.event == UFFD_EVENT_PAGEFAULT)
			faults[nfaults++] = m.arg.pagefault.address & ~(PAGER_PAGE - 1);
		else
			ret = mfd_pager_follow(t, &m, (unsigned)i + 1);
		if (ret)
			lost_track(t, &m, ret);
	}
	if (!ret)
		mfd_book_clear(t, (unsigned)n);
	return nfaults;
}

void mfd_pager_serve(struct pager_task *t)
{
	uint64_t faults[PAGER_BATCH], read_us = 0;
	int n = 0, nfaults = 0;

	pthread_rwlock_wrlock(&t->lock);
	if (t->uffd >= 0 && !mfd_pager_has_failed(t->p)) {
		n = mfd_uffd_read(t->uffd, mfd_book_inbox(t), PAGER_BATCH);
		read_us = mfd_io_now_us();
		if (n > 0)
			nfaults = handle(t, n, faults);
	}
	pthread_rwlock_unlock(&t->lock);
	if (n < 0)
		mfd_pager_fail(t->p, n, "cannot read the userfaultfd of task %u", t->fam->id);
	if (!n && mfd_pager_has_failed(t->p))
		usleep(10000); /* what is not read keeps the userfaultfd readable */
	for (int i = 0; i < nfaults; i++)
		fault(t, faults[i], read_us);
}
