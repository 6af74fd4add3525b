/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The network of tasks whose CRIU has ended without unlocking it: killed, or with tasks that are
 * held, for their copies may answer on the same connections.  Before they go on it is undone as
 * CRIU would: its rules (unlock_rules.h) go, and their sockets leave TCP_REPAIR.
 */
#ifndef MFD_UNLOCK_H
#define MFD_UNLOCK_H

struct mfd_shared;

/* By run_on.c.  Does nothing while CRIU lives, which unlocks by itself. */
void mfd_unlock_network(const struct mfd_shared *sh);

#endif
