// SPDX-License-Identifier: GPL-2.0-only
/* Which process may have pinned memory, and what came of it. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "assert.h"
#include "io.h"
#include "maps.h"
#include "sentpages.h"
#include "suspects.h"
#include "walk.h"
#include "wire.h"

#define PAGE  ((uint64_t)MFD_WIRE_PAGE_SIZE)
#define PIECE 64U /* pages that are read at once: they stay in the cache */

/* ---- suspicion ---- */

static int has_direct(void *dir, int number)
{
	char path[80], *text;
	const char *flags;
	int found;

	snprintf(path, sizeof(path), "%s/%d", (const char *)dir, number);
	if (mfd_io_read_file(AT_FDCWD, path, 1 << 16, &text, NULL))
		return 0;
	flags = strstr(text, "flags:");
	found = flags && strtoul(flags + strlen("flags:"), NULL, 8) & O_DIRECT;
	free(text);
	return found;
}

static int is_ring(const struct mfd_map *m, void *arg)
{
	(void)arg;
	return !strncmp(m->name, "/[aio]", 6);
}

/*
 * File systems whose reads take the caller's own pages, without O_DIRECT as well: FUSE where the
 * server wishes so (direct_io, virtiofs with cache=never), 9p without a cache.
 */
static int pins(const char *type)
{
	static const char *const types[] = { "fuse ", "fuse.", "fuseblk", "virtiofs ", "9p " };

	for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++)
		if (!strncmp(type, types[i], strlen(types[i])))
			return 1;
	return 0;
}

int mfd_suspects_sees_such(const char *mountinfo)
{
	static const char before[] = " - "; /* the type, proc_pid_mountinfo(5) */

	for (const char *at = mountinfo; (at = strstr(at, before));)
		if (pins(at += strlen(before)))
			return 1;
	return 0;
}

/* Not by statfs() of its descriptors, which waits for the file system's server. */
static int sees_such_mount(pid_t pid)
{
	char path[40], *text;
	int found;

	snprintf(path, sizeof(path), "/proc/%d/mountinfo", pid);
	if (mfd_io_read_file(AT_FDCWD, path, 1 << 20, &text, NULL))
		return 1; /* not known */
	found = mfd_suspects_sees_such(text);
	free(text);
	return found;
}

int mfd_suspects_is_one(pid_t pid)
{
	char dir[40];

	snprintf(dir, sizeof(dir), "/proc/%d/fdinfo", pid);
	return mfd_walk_numbers(dir, has_direct, dir) > 0 ||
	       mfd_maps_each(pid, MFD_MAPS, is_ring, NULL) > 0 || sees_such_mount(pid);
}

/* ---- comparison ---- */

struct differ {
	struct mfd_run *out;
	int n, max;
	uint64_t pages; /* that differ */
};

/* Without room the last run is stretched: what is sent without need does no harm. */
static void add(struct differ *d, uint64_t vaddr)
{
	struct mfd_run *last = d->n ? &d->out[d->n - 1] : NULL;

	if (last && (last->vaddr + last->pages * PAGE == vaddr || d->n == d->max))
		last->pages = (vaddr - last->vaddr) / PAGE + 1;
	else
		d->out[d->n++] = (struct mfd_run){ .vaddr = vaddr, .pages = 1 };
	d->pages++;
}

static void compare(struct differ *d, const struct mfd_pagetable *sent, const struct mfd_run *r,
		    const char *data)
{
	for (uint64_t i = 0; i < r->pages; i++) {
		uint64_t vaddr = r->vaddr + i * PAGE,
			 was = mfd_sentpages_hash_of(mfd_pagetable_get(sent, vaddr / PAGE));

		if (was != mfd_sentpages_hash(data + i * PAGE))
			add(d, vaddr);
	}
}

static int compare_run(struct differ *d, const struct mfd_pageread *reader,
		       const struct mfd_pagetable *sent, const struct mfd_run *r, char *buf)
{
	int ret = 0;

	for (uint64_t at = 0; at < r->pages && !ret; at += PIECE) {
		struct mfd_run piece = { r->vaddr + at * PAGE,
					 r->pages - at < PIECE ? r->pages - at : PIECE };

		ret = mfd_pageread_runs(reader, &piece, 1, buf);
		if (!ret)
			compare(d, sent, &piece, buf);
	}
	return ret;
}

int mfd_suspects_differ(const struct mfd_pageread *r, const struct mfd_pagetable *sent,
			struct mfd_run *runs, int n, int max, struct mfd_suspects_count *count)
{
	struct mfd_run *out = calloc((size_t)max, sizeof(*out));
	struct differ d = { .out = out, .max = max };
	char *buf = aligned_alloc(PAGE, PIECE * PAGE);
	int ret = buf && out ? 0 : -ENOMEM;

	mfd_assert(n <= max);
	for (int i = 0; i < n && !ret; i++) {
		ret = compare_run(&d, r, sent, &runs[i], buf);
		count->compared += runs[i].pages;
	}
	count->different += d.pages;
	if (!ret)
		memcpy(runs, out, (size_t)d.n * sizeof(*out));
	free(buf);
	free(out);
	return ret ? ret : d.n;
}
