// SPDX-License-Identifier: GPL-2.0-only
/* Memory: what is reserved, what is shared, and what CRIU needs descriptors for. */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>

#include "estimate.h"
#include "io.h"
#include "looks.h"
#include "maps.h"
#include "procfile.h"
#include "size.h"

#define RESERVED_SLOW (100ULL << 30) /* CRIU takes a second for about so much */
#define SHARED_SLOW   (256ULL << 20)
#define COPIED_SLOW   (64ULL << 20)
#define PIPE_MOST     (4ULL << 20) /* CRIU asks for no larger pipe */

static uint64_t memory_here(void)
{
	struct sysinfo s;

	return sysinfo(&s) ? UINT64_MAX : ((uint64_t)s.totalram + s.totalswap) * s.mem_unit;
}

static int overcommits(void)
{
	char *text;
	int always = 0;

	if (!mfd_io_read_file(AT_FDCWD, "/proc/sys/vm/overcommit_memory", 64, &text, NULL)) {
		always = text[0] == '1';
		free(text);
	}
	return always;
}

struct reserved {
	struct mfd_check *c;
	pid_t pid;
	uint64_t sum, largest, limit;
};

static int add_up(const struct mfd_map *m, void *arg)
{
	struct reserved *r = arg;
	uint64_t bytes = m->end - m->start;

	if (!mfd_maps_is_private_anonymous(m))
		return 0;
	r->sum += bytes;
	r->largest = bytes > r->largest ? bytes : r->largest;
	return 0;
}

static int look_at_large(const struct mfd_map *m, void *arg)
{
	struct reserved *r = arg;
	char task[MFD_LOOK_NAME], size[MFD_SIZE_TEXT];

	if (!mfd_maps_is_private_anonymous(m) || m->no_reserve || m->end - m->start <= r->limit)
		return 0;
	mfd_check_add(r->c, MFD_FOUND_TOO_LARGE, m->end - m->start, "process %s: %s at %#" PRIx64,
		      mfd_look_name(r->pid, task), mfd_size_text(m->end - m->start, size),
		      m->start);
	return 0;
}

static void look_at_reserved(struct mfd_check *c, pid_t pid)
{
	struct reserved r = { .c = c, .pid = pid, .limit = memory_here() };
	char task[MFD_LOOK_NAME], size[MFD_SIZE_TEXT];

	mfd_maps_each(pid, MFD_MAPS, add_up, &r);
	c->reserved += r.sum;
	if (r.sum >= RESERVED_SLOW)
		mfd_check_add(c, MFD_FOUND_RESERVED, r.sum, "process %s: %s, about %.1f s",
			      mfd_look_name(pid, task), mfd_size_text(r.sum, size),
			      (double)r.sum / (double)RESERVED_SLOW);
	if (r.largest > r.limit && c->criu < 403 && !overcommits())
		mfd_maps_each(pid, MFD_SMAPS, look_at_large, &r);
}

static uint64_t kib(const char *text, const char *key)
{
	uint64_t value = 0;

	return mfd_procfile_first(text, key, 10, &value) ? 0 : value << 10;
}

/* Anonymous pages of which other processes have a part, as the kernel divides them. */
static uint64_t look_at_copied(pid_t pid)
{
	uint64_t own, divided;
	char path[40], *text;

	snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", pid);
	if (mfd_io_read_file(AT_FDCWD, path, 1 << 16, &text, NULL))
		return 0;
	own = kib(text, "Anonymous");
	divided = kib(text, "Pss_Anon");
	free(text);
	return own > divided ? own - divided : 0;
}

static uint64_t pipe_bytes(void)
{
	uint64_t bytes = PIPE_MOST;
	char *text;

	if (!mfd_io_read_file(AT_FDCWD, "/proc/sys/fs/pipe-max-size", 64, &text, NULL)) {
		bytes = strtoull(text, NULL, 10);
		free(text);
	}
	return bytes && bytes < PIPE_MOST ? bytes : PIPE_MOST;
}

/* CRIU keeps all lazy pages in pipes, each with two descriptors. */
static void look_at_pipes(struct mfd_check *c)
{
	uint64_t own = c->memory - c->shared, needed = own / pipe_bytes() * 2;
	char size[MFD_SIZE_TEXT];
	struct rlimit r;

	if (c->page_pipes && !getrlimit(RLIMIT_NOFILE, &r) && needed > r.rlim_max)
		mfd_check_add(c, MFD_FOUND_PIPES, needed,
			      "%s take %" PRIu64 " descriptors, and the limit here is %" PRIu64,
			      mfd_size_text(own, size), needed, (uint64_t)r.rlim_max);
}

int mfd_look_memory(struct mfd_check *c)
{
	char size[MFD_SIZE_TEXT];

	c->memory = mfd_estimate_tree(c->root, &c->shared);
	for (size_t i = 0; i < c->tree.n; i++) {
		look_at_reserved(c, c->tree.v[i]);
		if (c->tree.n > 1)
			c->copied += look_at_copied(c->tree.v[i]);
	}
	if (c->copied >= COPIED_SLOW)
		mfd_check_add(c, MFD_FOUND_COPY_ON_WRITE, c->copied, "about %s more there",
			      mfd_size_text(c->copied, size));
	if (c->shared >= SHARED_SLOW)
		mfd_check_add(c, MFD_FOUND_SHARED_MEMORY, c->shared, "%s",
			      mfd_size_text(c->shared, size));
	look_at_pipes(c);
	return 0;
}
