// SPDX-License-Identifier: GPL-2.0-only
/*
 * The frozen tasks: scanning their mappings and cutting what is populated into payloads.
 *
 * Small mappings first, of all tasks: stacks, the data of programs and libraries.  A task that runs
 * again, in postcopy while its pages still come, needs them at once, and each that is not there yet
 * costs a way to the source and back.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io.h"
#include "tasks.h"

#define SMALL (8ULL << 20) /* the stack of a thread */

void mfd_tasks_init(struct mfd_tasks *t, struct mfd_shared *shared)
{
	*t = (struct mfd_tasks){ .lock = PTHREAD_MUTEX_INITIALIZER, .shared = shared };
}

static void scan_done(struct mfd_task *k)
{
	mfd_pagescan_close(k->scan);
	mfd_pagecold_close(&k->cold);
	k->scan = NULL;
	mfd_pagescan_vmas_free(&k->vmas);
}

void mfd_tasks_fini(struct mfd_tasks *t)
{
	for (unsigned i = 0; i < t->n; i++) {
		if (t->task[i]->scan)
			scan_done(t->task[i]);
		mfd_pagelist_free(&t->task[i]->list);
		mfd_pageread_close(&t->task[i]->reader);
		mfd_pagetable_free(atomic_load(&t->task[i]->answered));
		free(t->task[i]);
	}
	free(t->task);
	t->task = NULL;
	t->n = 0;
}

static int make_room(struct mfd_tasks *t)
{
	struct mfd_task **bigger;
	unsigned room = t->room ? t->room * 2 : 64;

	if (t->n < t->room)
		return 0;
	bigger = realloc(t->task, room * sizeof(*bigger));
	if (!bigger)
		return -ENOMEM;
	t->task = bigger;
	t->room = room;
	return 0;
}

static int append(struct mfd_tasks *t, struct mfd_task *k)
{
	int ret;

	pthread_mutex_lock(&t->lock);
	ret = make_room(t);
	if (!ret)
		t->task[t->n++] = k;
	pthread_mutex_unlock(&t->lock);
	return ret;
}

static int by_length(const void *a, const void *b)
{
	const struct mfd_vma *v = a, *w = b;
	uint64_t len_v = v->end - v->start, len_w = w->end - w->start;

	return len_v != len_w ? (len_v > len_w) - (len_v < len_w) :
				(v->start > w->start) - (v->start < w->start);
}

static int open_scan(struct mfd_task *k, struct mfd_error *err)
{
	int ret = mfd_pagescan_vmas(k->id->pid, &k->vmas, err);

	if (ret)
		return ret;
	ret = mfd_pagescan_open(k->id->pid, 0, &k->scan, err);
	if (ret)
		mfd_pagescan_vmas_free(&k->vmas);
	else
		mfd_pagecold_open(&k->cold, k->id->pid);
	if (k->vmas.n)
		qsort(k->vmas.v, k->vmas.n, sizeof(*k->vmas.v), by_length);
	k->pos = k->vmas.n ? k->vmas.v[0].start : 0;
	for (size_t i = 0; i < k->vmas.n && !k->peek; i++)
		k->peek = k->vmas.v[i].read ? k->vmas.v[i].start : 0;
	return ret;
}

static int open_task(struct mfd_tasks *t, struct mfd_shared_task *id, int scan,
		     struct mfd_task **out, struct mfd_error *err)
{
	struct mfd_task *k = calloc(1, sizeof(*k));
	int ret;

	if (!k)
		return mfd_error_sys(err, -ENOMEM, "task %d", id->pid);
	k->id = id;
	ret = mfd_pageread_open(&k->reader, id->pid, err);
	if (ret)
		goto err_free;
	if (scan) {
		ret = open_scan(k, err);
		if (ret)
			goto err_reader;
	}
	ret = append(t, k);
	if (ret) {
		mfd_error_sys(err, ret, "task %d", id->pid);
		goto err_scan;
	}
	*out = k;
	return 0;
err_scan:
	if (k->scan)
		scan_done(k);
err_reader:
	mfd_pageread_close(&k->reader);
err_free:
	free(k);
	return ret;
}

int mfd_tasks_add(struct mfd_tasks *t, pid_t pid, struct mfd_task **out, struct mfd_error *err)
{
	unsigned n = atomic_load(&t->shared->ntasks);
	struct mfd_shared_task *id;
	int ret;

	if (n == MFD_SHARED_MAX_TASKS)
		return mfd_error_set(err, -E2BIG, "more than %u tasks", MFD_SHARED_MAX_TASKS);
	id = &t->shared->task[n];
	ret = mfd_shared_task_fill(id, pid);
	if (ret)
		return mfd_error_sys(err, ret, "task %d", pid);
	*out = NULL;
	if (mfd_shared_task_fate(id) == MFD_TASK_GONE)
		return 0;
	ret = open_task(t, id, 1, out, err);
	if (!ret)
		atomic_store(&t->shared->ntasks, n + 1);
	return ret;
}

int mfd_tasks_reopen(struct mfd_tasks *t, unsigned index, struct mfd_error *err)
{
	struct mfd_task *k;

	return open_task(t, &t->shared->task[index], 0, &k, err);
}

/*
 * The mapping the scan stands in, or the next of the wanted kind that is not done; NULL: there is
 * none of at most `longest` bytes.
 */
static const struct mfd_vma *current_vma(struct mfd_task *k, int exec, uint64_t longest)
{
	while (k->vma < k->vmas.n) {
		const struct mfd_vma *v = &k->vmas.v[k->vma];

		if (v->exec == (unsigned)exec && (k->run < k->nruns || k->pos < v->end))
			return v->end - v->start <= longest ? v : NULL;
		k->vma++;
		k->pos = k->vma < k->vmas.n ? k->vmas.v[k->vma].start : 0;
	}
	return NULL;
}

/* Runs of that mapping, all before are taken: 1, 0 when there is none, -errno. */
static int scan_more(struct mfd_task *k, int exec, uint64_t longest)
{
	const struct mfd_vma *v;

	while ((v = current_vma(k, exec, longest))) {
		int n = mfd_pagescan_next(k->scan, &k->pos, v->end, k->runs,
					  (int)(sizeof(k->runs) / sizeof(*k->runs)));

		if (n < 0)
			return n;
		if (!exec)
			mfd_pagecold_upto(&k->cold, v->start, v->end, k->pos);
		k->run = 0;
		k->nruns = n;
		if (n)
			return 1;
	}
	return 0;
}

/* How many of the run's first pages have been answered, or have not. */
static uint64_t alike(const struct mfd_task *k, const struct mfd_run *r, int *answered)
{
	const struct mfd_pagetable *t = atomic_load_explicit(&k->answered, memory_order_acquire);
	uint64_t word, n;

	*answered = 0;
	if (!t)
		return r->pages;
	n = mfd_pagetable_run(t, r->vaddr / MFD_WIRE_PAGE_SIZE, r->pages, &word);
	*answered = mfd_page_state(word) != MFD_PAGE_ABSENT;
	return n;
}

static void take_run(struct mfd_payload *p, uint64_t vaddr, uint64_t pages)
{
	p->pages.runs[p->pages.nruns++] = (struct mfd_run){ .vaddr = vaddr, .pages = pages };
	p->pages.npages += (uint32_t)pages;
}

/* Move pages from the scanned runs to the payload; returns how many were left out. */
static uint64_t take_runs(struct mfd_task *k, struct mfd_payload *p, uint32_t max_pages)
{
	uint64_t skipped = 0;

	while (k->run < k->nruns && p->pages.npages < max_pages &&
	       p->pages.nruns < MFD_WIRE_MAX_RUNS) {
		struct mfd_run *r = &k->runs[k->run];
		int answered;
		uint64_t n = alike(k, r, &answered);

		if (!answered && n > max_pages - p->pages.npages)
			n = max_pages - p->pages.npages;
		if (answered)
			skipped += n;
		else
			take_run(p, r->vaddr, n);
		r->vaddr += n * MFD_WIRE_PAGE_SIZE;
		r->pages -= n;
		if (!r->pages)
			k->run++;
	}
	return skipped;
}

static int fill_from(struct mfd_task *k, int exec, uint64_t longest, struct mfd_payload *p,
		     uint32_t max_pages, uint64_t *skipped, struct mfd_error *err)
{
	p->type = MFD_PAYLOAD_PAGES;
	p->pages.runs = p->runs_memory;
	p->pages.nruns = p->pages.npages = 0;
	p->pages.reader = &k->reader;
	p->pages.task = k->id->vpid;
	while (p->pages.npages < max_pages && p->pages.nruns < MFD_WIRE_MAX_RUNS) {
		int more;

		*skipped += take_runs(k, p, max_pages);
		if (k->run < k->nruns)
			break;
		more = scan_more(k, exec, longest);
		if (more < 0)
			return mfd_error_sys(err, more, "scanning task %d at %#llx", k->id->pid,
					     (unsigned long long)k->pos);
		if (!more)
			break;
	}
	if (!p->pages.npages)
		mfd_payload_reset(p);
	return p->pages.npages > 0;
}

static void rewind_scan(struct mfd_task *k)
{
	k->vma = 0;
	k->pos = k->vmas.n ? k->vmas.v[0].start : 0;
	k->nruns = k->run = 0;
}

int mfd_tasks_fill_exec(struct mfd_task *k, struct mfd_payload *p, uint32_t max_pages,
			struct mfd_error *err)
{
	uint64_t skipped = 0; /* no task runs anywhere else yet */
	int ret = fill_from(k, 1, UINT64_MAX, p, max_pages, &skipped, err);

	if (!ret)
		rewind_scan(k);
	return ret;
}

static int is_through(const struct mfd_task *k)
{
	return !k->scan || (k->run == k->nruns && k->vma == k->vmas.n);
}

static int fill_of_any(struct mfd_tasks *t, uint64_t longest, struct mfd_payload *p,
		       uint32_t max_pages, struct mfd_error *err)
{
	for (unsigned i = t->current; i < t->n; i++) {
		struct mfd_task *k = t->task[i];
		int ret = k->scan ? fill_from(k, 0, longest, p, max_pages, &t->skipped, err) : 0;

		if (ret)
			return ret;
	}
	return 0;
}

int mfd_tasks_fill(struct mfd_tasks *t, struct mfd_payload *p, uint32_t max_pages,
		   struct mfd_error *err)
{
	int ret = fill_of_any(t, SMALL, p, max_pages, err);

	if (!ret)
		ret = fill_of_any(t, UINT64_MAX, p, max_pages, err);
	for (; t->current < t->n && (!ret || is_through(t->task[t->current])); t->current++)
		if (t->task[t->current]->scan)
			scan_done(t->task[t->current]);
	return ret;
}

int mfd_tasks_idle(const struct mfd_tasks *t)
{
	return t->current == t->n;
}

/* Without memory for it the pages go out twice. */
void mfd_tasks_answered(struct mfd_task *k, uint64_t vaddr, uint64_t pages)
{
	struct mfd_pagetable *t = atomic_load_explicit(&k->answered, memory_order_relaxed);

	if (!t) {
		t = mfd_pagetable_new();
		atomic_store_explicit(&k->answered, t, memory_order_release);
	}
	if (t)
		(void)mfd_pagetable_set(t, vaddr / MFD_WIRE_PAGE_SIZE, pages,
					mfd_page_word(MFD_PAGE_DIRECT, 0));
}

struct mfd_task *mfd_tasks_find(struct mfd_tasks *t, uint32_t vpid)
{
	struct mfd_task *found = NULL;

	pthread_mutex_lock(&t->lock);
	for (unsigned i = 0; i < t->n && !found; i++)
		if (t->task[i]->id->vpid == vpid)
			found = t->task[i];
	pthread_mutex_unlock(&t->lock);
	return found;
}

uint64_t mfd_tasks_bytes(const struct mfd_tasks *t)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < t->n; i++)
		sum += t->task[i]->vmas.bytes;
	return sum;
}
