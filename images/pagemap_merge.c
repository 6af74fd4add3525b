// SPDX-License-Identifier: GPL-2.0-only
/*
 * Adding lazy pages to a pagemap image.
 *
 * Three lists that ascend are walked side by side: what is to be added, what CRIU has listed, and
 * the mappings.  New entries have the form of CRIU's own: before 4.2 the number of pages is in
 * field 2 alone, from then on in field 5, and field 2 is 0.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "grow.h"
#include "images/criu.pb-c.h"
#include "pagemap_merge.h"
#include "why.h"

#define PAGE	  4096ULL
#define ENTRY_MAX (1ULL << 30) /* pages; field 2 has 32 bits */

/* Flags of mappings, as mmap(2) takes them. */
#define FLAG_PRIVATE   0x02U
#define FLAG_DROPPABLE 0x08U
#define FLAG_ANONYMOUS 0x20U
#define FLAG_LOCKED    0x2000U
#define FLAG_HUGETLB   0x40000U

struct merge {
	uint32_t task;
	const char **why;
	struct mfd_pagemap_merged *sum;
	ProtobufCMessage *head;
	MfdCriu__PagemapEntry **entries; /* CRIU's */
	size_t n, entry;
	MfdCriu__MmEntry *mm;
	size_t vma;
	struct mfd_lazy_range *added;
	size_t nadded;
	/* of the writer */
	MfdCriu__PagemapEntry out;
	int head_out, old;
	size_t done;
};

static uint64_t pages_of(const MfdCriu__PagemapEntry *e)
{
	return e->has_nr_pages ? e->nr_pages : e->compat_nr_pages;
}

/* ---- reading ---- */

static int each(void *ctx, ProtobufCMessage **msg)
{
	struct merge *m = ctx;

	if ((*msg)->descriptor == &mfd_criu__pagemap_head__descriptor) {
		m->head = *msg;
		*msg = NULL;
		return 0;
	}
	if (mfd_grow(&m->entries, m->n, sizeof(*m->entries)))
		return -ENOMEM;
	m->entries[m->n++] = (MfdCriu__PagemapEntry *)*msg;
	*msg = NULL;
	return 0;
}

static int read_images(struct merge *m, int dirfd)
{
	ProtobufCMessage *mm;
	char name[32];
	int ret;

	snprintf(name, sizeof(name), "pagemap-%u.img", m->task);
	ret = mfd_image_each(dirfd, name, MFD_IMAGE_PAGEMAP, each, m, m->why);
	if (ret)
		return ret;
	if (!m->head)
		return mfd_image_why(m->why, -EBADMSG, "%s: no entry", name);
	snprintf(name, sizeof(name), "mm-%u.img", m->task);
	ret = mfd_image_first(dirfd, name, MFD_IMAGE_MM, &mm, m->why);
	if (ret <= 0)
		return ret ? ret : mfd_image_why(m->why, -EBADMSG, "%s: no entry", name);
	m->mm = (MfdCriu__MmEntry *)mm;
	return 0;
}

/* ---- what is to be added ---- */

/* CRIU's vma_entry_can_be_lazy, without the kernel's own mappings, which are not anonymous. */
static int is_lazy(const MfdCriu__VmaEntry *v)
{
	return (v->flags & (FLAG_PRIVATE | FLAG_ANONYMOUS)) == (FLAG_PRIVATE | FLAG_ANONYMOUS) &&
	       !(v->flags & (FLAG_LOCKED | FLAG_HUGETLB));
}

/* Guard regions are listed as if they were mappings; they hold no pages. */
static const MfdCriu__VmaEntry *mapping_at(struct merge *m, uint64_t at)
{
	for (; m->vma < m->mm->n_vmas; m->vma++) {
		const MfdCriu__VmaEntry *v = m->mm->vmas[m->vma];

		if (!(v->status & MFD_VMA_GUARD) && v->end > at)
			return v->start <= at ? v : NULL;
	}
	return NULL;
}

static int add_range(struct merge *m, uint64_t start, uint64_t end)
{
	m->sum->added += (end - start) / PAGE;
	for (uint64_t pages; start < end; start += pages * PAGE) {
		pages = (end - start) / PAGE < ENTRY_MAX ? (end - start) / PAGE : ENTRY_MAX;
		if (mfd_grow(&m->added, m->nadded, sizeof(*m->added)))
			return -ENOMEM;
		m->added[m->nadded++] = (struct mfd_lazy_range){ .start = start, .pages = pages };
	}
	return 0;
}

/* [start, end) is not in CRIU's list: cut it at the mappings. */
static int add_unlisted(struct merge *m, uint64_t start, uint64_t end)
{
	int ret = 0;

	for (uint64_t part; start < end && !ret; start = part) {
		const MfdCriu__VmaEntry *v = mapping_at(m, start);

		if (!v || !is_lazy(v))
			return mfd_image_why(
				m->why, -EBADMSG,
				"mm-%u.img: CRIU has no lazy mapping at 0x%llx, where task %u has pages",
				m->task, (unsigned long long)start, m->task);
		part = end < v->end ? end : v->end;
		if (v->flags & FLAG_DROPPABLE)
			m->sum->dropped += (part - start) / PAGE;
		else
			ret = add_range(m, start, part);
	}
	return ret;
}

/* The parts of [start, end) that CRIU has listed are left out. */
static int add_one(struct merge *m, uint64_t start, uint64_t end)
{
	int ret = 0;

	while (start < end && !ret) {
		const MfdCriu__PagemapEntry *e = m->entry < m->n ? m->entries[m->entry] : NULL;
		uint64_t e_end = e ? e->vaddr + pages_of(e) * PAGE : 0, part = end;

		if (e && e_end <= start) {
			m->entry++;
			continue;
		}
		if (e && e->vaddr <= start) {
			part = e_end < end ? e_end : end;
			m->sum->listed += (part - start) / PAGE;
		} else {
			if (e && e->vaddr < end)
				part = e->vaddr;
			ret = add_unlisted(m, start, part);
		}
		start = part;
	}
	return ret;
}

/* ---- writing ---- */

static const ProtobufCMessage *make_entry(struct merge *m, const struct mfd_lazy_range *r)
{
	mfd_criu__pagemap_entry__init(&m->out);
	m->out.vaddr = r->start;
	m->out.has_flags = 1;
	m->out.flags = MFD_PE_LAZY;
	m->out.has_nr_pages = !m->old;
	m->out.nr_pages = m->old ? 0 : r->pages;
	m->out.compat_nr_pages = m->old ? (uint32_t)r->pages : 0;
	return &m->out.base;
}

static int next_entry(void *ctx, const ProtobufCMessage **msg)
{
	struct merge *m = ctx;
	const struct mfd_lazy_range *r = m->done < m->nadded ? &m->added[m->done] : NULL;
	MfdCriu__PagemapEntry *e = m->entry < m->n ? m->entries[m->entry] : NULL;

	if (!m->head_out) {
		m->head_out = 1;
		*msg = m->head;
		return 1;
	}
	if (r && (!e || r->start < e->vaddr)) {
		m->done++;
		*msg = make_entry(m, r);
	} else if (e) {
		m->entry++;
		*msg = &e->base;
	}
	return r || e;
}

static int write_image(struct merge *m, int dirfd)
{
	char name[32];
	int ret;

	m->entry = 0;
	m->old = m->n && !m->entries[0]->has_nr_pages;
	snprintf(name, sizeof(name), "pagemap-%u.img", m->task);
	ret = mfd_image_replace_each(dirfd, name, MFD_IMAGE_COMMON_MAGIC, MFD_IMAGE_PAGEMAP,
				     next_entry, m, 0);
	return ret ? mfd_image_why(m->why, ret, "%s: %s", name, strerror(-ret)) : 0;
}

static void release(struct merge *m)
{
	for (size_t i = 0; i < m->n; i++)
		mfd_criu__pagemap_entry__free_unpacked(m->entries[i], NULL);
	free(m->entries);
	free(m->added);
	if (m->head)
		protobuf_c_message_free_unpacked(m->head, NULL);
	if (m->mm)
		mfd_criu__mm_entry__free_unpacked(m->mm, NULL);
}

int mfd_image_pagemap_merge(int dirfd, uint32_t task, const struct mfd_lazy_range *more, size_t n,
			    struct mfd_pagemap_merged *merged, const char **why)
{
	struct merge m = { .task = task, .why = why, .sum = merged };
	int ret;

	*merged = (struct mfd_pagemap_merged){ 0 };
	ret = read_images(&m, dirfd);
	for (size_t i = 0; i < n && !ret; i++)
		ret = add_one(&m, more[i].start, more[i].start + more[i].pages * PAGE);
	if (!ret && m.nadded)
		ret = write_image(&m, dirfd);
	release(&m);
	return ret;
}
