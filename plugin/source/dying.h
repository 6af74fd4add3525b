/* SPDX-License-Identifier: GPL-2.0-only */
/* What keeps a task of the dump from being seen dead, in words. */
#ifndef MFD_DYING_H
#define MFD_DYING_H

#include <stddef.h>

struct mfd_shared;

/*
 * Names one task that is not dead, what keeps it, and what a person can do, in `buf`.  Empty: all
 * are dead.
 */
const char *mfd_dying_text(const struct mfd_shared *sh, char *buf, size_t len);

#endif
