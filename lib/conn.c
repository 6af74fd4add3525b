/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A connection's plain TCP operations, and the calls that go through whichever operations it has.
 */
#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

#include "conn.h"

/* SO_RCVTIMEO and SO_SNDTIMEO report as EAGAIN; the sockets themselves are blocking. */
static int socket_error(void)
{
	return errno == EAGAIN || errno == EWOULDBLOCK ? -ETIMEDOUT : -errno;
}

static int plain_send(struct mfd_conn *c, struct iovec *iov, int n, int more)
{
	while (n > 0) {
		struct msghdr msg = { .msg_iov = iov,
				      .msg_iovlen = (size_t)(n < IOV_MAX ? n : IOV_MAX) };
		ssize_t ret;

		if (iov->iov_len == 0) {
			iov++;
			n--;
			continue;
		}
		ret = sendmsg(c->fd, &msg, MSG_NOSIGNAL | (more || n > IOV_MAX ? MSG_MORE : 0));
		if (ret < 0 && errno == EINTR)
			continue;
		if (ret < 0)
			return socket_error();

		for (; n > 0 && (size_t)ret >= iov->iov_len; n--, iov++)
			ret -= (ssize_t)iov->iov_len;
		if (n > 0) {
			iov->iov_base = (char *)iov->iov_base + ret;
			iov->iov_len -= (size_t)ret;
		}
	}
	return 0;
}

static int plain_recv(struct mfd_conn *c, void *buf, size_t len)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = recv(c->fd, (char *)buf + done, len - done, MSG_WAITALL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == ECONNRESET && done ? -EPIPE : socket_error();
		if (n == 0)
			return done ? -EPIPE : -ECONNRESET;
		done += (size_t)n;
	}
	return 0;
}

static void plain_close(struct mfd_conn *c)
{
	close(c->fd);
}

static const struct mfd_conn_ops plain_ops = {
	.send = plain_send,
	.recv = plain_recv,
	.close = plain_close,
};

void mfd_conn_plain(struct mfd_conn *c, int fd)
{
	c->ops = &plain_ops;
	c->fd = fd;
	c->tls = NULL;
}

int mfd_conn_sendv(struct mfd_conn *c, struct iovec *iov, int n, int more)
{
	if (!c->ops || c->fd < 0)
		return -ENOTCONN;
	return c->ops->send(c, iov, n, more);
}

int mfd_conn_send(struct mfd_conn *c, const void *buf, size_t len, int more)
{
	struct iovec iov = { .iov_base = (void *)(uintptr_t)buf, .iov_len = len };

	return mfd_conn_sendv(c, &iov, 1, more);
}

int mfd_conn_recv(struct mfd_conn *c, void *buf, size_t len)
{
	if (!c->ops || c->fd < 0)
		return -ENOTCONN;
	return c->ops->recv(c, buf, len);
}

void mfd_conn_shutdown(struct mfd_conn *c)
{
	if (c->fd >= 0)
		shutdown(c->fd, SHUT_RDWR);
}

void mfd_conn_close(struct mfd_conn *c)
{
	if (c->ops && c->fd >= 0)
		c->ops->close(c);
	c->ops = NULL;
	c->fd = -1;
	c->tls = NULL;
}
