/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A network address that moves with its service (move-address): what people write, and what the
 * kernel must be told.  Everything is done in the caller's network namespace.
 *
 * The new host has the address before the old one has lost it: CRIU cannot restore a TCP connection
 * whose own address the host does not have.  Until the verdict the address is therefore blocked
 * there: nothing that names it, ARP and neighbour discovery included, leaves or enters the new
 * host, so no peer notices, and no data of the peers can be acknowledged by sockets that may yet be
 * thrown away.
 */
#ifndef MFD_NETADDR_H
#define MFD_NETADDR_H

#include <net/if.h>
#include <stddef.h>

#include "error.h"

#define MFD_NETADDR_MAX 16 /* in one session */

struct mfd_netaddr {
	int family; /* AF_INET, AF_INET6 */
	unsigned char ip[16];
	unsigned len;	     /* of the prefix */
	char from[IFNAMSIZ]; /* device on the source */
	char to[IFNAMSIZ];   /* device on the target */
	char text[64];	     /* "192.0.2.1/24" */
};

/* netaddr.c: text.  -EINVAL and a sentence. */

/* "ADDR/LEN@DEV" or "ADDR/LEN@DEV:TARGETDEV". */
int mfd_netaddr_parse(const char *word, struct mfd_netaddr *a, struct mfd_error *err);
/* Several, separated by commas; NULL or "" is none.  How many, or -EINVAL. */
int mfd_netaddr_parse_list(const char *list, struct mfd_netaddr a[MFD_NETADDR_MAX],
			   struct mfd_error *err);
/*
 * A rule is "any", a network ("10.1.0.0/16": every address in it) or an address ("10.1.0.5/16",
 * "10.1.0.5": no other).
 */
int mfd_netaddr_rule_ok(const char *rule);
int mfd_netaddr_allowed(const struct mfd_netaddr *a, const char *rule);

/* netaddr_link.c: the kernel.  0 or -errno and a sentence that names address and device. */

/* 1: `dev` (NULL: any device) has the address; 0: it has not; -ENODEV: no such device. */
int mfd_netaddr_has(const struct mfd_netaddr *a, const char *dev, struct mfd_error *err);
/* Does this host have each of a list of addresses, on its device? */
int mfd_netaddr_check_here(const char *list, struct mfd_error *err);
/* One that is there already is no error, nor is, on deletion, one that is not. */
int mfd_netaddr_add(const struct mfd_netaddr *a, const char *dev, struct mfd_error *err);
int mfd_netaddr_delete(const struct mfd_netaddr *a, const char *dev, struct mfd_error *err);
/*
 * Gratuitous ARP, unsolicited neighbour advertisement, once: every host on the link learns that
 * it is here now.
 */
int mfd_netaddr_announce(const struct mfd_netaddr *a, const char *dev, struct mfd_error *err);
/*
 * See above; may be repeated.  lift = 1 takes it away again, also one of a process that died. Runs
 * nft(8).
 */
int mfd_netaddr_block(const struct mfd_netaddr *a, int lift, struct mfd_error *err);

#endif
