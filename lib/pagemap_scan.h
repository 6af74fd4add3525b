/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * ioctl(PAGEMAP_SCAN) of /proc/PID/pagemap, Linux 6.7 and later, as linux/fs.h has it from then on
 * (Documentation/admin-guide/mm/pagemap.rst).
 */
#ifndef MFD_PAGEMAP_SCAN_H
#define MFD_PAGEMAP_SCAN_H

#include <stdint.h>
#include <sys/ioctl.h>

/* What it answers with: pages beside each other that have the same categories. */
struct mfd_pagemap_region {
	uint64_t start, end, categories;
};

struct mfd_pagemap_scan {
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
	uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};

#define MFD_PAGEMAP_SCAN _IOWR('f', 16, struct mfd_pagemap_scan)

#define MFD_PAGEMAP_PROTECT (1U << 0) /* flag: PM_SCAN_WP_MATCHING */

/* categories */
#define MFD_PAGEMAP_WPALLOWED (1U << 0)
#define MFD_PAGEMAP_WRITTEN   (1U << 1)
#define MFD_PAGEMAP_FILE      (1U << 2) /* costs a look at each page */
#define MFD_PAGEMAP_PRESENT   (1U << 3)
#define MFD_PAGEMAP_SWAPPED   (1U << 4)
#define MFD_PAGEMAP_PFNZERO   (1U << 5) /* the shared page of zeros */
#define MFD_PAGEMAP_GUARD     (1U << 8) /* Linux 6.14 */

#endif
