/* SPDX-License-Identifier: GPL-2.0-only */
/* The operations of plain TCP (and of the socket pairs that tests use). */
#include <errno.h>
#include <limits.h>
#include <sys/socket.h>
#include <unistd.h>

#include "conn_ops.h"
#include "io.h"

static size_t left(const struct iovec *iov, int n)
{
	size_t sum = 0;

	while (n-- > 0)
		sum += iov[n].iov_len;
	return sum;
}

/* One call; what has been sent is taken off *iov.  How many bytes, or -errno. */
static ssize_t send_some(struct mfd_conn *c, struct iovec **iov, int *n, int flags)
{
	struct msghdr msg = { .msg_iov = *iov,
			      .msg_iovlen = (size_t)(*n < IOV_MAX ? *n : IOV_MAX) };
	ssize_t ret, sent = sendmsg(c->conn_fd, &msg, MSG_NOSIGNAL | flags);

	if (sent < 0)
		return errno == EINTR ? 0 : mfd_conn_ops_error();
	for (ret = sent; *n > 0 && (size_t)ret >= (*iov)->iov_len; (*n)--, (*iov)++)
		ret -= (ssize_t)(*iov)->iov_len;
	if (*n > 0) {
		(*iov)->iov_base = (char *)(*iov)->iov_base + ret;
		(*iov)->iov_len -= (size_t)ret;
	}
	return sent;
}

static int plain_send(struct mfd_conn *c, struct iovec *iov, int n, int more)
{
	ssize_t ret = 0;

	while (ret >= 0 && n > 0) {
		if (iov->iov_len == 0) {
			iov++;
			n--;
			continue;
		}
		ret = send_some(c, &iov, &n, more || n > IOV_MAX ? MSG_MORE : 0);
	}
	return ret < 0 ? (int)ret : 0;
}

static int plain_within(struct mfd_conn *c, struct iovec *iov, int n, unsigned ms)
{
	uint64_t now = mfd_io_now_ms(), end = now + ms;
	struct pollfd p = { .fd = c->conn_fd, .events = POLLOUT };
	ssize_t ret = 0;

	while (left(iov, n)) {
		ret = send_some(c, &iov, &n, MSG_DONTWAIT);
		if (ret < 0 && ret != -ETIMEDOUT)
			return (int)ret;
		now = mfd_io_now_ms();
		if (ret == -ETIMEDOUT && now >= end)
			return -ETIMEDOUT;
		if (ret == -ETIMEDOUT && poll(&p, 1, (int)(end - now)) < 0 && errno != EINTR)
			return -errno;
	}
	return 0;
}

static int plain_recv(struct mfd_conn *c, void *buf, size_t len)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = recv(c->conn_fd, (char *)buf + done, len - done, MSG_WAITALL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == ECONNRESET && done ? -EPIPE : mfd_conn_ops_error();
		if (n == 0)
			return done ? -EPIPE : -ECONNRESET;
		done += (size_t)n;
	}
	return 0;
}

static int plain_recvv(struct mfd_conn *c, struct iovec *iov, int n)
{
	int begun = 0;

	while (n > 0) {
		struct msghdr msg = { .msg_iov = iov,
				      .msg_iovlen = (size_t)(n < IOV_MAX ? n : IOV_MAX) };
		ssize_t got = recvmsg(c->conn_fd, &msg, MSG_WAITALL);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return errno == ECONNRESET && begun ? -EPIPE : mfd_conn_ops_error();
		if (got == 0)
			return begun ? -EPIPE : -ECONNRESET;
		begun = 1;
		for (; n > 0 && (size_t)got >= iov->iov_len; n--, iov++)
			got -= (ssize_t)iov->iov_len;
		if (n > 0) {
			iov->iov_base = (char *)iov->iov_base + got;
			iov->iov_len -= (size_t)got;
		}
	}
	return 0;
}

static int plain_zerocopy(struct mfd_conn *c, struct mfd_zerocopy *z, enum mfd_tristate mode)
{
	return mfd_zerocopy_init(z, c->conn_fd, mode);
}

static void plain_close(struct mfd_conn *c)
{
	close(c->conn_fd);
}

const struct mfd_conn_ops mfd_conn_plain_ops = {
	.send = plain_send,
	.recv = plain_recv,
	.recvv = plain_recvv,
	.within = plain_within,
	.zerocopy = plain_zerocopy,
	.close = plain_close,
};
