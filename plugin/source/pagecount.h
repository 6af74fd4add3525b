/* SPDX-License-Identifier: GPL-2.0-only */
/* A list of a task's pages, compared with what the kernel counts of it. */
#ifndef MFD_PAGECOUNT_H
#define MFD_PAGECOUNT_H

#include "error.h"
#include "image.h"
#include "pagescan.h"

/*
 * `pages` were listed in `large`, n mappings by address.  Together with those of the other private
 * mappings, which are counted here, they must be what the task has: 0; -EIO when some are missing.
 */
int mfd_pagecount_check(pid_t pid, struct mfd_pagescan *scan, const struct mfd_lazy_range *large,
			size_t n, uint64_t pages, struct mfd_error *err);

#endif
