/* SPDX-License-Identifier: GPL-2.0-only */
/* CRIU's --inherit-fd: what it was given, and giving it more. */
#ifndef MFD_CPR_INHERIT_H
#define MFD_CPR_INHERIT_H

#include "error.h"

/*
 * Nonzero if CRIU has been given a descriptor for it: by --inherit-fd on its command line, or by
 * runc through CRIU's service.  CRIU's own list is out of reach.
 */
int mfd_inherit_given(const char *inherit_id);
/*
 * Pass `fd` to CRIU as --inherit-fd 'fd[FD]:KEY' does; CRIU closes it.  One for a terminal is
 * checked and made fit for it (mfd_tty_suit).  0 or -errno.
 */
int mfd_inherit_pass(int fd, char *key, struct mfd_error *err);

#endif
