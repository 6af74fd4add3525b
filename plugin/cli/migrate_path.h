/* SPDX-License-Identifier: GPL-2.0-only */
/* Whether full-sized packets cross the path to the target and back, tried before a move. */
#ifndef MFD_MIGRATE_PATH_H
#define MFD_MIGRATE_PATH_H

#include "migrate_talk.h"

/*
 * Send up to padding_max bytes (0: the target is too old, and is not asked), then have as many
 * sent.  0: they cross, or that was not tried; -ETIMEDOUT: see below; or another -errno.
 */
int mfd_migrate_path_try(struct mfd_migrate_talk *t, uint32_t padding_max);
/*
 * A question of `t` has had no answer in time.  0: the path is why, which is added to c;
 * -ETIMEDOUT: it is not.
 */
int mfd_migrate_path_blame(struct mfd_migrate_talk *t, struct mfd_check *c);

#endif
