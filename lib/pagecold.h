/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Make the kernel forget that the pages of a frozen task were looked at.
 *
 * A page that is looked at for the second time since it was last reclaimed or made goes to the
 * kernel's list of active pages, one by one and under a lock that all processors share.  CRIU's
 * vmsplice is the first look, our process_vm_readv the second (FOLL_TOUCH, folio_mark_accessed in
 * mm/swap.c): 0.05 s of processor time per GiB, a quarter of it that of others who wait for the
 * lock.  MADV_COLD takes the first look back for a third of that.
 *
 * Where the kernel sorts pages by generations (CONFIG_LRU_GEN, switched on) no page is moved by
 * being looked at: nothing is done there.
 */
#ifndef MFD_PAGECOLD_H
#define MFD_PAGECOLD_H

#include <stdint.h>
#include <sys/types.h>

struct mfd_pagecold {
	int pidfd;	      /* -1: there is nothing to be done, or it cannot be done */
	uint64_t start, done; /* of this mapping what lies below `done` was dealt with */
};

void mfd_pagecold_open(struct mfd_pagecold *c, pid_t pid);
void mfd_pagecold_close(struct mfd_pagecold *c);
/*
 * The pages of the mapping [start, end) below pos, which grows from call to call until the next
 * mapping comes.  Only whole blocks of 2 MiB: a part of a huge page could not be told apart but by
 * splitting it.  A hint: no errors.
 */
void mfd_pagecold_upto(struct mfd_pagecold *c, uint64_t start, uint64_t end, uint64_t pos);

#endif
