/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Which process lives in the memory that a userfaultfd serves, and how to be sure that it is gone.
 */
#ifndef MFD_HOLDER_H
#define MFD_HOLDER_H

#include <stdint.h>

#include "deposit.h"

/*
 * The process that has `uffd` open, best one that is `task` in its own pid namespace; its pid here,
 * or 0.  sender: the process that sent it, as far as it is known, or 0.  *sure: it is that task.
 */
int mfd_holder_find(uint32_t task, int uffd, int sender, int *sure);
/*
 * Kill the tasks of `session` in the list, and wait.  Nonzero: one may still live, so that no copy
 * of their userfaultfds may be closed.
 */
int mfd_holder_kill(const struct mfd_deposit *list, const char *session);

#endif
