/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * page-dump = plugin: the pages of a task's large mappings, listed by the sender.
 *
 * CRIU is told that these mappings are empty (plugin/hooks/hide.h), so the list made here is the
 * only one there is: the target's verification compares it with what was sent, and both come from
 * scans by this process.  A scan that saw too little would lose memory, verified.  Therefore the
 * list is compared with what the kernel counts of the task (RssAnon and VmSwap of
 * /proc/PID/status), and the dump fails if pages are missing; the tasks run on then.
 *
 * By the worker's main thread: made while the plugin waits for the answer to TASK, written into
 * pagemap-TASK.img when CRIU's images are complete, and before they are sent.
 */
#ifndef MFD_PAGELIST_H
#define MFD_PAGELIST_H

#include "error.h"
#include "pagemap_merge.h"
#include "pagescan.h"

struct mfd_pagelist {
	/* Large mappings, by address; CRIU calls all of their pages lazy. */
	struct mfd_lazy_range *large;
	size_t nlarge;
	/* Their pages, by address. */
	struct mfd_lazy_range *runs;
	size_t n;
	uint64_t pages;
};

/*
 * Make the list of a frozen task.  `vmas`: its mappings, in any order.  0; -errno, with nothing to
 * be freed: -EIO when pages are missing in it.
 */
int mfd_pagelist_make(struct mfd_pagelist *l, pid_t pid, const struct mfd_vmas *vmas,
		      struct mfd_error *err);
void mfd_pagelist_free(struct mfd_pagelist *l);
/* The mappings as a file of struct mfd_link_range: a descriptor, -1 if there are none, -errno. */
int mfd_pagelist_mappings(const struct mfd_pagelist *l, struct mfd_error *err);
/* Add the pages to pagemap-TASK.img in `dirfd`.  0 or -errno. */
int mfd_pagelist_write(const struct mfd_pagelist *l, int dirfd, uint32_t task,
		       struct mfd_pagemap_merged *merged, struct mfd_error *err);

#endif
