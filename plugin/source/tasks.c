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

static void close_late(struct mfd_task *k)
{
	if (k->late && k->late->scan)
		scan_done(k->late);
	free(k->late);
	k->late = NULL;
	k->all->late -= k->old > 0;
	k->old = 0;
}

void mfd_tasks_fini(struct mfd_tasks *t)
{
	for (unsigned i = 0; i < t->n; i++) {
		if (t->task[i]->scan)
			scan_done(t->task[i]);
		mfd_pagelist_free(&t->task[i]->list);
		close_late(t->task[i]);
		mfd_pageread_close(&t->task[i]->reader);
		mfd_pagetable_free(atomic_load(&t->task[i]->answered));
		if (!t->task[i]->tracked)
			mfd_pagetable_free(t->task[i]->sent);
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

	if (v->start == w->start && len_v == len_w)
		return (v->look > w->look) - (v->look < w->look);
	return len_v != len_w ? (len_v > len_w) - (len_v < len_w) :
				(v->start > w->start) - (v->start < w->start);
}

/* Of a tracked one only what was written since the rounds, or is not tracked. */
static int split(struct mfd_tasks *t, struct mfd_task *k, int compare)
{
	if (!t->tracked)
		return 0;
	k->tracked = mfd_tracked_find(t->tracked, k->id->pid);
	if (!k->tracked)
		return 0;
	k->sent = k->tracked->sent;
	return mfd_track_stopped(&k->tracked->track, &k->vmas,
				 compare && (t->tracked->check || k->tracked->suspect));
}

static int open_scan(struct mfd_tasks *t, struct mfd_task *k, int compare, struct mfd_error *err)
{
	int ret = mfd_pagescan_vmas(k->id->pid, &k->vmas, err);

	if (!ret && (ret = split(t, k, compare)))
		mfd_error_sys(err, ret, "task %d", k->id->pid);
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
	k->all = t;
	ret = mfd_pageread_open(&k->reader, id->pid, err);
	if (ret)
		goto err_free;
	if (scan) {
		ret = open_scan(t, k, 1, err);
		if (ret)
			goto err_reader;
	}
	if (t->tracked && scan) {
		k->old = mfd_tracked_has_sent(t->tracked, id->vpid);
		if (!k->sent && !(k->sent = mfd_pagetable_new()))
			ret = -ENOMEM;
	}
	if (!ret)
		ret = append(t, k);
	t->late += !ret && k->old;
	if (ret) {
		mfd_error_sys(err, ret, "task %d", id->pid);
		goto err_scan;
	}
	*out = k;
	return 0;
err_scan:
	if (!k->tracked)
		mfd_pagetable_free(k->sent);
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

#define MAX_RUNS ((int)(sizeof(((struct mfd_task *)0)->runs) / sizeof(struct mfd_run)))

static int compare(struct mfd_tasks *t, struct mfd_task *k, int n)
{
	struct mfd_suspects_count *count = k->tracked->suspect ? &t->suspects : &t->others, again;

	if (k->old < 0) /* the late look: they count once */
		count = &again;
	return mfd_suspects_differ(&k->reader, k->sent, k->runs, n, MAX_RUNS, count);
}

static int look_on(struct mfd_tasks *t, struct mfd_task *k, const struct mfd_vma *v)
{
	int n = mfd_pagescan_look(k->scan, (enum mfd_look)v->look, 0);

	if (!n)
		n = mfd_pagescan_next(k->scan, &k->pos, v->end, k->runs, MAX_RUNS);
	if (n > 0 && v->look == MFD_LOOK_CLEAN)
		n = compare(t, k, n);
	return n;
}

/* Runs of that mapping, all before are taken: 1, 0 when there is none, -errno. */
static int scan_more(struct mfd_tasks *t, struct mfd_task *k, int exec, uint64_t longest)
{
	const struct mfd_vma *v;

	while ((v = current_vma(k, exec, longest))) {
		int n = look_on(t, k, v);

		if (n < 0)
			return n;
		if (!exec && v->look == MFD_LOOK_ALL)
			mfd_pagecold_upto(&k->cold, v->start, v->end, k->pos);
		k->run = 0;
		k->nruns = n;
		if (n)
			return 1;
	}
	return 0;
}

/*
 * The target has its last copy, which was sent in a round: the late look has found it clean, and
 * images may be on their way.  What comes behind them does not replace it, so that its round would
 * not be the one noted here, however the page is found by now: ksmd takes the protection of a
 * frozen task's page away when it merges it.
 */
static int is_settled(const struct mfd_task *k, uint64_t vaddr)
{
	uint64_t word;

	if (!k->sent || !k->all->overtaken || k->old)
		return 0;
	word = mfd_pagetable_get(k->sent, vaddr / MFD_WIRE_PAGE_SIZE);
	return word && mfd_sentpages_round(word) < mfd_tasks_round(k->all);
}

/* Cut settled ones off the run's first `max` pages; of the others how many come next. */
static uint64_t unsettled(const struct mfd_task *k, struct mfd_run *r, uint64_t max)
{
	uint64_t n = 0;

	for (; max && is_settled(k, r->vaddr); max--, r->pages--)
		r->vaddr += MFD_WIRE_PAGE_SIZE;
	while (n < max && !is_settled(k, r->vaddr + n * MFD_WIRE_PAGE_SIZE))
		n++;
	return n;
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

		if (!answered) {
			if (n > max_pages - p->pages.npages)
				n = max_pages - p->pages.npages;
			if (k->sent)
				n = unsettled(k, r, n);
		}
		if (answered)
			skipped += n;
		else if (n)
			take_run(p, r->vaddr, n);
		r->vaddr += n * MFD_WIRE_PAGE_SIZE;
		r->pages -= n;
		if (!r->pages)
			k->run++;
	}
	return skipped;
}

static int fill_from(struct mfd_tasks *t, struct mfd_task *k, int exec, uint64_t longest,
		     struct mfd_payload *p, uint32_t max_pages, uint64_t *skipped,
		     struct mfd_error *err)
{
	p->type = MFD_PAYLOAD_PAGES;
	p->pages.runs = p->runs_memory;
	p->pages.nruns = p->pages.npages = 0;
	p->pages.reader = &k->reader;
	p->pages.task = k->id->vpid;
	p->sent = k->sent;
	p->round = mfd_tasks_round(t);
	p->hash = 0;
	while (p->pages.npages < max_pages && p->pages.nruns < MFD_WIRE_MAX_RUNS) {
		int more;

		*skipped += take_runs(k, p, max_pages);
		if (k->run < k->nruns)
			break;
		more = scan_more(t, k, exec, longest);
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
	int ret = fill_from(k->all, k, 1, UINT64_MAX, p, max_pages, &skipped, err);

	if (!ret)
		rewind_scan(k);
	return ret;
}

uint32_t mfd_tasks_round(const struct mfd_tasks *t)
{
	return t->tracked ? t->tracked->rounds + 1 : 0;
}

/* ---- the late look ---- */

/* The same task once more, with a search of its own. */
static int open_late(struct mfd_tasks *t, struct mfd_task *k, struct mfd_error *err)
{
	k->late = calloc(1, sizeof(*k->late));
	if (!k->late)
		return mfd_error_sys(err, -ENOMEM, "task %d", k->id->pid);
	*k->late = (struct mfd_task){ .id = k->id, .all = t, .reader = k->reader, .old = -1 };
	return open_scan(t, k->late, t->overtaken, err);
}

/* It was sent in a round, and not since; or by a process that had the same number before. */
static int is_old(const struct mfd_tasks *t, const struct mfd_task *k, uint64_t vaddr)
{
	uint64_t word = mfd_pagetable_get(k->sent, vaddr / MFD_WIRE_PAGE_SIZE);

	if (word)
		return mfd_sentpages_round(word) < mfd_tasks_round(t);
	return mfd_tracked_sent_by_another(t->tracked, k->id->vpid, k->sent, vaddr);
}

/* Of n pages the first ones that are old: how many; *skip come before them. */
static uint64_t old_ones(const struct mfd_tasks *t, const struct mfd_task *k, uint64_t vaddr,
			 uint64_t n, uint64_t *skip)
{
	uint64_t found = 0;

	for (*skip = 0; *skip + found < n; vaddr += MFD_WIRE_PAGE_SIZE) {
		if (is_old(t, k, vaddr))
			found++;
		else if (found)
			break;
		else
			++*skip;
	}
	return found;
}

/* Leave only such pages in the payload; without any it is empty. */
static void keep_old(const struct mfd_tasks *t, const struct mfd_task *k, struct mfd_payload *p)
{
	struct mfd_run runs[MFD_WIRE_MAX_RUNS];
	uint32_t n = p->pages.nruns;

	memcpy(runs, p->pages.runs, n * sizeof(*runs));
	p->pages.nruns = p->pages.npages = 0;
	for (uint32_t i = 0; i < n; i++) {
		uint64_t skip, found, at = 0;

		for (; at < runs[i].pages; at += skip + found) {
			uint64_t vaddr = runs[i].vaddr + at * MFD_WIRE_PAGE_SIZE;

			found = old_ones(t, k, vaddr, runs[i].pages - at, &skip);
			if (found)
				take_run(p, vaddr + skip * MFD_WIRE_PAGE_SIZE, found);
		}
	}
	if (!p->pages.npages)
		mfd_payload_reset(p);
}

/* What the rounds have sent of these pages is worth nothing from here on. */
static int make_stale(struct mfd_tasks *t, struct mfd_task *k, struct mfd_payload *p)
{
	int ret = 0;

	p->type = MFD_PAYLOAD_STALE;
	for (uint32_t i = 0; i < p->pages.nruns && !ret; i++)
		ret = mfd_sentpages_note(k->sent, p->pages.runs[i].vaddr, p->pages.runs[i].pages,
					 mfd_tasks_round(t), NULL);
	return ret;
}

static int fill_late_of(struct mfd_tasks *t, struct mfd_task *k, struct mfd_payload *p,
			uint32_t max_pages, struct mfd_error *err)
{
	uint64_t skipped = 0;
	int ret = k->late ? 0 : open_late(t, k, err);

	while (!ret && k->old <= 2) {
		ret = fill_from(t, k->late, k->old == 2, UINT64_MAX, p, max_pages, &skipped, err);
		if (ret > 0) {
			keep_old(t, k, p);
			ret = p->type != MFD_PAYLOAD_NONE;
		} else if (!ret) {
			rewind_scan(k->late);
			k->old++;
		}
	}
	if (ret > 0) {
		p->pages.reader = &k->reader;
		p->sent = k->sent;
		return t->overtaken && make_stale(t, k, p) ?
			       mfd_error_sys(err, -ENOMEM, "precopy") :
			       1;
	}
	close_late(k);
	return ret;
}

int mfd_tasks_fill_late(struct mfd_tasks *t, struct mfd_payload *p, uint32_t max_pages,
			struct mfd_error *err)
{
	int ret = 0;

	for (unsigned i = 0; i < t->n && !ret; i++)
		if (t->task[i]->old)
			ret = fill_late_of(t, t->task[i], p, max_pages, err);
	return ret;
}

int mfd_tasks_has_late(const struct mfd_tasks *t)
{
	return t->late > 0;
}

/* ---- */

static int is_through(const struct mfd_task *k)
{
	return !k->scan || (k->run == k->nruns && k->vma == k->vmas.n);
}

static int fill_of_any(struct mfd_tasks *t, uint64_t longest, struct mfd_payload *p,
		       uint32_t max_pages, struct mfd_error *err)
{
	for (unsigned i = t->current; i < t->n; i++) {
		struct mfd_task *k = t->task[i];
		int ret = k->scan ? fill_from(t, k, 0, longest, p, max_pages, &t->skipped, err) : 0;

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
	struct mfd_pagetable *done = atomic_load_explicit(&k->answered, memory_order_relaxed);

	if (k->sent) /* without memory for it the target finds the sum to be wrong */
		(void)mfd_sentpages_note_new(k->sent, vaddr, pages, mfd_tasks_round(k->all));
	if (!done) {
		done = mfd_pagetable_new();
		atomic_store_explicit(&k->answered, done, memory_order_release);
	}
	if (done)
		(void)mfd_pagetable_set(done, vaddr / MFD_WIRE_PAGE_SIZE, pages,
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

/* A tracked one's are there once for each look. */
int mfd_tasks_mappings(const struct mfd_task *k, struct mfd_vmas *out)
{
	*out = (struct mfd_vmas){ .v = calloc(k->vmas.n + 1, sizeof(*out->v)) };
	if (!out->v)
		return -ENOMEM;
	for (size_t i = 0; i < k->vmas.n; i++)
		if (k->vmas.v[i].look == MFD_LOOK_ALL || k->vmas.v[i].look == MFD_LOOK_WRITTEN)
			out->v[out->n++] = k->vmas.v[i];
	out->bytes = k->vmas.bytes;
	return 0;
}
