/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a descriptor is: a name that is the same on every host and after every start, and all that
 * the image says about it.
 */
#ifndef MFD_CPR_DESCRIBE_H
#define MFD_CPR_DESCRIBE_H

#include <limits.h>
#include <sys/un.h>

#include "cpr_image.h"

/* An image item with room for all it points to. */
struct mfd_cpr_described {
	struct mfd_cpr_image_item item;
	char name[PATH_MAX + 32], path[PATH_MAX];
	char own[sizeof(struct sockaddr_un)], peer[sizeof(struct sockaddr_un)];
	struct mfd_cpr_owner owner;
};

/*
 * Names: the path of what has one ("/dev/fuse"), the kernel's own for what has none
 * ("anon_inode:bpf-map", "pipe:[123]"), "memfd:NAME", "char:10:200" for a device whose node is
 * gone, "unix-stream:PATH", "unix-dgram:@ABSTRACT", "unix-seqpacket:[unnamed]" (the peer's address,
 * else its own), "tcp:ADDRESS:PORT", "socket:[123]" for other sockets.  0 or -errno.
 */
int mfd_cpr_describe(int fd, struct mfd_cpr_described *d);

/*
 * cpr_unix.c: kind, name and socket identity of a unix socket, from itself and from
 * NETLINK_SOCK_DIAG.
 */
int mfd_cpr_describe_unix(int fd, struct mfd_cpr_described *d);

/*
 * cpr_claim.c: does the configuration claim it?  patterns: NULL = auto = everything, "off", or
 * PATTERN[,PATTERN...].
 */
int mfd_cpr_claims(const char *patterns, const char *name);

#endif
