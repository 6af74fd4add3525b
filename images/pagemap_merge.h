/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Lazy pages that CRIU has not listed, into pagemap-TASK.img.
 *
 * CRIU lists the pages of a task in that image; of large mappings it may have been told that there
 * are none (plugin/hooks/hide.h), and their pages are added here as it would have listed them.
 * What it has listed all the same stays as it is and is not listed twice.
 */
#ifndef MFD_PAGEMAP_MERGE_H
#define MFD_PAGEMAP_MERGE_H

#include "image.h"

struct mfd_pagemap_merged {
	uint64_t added;	  /* pages that CRIU had not listed */
	uint64_t listed;  /* pages that it had */
	uint64_t dropped; /* pages of mappings whose content does not travel (MAP_DROPPABLE) */
};

/*
 * Add the pages of `more`, n ranges that ascend and do not overlap, and write the image anew.  It
 * must lie in mappings of mm-TASK.img that CRIU calls lazy: -EBADMSG with *why if a part does not,
 * and the image stays as it was.  Else 0, or -errno of reading and writing.
 */
int mfd_image_pagemap_merge(int dirfd, uint32_t task, const struct mfd_lazy_range *more, size_t n,
			    struct mfd_pagemap_merged *merged, const char **why);

#endif
