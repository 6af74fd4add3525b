/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Make the kernel forget that the pages of a frozen task were looked at.
 *
 * A page that is looked at for the second time since it was last reclaimed or made goes to the
 * kernel's list of active pages, one by one and under a lock that all processors share.  CRIU's
 * vmsplice is the first look, the sender's process_vm_readv the second (FOLL_TOUCH,
 * folio_mark_accessed in mm/swap.c): 0.05 s of processor time per GiB, a quarter of it spent by
 * other threads that wait for the lock.  MADV_COLD takes the first look back for a third of that.
 *
 * If the kernel sorts pages by generations (CONFIG_LRU_GEN, switched on), a look moves no page, and
 * nothing is done.
 */
#ifndef MFD_PAGECOLD_H
#define MFD_PAGECOLD_H

#include <stdint.h>
#include <sys/types.h>

struct mfd_pagecold {
	int pidfd;	      /* -1: there is nothing to do, or it cannot be done */
	uint64_t start, done; /* of the mapping at `start`, all below `done` is done */
};

void mfd_pagecold_open(struct mfd_pagecold *c, pid_t pid);
void mfd_pagecold_close(struct mfd_pagecold *c);
/*
 * Make cold the pages of the mapping [start, end) below pos, which grows from call to call until
 * the next mapping.  Only whole blocks of 2 MiB: a part of a huge page would have to be split off.
 * A hint: no errors.
 */
void mfd_pagecold_upto(struct mfd_pagecold *c, uint64_t start, uint64_t end, uint64_t pos);

#endif
