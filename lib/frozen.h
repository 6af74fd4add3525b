/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A control group of our own, frozen: what is in it runs by no signal, whichever process dies, and
 * a SIGKILL still ends it.  Paths and `root` as in cgroup.h.
 */
#ifndef MFD_FROZEN_H
#define MFD_FROZEN_H

#include <sys/types.h>

#include "cgroup.h"

#define MFD_FROZEN_PATH MFD_CGROUP_PATH

/* Root of the hierarchy, or negative: there is none for this process. */
int mfd_frozen_open(void);
/*
 * The domain that the process is in: of threaded groups the one above.  0; -EXDEV: outside of this
 * process's cgroup namespace, or too long; or another -errno.
 */
int mfd_frozen_group_of(int root, pid_t pid, char group[MFD_FROZEN_PATH]);
/* `group` = parent/name, which may be there already.  0 or -errno. */
int mfd_frozen_make(int root, const char *parent, const char *name, char group[MFD_FROZEN_PATH]);
/* Below a domain with threaded groups there is no other domain: such an error of move or make. */
int mfd_frozen_is_unfit(int ret);
/* Whatever is in `from`, itself and not below: into `to`.  0, also without `from`; or -errno. */
int mfd_frozen_move_all(int root, const char *from, const char *to);
int mfd_frozen_set(int root, const char *group, int frozen);
/* What has been killed leaves its group a moment later: 0, or -errno after so many ms. */
int mfd_frozen_remove(int root, const char *group, unsigned wait_ms);

#endif
