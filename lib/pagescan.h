/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Which pages of a frozen task travel: every page CRIU would call lazy (private anonymous memory
 * that is neither locked, hugetlb nor one of the kernel's own mappings), found with PAGEMAP_SCAN,
 * or with /proc/PID/pagemap on older kernels.
 */
#ifndef MFD_PAGESCAN_H
#define MFD_PAGESCAN_H

#include <stdint.h>
#include <stddef.h>
#include <sys/types.h>

#include "error.h"

/* Which of a mapping's populated pages are looked for (lib/track.h says when). */
enum mfd_look {
	MFD_LOOK_ALL,
	MFD_LOOK_WRITTEN,   /* tracked ones that were written since they were protected */
	MFD_LOOK_TRACKED,   /* all tracked ones */
	MFD_LOOK_CLEAN,	    /* tracked ones that were not written */
	MFD_LOOK_UNTRACKED, /* all others */
	MFD_LOOK_OWN,	    /* all but those of files: mfd_pagescan_count */
	MFD_LOOKS,
};

struct mfd_vma {
	uint64_t start, end; /* bytes */
	unsigned read : 1, exec : 1;
	unsigned look : 3; /* enum mfd_look */
};

struct mfd_vmas {
	struct mfd_vma *v;
	size_t n;
	uint64_t bytes; /* sum of their lengths */
};

/*
 * Find the mappings of `pid` that may hold lazy pages, by address.  Free them with
 * mfd_pagescan_vmas_free.
 */
int mfd_pagescan_vmas(pid_t pid, struct mfd_vmas *out, struct mfd_error *err);
void mfd_pagescan_vmas_free(struct mfd_vmas *vmas);

struct mfd_run {
	uint64_t vaddr; /* bytes */
	uint64_t pages;
};

struct mfd_pagescan; /* one per task; not thread-safe */

int mfd_pagescan_open(pid_t pid, int force_pagemap, struct mfd_pagescan **s, struct mfd_error *err);
void mfd_pagescan_close(struct mfd_pagescan *s);
/*
 * What mfd_pagescan_next looks for from now on, at first MFD_LOOK_ALL; `protect`: what it finds is
 * write-protected at that moment, which the next write to it undoes.  -EOPNOTSUPP: the kernel
 * cannot do that.
 */
int mfd_pagescan_look(struct mfd_pagescan *s, enum mfd_look look, int protect);
/*
 * Find up to `max` runs of populated pages (present or swapped, not the shared zero page, not guard
 * regions) at or after *pos below `end`.  *pos moves on to where the scan goes on; *pos == end
 * means that it is complete.  Returns the number of runs or -errno.
 */
int mfd_pagescan_next(struct mfd_pagescan *s, uint64_t *pos, uint64_t end, struct mfd_run *runs,
		      int max);
/*
 * Count the pages from start to end that belong to the task alone, in whichever mapping: as above,
 * and in a file's mapping those that were written to.  0 or -errno.
 */
int mfd_pagescan_count(struct mfd_pagescan *s, uint64_t start, uint64_t end, uint64_t *pages);

#endif
