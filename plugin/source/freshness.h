/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * END's freshness: what the source believes to be the target's copies, as one sum over the lazy
 * pages of the images, each with the round of its last copy (PROTOCOL.md, "Rounds").
 */
#ifndef MFD_FRESHNESS_H
#define MFD_FRESHNESS_H

#include <stdint.h>

#include "error.h"
#include "tasks.h"

/* Of all tasks, by the images in dirfd; after the channels' sync.  0, or -errno with err. */
int mfd_freshness(const struct mfd_tasks *t, int dirfd, uint64_t *sum, struct mfd_error *err);

#endif
