/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What TCP knows of a connection's path, and whether the path loses full-sized packets.
 *
 * A link may carry less than the hosts' own links do, and say so by ICMP.  If that is dropped on
 * its way, short packets cross and full-sized ones do not: the connection is made, the first words
 * are exchanged, and then nothing arrives any more (RFC 2923).
 */
#ifndef MFD_TCPPATH_H
#define MFD_TCPPATH_H

#include <net/if.h>
#include <stdint.h>

struct mfd_tcppath {
	unsigned mtu;	      /* bytes of a packet that the kernel sends at most; 0: not known */
	unsigned mss, advmss; /* bytes of data in a packet of this host's, and of the peer's */
	unsigned sent_again;  /* packets, so far */
	uint64_t acked, received; /* bytes, so far */
	char device[IFNAMSIZ];	  /* that has the connection's address here; "": not known */
};

/* 0 or -errno. */
int mfd_tcppath_look(int fd, struct mfd_tcppath *path);

/*
 * Between two looks, some seconds apart, more than one packet's worth was sent: nonzero if TCP has
 * sent it again and again, and not one full-sized packet of it was taken.
 */
int mfd_tcppath_loses(const struct mfd_tcppath *from, const struct mfd_tcppath *to);
/* More than one packet's worth should have come: nonzero if not one full-sized packet has. */
int mfd_tcppath_starves(const struct mfd_tcppath *from, const struct mfd_tcppath *to);

#endif
