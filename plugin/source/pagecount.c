// SPDX-License-Identifier: GPL-2.0-only
/*
 * Counting a task's own pages: RssAnon and VmSwap of /proc/PID/status are kept by the kernel as
 * pages come and go, and owe nothing to a scan.
 *
 * Each processor may owe that count some pages (percpu_counter), so a list may be a little shorter.
 * One that is much shorter is compared once more with /proc/PID/smaps_rollup, which is exact, and
 * slow: the kernel walks all page tables for it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io.h"
#include "log.h"
#include "maps.h"
#include "pagecount.h"
#include "procfile.h"
#include "wire.h"

#define PAGE		  ((uint64_t)MFD_WIRE_PAGE_SIZE)
#define KIB		  (PAGE >> 10) /* a page */
#define OWED_BY_PROCESSOR 64

/* ---- what the kernel counts ---- */

static uint64_t pages_at(const char *text, const char *key)
{
	uint64_t kib = 0;

	return mfd_procfile_first(text, key, 10, &kib) ? 0 : kib / KIB;
}

static int counted(pid_t pid, uint64_t *anon, uint64_t *swap)
{
	char *text;
	int ret = mfd_procfile_status(pid, &text);

	if (ret)
		return ret;
	*anon = pages_at(text, "RssAnon");
	*swap = pages_at(text, "VmSwap");
	free(text);
	return 0;
}

/* Its "Swap" has shared memory that is swapped out, too; VmSwap has not. */
static int counted_exactly(pid_t pid, uint64_t *anon, uint64_t *swap)
{
	uint64_t all;
	char path[48], *text;
	int ret;

	snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", pid);
	ret = mfd_io_read_file(AT_FDCWD, path, 1 << 16, &text, NULL);
	if (ret)
		return ret;
	*anon = pages_at(text, "Anonymous");
	all = pages_at(text, "Swap");
	if (all < *swap)
		*swap = all;
	free(text);
	return 0;
}

/* ---- the pages outside the list ---- */

struct rest {
	struct mfd_pagescan *scan;
	const struct mfd_lazy_range *large;
	size_t n, at; /* the first that does not end before the mapping that is looked at */
	uint64_t pages;
};

static int is_large(struct rest *r, uint64_t start)
{
	while (r->at < r->n && r->large[r->at].start + r->large[r->at].pages * PAGE <= start)
		r->at++;
	return r->at < r->n && r->large[r->at].start <= start;
}

/* Neither the kernel's counts nor CRIU's list of lazy pages have pages of hugetlb. */
static int count_one(const struct mfd_map *m, void *arg)
{
	struct rest *r = arg;
	uint64_t pages;
	int ret;

	if (m->shared || m->end > MFD_WIRE_MAX_VADDR || is_large(r, m->start) ||
	    !strncmp(m->name, "/anon_hugepage", 14))
		return 0;
	ret = mfd_pagescan_count(r->scan, m->start, m->end, &pages);
	r->pages += pages;
	return ret;
}

/* ---- together ---- */

static uint64_t slack(void)
{
	long processors = sysconf(_SC_NPROCESSORS_CONF);

	return OWED_BY_PROCESSOR * (uint64_t)(processors > 0 ? processors : 1);
}

static int missing(pid_t pid, uint64_t listed, uint64_t anon, uint64_t swap, struct mfd_error *err)
{
	int exact = !counted_exactly(pid, &anon, &swap);

	if (listed + (exact ? OWED_BY_PROCESSOR : slack()) >= anon + swap) {
		mfd_log_info("task %d has %llu pages, as its list has: its counters are ahead", pid,
			     (unsigned long long)(anon + swap));
		return 0;
	}
	return mfd_error_set(
		err, -EIO,
		"page-dump = plugin: of the %llu pages that task %d has, only %llu were found; "
		"nothing was moved and the tasks run on here (page-dump = criu lets CRIU look for them)",
		(unsigned long long)(anon + swap), pid, (unsigned long long)listed);
}

int mfd_pagecount_check(pid_t pid, struct mfd_pagescan *scan, const struct mfd_lazy_range *large,
			size_t n, uint64_t pages, struct mfd_error *err)
{
	struct rest rest = { .scan = scan, .large = large, .n = n };
	uint64_t anon, swap;
	int ret = counted(pid, &anon, &swap);

	if (!ret && pages + OWED_BY_PROCESSOR < anon + swap)
		ret = mfd_maps_each(pid, MFD_MAPS, count_one, &rest);
	if (ret)
		return mfd_error_sys(err, ret, "counting the pages of task %d", pid);
	if (pages + rest.pages + OWED_BY_PROCESSOR >= anon + swap)
		return 0;
	return missing(pid, pages + rest.pages, anon, swap, err);
}
