/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The other end of a unix socket.  NETLINK_SOCK_DIAG alone knows it, and knows the sockets of its
 * own network namespace only: the calling thread enters that of the socket for the question, and
 * leaves it again.
 */
#ifndef MFD_UNIXPEER_H
#define MFD_UNIXPEER_H

#include <stdint.h>

/*
 * fd: a descriptor of this process for the socket; inode: its own.  0: *state (as of TCP) and *peer
 * (an inode) hold what the kernel told, and are as they were where it told nothing; or -errno.
 */
int mfd_unixpeer(int fd, uint32_t inode, uint32_t *state, uint32_t *peer);

#endif
