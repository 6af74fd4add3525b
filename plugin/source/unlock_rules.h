/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The rules by which CRIU locks the network of the tasks, in their network namespace:
 *
 *	nftables	a table of its own, named after its run or after the tree's root
 *	iptables	tasks in a network namespace of their own: the chain CRIU
 *			else two rules for each connection, which are found by its addresses
 */
#ifndef MFD_UNLOCK_RULES_H
#define MFD_UNLOCK_RULES_H

#include <sys/types.h>

struct mfd_unlock_rules {
	pid_t root;	    /* in whose network namespace they are */
	int by_connections; /* bool: there are rules of connections */
};

/* Remove what is no connection's: the number of tables and chains.  `run` is CRIU's own name. */
unsigned mfd_unlock_rules_begin(struct mfd_unlock_rules *r, pid_t root, const char *run);
/* Remove those of a connection, if it is one: the number of rules. */
unsigned mfd_unlock_rules_of(const struct mfd_unlock_rules *r, int fd);

#endif
