/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The network of tasks that are held, and whose CRIU has ended: its lock stays as long as they are
 * held, for their copies may answer on the same connections.  Before they go on it is undone as
 * CRIU would: its table of nftables rules goes, and their sockets leave TCP_REPAIR.
 *
 * CRIU's rules of iptables are one for each connection, and are left: they are named in the log.
 */
#ifndef MFD_UNLOCK_H
#define MFD_UNLOCK_H

struct mfd_shared;

/* Before mfd_hold_release.  Does nothing while CRIU lives, which unlocks by itself. */
void mfd_unlock_network(const struct mfd_shared *sh);

#endif
