/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The operations of a transport, for lib/conn*.c alone.
 *
 * Another transport is a file lib/conn_NAME.c: a struct mfd_conn_security whose handshake makes the
 * transport's own state and calls mfd_conn_swap.  What it must keep to:
 *
 *   - The struct mfd_conn moves in memory: the state must not point to it.
 *   - send and recv may run at the same time, each on one thread at a time.
 *   - shutdown(2) on the descriptor, by any thread, must make both fail.
 *   - SO_RCVTIMEO and SO_SNDTIMEO of the descriptor are set: EAGAIN means -ETIMEDOUT.
 *   - recv takes no more from the socket than it hands out, or `buffered` tells what is left.
 */
#ifndef MFD_CONN_OPS_H
#define MFD_CONN_OPS_H

#include <errno.h>

#include "conn.h"

struct mfd_conn_ops {
	/* As mfd_conn_sendv and mfd_conn_recv. */
	int (*send)(struct mfd_conn *c, struct iovec *iov, int n, int more);
	int (*recv)(struct mfd_conn *c, void *buf, size_t len);
	/* As mfd_conn_recvv.  NULL: recv is used for each piece. */
	int (*recvv)(struct mfd_conn *c, struct iovec *iov, int n);
	/* As mfd_conn_sendv_within.  NULL: send is used, which may take longer. */
	int (*within)(struct mfd_conn *c, struct iovec *iov, int n, unsigned ms);
	/* Bytes that recv would return without the socket.  NULL: there are never any. */
	size_t (*buffered)(const struct mfd_conn *c);
	/* As mfd_conn_identity and mfd_conn_bind.  NULL: the peer is not proved. */
	const char *(*identity)(const struct mfd_conn *c);
	/* As mfd_conn_names.  NULL: the identity is all. */
	const char *(*names)(const struct mfd_conn *c);
	int (*bind)(const struct mfd_conn *c, const char *label, const void *context, size_t len,
		    uint8_t out[MFD_CONN_BINDING]);
	/* As mfd_conn_zerocopy.  NULL: the transport does not offer it. */
	int (*zerocopy)(struct mfd_conn *c, struct mfd_zerocopy *z, enum mfd_tristate mode);
	/* Free the state and close the descriptor. */
	void (*close)(struct mfd_conn *c);
};

/*
 * What errno says after a call on the descriptor: -errno, and -ETIMEDOUT when its time was over,
 * since SO_RCVTIMEO and SO_SNDTIMEO report as EAGAIN; the sockets themselves are blocking.
 */
static inline int mfd_conn_ops_error(void)
{
	return errno == EAGAIN || errno == EWOULDBLOCK ? -ETIMEDOUT : -errno;
}

/* conn_plain.c */
extern const struct mfd_conn_ops mfd_conn_plain_ops;

/* Give the connection another transport, whose state is `transport`; afterwards it is open. */
void mfd_conn_swap(struct mfd_conn *c, const struct mfd_conn_ops *ops, void *transport);

#endif
