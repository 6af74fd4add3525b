/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Control groups that keep a process from running, and so from being dumped: that of a sender or a
 * server which holds tasks whose fate is not known, known by its name; and any that is frozen.
 */
#ifndef MFD_HELDGROUP_H
#define MFD_HELDGROUP_H

#include <sys/types.h>

struct mfd_error;

/* The last part of the group's path begins with it. */
#define MFD_HELDGROUP_NAME "criu-multifd.hold"

/*
 * 0: the process is not held, or that cannot be told.  Else -EBUSY, with the group and what to do
 * in `err`.
 */
int mfd_heldgroup_refuse(pid_t pid, struct mfd_error *err);
/* The same for a frozen group of any name, of either version. */
int mfd_heldgroup_refuse_frozen(pid_t pid, struct mfd_error *err);

#endif
