/* SPDX-License-Identifier: GPL-2.0-only */
/* What a restore passes to CRIU as if by --inherit-fd, before CRIU makes a task. */
#ifndef MFD_CPR_PASS_H
#define MFD_CPR_PASS_H

#include "cpr_ways.h"

/* Every entry whose way is one of that kind.  0 or -errno. */
int mfd_pass_entries(const struct mfd_restoring *r, struct mfd_error *err);
/*
 * Every offer that no entry asks for: it is meant for CRIU's --inherit-fd, say a file under another
 * path than it had.  0 or -errno.
 */
int mfd_pass_offers(const struct mfd_restoring *r, struct mfd_error *err);

#endif
