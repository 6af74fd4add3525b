/* SPDX-License-Identifier: GPL-2.0-only */
/* CRIU's --inherit-fd: what it was given, and giving it more. */
#ifndef MFD_CPR_INHERIT_H
#define MFD_CPR_INHERIT_H

#include "error.h"

/*
 * Whoever runs CRIU has seen to it: by --inherit-fd, or runc through CRIU's service.  CRIU's own
 * list is out of reach.
 */
int mfd_inherit_given(const char *inherit_id);
/*
 * As --inherit-fd 'fd[FD]:KEY'; CRIU closes `fd`.  One for a terminal is checked and made fit for
 * it.
 */
int mfd_inherit_pass(int fd, char *key, struct mfd_error *err);

#endif
