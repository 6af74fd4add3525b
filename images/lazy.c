// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which tasks a dump holds and which of their pages are lazy, from pstree.img, pagemap-PID.img and
 * mm-PID.img.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "grow.h"
#include "image.h"
#include "images/criu.pb-c.h"
#include "why.h"

#define PAGE	  4096ULL
#define MAX_VADDR (1ULL << 56) /* no task can have memory there */

static void free_message(void *msg)
{
	if (msg)
		protobuf_c_message_free_unpacked(msg, NULL);
}

struct lazy_scan {
	int dirfd;
	uint32_t task;
	const char **why;
	MfdCriu__MmEntry *mm;
	size_t vma;   /* first mapping that may still hold pages: both images ascend */
	uint64_t end; /* of the last entry */
	struct mfd_lazy_range *ranges;
	size_t n, range_vma; /* the mapping of the last range */
};

static int add_range(struct lazy_scan *s, uint64_t start, uint64_t end)
{
	struct mfd_lazy_range *last = s->n ? &s->ranges[s->n - 1] : NULL;

	if (last && s->range_vma == s->vma && last->start + last->pages * PAGE == start) {
		last->pages += (end - start) / PAGE;
		return 0;
	}
	if (mfd_grow(&s->ranges, s->n, sizeof(*s->ranges)))
		return -ENOMEM;
	s->ranges[s->n++] =
		(struct mfd_lazy_range){ .start = start, .pages = (end - start) / PAGE };
	s->range_vma = s->vma;
	return 0;
}

/* Cut [start, end) at the mappings; 1 when a part of it lies in none. */
static int cut_range(struct lazy_scan *s, uint64_t start, uint64_t end)
{
	const MfdCriu__VmaEntry *v;
	uint64_t part;

	while (start < end) {
		while (s->vma < s->mm->n_vmas && s->mm->vmas[s->vma]->end <= start)
			s->vma++;
		if (s->vma == s->mm->n_vmas)
			return 1;
		v = s->mm->vmas[s->vma];
		if (start < v->start)
			return 1;
		part = end < v->end ? end : v->end;
		if (add_range(s, start, part))
			return -ENOMEM;
		start = part;
	}
	return 0;
}

static int add_entry(struct lazy_scan *s, const MfdCriu__PagemapEntry *e)
{
	uint64_t pages = e->has_nr_pages ? e->nr_pages : e->compat_nr_pages;
	int ret;

	if (e->vaddr % PAGE || e->vaddr < s->end || e->vaddr >= MAX_VADDR ||
	    pages > (MAX_VADDR - e->vaddr) / PAGE)
		return mfd_image_why(
			s->why, -EBADMSG,
			"pagemap-%u.img: %llu pages at 0x%llx are out of order or of bounds",
			s->task, (unsigned long long)pages, (unsigned long long)e->vaddr);
	s->end = e->vaddr + pages * PAGE;
	if (!(e->flags & MFD_PE_LAZY))
		return 0;
	ret = cut_range(s, e->vaddr, s->end);
	if (ret > 0)
		return mfd_image_why(
			s->why, -EBADMSG,
			"pagemap-%u.img: lazy pages at 0x%llx are in no mapping of mm-%u.img",
			s->task, (unsigned long long)e->vaddr, s->task);
	return ret;
}

static int check_mm(const MfdCriu__MmEntry *mm, uint32_t task, const char **why)
{
	uint64_t end = 0;

	for (size_t i = 0; i < mm->n_vmas; i++) {
		const MfdCriu__VmaEntry *v = mm->vmas[i];

		/*
		 * the vsyscall page, at the top, is out of bounds and harmless: nothing lazy can be
		 * there
		 */
		if (v->start < end || v->end <= v->start || v->start % PAGE || v->end % PAGE)
			return mfd_image_why(
				why, -EBADMSG,
				"mm-%u.img: the mapping at 0x%llx is out of order or of bounds",
				task, (unsigned long long)v->start);
		end = v->end;
	}
	return 0;
}

/*
 * Guard regions (MADV_GUARD_INSTALL) are listed as if they were mappings, inside the mapping that
 * they are a part of. They hold no pages.
 */
static void drop_guards(MfdCriu__MmEntry *mm)
{
	size_t kept = 0;

	for (size_t i = 0; i < mm->n_vmas; i++) {
		if (mm->vmas[i]->status & MFD_VMA_GUARD)
			mfd_criu__vma_entry__free_unpacked(mm->vmas[i], NULL);
		else
			mm->vmas[kept++] = mm->vmas[i];
	}
	mm->n_vmas = kept;
}

static int read_mm(int dirfd, uint32_t task, MfdCriu__MmEntry **mm, const char **why)
{
	ProtobufCMessage *msg;
	char name[32];
	int ret;

	snprintf(name, sizeof(name), "mm-%u.img", task);
	ret = mfd_image_first(dirfd, name, MFD_IMAGE_MM, &msg, why);
	if (ret == -ENOENT) /* the caller would take it for a zombie */
		return mfd_image_why(why, -EBADMSG, "%s is missing, and pagemap-%u.img is there",
				     name, task);
	if (ret <= 0)
		return ret ? ret : mfd_image_why(why, -EBADMSG, "%s: no entry", name);
	*mm = (MfdCriu__MmEntry *)msg;
	drop_guards(*mm);
	return check_mm(*mm, task, why);
}

/*
 * The head says which pages-N.img belongs to the pagemap; the mappings are read when it has come,
 * so that a task without a pagemap needs none.
 */
static int each_of_pagemap(void *ctx, ProtobufCMessage **msg)
{
	struct lazy_scan *s = ctx;

	if ((*msg)->descriptor == &mfd_criu__pagemap_head__descriptor)
		return read_mm(s->dirfd, s->task, &s->mm, s->why);
	return add_entry(s, (MfdCriu__PagemapEntry *)*msg);
}

int mfd_image_lazy_ranges(int dirfd, uint32_t task, struct mfd_lazy_range **ranges, size_t *n,
			  const char **why)
{
	struct lazy_scan s = { .dirfd = dirfd, .task = task, .why = why };
	char name[32];
	int ret;

	*ranges = NULL;
	*n = 0;
	snprintf(name, sizeof(name), "pagemap-%u.img", task);
	ret = mfd_image_each(dirfd, name, MFD_IMAGE_PAGEMAP, each_of_pagemap, &s, why);
	if (!ret && !s.mm)
		ret = mfd_image_why(why, -EBADMSG, "the pagemap image has no head");
	free_message(s.mm);
	if (ret) {
		free(s.ranges);
		return ret;
	}
	*ranges = s.ranges;
	*n = s.n;
	return 0;
}

struct tasks {
	uint32_t *pids;
	size_t n;
};

static int each_of_pstree(void *ctx, ProtobufCMessage **msg)
{
	struct tasks *t = ctx;
	int ret = mfd_grow(&t->pids, t->n, sizeof(*t->pids));

	if (!ret)
		t->pids[t->n++] = ((MfdCriu__PstreeEntry *)*msg)->pid;
	return ret;
}

static int by_pid(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

/* A task that stood there a million times would be looked at as often. */
static int check_once(const struct tasks *t, const char **why)
{
	uint32_t *sorted = t->n ? malloc(t->n * sizeof(*sorted)) : NULL;
	int ret = t->n && !sorted ? -ENOMEM : 0;

	if (sorted) {
		memcpy(sorted, t->pids, t->n * sizeof(*sorted));
		qsort(sorted, t->n, sizeof(*sorted), by_pid);
	}
	for (size_t i = 1; !ret && i < t->n; i++)
		if (sorted[i] == sorted[i - 1])
			ret = mfd_image_why(why, -EBADMSG, "pstree.img: task %u is there twice",
					    sorted[i]);
	free(sorted);
	return ret;
}

int mfd_image_tasks(int dirfd, uint32_t **pids, size_t *n, const char **why)
{
	struct tasks t = { 0 };
	int ret = mfd_image_each(dirfd, "pstree.img", MFD_IMAGE_PSTREE, each_of_pstree, &t, why);

	if (!ret)
		ret = check_once(&t, why);
	if (ret) {
		free(t.pids);
		t = (struct tasks){ 0 };
	}
	*pids = t.pids;
	*n = t.n;
	return ret;
}

#define TASK_STOPPED 3 /* CRIU's COMPEL_TASK_STOPPED */

int mfd_image_was_stopped(int dirfd, uint32_t task)
{
	const MfdCriu__CoreEntry *e;
	ProtobufCMessage *msg;
	char name[40];
	int stopped;

	snprintf(name, sizeof(name), "core-%u.img", task);
	if (mfd_image_first(dirfd, name, MFD_IMAGE_CORE, &msg, NULL) != 1)
		return 0;
	e = (const MfdCriu__CoreEntry *)msg;
	stopped = e->tc && e->tc->task_state == TASK_STOPPED;
	free_message(msg);
	return stopped;
}
