/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * TCP sockets: addresses as people write them, connecting within a time, listening, and socket
 * options.  Connections between the hosts are made by conn.h, which is the caller of most of this.
 */
#ifndef MFD_SOCK_H
#define MFD_SOCK_H

#include <sys/socket.h>

#include "error.h"

struct mfd_sock_addr {
	struct sockaddr_storage sa;
	socklen_t len;
	char text[72]; /* "192.0.2.1:7777", "[2001:db8::1]:7777": as resolved */
};

/*
 * Parse "HOST:PORT" or "[V6]:PORT"; HOST may be a name.  The port is required, 0 only with
 * allow_port0 (listening). -EINVAL with the offending text in err.
 */
int mfd_sock_parse(const char *text, int allow_port0, struct mfd_sock_addr *addr,
		   struct mfd_error *err);
int mfd_sock_is_loopback(const struct mfd_sock_addr *addr);

/*
 * Return a connected, blocking, close-on-exec socket or -errno.  `bound`: one from mfd_sock_bound
 * for the local port, which is taken over whatever happens, or -1; if its port is in the way, the
 * kernel chooses another one.
 */
int mfd_sock_connect(const struct mfd_sock_addr *addr, int bound, unsigned timeout_ms,
		     struct mfd_error *err);
/*
 * Return a non-blocking, close-on-exec TCP socket bound to `port` on every address, for AF_INET or
 * AF_INET6 (and IPv4 through it), or -errno.
 */
int mfd_sock_bound(int family, unsigned port);
/*
 * Return a listening, close-on-exec socket or -errno; *addr is updated to the bound address (port 0
 * = any).
 */
int mfd_sock_listen(struct mfd_sock_addr *addr, struct mfd_error *err);
/*
 * Check that `fd`, which another process has made, is a listening TCP socket: 0 and *addr, or
 * -errno.  It stays the caller's.
 */
int mfd_sock_listening(int fd, struct mfd_sock_addr *addr, struct mfd_error *err);

/*
 * Set NODELAY, keepalive, and a limit on how long sent bytes may stay unacknowledged or a call may
 * block (TCP_USER_TIMEOUT, SO_RCVTIMEO and SO_SNDTIMEO; 0 = none).
 */
int mfd_sock_tune(int fd, unsigned stall_ms);
int mfd_sock_peer_text(int fd, char *buf, size_t len);

#endif
