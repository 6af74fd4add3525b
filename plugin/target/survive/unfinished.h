/* SPDX-License-Identifier: GPL-2.0-only */
/* Restores that are not finished, by their connections in a list of deposits. */
#ifndef MFD_UNFINISHED_H
#define MFD_UNFINISHED_H

#include "deposit.h"

/*
 * Let nothing more come through the connections of this session's restores, and add the
 * userfaultfds in them that no worker has read to the list.  0 or -errno.
 */
int mfd_unfinished_cut(struct mfd_deposit **list, const char *session);
/* Once the tasks are dead: see to it that CRIU ends. */
void mfd_unfinished_end(const struct mfd_deposit *list, const char *session);

#endif
