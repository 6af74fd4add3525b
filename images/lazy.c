// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which tasks a dump holds and which of their pages are lazy, from pstree.img, pagemap-PID.img and
 * mm-PID.img.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

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

/* Room for one more element of `size` bytes: arrays double at powers of two. */
static int grow(void *array, size_t n, size_t size)
{
	void **a = array, *more;

	if (n & (n - 1))
		return 0;
	more = reallocarray(*a, n ? 2 * n : 1, size);
	if (!more)
		return -ENOMEM;
	*a = more;
	return 0;
}

struct lazy_scan {
	const MfdCriu__MmEntry *mm;
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
	if (grow(&s->ranges, s->n, sizeof(*s->ranges)))
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

static int add_entry(struct lazy_scan *s, const MfdCriu__PagemapEntry *e, uint32_t task,
		     const char **why)
{
	uint64_t pages = e->has_nr_pages ? e->nr_pages : e->compat_nr_pages;
	int ret;

	if (e->vaddr % PAGE || e->vaddr < s->end || e->vaddr >= MAX_VADDR ||
	    pages > (MAX_VADDR - e->vaddr) / PAGE)
		return mfd_image_why(
			why, -EBADMSG,
			"pagemap-%u.img: %llu pages at 0x%llx are out of order or of bounds", task,
			(unsigned long long)pages, (unsigned long long)e->vaddr);
	s->end = e->vaddr + pages * PAGE;
	if (!(e->flags & MFD_PE_LAZY))
		return 0;
	ret = cut_range(s, e->vaddr, s->end);
	if (ret > 0)
		return mfd_image_why(
			why, -EBADMSG,
			"pagemap-%u.img: lazy pages at 0x%llx are in no mapping of mm-%u.img", task,
			(unsigned long long)e->vaddr, task);
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
	struct mfd_image *img;
	ProtobufCMessage *msg;
	char name[32];
	int ret;

	snprintf(name, sizeof(name), "mm-%u.img", task);
	ret = mfd_image_open(dirfd, name, MFD_IMAGE_MM, &img, why);
	if (ret == -ENOENT) /* the caller would take it for a zombie */
		return mfd_image_why(why, -EBADMSG, "%s is missing, and pagemap-%u.img is there",
				     name, task);
	if (ret)
		return ret;
	ret = mfd_image_next(img, &mfd_criu__mm_entry__descriptor, &msg, why);
	mfd_image_close(img);
	if (ret <= 0)
		return ret ? ret : mfd_image_why(why, -EBADMSG, "%s: no entry", name);
	*mm = (MfdCriu__MmEntry *)msg;
	drop_guards(*mm);
	return check_mm(*mm, task, why);
}

/* The first entry of a pagemap image says which pages-N.img belongs to it. */
static int skip_head(struct mfd_image *img, const char **why)
{
	ProtobufCMessage *msg = NULL;
	int ret = mfd_image_next(img, &mfd_criu__pagemap_head__descriptor, &msg, why);

	free_message(msg);
	if (!ret)
		return mfd_image_why(why, -EBADMSG, "the pagemap image has no head");
	return ret < 0 ? ret : 0;
}

int mfd_image_lazy_ranges(int dirfd, uint32_t task, struct mfd_lazy_range **ranges, size_t *n,
			  const char **why)
{
	struct lazy_scan s = { 0 };
	MfdCriu__MmEntry *mm = NULL;
	struct mfd_image *img;
	ProtobufCMessage *msg;
	char name[32];
	int ret;

	*ranges = NULL;
	*n = 0;
	snprintf(name, sizeof(name), "pagemap-%u.img", task);
	ret = mfd_image_open(dirfd, name, MFD_IMAGE_PAGEMAP, &img, why);
	if (ret)
		return ret;
	ret = read_mm(dirfd, task, &mm, why);
	if (!ret)
		ret = skip_head(img, why);
	s.mm = mm;
	while (!ret &&
	       (ret = mfd_image_next(img, &mfd_criu__pagemap_entry__descriptor, &msg, why)) == 1) {
		ret = add_entry(&s, (MfdCriu__PagemapEntry *)msg, task, why);
		free_message(msg);
	}
	free_message(mm);
	mfd_image_close(img);
	if (ret) {
		free(s.ranges);
		return ret;
	}
	*ranges = s.ranges;
	*n = s.n;
	return 0;
}

int mfd_image_tasks(int dirfd, uint32_t **pids, size_t *n, const char **why)
{
	struct mfd_image *img;
	ProtobufCMessage *msg;
	int ret = mfd_image_open(dirfd, "pstree.img", MFD_IMAGE_PSTREE, &img, why);

	*pids = NULL;
	*n = 0;
	if (ret)
		return ret;
	while ((ret = mfd_image_next(img, &mfd_criu__pstree_entry__descriptor, &msg, why)) == 1) {
		ret = grow(pids, *n, sizeof(**pids));
		if (!ret)
			(*pids)[(*n)++] = ((MfdCriu__PstreeEntry *)msg)->pid;
		free_message(msg);
		if (ret)
			break;
	}
	mfd_image_close(img);
	if (ret) {
		free(*pids);
		*pids = NULL;
		*n = 0;
	}
	return ret;
}

#define TASK_STOPPED 3 /* CRIU's COMPEL_TASK_STOPPED */

int mfd_image_was_stopped(int dirfd, uint32_t task)
{
	ProtobufCMessage *msg = NULL;
	struct mfd_image *img;
	char name[40];
	int stopped = 0;

	snprintf(name, sizeof(name), "core-%u.img", task);
	if (mfd_image_open(dirfd, name, MFD_IMAGE_CORE, &img, NULL))
		return 0;
	if (mfd_image_next(img, &mfd_criu__core_entry__descriptor, &msg, NULL) == 1) {
		const MfdCriu__CoreEntry *e = (const MfdCriu__CoreEntry *)msg;

		stopped = e->tc && e->tc->task_state == TASK_STOPPED;
		protobuf_c_message_free_unpacked(msg, NULL);
	}
	mfd_image_close(img);
	return stopped;
}
