// SPDX-License-Identifier: GPL-2.0-only
/* The ioctl() of CRIU's process while it dumps. Theory in hide.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "hide.h"
#include "host.h"
#include "interpose.h"
#include "io.h"
#include "pagemap_scan.h"
#include "parsed.h"
#include "pluginlink.h"
#include "thincopy.h"

#define POPULATED (MFD_PAGEMAP_PRESENT | MFD_PAGEMAP_SWAPPED)

struct hidden {
	pid_t pid;
	struct mfd_link_range *range;
	size_t n;
};

/* File-scope, since ioctl() has no argument to find them by; a process dumps one tree. */
static pid_t maker; /* the process whose ioctl() was replaced, 0: none */
static void *was, *memcpy_was;
static struct hidden *tasks;
static size_t ntasks;

/* Not through a slot, which may be the one that leads here. */
static int kernel_ioctl(int fd, unsigned long request, void *arg)
{
	return (int)syscall(SYS_ioctl, fd, request, arg);
}

/* ---- the answer ---- */

/* Whose /proc/PID/pagemap the descriptor is, wherever that proc is mounted; 0: not known. */
static pid_t task_of(int fd)
{
	char link[40], path[64], *slash;
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof(path) - 1);
	if (n <= 0)
		return 0;
	path[n] = 0;
	slash = strrchr(path, '/');
	if (!slash || strcmp(slash, "/pagemap"))
		return 0;
	*slash = 0;
	slash = strrchr(path, '/');
	return slash ? atoi(slash + 1) : 0;
}

static int is_hidden(pid_t pid, uint64_t start, uint64_t end)
{
	for (size_t i = 0; i < ntasks; i++)
		for (size_t k = 0; tasks[i].pid == pid && k < tasks[i].n; k++)
			if (start >= tasks[i].range[k].start && end <= tasks[i].range[k].end)
				return 1;
	return 0;
}

/* CRIU's question for the pages of a mapping (its pagemap-cache.c), and no other one. */
static int asks_for_pages(const struct mfd_pagemap_scan *q)
{
	return q->size == sizeof(*q) && !q->flags && q->vec_len && q->start < q->end &&
	       (q->category_anyof_mask & POPULATED) == POPULATED &&
	       !((q->category_mask & ~q->category_inverted) & MFD_PAGEMAP_GUARD);
}

/*
 * CRIU before 4.2 knows nothing of guard regions and fails at them; to succeed without them would
 * be to lose them.
 */
static int has_unknown_guards(int fd, const struct mfd_pagemap_scan *q)
{
	struct mfd_pagemap_region region;
	struct mfd_pagemap_scan guards = {
		.size = sizeof(guards),
		.start = q->start,
		.end = q->end,
		.vec = (uintptr_t)&region,
		.vec_len = 1,
		.category_mask = MFD_PAGEMAP_GUARD,
		.return_mask = MFD_PAGEMAP_GUARD,
	};

	return !(q->return_mask & MFD_PAGEMAP_GUARD) &&
	       kernel_ioctl(fd, MFD_PAGEMAP_SCAN, &guards) > 0;
}

static int hides(int fd, const struct mfd_pagemap_scan *q)
{
	pid_t pid = asks_for_pages(q) ? task_of(fd) : 0;

	return pid && is_hidden(pid, q->start, q->end) && !has_unknown_guards(fd, q);
}

static int hiding_ioctl(int fd, unsigned long request, ...)
{
	struct mfd_pagemap_scan *q;
	va_list ap;
	void *arg;

	va_start(ap, request);
	arg = va_arg(ap, void *);
	va_end(ap);
	q = arg;
	if (request != MFD_PAGEMAP_SCAN || maker != getpid() || !hides(fd, q))
		return kernel_ioctl(fd, request, arg);
	q->walk_end = q->end;
	return 0;
}

/* What hidden pages have no entry in is not copied: see thincopy.h. */
static void *thin_memcpy(void *to, const void *from, size_t n)
{
	if (n < MFD_THINCOPY_LEAST || maker != getpid() || mfd_thincopy(to, from, n))
		memcpy(to, from, n);
	return to;
}

/* ---- whether ---- */

static int kernel_scans(void)
{
	struct mfd_pagemap_scan nothing = { .size = sizeof(nothing) };
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC), ret;

	ret = fd >= 0 && !kernel_ioctl(fd, MFD_PAGEMAP_SCAN, &nothing);
	mfd_io_close(&fd);
	return ret;
}

/* Why CRIU must list the pages by itself; NULL: it need not. */
static const char *obstacle(enum mfd_page_dump asked)
{
	if (asked == MFD_PAGE_DUMP_AUTO && !mfd_host_release())
		return "this release of criu is not known";
	if (!mfd_interpose_can("ioctl"))
		return "this criu's ioctl() cannot be replaced";
	if (!kernel_scans())
		return "this kernel has no ioctl(PAGEMAP_SCAN)";
	if (!mfd_parsed_lazy_pages())
		return "this criu was not told --lazy-pages, or it cannot be seen";
	return NULL;
}

int mfd_hide_begin(struct mfd_options *o, struct mfd_error *err)
{
	const char *why = o->page_dump == MFD_PAGE_DUMP_CRIU ? "so it was asked for" :
							       obstacle(o->page_dump);
	int ret;

	if (why && o->page_dump == MFD_PAGE_DUMP_PLUGIN)
		return mfd_error_set(err, -ENOTSUP, "page-dump = plugin: %s", why);
	o->page_dump = why ? MFD_PAGE_DUMP_CRIU : MFD_PAGE_DUMP_PLUGIN;
	if (why) {
		mfd_host_info("page-dump: criu lists all pages: %s", why);
		return 0;
	}
	ret = mfd_interpose("ioctl", hiding_ioctl, &was);
	if (ret)
		return mfd_error_sys(err, ret, "page-dump: criu's ioctl() cannot be replaced");
	/* Not needed: without it the stop is longer. */
	if (mfd_interpose("memcpy", thin_memcpy, &memcpy_was))
		memcpy_was = NULL;
	maker = getpid();
	mfd_host_info("page-dump: the plugin lists the pages of large mappings");
	return 0;
}

/* ---- which mappings ---- */

static int read_ranges(int fd, struct mfd_link_range **range, size_t *n)
{
	struct stat st;

	if (fstat(fd, &st))
		return -errno;
	*n = (size_t)st.st_size / sizeof(**range);
	*range = malloc(*n * sizeof(**range) + 1);
	if (!*range)
		return -ENOMEM;
	return mfd_io_pread_all(fd, *range, *n * sizeof(**range), 0);
}

int mfd_hide_task(pid_t pid, int fd, struct mfd_error *err)
{
	struct hidden *more = reallocarray(tasks, ntasks + 1, sizeof(*more));
	struct hidden h = { .pid = pid };
	int ret = more ? read_ranges(fd, &h.range, &h.n) : -ENOMEM;

	if (more)
		tasks = more;
	if (ret) {
		free(h.range);
		return mfd_error_sys(err, ret, "page-dump: large mappings of task %d", pid);
	}
	tasks[ntasks++] = h;
	return 0;
}

void mfd_hide_end(void)
{
	if (maker != getpid())
		return;
	maker = 0;
	mfd_interpose("ioctl", was, NULL);
	if (memcpy_was)
		mfd_interpose("memcpy", memcpy_was, NULL);
	while (ntasks)
		free(tasks[--ntasks].range);
	free(tasks);
	tasks = NULL;
}
