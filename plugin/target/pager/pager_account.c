// SPDX-License-Identifier: GPL-2.0-only
/*
 * The account of a task's pages: which are settled, which are waited for, which leave the store.
 * Nothing here knows what to do next.
 */
#include "pager_int.h"

/* ---- bitmaps ---- */

/* The bits of word `bit / 64` that lie in [bit, end); *n = how many. */
static uint64_t mask_of(uint64_t bit, uint64_t end, unsigned *n)
{
	unsigned off = bit % 64, count = end - bit < 64 - off ? (unsigned)(end - bit) : 64 - off;

	*n = count;
	return (count == 64 ? ~0ULL : (1ULL << count) - 1) << off;
}

int mfd_pager_is_settled(const struct pager_task *t, uint64_t bit)
{
	return atomic_load_explicit(&t->settled[bit / 64], memory_order_acquire) >> (bit % 64) & 1;
}

uint64_t mfd_pager_unsettled(const struct pager_task *t, uint64_t *bit, uint64_t end)
{
	uint64_t first = *bit, n = 0;
	unsigned count;

	while (first < end) {
		uint64_t open =
			~atomic_load_explicit(&t->settled[first / 64], memory_order_acquire) &
			mask_of(first, end, &count);

		if (open) {
			first += (unsigned)__builtin_ctzll(open) - first % 64;
			break;
		}
		first += count;
	}
	*bit = first;
	while (first + n < end) {
		uint64_t at = first + n, mask = mask_of(at, end, &count);
		uint64_t set = atomic_load_explicit(&t->settled[at / 64], memory_order_acquire) &
			       mask;

		if (set)
			return n + (unsigned)__builtin_ctzll(set) - at % 64;
		n += count;
	}
	return n;
}

uint64_t mfd_pager_settled_count(const struct pager_task *t)
{
	uint64_t n = 0, bits = t->fam->img.bits;
	unsigned count;

	for (uint64_t bit = 0; bit < bits; bit += count)
		n += (unsigned)__builtin_popcountll(atomic_load(&t->settled[bit / 64]) &
						    mask_of(bit, bits, &count));
	return n;
}

/* ---- what a page is ---- */

static struct mfd_pagetable *table_of(struct pager_family *f)
{
	struct mfd_pagetable *t = atomic_load_explicit(&f->table, memory_order_acquire);

	mfd_assert(f->p);
	mfd_assert(f->p->ops.table);
	if (!t) {
		t = f->p->ops.table(f->p->arg, f->id);
		atomic_store_explicit(&f->table, t, memory_order_release);
	}
	return t;
}

uint64_t mfd_pager_state(struct pager_family *f, uint64_t img, uint64_t max, uint64_t *word)
{
	const struct mfd_pagetable *t = table_of(f);

	if (t)
		return mfd_pagetable_run(t, img / PAGER_PAGE, max, word);
	*word = MFD_PAGE_ABSENT;
	return max;
}

/* ---- settled pages ---- */

/*
 * Give the stored ones among n pages back to the store: this thread has just settled them.  A
 * settled page keeps its image address even if its interval is gone, so the family's intervals are
 * asked.
 */
static void release(struct pager_task *t, uint64_t bit, uint64_t n)
{
	const struct mfd_range *r = mfd_ranges_from_bit(&t->fam->img, bit);
	uint64_t end = bit + n, word;

	for (; bit < end; bit += n) {
		if (bit >= r->bit + r->pages)
			r = mfd_ranges_from_bit(&t->fam->img, bit);
		n = r->bit + r->pages < end ? r->bit + r->pages - bit : end - bit;
		n = mfd_pager_state(t->fam, r->img + (bit - r->bit) * PAGER_PAGE, n, &word);
		if (mfd_page_state(word) == MFD_PAGE_STORED)
			mfd_pagestore_release(t->p->store, mfd_page_index(word), n);
	}
}

static void release_fresh(struct pager_task *t, uint64_t base, uint64_t fresh)
{
	while (fresh) {
		unsigned first = (unsigned)__builtin_ctzll(fresh);
		uint64_t rest = ~(fresh >> first);
		unsigned n = rest ? (unsigned)__builtin_ctzll(rest) : 64 - first;

		release(t, base + first, n);
		if (first + n >= 64)
			break;
		fresh = fresh >> (first + n) << (first + n);
	}
}

/* Count n pages for the thread that has put them in, or for all receivers. */
static void credit(struct mfd_pager *p, uint64_t n, enum pager_how how)
{
	if (how == PAGER_PUT && mfd_pager_mine)
		mfd_counter_add(&mfd_pager_mine->pages, n);
	else if (how != PAGER_LEFT_ZERO)
		atomic_fetch_add_explicit(how == PAGER_PUT ? &p->direct : &p->dropped, n,
					  memory_order_relaxed);
}

static void settle_count(struct pager_task *t, uint64_t n, enum pager_how how)
{
	struct mfd_pager *p = t->p;
	uint64_t left;

	if (!n)
		return;
	credit(p, n, how);
	atomic_fetch_add_explicit(how == PAGER_LEFT_ZERO ? &p->zero : &p->installed, n,
				  memory_order_relaxed);
	left = atomic_fetch_sub_explicit(&t->left, n, memory_order_acq_rel);
	mfd_assert(left >= n);
	if (left != n)
		return;
	left = atomic_fetch_sub_explicit(&p->pending, 1, memory_order_acq_rel);
	mfd_assert(left > 0);
	atomic_store(&p->untidy, 1);
	mfd_pager_wake(p); /* to tidy up, and to see whether that was all */
}

/*
 * Nothing is released before the restore is final (giveback), since it could fail and be tried
 * again.
 */
void mfd_pager_settle(struct pager_task *t, uint64_t bit, uint64_t n, enum pager_how how)
{
	int giveback = how != PAGER_LEFT_ZERO && t->giveback && !atomic_load(&t->fam->forked);
	uint64_t first = bit, end = bit + n, total = 0;
	unsigned count;

	mfd_assert(end <= t->fam->img.bits);
	mfd_assert(!giveback || mfd_pager_phase(t->p) >= PAGER_OPENING);
	for (; bit < end; bit += count) {
		uint64_t mask = mask_of(bit, end, &count);
		uint64_t old =
			atomic_fetch_or_explicit(&t->settled[bit / 64], mask, memory_order_acq_rel);

		total += (unsigned)__builtin_popcountll(mask & ~old);
		if (giveback)
			release_fresh(t, bit - bit % 64, mask & ~old);
	}
	if (how != PAGER_LEFT_ZERO) /* a task that waits for that is not woken by it */
		mfd_wait_over(t, first, n, how == PAGER_PUT);
	settle_count(t, total, how);
}

void mfd_pager_drop_rest(struct pager_task *t)
{
	settle_count(t, atomic_load(&t->left), PAGER_DROPPED);
	mfd_assert(!atomic_load(&t->left));
}

/*
 * Bits that are set by now were set while nothing was given back; a thread that sets one later
 * gives its page back itself.
 */
void mfd_pager_giveback(struct pager_task *t)
{
	uint64_t bits = t->fam->img.bits, bit = 0, end;

	mfd_assert(t->settled && t->fam);
	mfd_assert(!t->giveback || atomic_load(&t->fam->forked));
	while (bit < bits && !atomic_load(&t->fam->forked)) {
		end = bit;
		if (!mfd_pager_unsettled(t, &end, bits))
			end = bits;
		if (end > bit)
			release(t, bit, end - bit);
		bit = end;
		bit += mfd_pager_unsettled(t, &end, bits);
	}
	t->giveback = 1;
}

/* ---- pages that a task waits for ---- */

int mfd_pager_is_wanted(const struct pager_family *f, uint64_t bit, uint64_t n)
{
	uint64_t end = bit + n;
	unsigned count;

	if (!f->wanted)
		return 0;
	for (; bit < end; bit += count)
		if (atomic_load_explicit(&f->wanted[bit / 64], memory_order_acquire) &
		    mask_of(bit, end, &count))
			return 1;
	return 0;
}

void mfd_pager_family_sync(struct pager_family *f)
{
	pthread_mutex_lock(&f->lock);
	pthread_mutex_unlock(&f->lock);
}
