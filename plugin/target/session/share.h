/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What one peer may hold of the server, so that it keeps out no other: places in the table of
 * sessions, descriptors, channels, sessions in doubt, memory.  Nothing is counted on the side:
 * what a peer holds is looked up in the server's list of sessions, each of which has an owner.
 *
 * The limits are those of its block in the file of rights.  Where that says nothing, a peer may
 * have of places and descriptors three times what it leaves free: alone three quarters, two peers
 * three sevenths each.  So there is room for a peer that has nothing, however many there are, and
 * one that is alone still has most of it.  Of memory a peer with an identity or a file of rights
 * may have three quarters of all, and the budget (budget.h) counts it.
 *
 * Every function but mfd_share_memory: server->lock held.
 */
#ifndef MFD_SHARE_H
#define MFD_SHARE_H

#include "owner.h"

struct mfd_server;

/* One more session: 0, or -EMFILE, -EDQUOT with a sentence for the peer. */
int mfd_share_place(const struct mfd_server *sv, const struct mfd_owner *o, struct mfd_error *err);
/* `n` more descriptors: the same. */
int mfd_share_descriptors(const struct mfd_server *sv, const struct mfd_owner *o, unsigned n,
			  struct mfd_error *err);
/* Channels that its next session may have; UINT_MAX: no limit. */
unsigned mfd_share_channels(const struct mfd_server *sv, const struct mfd_owner *o);
/* Bytes of memory that all its sessions may have; 0: whatever the server has. Any thread. */
uint64_t mfd_share_memory(const struct mfd_server *sv, const struct mfd_owner *o);

#endif
