// SPDX-License-Identifier: GPL-2.0-only
/*
 * Put pages into tasks: from the store, in bulk or around a fault, and from a receiver's buffer.
 *
 * A restored task may change its mappings at any moment.  While it does (from before the change
 * until its event has been read and the task has run on) the kernel refuses copies with EAGAIN, and
 * events are read under task->lock for writing.  So a thread that holds the lock for reading and
 * succeeds has put the page where it belongs.
 */
#include <errno.h>
#include <unistd.h>

#include "pager_int.h"
#include "uffd.h"

#define STARVED_US  10000 /* pause when there is no memory */
#define STARVED_MAX 1000  /* and how often until the pager gives up */

/* Put some of n pages by UFFDIO_COPY or UFFDIO_ZEROPAGE; *done = how many. */
static int put_ordinary(struct pager_task *t, uint64_t bit, uint64_t cur, uint64_t n,
			const char *from, uint64_t *done)
{
	uint64_t len;
	int ret = from ? mfd_uffd_copy(t->uffd, cur, from, n * PAGER_PAGE, &len) :
			 mfd_uffd_zero(t->uffd, cur, n * PAGER_PAGE, &len);

	mfd_assert(n && bit + n <= t->fam->img.bits);
	*done = len / PAGER_PAGE;
	mfd_assert(*done <= n);
	if (!len)
		return ret;
	if (t->huge && from)
		mfd_huge_prime(t, cur);
	mfd_pager_settle(t, bit, *done, PAGER_PUT);
	if (atomic_load_explicit(&t->p->starved, memory_order_relaxed))
		atomic_store_explicit(&t->p->starved, 0, memory_order_relaxed);
	return ret;
}

int mfd_pager_put(struct pager_task *t, uint64_t bit, uint64_t cur, uint64_t n, const void *src,
		  uint64_t *done)
{
	const char *from = src;
	int ret;

	mfd_assert(t->uffd >= 0);
	for (*done = 0; *done < n;) {
		uint64_t at = *done * PAGER_PAGE, some = n - *done;

		ret = t->huge ? mfd_huge_put(t, bit + *done, cur + at, &some,
					     from ? from + at : NULL) :
				1;
		if (ret == 1)
			ret = put_ordinary(t, bit + *done, cur + at, some, from ? from + at : NULL,
					   &some);
		else if (ret)
			return ret;
		*done += some;
		/*
		 * Before the restore is finished a mapping may be unregistered because its turn has
		 * not come.
		 */
		if (ret == -ENOENT && mfd_pager_is_open(t->p)) {
			mfd_pager_settle(t, bit + *done, 1, PAGER_DROPPED);
			++*done;
		} else if (ret) {
			return ret;
		}
	}
	return 0;
}

/* Put n pages that are all in the state of `word`. */
static int put_state(struct pager_task *t, uint64_t bit, uint64_t cur, uint64_t n, uint64_t word,
		     int complete, uint64_t *done)
{
	struct mfd_pager *p = t->p;
	enum mfd_page_state s = mfd_page_state(word);

	*done = n;
	if (s == MFD_PAGE_STORED)
		return mfd_pager_put(t, bit, cur, n,
				     mfd_pagestore_at(p->store, mfd_page_index(word)), done);
	if (s == MFD_PAGE_DIRECT || (s == MFD_PAGE_ABSENT && !complete))
		return 0; /* the receiver that brings it puts it in */
	if (s == MFD_PAGE_ABSENT && mfd_pager_is_open(p))
		atomic_fetch_add_explicit(&p->absent, n, memory_order_relaxed);
	if (mfd_pager_is_wanted(t->fam, bit, n))
		return mfd_pager_put(t, bit, cur, n, NULL, done);
	if (mfd_pager_is_open(p))
		mfd_pager_settle(t, bit, n, PAGER_LEFT_ZERO);
	return 0;
}

int mfd_pager_fill(struct pager_task *t, uint64_t *bit, uint64_t end)
{
	uint64_t n, off, word, done;
	int ret;

	mfd_assert(end <= t->fam->img.bits);
	while ((n = mfd_pager_unsettled(t, bit, end))) {
		const struct mfd_range *r = mfd_ranges_from_bit(&t->ranges, *bit);
		int complete = mfd_pager_all_here(t->p);

		if (!r || r->bit > *bit) {
			/* Only settled pages are in no interval. */
			*bit = r && r->bit < end ? r->bit : end;
			continue;
		}
		off = *bit - r->bit;
		if (n > r->pages - off)
			n = r->pages - off;
		n = mfd_pager_state(t->fam, r->img + off * PAGER_PAGE, n, &word);
		ret = put_state(t, *bit, r->cur + off * PAGER_PAGE, n, word, complete, &done);
		*bit += done;
		if (ret)
			return ret;
	}
	return 0;
}

int mfd_pager_verdict(struct pager_task *t, int ret)
{
	struct mfd_pager *p = t->p;

	if (!ret || ret == -EAGAIN)
		return ret;
	if (ret == -ENOENT)
		return 0;
	if (ret == -ESRCH) {
		mfd_pager_task_gone(t);
		return 0;
	}
	if (ret == -ENOMEM && atomic_fetch_add(&p->starved, 1) < STARVED_MAX) {
		usleep(STARVED_US);
		return -EAGAIN;
	}
	mfd_pager_fail(p, ret, "cannot put pages into task %u", t->fam->id);
	return ret;
}

/*
 * Do `work`, which holds the task's lock for reading, until the mappings that it meets do not
 * change any more.
 */
static int repeat(struct pager_task *t, int (*work)(struct pager_task *t, void *arg), void *arg)
{
	int ret;

	do {
		pthread_rwlock_rdlock(&t->lock);
		ret = t->uffd < 0 ? 0 : work(t, arg);
		pthread_rwlock_unlock(&t->lock);
		ret = mfd_pager_verdict(t, ret);
		if (ret == -EAGAIN)
			usleep(PAGER_CHANGING_US); /* the pager's own threads read the event */
	} while (ret == -EAGAIN && !atomic_load(&t->p->stop));
	return ret;
}

/*
 * Until the pager is open nothing is put in unasked.  The phase is read under the task's lock: see
 * mfd_pager_open.
 */
static int is_due(const struct pager_task *t, uint64_t bit, uint64_t end)
{
	return mfd_pager_is_open(t->p) || mfd_pager_is_wanted(t->fam, bit, end - bit);
}

static int fill_span(struct pager_task *t, void *arg)
{
	struct pager_span *s = arg;

	return mfd_pager_fill(t, &s->bit, s->end);
}

static int fill_due(struct pager_task *t, void *arg)
{
	struct pager_span *s = arg;

	return is_due(t, s->bit, s->end) ? fill_span(t, arg) : 0;
}

void mfd_pager_fill_wait(struct pager_task *t, uint64_t bit, uint64_t end, int only_due)
{
	struct pager_span s = { bit, end };

	repeat(t, only_due ? fill_due : fill_span, &s);
}

/* ---- what arrives ---- */

/* Number of the first lazy page at or after image address `img`. */
static uint64_t bit_from(const struct pager_family *f, uint64_t img)
{
	const struct mfd_range *r = mfd_ranges_from_img(&f->img, img);

	if (!r)
		return f->img.bits;
	return img > r->img ? r->bit + (img - r->img) / PAGER_PAGE : r->bit;
}

/* A run, or what is left of it. */
struct piece {
	uint64_t vaddr, end; /* image addresses; vaddr moves on */
	const char *src;     /* of vaddr; NULL: the table says where, or that it is zero */
};

static void piece_skip(struct piece *w, uint64_t vaddr)
{
	w->src += vaddr - w->vaddr;
	w->vaddr = vaddr;
}

static int put_piece(struct pager_task *t, struct piece *w)
{
	const struct mfd_range *r;
	uint64_t bit, limit, n, end, done;
	int ret;

	while (w->vaddr < w->end && (r = mfd_ranges_from_img(&t->ranges, w->vaddr)) &&
	       r->img < w->end) {
		if (r->img > w->vaddr)
			piece_skip(w, r->img);
		end = r->img + r->pages * PAGER_PAGE < w->end ? r->img + r->pages * PAGER_PAGE :
								w->end;
		bit = r->bit + (w->vaddr - r->img) / PAGER_PAGE;
		limit = r->bit + (end - r->img) / PAGER_PAGE;
		n = mfd_pager_unsettled(t, &bit, limit);
		piece_skip(w, r->img + (bit - r->bit) * PAGER_PAGE);
		if (!n)
			continue;
		ret = mfd_pager_put(t, bit, r->cur + (bit - r->bit) * PAGER_PAGE, n, w->src, &done);
		piece_skip(w, w->vaddr + done * PAGER_PAGE);
		if (ret)
			return ret;
	}
	return 0;
}

static int fill_piece(struct pager_task *t, const struct piece *w)
{
	uint64_t bit = bit_from(t->fam, w->vaddr), end = bit_from(t->fam, w->end);

	return bit < end && is_due(t, bit, end) ? mfd_pager_fill(t, &bit, end) : 0;
}

/* Where a task stands in what has arrived. */
struct arrival {
	const struct mfd_wire_run *runs;
	unsigned n;	    /* from *runs on, whose rest is: */
	struct piece piece; /* end 0: not begun */
	const char *next;   /* pages of the runs behind it; NULL: in the store */
};

static void next_piece(struct arrival *a)
{
	const struct mfd_wire_run *w = a->runs;

	a->piece = (struct piece){ .vaddr = w->vaddr, .end = w->vaddr + w->pages * PAGER_PAGE };
	if (!a->next || w->flags & MFD_WIRE_RUN_ZERO)
		return;
	a->piece.src = a->next;
	a->next += w->pages * PAGER_PAGE;
}

static int put_arrival(struct pager_task *t, void *arg)
{
	struct arrival *a = arg;

	for (; a->n; a->n--, a->runs++, a->piece.end = 0) {
		int ret;

		if (!a->piece.end)
			next_piece(a);
		ret = a->piece.src ? put_piece(t, &a->piece) : fill_piece(t, &a->piece);
		if (ret && ret != -ENOENT)
			return ret;
	}
	return 0;
}

/*
 * The lock is taken once for all runs: memory with a hole or a zero page between any two has a
 * hundred of them in a packet.  A child that is forked meanwhile stands behind its parent in the
 * list, so the loop meets it, too.
 */
int mfd_pager_arrived(struct mfd_pager *p, uint32_t task, const struct mfd_wire_run *runs,
		      unsigned n, const void *pages)
{
	struct pager_family *f = mfd_pager_family(p, task);
	int ret = 0;

	if (!f)
		return 0;
	mfd_pager_family_sync(f);
	mfd_wait_came(f, runs, n);
	for (struct pager_task *t = mfd_pager_sibling(f, NULL); t && !ret;
	     t = mfd_pager_sibling(f, t)) {
		struct arrival a = { .runs = runs, .n = n, .next = pages };

		ret = repeat(t, put_arrival, &a);
	}
	return ret;
}

int mfd_pager_direct(struct mfd_pager *p, uint32_t task)
{
	(void)task; /* once the restore is finished every task that will ever exist does */
	return mfd_pager_is_open(p) && !mfd_pager_has_failed(p);
}
