// SPDX-License-Identifier: GPL-2.0-only
/* Choosing a task's large mappings and listing their pages. Theory in pagelist.h. */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "grow.h"
#include "io.h"
#include "pagecount.h"
#include "pagelist.h"
#include "pluginlink.h"
#include "stackpages.h"
#include "wire.h"

#define PAGE  ((uint64_t)MFD_WIRE_PAGE_SIZE)
#define LARGE (16ULL << 20)

/* ---- which mappings ---- */

static int by_address(const void *a, const void *b)
{
	const struct mfd_lazy_range *r = a, *s = b;

	return r->start < s->start ? -1 : r->start > s->start;
}

/* CRIU takes the page that a thread's stack pointer is in into its own images. */
static int choose(struct mfd_pagelist *l, const struct mfd_vmas *vmas,
		  const struct mfd_stackpages *stacks)
{
	l->large = calloc(vmas->n + 1, sizeof(*l->large));
	if (!l->large)
		return -ENOMEM;
	for (size_t i = 0; i < vmas->n; i++) {
		const struct mfd_vma *v = &vmas->v[i];

		if (v->end - v->start >= LARGE && !mfd_stackpages_in(stacks, v->start, v->end))
			l->large[l->nlarge++] =
				(struct mfd_lazy_range){ .start = v->start,
							 .pages = (v->end - v->start) / PAGE };
	}
	qsort(l->large, l->nlarge, sizeof(*l->large), by_address);
	return 0;
}

/* ---- their pages ---- */

static int add_runs(struct mfd_pagelist *l, const struct mfd_run *runs, int n)
{
	for (int i = 0; i < n; i++) {
		struct mfd_lazy_range *last = l->n ? &l->runs[l->n - 1] : NULL;

		l->pages += runs[i].pages;
		if (last && last->start + last->pages * PAGE == runs[i].vaddr) {
			last->pages += runs[i].pages;
			continue;
		}
		if (mfd_grow(&l->runs, l->n, sizeof(*l->runs)))
			return -ENOMEM;
		l->runs[l->n++] =
			(struct mfd_lazy_range){ .start = runs[i].vaddr, .pages = runs[i].pages };
	}
	return 0;
}

static int list_one(struct mfd_pagelist *l, struct mfd_pagescan *scan,
		    const struct mfd_lazy_range *mapping)
{
	uint64_t pos = mapping->start, end = pos + mapping->pages * PAGE;
	struct mfd_run runs[1024];
	int ret = 0;

	while (pos < end && !ret) {
		int n = mfd_pagescan_next(scan, &pos, end, runs, 1024);

		ret = n < 0 ? n : add_runs(l, runs, n);
	}
	return ret;
}

static int list_pages(struct mfd_pagelist *l, struct mfd_pagescan *scan)
{
	int ret = 0;

	for (size_t i = 0; i < l->nlarge && !ret; i++)
		ret = list_one(l, scan, &l->large[i]);
	return ret;
}

static int fill(struct mfd_pagelist *l, pid_t pid, struct mfd_error *err)
{
	struct mfd_pagescan *scan;
	int ret = mfd_pagescan_open(pid, 0, &scan, err);

	if (ret)
		return ret;
	ret = list_pages(l, scan);
	if (ret)
		mfd_error_sys(err, ret, "listing the pages of task %d", pid);
	else
		ret = mfd_pagecount_check(pid, scan, l->large, l->nlarge, l->pages, err);
	mfd_pagescan_close(scan);
	return ret;
}

int mfd_pagelist_make(struct mfd_pagelist *l, pid_t pid, const struct mfd_vmas *vmas,
		      struct mfd_error *err)
{
	struct mfd_stackpages stacks;
	int ret;

	*l = (struct mfd_pagelist){ 0 };
	ret = mfd_stackpages_find(&stacks, pid);
	if (ret == -EAGAIN) /* not known: CRIU lists all */
		return 0;
	if (!ret)
		ret = choose(l, vmas, &stacks);
	mfd_stackpages_free(&stacks);
	if (ret)
		mfd_error_sys(err, ret, "the large mappings of task %d", pid);
	else if (l->nlarge)
		ret = fill(l, pid, err);
	if (ret)
		mfd_pagelist_free(l);
	return ret;
}

void mfd_pagelist_free(struct mfd_pagelist *l)
{
	free(l->large);
	free(l->runs);
	*l = (struct mfd_pagelist){ 0 };
}

/* ---- for the plugin and for the image ---- */

int mfd_pagelist_mappings(const struct mfd_pagelist *l, struct mfd_error *err)
{
	int fd, ret = 0;

	if (!l->nlarge)
		return -1;
	fd = memfd_create("criu-multifd mappings", MFD_CLOEXEC);
	if (fd < 0)
		return mfd_error_sys(err, -errno, "large mappings for the plugin");
	for (size_t i = 0; i < l->nlarge && !ret; i++) {
		struct mfd_link_range r = { .start = l->large[i].start };

		r.end = r.start + l->large[i].pages * PAGE;
		ret = mfd_io_write_all(fd, &r, sizeof(r));
	}
	if (!ret)
		return fd;
	close(fd);
	return mfd_error_sys(err, ret, "large mappings for the plugin");
}

int mfd_pagelist_write(const struct mfd_pagelist *l, int dirfd, uint32_t task,
		       struct mfd_pagemap_merged *merged, struct mfd_error *err)
{
	const char *why = "no memory";
	int ret = mfd_image_pagemap_merge(dirfd, task, l->runs, l->n, merged, &why);

	return ret ? mfd_error_set(err, ret, "page-dump = plugin: %s", why) : 0;
}
