/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A connection between the hosts after its transport is set up.  Callers never ask whether bytes go
 * in the clear or through TLS: the operations were chosen when the connection was made.
 *
 * One thread may send while another receives; two threads may not do the same direction at once.
 * mfd_conn_shutdown may be called from any thread at any time and makes both directions fail soon.
 */
#ifndef MFD_CONN_H
#define MFD_CONN_H

#include <stddef.h>
#include <sys/uio.h>

struct mfd_conn;

struct mfd_conn_ops {
	/*
	 * Send everything / receive exactly len bytes: 0 or -errno (-ECONNRESET at a clean end
	 * before the first byte, -EPIPE inside, -ETIMEDOUT when nothing moved for the stall time).
	 * `more`: more follows at once.
	 */
	int (*send)(struct mfd_conn *c, struct iovec *iov, int n, int more);
	int (*recv)(struct mfd_conn *c, void *buf, size_t len);
	void (*close)(struct mfd_conn *c);
};

struct mfd_conn {
	const struct mfd_conn_ops *ops;
	int fd;
	void *tls; /* private to the TLS operations */
};

/* Takes over the descriptor of a connected socket; plain TCP. */
void mfd_conn_plain(struct mfd_conn *c, int fd);
int mfd_conn_send(struct mfd_conn *c, const void *buf, size_t len, int more);
int mfd_conn_sendv(struct mfd_conn *c, struct iovec *iov, int n, int more); /* iov is modified */
int mfd_conn_recv(struct mfd_conn *c, void *buf, size_t len);
void mfd_conn_shutdown(struct mfd_conn *c);
void mfd_conn_close(struct mfd_conn *c); /* fine when never opened (fd -1) or closed */

#endif
