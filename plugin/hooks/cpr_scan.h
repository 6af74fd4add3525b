/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Descriptors of a process tree as /proc shows them: what cannot be kept, and what is shared with
 * processes outside the tree.
 */
#ifndef MFD_CPR_SCAN_H
#define MFD_CPR_SCAN_H

#include "cpr_describe.h"
#include "error.h"

/*
 * Before anything is frozen: -EOPNOTSUPP and one sentence (pid, descriptor, reason) if `root` or a
 * descendant holds what neither CRIU nor the keeper can carry over: io_uring, vsock sockets,
 * memfd_secret, unix sockets of another network namespace.
 */
int mfd_scan_refuse(int root, struct mfd_error *err);

/*
 * Every pipe, eventfd, memfd and listening socket of the (frozen) tree that a process outside has
 * open, too: `each` gets a descriptor in this process for it (closed afterwards) and what it is,
 * with the process that has it (by its own pid, as images have it) as d->owner.  Once per open file
 * description.
 */
int mfd_scan_shared(int root, int (*each)(void *ctx, int fd, struct mfd_cpr_described *d),
		    void *ctx);

#endif
