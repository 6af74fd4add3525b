/* SPDX-License-Identifier: GPL-2.0-only */
/* See heir.c. */
#ifndef MFD_HEIR_H
#define MFD_HEIR_H

/*
 * The calling process, which has one thread, gets an heir: when it dies every userfaultfd it has
 * then goes to the other end of `link` (the worker's guard_fd) as MFD_GUARD_FOUND, or to that of
 * `standby` (its standby_fd).  0 or -errno.
 */
int mfd_heir_start(int link, int standby);

#endif
