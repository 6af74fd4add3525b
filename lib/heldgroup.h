/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Control groups in which a sender or a server holds tasks whose fate is not known: their name is
 * what other programs know such a task by.
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

#endif
