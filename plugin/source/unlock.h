/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The network of tasks whose CRIU has ended without unlocking it: killed, or with tasks that are
 * held, for their copies may answer on the same connections.
 *
 * Before they go on their sockets leave TCP_REPAIR, in which their own calls would fail.  CRIU's
 * rules (unlock_rules.h) go when they do, since other programs have a part in that: until then
 * packets are lost, as on a bad link.
 */
#ifndef MFD_UNLOCK_H
#define MFD_UNLOCK_H

#include <stddef.h>

struct mfd_shared;
struct mfd_unlock_connection;

struct mfd_unlock {
	int alive;	 /* bool: CRIU was */
	int task;	 /* pidfd of one that lives; -1: nothing is to be done */
	int own_netns;	 /* bool: they are in the sender's network namespace */
	unsigned repair; /* sockets that were in TCP_REPAIR */
	struct mfd_unlock_connection *c;
	size_t n;
};

/* By run_on.c.  Does nothing while CRIU lives, which unlocks by itself. */
void mfd_unlock_network(struct mfd_unlock *u, const struct mfd_shared *sh);
/* The tasks go on: the rest of it, which may take seconds. */
void mfd_unlock_end(struct mfd_unlock *u, const struct mfd_shared *sh);

#endif
