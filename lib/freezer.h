/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A control group that CRIU freezes while it seizes its processes (criu dump --freeze-cgroup, which
 * runc asks for), by the path of its folder: the freezer of version 1, or cgroup.freeze.
 *
 * CRIU thaws it again by itself, unless it dies in between; then what is in the group stays frozen
 * for as long as the group exists.
 */
#ifndef MFD_FREEZER_H
#define MFD_FREEZER_H

/*
 * 1: it is frozen, or about to be, as CRIU would judge; 0: it is not, or there is no such group any
 * more.  -errno: that cannot be seen; -ENOENT: no control group is seen at such a path from here.
 */
int mfd_freezer_is_frozen(const char *group);
/* 0 or -errno.  What a group above keeps frozen stays so. */
int mfd_freezer_thaw(const char *group);

#endif
