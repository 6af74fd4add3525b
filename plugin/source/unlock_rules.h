/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The rules by which CRIU locks the network of the tasks, in their network namespace:
 *
 *	nftables	a table of its own, named after its run or after the tree's root
 *	iptables	tasks in a network namespace of their own: the chain CRIU
 *			else two rules for each connection
 *
 * Only what is certainly of this dump goes: that table; rules with the addresses of the tasks' own
 * connections; the chain, whose name says nothing, only if a socket of the tasks was in TCP_REPAIR
 * and it is jumped to once.  What else may be left is said, and so is that nothing could be removed
 * though sockets were locked.  Sockets on their way in a unix socket's queue are not found.
 */
#ifndef MFD_UNLOCK_RULES_H
#define MFD_UNLOCK_RULES_H

#include <stddef.h>
#include <sys/socket.h>

/* A connection, as iptables takes its ends. */
struct mfd_unlock_end {
	char address[46], port[8]; /* INET6_ADDRSTRLEN */
	int v6;
};
struct mfd_unlock_connection {
	struct mfd_unlock_end here, there;
};

/* 0: *c is filled; -1: it is no connection that CRIU locks. */
int mfd_unlock_connection_of(int fd, struct mfd_unlock_connection *c);

/*
 * netns: a descriptor of a process in it, or of the namespace.  `run` is CRIU's own name, `root`
 * the number of the tree's root.  locked: so many sockets were in TCP_REPAIR.  Says what it has
 * done, and what is left.
 */
void mfd_unlock_rules(int netns, const char *run, int root, int own_netns, unsigned locked,
		      const struct mfd_unlock_connection *c, size_t n);

#endif
