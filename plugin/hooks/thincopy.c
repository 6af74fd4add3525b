// SPDX-License-Identifier: GPL-2.0-only
/* Copying only what has pages; theory in thincopy.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "io.h"
#include "maps.h"
#include "pagemap_scan.h"
#include "thincopy.h"

#define POPULATED (MFD_PAGEMAP_PRESENT | MFD_PAGEMAP_SWAPPED)
#define REGIONS	  64

struct copy {
	char *to;
	const char *from;
	size_t n, done; /* bytes */
	size_t page;
	uintptr_t base;	     /* of the first page of `to` */
	unsigned char *held; /* by page of `to`: it has one */
};

/* What is known of both ends: each lies in one mapping of its kind. */
struct kinds {
	const struct copy *copy;
	int from, to;
};

/* All of the range is of it. */
static int holds(const struct mfd_map *m, const void *start, size_t n)
{
	return m->start <= (uintptr_t)start && m->end >= (uintptr_t)start + n;
}

/* The heap too, but nothing that the kernel has made for itself. */
static int is_anonymous(const struct mfd_map *m)
{
	return mfd_maps_is_private_anonymous(m) &&
	       (!m->name[0] || !strcmp(m->name, "[heap]") || !strncmp(m->name, "[anon:", 6));
}

static int look_at_mapping(const struct mfd_map *m, void *arg)
{
	struct kinds *k = arg;

	k->from |= holds(m, k->copy->from, k->copy->n) && is_anonymous(m);
	k->to |= holds(m, k->copy->to, k->copy->n) && m->shared;
	return 0;
}

static int check_kinds(const struct copy *c)
{
	struct kinds k = { .copy = c };
	int ret = mfd_maps_each(getpid(), MFD_MAPS, look_at_mapping, &k);

	return ret ? ret : k.from && k.to ? 0 : -EINVAL;
}

static int look_at_destination(struct copy *c)
{
	uintptr_t end = (uintptr_t)c->to + c->n;

	c->base = (uintptr_t)c->to & ~(c->page - 1);
	c->held = malloc((end - c->base) / c->page + 1);
	if (!c->held)
		return -ENOMEM;
	return mincore((void *)c->base, end - c->base, c->held) ? -errno : 0;
}

/* Up to `offset` the source reads as zeros. */
static void zero_until(struct copy *c, size_t offset)
{
	while (c->done < offset) {
		uintptr_t at = (uintptr_t)c->to + c->done;
		size_t in_page = c->page - (at & (c->page - 1));
		size_t n = in_page < offset - c->done ? in_page : offset - c->done;

		if (c->held[(at - c->base) / c->page] & 1)
			memset(c->to + c->done, 0, n);
		c->done += n;
	}
}

static void copy_region(struct copy *c, const struct mfd_pagemap_region *r)
{
	uintptr_t first = (uintptr_t)c->from, last = first + c->n;
	uintptr_t start = r->start > first ? r->start : first;
	uintptr_t end = r->end < last ? r->end : last;

	zero_until(c, start - first);
	memcpy(c->to + c->done, c->from + c->done, end - start);
	c->done += end - start;
}

static int copy_all(struct copy *c, int pagemap)
{
	struct mfd_pagemap_region region[REGIONS];
	uintptr_t first = (uintptr_t)c->from;
	struct mfd_pagemap_scan q = {
		.size = sizeof(q),
		.start = first & ~(c->page - 1),
		.end = (first + c->n + c->page - 1) & ~(c->page - 1),
		.vec = (uintptr_t)region,
		.vec_len = REGIONS,
		.category_anyof_mask = POPULATED,
		.return_mask = POPULATED,
	};
	int found;

	while (q.start < q.end) {
		found = ioctl(pagemap, MFD_PAGEMAP_SCAN, &q);
		if (found < 0 || q.walk_end <= q.start)
			return found < 0 ? -errno : -EIO;
		for (int i = 0; i < found; i++)
			copy_region(c, &region[i]);
		q.start = q.walk_end;
	}
	zero_until(c, c->n);
	return 0;
}

int mfd_thincopy(void *to, const void *from, size_t n)
{
	struct copy c = { .to = to, .from = from, .n = n, .page = (size_t)getpagesize() };
	int fd, was = errno, ret = check_kinds(&c);

	ret = ret ? ret : look_at_destination(&c);
	if (!ret) {
		fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
		ret = fd < 0 ? -errno : copy_all(&c, fd);
		mfd_io_close(&fd);
	}
	free(c.held);
	errno = was;
	return ret;
}
