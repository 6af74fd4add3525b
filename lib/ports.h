/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Local ports for the connections of one session, chosen so that the connections are different
 * flows to all that spreads or limits flows.
 *
 * Bonds, routers, network cards and the caps that clouds put on a single flow all hash addresses
 * and ports, and some take but a few low bits of them. Ports that the kernel picks collide there by
 * chance (8 connections in 8 classes: 99.8 times in 100), and those in one class share what one of
 * them may have. Here n connections get consecutive ports, the first a multiple of a power of two
 * that is at least n: their low bits count from 0 to n - 1.
 *
 * This is an attempt, not a condition: if there are no such ports, the kernel picks as ever.
 */
#ifndef MFD_PORTS_H
#define MFD_PORTS_H

#define MFD_PORTS_MAX 128

struct mfd_ports {
	unsigned n;
	int fd[MFD_PORTS_MAX]; /* sockets that are bound and not connected; -1 = none */
};

/*
 * Bind n (at most MFD_PORTS_MAX) TCP sockets of `family` in this network namespace.  In this order:
 * ports in a row; if 32 rows at random places were all in use, single ports with the same low bits;
 * none.  *p is always fit for take and release.
 */
void mfd_ports_reserve(struct mfd_ports *p, int family, unsigned n);
/* Return the i-th socket, once: it is the caller's from now on; else -1. */
int mfd_ports_take(struct mfd_ports *p, unsigned i);
/* Close the sockets that were not taken. */
void mfd_ports_release(struct mfd_ports *p);

#endif
