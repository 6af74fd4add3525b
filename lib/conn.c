/* SPDX-License-Identifier: GPL-2.0-only */
/* Connections: opening and closing them, waiting for them, and the way to their operations. */
#include <errno.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "conn_ops.h"

void mfd_conn_swap(struct mfd_conn *c, const struct mfd_conn_ops *ops, void *transport)
{
	c->ops = ops;
	c->transport = transport;
	c->open = 1;
}

void mfd_conn_plain(struct mfd_conn *c, int fd)
{
	*c = (struct mfd_conn){ .conn_fd = fd };
	mfd_conn_swap(c, &mfd_conn_plain_ops, NULL);
}

void mfd_conn_move(struct mfd_conn *to, struct mfd_conn *from)
{
	*to = *from;
	*from = (struct mfd_conn){ 0 };
}

/* A socket with the congestion control that the path of `like` asks for, if one can be had. */
static int prepare(const struct mfd_sock_addr *to, int bound, const struct mfd_conn *like,
		   const struct mfd_conn_config *cfg)
{
	if (!like)
		return bound;
	if (bound < 0)
		bound = mfd_sock_bound(to->sa.ss_family, 0);
	if (bound >= 0)
		mfd_congestion_prepare(bound, like->conn_fd, cfg->congestion);
	return bound;
}

int mfd_conn_connect(struct mfd_conn *c, const struct mfd_sock_addr *to, int bound,
		     const struct mfd_conn *like, const struct mfd_conn_config *cfg,
		     struct mfd_error *err)
{
	int fd, ret;

	fd = mfd_sock_connect(to, prepare(to, bound, like, cfg), cfg->connect_ms, err);
	if (fd < 0)
		return fd;
	mfd_conn_plain(c, fd);
	ret = mfd_conn_configure(c, cfg);
	if (ret)
		mfd_error_sys(err, ret, "setting up the connection to %s", to->text);
	else
		ret = mfd_conn_handshake(c, MFD_CONN_SOURCE, cfg, err);
	if (ret)
		mfd_conn_close(c);
	return ret;
}

int mfd_conn_congestion(struct mfd_conn *c, const char *want, char name[MFD_CONGESTION_NAME],
			struct mfd_error *err)
{
	return c->open ? mfd_congestion_set(c->conn_fd, want, name, err) : -ENOTCONN;
}

int mfd_conn_path(const struct mfd_conn *c, struct mfd_tcppath *path)
{
	return c->open ? mfd_tcppath_look(c->conn_fd, path) : -ENOTCONN;
}

int mfd_conn_accept(struct mfd_conn *c, int listener)
{
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

	if (fd < 0)
		return -errno;
	mfd_conn_plain(c, fd);
	return 0;
}

int mfd_conn_configure(struct mfd_conn *c, const struct mfd_conn_config *cfg)
{
	const struct timeval forever = { 0 };
	int ret;

	if (!c->open)
		return -ENOTCONN;
	ret = mfd_sock_tune(c->conn_fd, cfg->stall_ms);
	if (!ret && cfg->silence_is_normal &&
	    setsockopt(c->conn_fd, SOL_SOCKET, SO_RCVTIMEO, &forever, sizeof(forever)))
		ret = -errno;
	return ret;
}

int mfd_conn_handshake(struct mfd_conn *c, enum mfd_conn_end end, const struct mfd_conn_config *cfg,
		       struct mfd_error *err)
{
	return cfg->security ? cfg->security->handshake(c, end, cfg, err) : 0;
}

int mfd_conn_is_open(const struct mfd_conn *c)
{
	return c->open;
}

int mfd_conn_peer_text(const struct mfd_conn *c, char *buf, size_t len)
{
	return c->open ? mfd_sock_peer_text(c->conn_fd, buf, len) : -ENOTCONN;
}

const char *mfd_conn_identity(const struct mfd_conn *c)
{
	return c->open && c->ops->identity ? c->ops->identity(c) : "";
}

const char *mfd_conn_names(const struct mfd_conn *c)
{
	return c->open && c->ops->names ? c->ops->names(c) : mfd_conn_identity(c);
}

int mfd_conn_bind(const struct mfd_conn *c, const char *label, const void *context, size_t len,
		  uint8_t out[MFD_CONN_BINDING])
{
	if (!c->open)
		return -ENOTCONN;
	return c->ops->bind ? c->ops->bind(c, label, context, len, out) : -EOPNOTSUPP;
}

void mfd_conn_prompt(struct mfd_conn *c)
{
	c->prompt = 1;
}

int mfd_conn_sendv(struct mfd_conn *c, struct iovec *iov, int n, int more)
{
	return c->open ? c->ops->send(c, iov, n, more) : -ENOTCONN;
}

int mfd_conn_send(struct mfd_conn *c, const void *buf, size_t len, int more)
{
	struct iovec iov = { .iov_base = (void *)(uintptr_t)buf, .iov_len = len };

	return mfd_conn_sendv(c, &iov, 1, more);
}

int mfd_conn_sendv_within(struct mfd_conn *c, struct iovec *iov, int n, unsigned ms)
{
	if (!c->open)
		return -ENOTCONN;
	return c->ops->within ? c->ops->within(c, iov, n, ms) : c->ops->send(c, iov, n, 0);
}

int mfd_conn_recv(struct mfd_conn *c, void *buf, size_t len)
{
	return c->open ? c->ops->recv(c, buf, len) : -ENOTCONN;
}

int mfd_conn_recvv(struct mfd_conn *c, struct iovec *iov, int n)
{
	int ret = c->open ? 0 : -ENOTCONN;

	if (!ret && c->ops->recvv)
		return c->ops->recvv(c, iov, n);
	for (int i = 0; !ret && i < n; i++) {
		ret = c->ops->recv(c, iov[i].iov_base, iov[i].iov_len);
		if (ret == -ECONNRESET && i)
			ret = -EPIPE;
	}
	return ret;
}

int mfd_conn_watch(const struct mfd_conn *c, struct pollfd *p)
{
	*p = (struct pollfd){ .fd = c->open ? c->conn_fd : -1, .events = POLLIN };
	return c->open && c->ops->buffered && c->ops->buffered(c) > 0;
}

int mfd_conn_wait(struct mfd_conn *c, int ms)
{
	struct pollfd p;
	int ret;

	if (!c->open)
		return -ENOTCONN;
	if (mfd_conn_watch(c, &p))
		return 1;
	ret = poll(&p, 1, ms);
	return ret < 0 ? -errno : ret;
}

void mfd_conn_want(struct mfd_conn *c, int bytes)
{
	if (c->open)
		(void)setsockopt(c->conn_fd, SOL_SOCKET, SO_RCVLOWAT, &bytes, sizeof(bytes));
}

int mfd_conn_gone(const struct mfd_conn *c, int ms)
{
	struct pollfd p = { .fd = c->conn_fd, .events = POLLRDHUP };
	int ret;

	if (!c->open)
		return -ENOTCONN;
	ret = poll(&p, 1, ms);
	return ret < 0 ? -errno : ret;
}

int mfd_conn_stall_ms(const struct mfd_conn *c)
{
	struct timeval stall = { 0 };
	socklen_t len = sizeof(stall);

	if (!c->open)
		return -ENOTCONN;
	if (getsockopt(c->conn_fd, SOL_SOCKET, SO_RCVTIMEO, &stall, &len))
		return -errno;
	return (int)(stall.tv_sec * 1000 + stall.tv_usec / 1000);
}

int mfd_conn_zerocopy(struct mfd_conn *c, struct mfd_zerocopy *z, enum mfd_tristate mode)
{
	int ret;

	if (!c->open)
		return -ENOTCONN;
	if (c->ops->zerocopy) {
		ret = c->ops->zerocopy(c, z, mode);
	} else {
		mfd_zerocopy_none(z, mode);
		ret = mode == MFD_ON ? -EOPNOTSUPP : 0;
	}
	if (!ret)
		c->zerocopy = z;
	return ret;
}

int mfd_conn_zerocopy_send(struct mfd_conn *c, const void *buf, size_t len, uint32_t *ticket)
{
	if (!c->open || !c->zerocopy)
		return -ENOTCONN;
	return mfd_zerocopy_send(c->zerocopy, buf, len, ticket);
}

int mfd_conn_zerocopy_wait(struct mfd_conn *c, uint32_t ticket, unsigned timeout_ms)
{
	return c->zerocopy ? mfd_zerocopy_wait(c->zerocopy, ticket, timeout_ms) : 0;
}

int mfd_conn_zerocopy_flush(struct mfd_conn *c, unsigned timeout_ms)
{
	return c->zerocopy ? mfd_zerocopy_flush(c->zerocopy, timeout_ms) : 0;
}

void mfd_conn_stop_reading(struct mfd_conn *c)
{
	if (c->open)
		shutdown(c->conn_fd, SHUT_RD);
}

void mfd_conn_shutdown(struct mfd_conn *c)
{
	if (c->open)
		shutdown(c->conn_fd, SHUT_RDWR);
}

void mfd_conn_reset(struct mfd_conn *c)
{
	const struct linger at_once = { .l_onoff = 1 };

	if (c->open)
		setsockopt(c->conn_fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	mfd_conn_shutdown(c);
}

void mfd_conn_close(struct mfd_conn *c)
{
	if (c->open)
		c->ops->close(c);
	*c = (struct mfd_conn){ 0 };
}
