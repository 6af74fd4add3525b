// SPDX-License-Identifier: GPL-2.0-only
/*
 * Huge pages, while no restored task can run.
 *
 * UFFDIO_COPY puts in pages of 4 KiB and nothing else.  From the end of an early restore to READY
 * no task can run, though, and nothing of theirs is the only copy: when anything fails, they are
 * killed.  So a block of 2 MiB need not be watched: it is unregistered from userfaultfd and written
 * with process_vm_writev, whose first touch gets a huge page if the kernel gives them
 * (transparent_hugepage = always, or the process has asked with MADV_HUGEPAGE, which CRIU
 * restores).  A GiB takes 0.08 s then instead of 0.2, and the process has its huge pages at once,
 * before khugepaged comes to it.
 *
 * What is not there yet in such an open block reads as zeros.  So before the tasks may run, and
 * before the pager of another process might have to serve them (READY), mfd_pager_make_whole fills
 * each open block.  Blocks of which anything is in already, or that have zero pages here and there,
 * and everything else go the ordinary way.
 *
 * Unregistering a block splits its mapping.  The pieces become one again with the next block, or
 * when the userfaultfd closes, if they share what the kernel calls an anon_vma, which a mapping has
 * from its first page on.  So the first page of each area goes the ordinary way before any block is
 * opened, else a process would be left with many mappings instead of one (mremap over them fails).
 *
 * Not done: MADV_COLLAPSE where the kernel would not give huge pages by itself.  It costs as
 * little, but each call waits until every processor has drained its lists (lru_add_drain_all): a
 * migration took 10 to 20 % longer.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/pidfd.h>
#include <sys/uio.h>
#include <unistd.h>

#include "log.h"
#include "pager_int.h"
#include "thp.h"
#include "uffd.h"

#define BLOCK_PAGES (MFD_THP_SIZE / PAGER_PAGE)
#define WORD_LOCKS  16U
/* pages that have come of a block when its first is put in, else it stays ordinary */
#define LEAST_DATA    64U
#define ZEROS_OF_DATA 8U /* an eighth of them may be zero besides */

/* Of a block: decided once (decide), before anything of it but zeros is put in. */
enum { FRESH, OPEN, ORDINARY };

struct area { /* whole blocks that lie in one interval */
	uint64_t cur, bit, blocks;
	size_t first; /* of its blocks in state */
	/*
	 * A page of it was put in the ordinary way: stored by mfd_huge_prime after that, loaded by
	 * decide.  No phase: each area for itself, for good.
	 */
	atomic_int primed;
};

struct pager_huge {
	int pid, pidfd;
	struct area *areas;
	size_t n;
	pthread_mutex_t lock; /* held by the thread that decides about a block */
	/*
	 * Held by the thread that writes into these 64 pages of an open block.  Nothing but the
	 * bits keeps two threads from writing the same page, and the second from taking it out of a
	 * place of the store that the first has given back.
	 */
	pthread_mutex_t word[WORD_LOCKS];
	/* of all blocks: stored with release under lock, after the block is unregistered */
	_Atomic uint8_t state[];
};

/* ---- where ---- */

/* Whole blocks of what `r` and `v` have in common; 0: none. */
static int common(const struct mfd_range *r, const struct mfd_thp_area *v, struct area *a)
{
	uint64_t from = r->cur > v->start ? r->cur : v->start, to = r->cur + r->pages * PAGER_PAGE;

	from = (from + MFD_THP_SIZE - 1) & ~(MFD_THP_SIZE - 1);
	to = (to < v->end ? to : v->end) & ~(MFD_THP_SIZE - 1);
	if (from >= to)
		return 0;
	*a = (struct area){ .cur = from,
			    .bit = r->bit + (from - r->cur) / PAGER_PAGE,
			    .blocks = (to - from) / MFD_THP_SIZE };
	return 1;
}

/*
 * The areas that both lists, which are in the order of addresses, have in common.  `list` has room
 * for all of both; *blocks = of the areas together.
 */
static size_t intersect(const struct pager_task *t, const struct mfd_thp_areas *vmas,
			struct area *list, size_t *blocks)
{
	const struct mfd_range *r = t->ranges.by_cur, *r_end = r + t->ranges.n;
	const struct mfd_thp_area *v = vmas->v, *v_end = v + vmas->n;
	size_t n = 0;

	*blocks = 0;
	while (r < r_end && v < v_end) {
		if (common(r, v, &list[n])) {
			list[n].first = *blocks;
			*blocks += list[n++].blocks;
		}
		if (r->cur + r->pages * PAGER_PAGE < v->end)
			r++;
		else
			v++;
	}
	return n;
}

/* NULL: there is none, or no memory. */
static struct pager_huge *new_huge(const struct pager_task *t, const struct mfd_thp_areas *vmas,
				   int pidfd)
{
	struct area *areas = calloc(t->ranges.n + vmas->n, sizeof(*areas));
	size_t blocks = 0, n = areas ? intersect(t, vmas, areas, &blocks) : 0;
	struct pager_huge *s = n ? calloc(1, sizeof(*s) + blocks) : NULL;

	if (!s) {
		free(areas);
		return NULL;
	}
	s->areas = areas;
	s->n = n;
	s->pid = t->pid;
	s->pidfd = pidfd;
	pthread_mutex_init(&s->lock, NULL);
	for (unsigned i = 0; i < WORD_LOCKS; i++)
		pthread_mutex_init(&s->word[i], NULL);
	return s;
}

void mfd_huge_free(struct pager_task *t)
{
	struct pager_huge *s = t->huge;

	mfd_assert(!s || s->pidfd >= 0);
	mfd_assert(!s || s->areas);
	t->huge = NULL;
	if (!s)
		return;
	close(s->pidfd);
	pthread_mutex_destroy(&s->lock);
	for (unsigned i = 0; i < WORD_LOCKS; i++)
		pthread_mutex_destroy(&s->word[i]);
	free(s->areas);
	free(s);
}

static int may_hold_a_block(const struct pager_task *t)
{
	for (size_t i = 0; i < t->ranges.n; i++)
		if (t->ranges.by_cur[i].pages >= BLOCK_PAGES)
			return 1;
	return 0;
}

/* The kernel looks at the caller's rights before the address, which is the kernel's own. */
static int may_write(int pid)
{
	char c = 0;
	struct iovec from = { &c, 1 }, to = { (void *)-4096L, 1 };

	return process_vm_writev(pid, &from, 1, &to, 1, 0) < 0 && errno == EFAULT;
}

/* A task whose mappings cannot be read gets ordinary pages. */
void mfd_huge_look(struct pager_task *t)
{
	struct mfd_thp_areas vmas;
	int pidfd;

	mfd_assert(!t->huge);
	mfd_assert(!mfd_pager_is_open(t->p));
	if (t->uffd < 0 || !t->pid || !may_hold_a_block(t))
		return;
	pidfd = pidfd_open(t->pid, 0);
	if (pidfd < 0)
		return;
	/*
	 * After the descriptor: should the process have ended, another one's mappings are of no use
	 * to it.
	 */
	if (may_write(t->pid) && !mfd_thp_areas(t->pid, &vmas)) {
		t->huge = new_huge(t, &vmas, pidfd);
		mfd_thp_free(&vmas);
	}
	if (!t->huge)
		close(pidfd);
}

/* ---- writing ---- */

/*
 * The process cannot have ended and its number be another's: it was there a moment ago, and numbers
 * come round only after tens of thousands of others.  -ESRCH: it has ended.
 */
static int write_task(const struct pager_huge *s, uint64_t cur, const void *src, uint64_t len)
{
	struct iovec from = { (void *)(uintptr_t)src, len }, to = { (void *)(uintptr_t)cur, len };
	ssize_t n;

	if (pidfd_send_signal(s->pidfd, 0, NULL, 0))
		return -errno;
	n = process_vm_writev(s->pid, &from, 1, &to, 1, 0);
	if (n == (ssize_t)len)
		return 0;
	/* No memory for a page: EFAULT, or less than all is written; it may be tried again. */
	return n < 0 && errno == ESRCH ? -ESRCH : -ENOMEM;
}

/*
 * Nonzero if nothing of it is in but zeros, as which it reads anyhow, and if most of what has come
 * so far is data: a block whose pages are zero here and there would become memory as a whole.
 */
static int is_worth_it(const struct pager_task *t, const struct area *a, uint64_t block)
{
	uint64_t start = a->bit + block * BLOCK_PAGES, end = start + BLOCK_PAGES, at, n, word;
	const struct mfd_range *r = mfd_ranges_from_bit(&t->fam->img, start);
	uint64_t data = 0, zeros = 0;

	for (at = start; at < end; at += n) {
		enum mfd_page_state state;
		uint64_t open = at;

		n = mfd_pager_state(t->fam, r->img + (at - r->bit) * PAGER_PAGE, end - at, &word);
		state = mfd_page_state(word);
		if (state != MFD_PAGE_ZERO && mfd_pager_unsettled(t, &open, at + n) != n)
			return 0;
		data += state == MFD_PAGE_STORED || state == MFD_PAGE_DIRECT ? n : 0;
		zeros += state == MFD_PAGE_ZERO ? n : 0;
	}
	return data >= LEAST_DATA && zeros <= data / ZEROS_OF_DATA;
}

/* Once for each block, before anything of it but zeros is put in. */
static void decide(struct pager_task *t, const struct area *a, uint64_t block)
{
	struct pager_huge *s = t->huge;
	_Atomic uint8_t *state = &s->state[a->first + block];
	int is = ORDINARY;

	mfd_assert(s);
	mfd_assert(block < a->blocks);
	pthread_mutex_lock(&s->lock);
	if (atomic_load_explicit(state, memory_order_relaxed) == FRESH) {
		if (mfd_pager_phase(t->p) == PAGER_STOPPED && atomic_load(&a->primed) &&
		    is_worth_it(t, a, block) &&
		    !mfd_uffd_unregister(t->uffd, a->cur + block * MFD_THP_SIZE, MFD_THP_SIZE)) {
			atomic_fetch_add_explicit(&t->p->blocks, 1, memory_order_relaxed);
			is = OPEN;
		}
		atomic_store_explicit(state, is, memory_order_release);
	}
	pthread_mutex_unlock(&s->lock);
}

/* The area that holds `cur`, or the next one; NULL: none. */
static struct area *find(const struct pager_huge *s, uint64_t cur)
{
	size_t lo = 0, hi = s->n;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (s->areas[mid].cur + s->areas[mid].blocks * MFD_THP_SIZE > cur)
			hi = mid;
		else
			lo = mid + 1;
	}
	return lo < s->n ? &s->areas[lo] : NULL;
}

/* Write what is not settled yet of n pages within a word of bits. */
static int put_open(struct pager_task *t, uint64_t bit, uint64_t cur, uint64_t n, const char *src)
{
	pthread_mutex_t *word = &t->huge->word[bit / 64 % WORD_LOCKS];
	uint64_t end = bit + n, at = bit, run;
	int ret = 0;

	mfd_assert(bit + n <= t->fam->img.bits);
	mfd_assert(n && bit / 64 == (end - 1) / 64);
	pthread_mutex_lock(word);
	for (; !ret && (run = mfd_pager_unsettled(t, &at, end)); at += run) {
		/* Zero is what it reads as. */
		if (src)
			ret = write_task(t->huge, cur + (at - bit) * PAGER_PAGE,
					 src + (at - bit) * PAGER_PAGE, run * PAGER_PAGE);
		if (!ret)
			mfd_pager_settle(t, at, run, PAGER_PUT);
	}
	pthread_mutex_unlock(word);
	if (!ret && src && atomic_load_explicit(&t->p->starved, memory_order_relaxed))
		atomic_store_explicit(&t->p->starved, 0, memory_order_relaxed);
	return ret;
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

int mfd_huge_put(struct pager_task *t, uint64_t bit, uint64_t cur, uint64_t *n, const void *src)
{
	const struct area *a = find(t->huge, cur);
	_Atomic uint8_t *state;
	uint64_t block;

	if (!a)
		return 1;
	if (cur < a->cur) {
		*n = least(*n, (a->cur - cur) / PAGER_PAGE);
		return 1;
	}
	block = (cur - a->cur) / MFD_THP_SIZE;
	*n = least(*n, (a->cur + (block + 1) * MFD_THP_SIZE - cur) / PAGER_PAGE);
	state = &t->huge->state[a->first + block];
	if (src && atomic_load_explicit(state, memory_order_acquire) == FRESH)
		decide(t, a, block);
	if (atomic_load_explicit(state, memory_order_acquire) != OPEN)
		return 1;
	*n = least(*n, 64 - bit % 64);
	return put_open(t, bit, cur, *n, src);
}

void mfd_huge_prime(struct pager_task *t, uint64_t cur)
{
	struct area *a = find(t->huge, cur);

	if (a && cur >= a->cur && !atomic_load_explicit(&a->primed, memory_order_relaxed))
		atomic_store(&a->primed, 1);
}

/* ---- closing ---- */

int mfd_huge_next_open(const struct pager_huge *s, size_t *at, uint64_t *bit)
{
	for (size_t i = 0; i < s->n; i++) {
		const struct area *a = &s->areas[i];

		for (; *at < a->first + a->blocks; ++*at) {
			if (atomic_load(&s->state[*at]) != OPEN)
				continue;
			*bit = a->bit + (*at - a->first) * BLOCK_PAGES;
			++*at;
			return 1;
		}
	}
	return 0;
}
