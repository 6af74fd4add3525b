// SPDX-License-Identifier: GPL-2.0-only
/* The operations of a TLS connection, and the buffers between GnuTLS and the socket. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "assert.h"
#include "conn_tls.h"
#include "io.h"

/* ---- to and from the socket ---- */

/* Note the error, and set errno for GnuTLS. */
static int failed(struct mfd_conn_tls_buffer *b, int code)
{
	b->error = code;
	errno = EIO;
	return -1;
}

static int grow(struct mfd_conn_tls_buffer *b, size_t size)
{
	char *more = realloc(b->data, size);

	if (!more)
		return -ENOMEM;
	b->data = more;
	b->size = size;
	return 0;
}

/* The socket took nothing: wait for it, if there is a time until which that is permitted. */
static int may_wait(struct mfd_conn_tls *s)
{
	uint64_t now = mfd_io_now_ms();
	struct pollfd p = { .fd = s->fd, .events = POLLOUT };
	int full = errno == EAGAIN || errno == EWOULDBLOCK;

	if (!full || now >= s->send_until)
		return 0;
	if (poll(&p, 1, (int)(s->send_until - now)) >= 0 || errno == EINTR)
		return 1;
	return 0;
}

int mfd_conn_tls_flush(struct mfd_conn_tls *s)
{
	struct mfd_conn_tls_buffer *b = &s->out;
	int flags = MSG_NOSIGNAL | (s->closing || s->send_until ? MSG_DONTWAIT : 0);

	while (!b->error && b->at < b->n) {
		ssize_t n = send(s->fd, b->data + b->at, b->n - b->at, flags);

		if (n >= 0)
			b->at += (size_t)n;
		else if (errno != EINTR && !may_wait(s))
			b->error = mfd_conn_ops_error();
	}
	b->at = b->n = 0;
	return b->error;
}

/* GnuTLS hands over one record, or a part of it. */
static ssize_t push(gnutls_transport_ptr_t ptr, const void *data, size_t len)
{
	struct mfd_conn_tls *s = ptr;
	struct mfd_conn_tls_buffer *b = &s->out;
	size_t size = b->size ? b->size : MFD_CONN_TLS_RECORD;

	if (b->error)
		return failed(b, b->error);
	while (size < b->n + len)
		size *= 2;
	if (size > b->size && grow(b, size))
		return failed(b, -ENOMEM);
	memcpy(b->data + b->n, data, len);
	b->n += len;
	if ((s->shaking || b->n >= MFD_CONN_TLS_GATHER) && mfd_conn_tls_flush(s))
		return failed(b, b->error);
	return (ssize_t)len;
}

/* The peer has until the deadline of the handshake. */
static int wait_shaking(struct mfd_conn_tls *s)
{
	struct pollfd p = { .fd = s->fd, .events = POLLIN };
	int ret, ms = -1;

	sem_post(&s->tls->busy);
	do {
		uint64_t now = mfd_io_now_ms();

		if (s->deadline)
			ms = s->deadline > now ? (int)(s->deadline - now) : 0;
		ret = poll(&p, 1, ms);
	} while (ret < 0 && errno == EINTR);
	while (sem_wait(&s->tls->busy))
		;
	return ret > 0 ? 0 : ret ? -errno : -ETIMEDOUT;
}

/* 1 = something has come, 0 = the end, -errno. */
static int fill(struct mfd_conn_tls *s)
{
	struct mfd_conn_tls_buffer *b = &s->in;
	ssize_t n;
	int ret = s->shaking ? wait_shaking(s) : 0;

	if (ret)
		return ret;
	/* Much is coming. */
	if (!s->shaking && b->n == b->size && b->size < MFD_CONN_TLS_AHEAD)
		grow(b, MFD_CONN_TLS_AHEAD);
	do
		n = recv(s->fd, b->data, b->size, 0);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return mfd_conn_ops_error();
	b->at = 0;
	b->n = (size_t)n;
	b->ended = !n;
	return n > 0;
}

static ssize_t pull(gnutls_transport_ptr_t ptr, void *data, size_t len)
{
	struct mfd_conn_tls *s = ptr;
	struct mfd_conn_tls_buffer *b = &s->in;

	if (b->at == b->n) {
		int ret = fill(s);

		if (ret < 0)
			return failed(b, ret);
		if (!ret)
			return 0;
	}
	if (len > b->n - b->at)
		len = b->n - b->at;
	memcpy(data, b->data + b->at, len);
	b->at += len;
	return (ssize_t)len;
}

/* Errors of GnuTLS and of the socket as -errno. */
static int error_of(int code, const struct mfd_conn_tls_buffer *b)
{
	if (b->error)
		return b->error;
	if (b->ended) /* without the peer's word for it */
		return -EPIPE;
	switch (code) {
	case GNUTLS_E_FATAL_ALERT_RECEIVED:
		return -ECONNABORTED;
	case GNUTLS_E_DECRYPTION_FAILED:
		return -EBADMSG;
	case GNUTLS_E_MEMORY_ERROR:
		return -ENOMEM;
	default:
		return -EPROTO;
	}
}

/* ---- operations ---- */

uint64_t mfd_conn_tls_key_records = 1ULL << 23;

/* After each record.  0, or an error of GnuTLS. */
static int change_key(struct mfd_conn_tls *s)
{
	if (++s->sent < mfd_conn_tls_key_records)
		return 0;
	s->sent = 0;
	return gnutls_session_key_update(s->gnutls, 0);
}

static int send_one(struct mfd_conn *c, const char *data, size_t len)
{
	struct mfd_conn_tls *s = c->transport;

	while (len) {
		ssize_t n = gnutls_record_send(s->gnutls, data, len);

		if (n == GNUTLS_E_INTERRUPTED || n == GNUTLS_E_AGAIN)
			continue;
		if (n < 0)
			return error_of((int)n, &s->out);
		data += n;
		len -= (size_t)n;
		if (c->prompt && mfd_conn_tls_flush(s))
			return s->out.error;
		n = change_key(s);
		if (n)
			return error_of((int)n, &s->out);
	}
	return 0;
}

static int tls_send(struct mfd_conn *c, struct iovec *iov, int n, int more)
{
	struct mfd_conn_tls *s = c->transport;
	int ret = s->out.error;

	mfd_assert(!s->closing);
	for (int i = 0; i < n && !ret; i++)
		ret = send_one(c, iov[i].iov_base, iov[i].iov_len);
	if (!ret && !more)
		ret = mfd_conn_tls_flush(s);
	return ret;
}

static int tls_within(struct mfd_conn *c, struct iovec *iov, int n, unsigned ms)
{
	struct mfd_conn_tls *s = c->transport;
	int ret;

	s->send_until = mfd_io_now_ms() + ms;
	ret = tls_send(c, iov, n, 0);
	s->send_until = 0;
	return ret;
}

static int tls_recv(struct mfd_conn *c, void *buf, size_t len)
{
	struct mfd_conn_tls *s = c->transport;
	size_t done = 0;

	mfd_assert(!s->closing);
	while (done < len) {
		ssize_t n = gnutls_record_recv(s->gnutls, (char *)buf + done, len - done);

		if (n == GNUTLS_E_INTERRUPTED || n == GNUTLS_E_AGAIN)
			continue;
		if (!n)
			return done ? -EPIPE : -ECONNRESET;
		if (n < 0 && s->in.error == -ECONNRESET && done)
			return -EPIPE;
		if (n < 0)
			return error_of((int)n, &s->in);
		s->received++;
		done += (size_t)n;
	}
	return 0;
}

/* What GnuTLS has decrypted; else a whole record in `in`: a part of one would have to wait. */
static size_t tls_buffered(const struct mfd_conn *c)
{
	const struct mfd_conn_tls *s = c->transport;
	const struct mfd_conn_tls_buffer *b = &s->in;
	const unsigned char *head = (unsigned char *)b->data + b->at;
	size_t n = gnutls_record_check_pending(s->gnutls), here = b->n - b->at;

	if (n || here < 5)
		return n;
	n = 5 + ((size_t)head[3] << 8 | head[4]);
	return here >= n ? n : 0;
}

static const char *tls_identity(const struct mfd_conn *c)
{
	const struct mfd_conn_tls *s = c->transport;

	return s->identity;
}

static const char *tls_names(const struct mfd_conn *c)
{
	const struct mfd_conn_tls *s = c->transport;

	return s->names;
}

static int tls_bind(const struct mfd_conn *c, const char *label, const void *context, size_t len,
		    uint8_t out[MFD_CONN_BINDING])
{
	const struct mfd_conn_tls *s = c->transport;

	return gnutls_prf_rfc5705(s->gnutls, strlen(label), label, len, context, MFD_CONN_BINDING,
				  (char *)out) ?
		       -EPROTO :
		       0;
}

/* The peer is told that this is the end, if that needs no waiting. */
static void tls_close(struct mfd_conn *c)
{
	struct mfd_conn_tls *s = c->transport;

	s->closing = 1;
	if (!s->out.error && !gnutls_bye(s->gnutls, GNUTLS_SHUT_WR))
		mfd_conn_tls_flush(s);
	mfd_conn_tls_free(s);
	close(c->conn_fd);
}

const struct mfd_conn_ops mfd_conn_tls_ops = {
	.send = tls_send,
	.recv = tls_recv,
	.within = tls_within,
	.buffered = tls_buffered,
	.identity = tls_identity,
	.names = tls_names,
	.bind = tls_bind,
	.close = tls_close,
};

/* ---- life ---- */

struct mfd_conn_tls *mfd_conn_tls_new(struct mfd_conn *c, enum mfd_conn_end end,
				      struct mfd_tls *tls)
{
	struct mfd_conn_tls *s = calloc(1, sizeof(*s));
	unsigned flags = MFD_CONN_TLS_FLAGS;

	if (!s)
		return NULL;
	s->tls = tls;
	s->end = end;
	s->fd = c->conn_fd;
	s->asked.creds = mfd_tls_now(tls);
	/* A source's certificate is sent whatever the CA: the target says what is wrong with it. */
	flags |= end == MFD_CONN_SOURCE ? GNUTLS_CLIENT | GNUTLS_FORCE_CLIENT_CERT : GNUTLS_SERVER;
	if (grow(&s->in, MFD_CONN_TLS_RECORD) || gnutls_init(&s->gnutls, flags)) {
		mfd_conn_tls_free(s);
		return NULL;
	}
	gnutls_session_set_ptr(s->gnutls, s); /* and &s->asked */
	gnutls_transport_set_ptr(s->gnutls, s);
	gnutls_transport_set_push_function(s->gnutls, push);
	gnutls_transport_set_pull_function(s->gnutls, pull);
	return s;
}

void mfd_conn_tls_free(struct mfd_conn_tls *s)
{
	if (s->gnutls)
		gnutls_deinit(s->gnutls);
	free(s->in.data);
	free(s->out.data);
	mfd_tls_creds_put(s->asked.creds);
	free(s);
}
