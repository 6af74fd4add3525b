// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a connection promises whatever its transport is: a toy transport that a handshake puts in
 * reads ahead, so that bytes lie where poll() does not see them.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "conn_ops.h"
#include "io.h"
#include "pair.h"

/* ---- the toy: every byte is inverted, receiving takes whatever the socket has ---- */

struct toy {
	char ahead[4096];
	size_t at, n;
};

static int toy_send(struct mfd_conn *c, struct iovec *iov, int n, int more)
{
	int ret = 0;

	for (int i = 0; i < n && !ret; i++) {
		char *copy = malloc(iov[i].iov_len + 1);
		struct iovec v = { copy, iov[i].iov_len };

		for (size_t k = 0; k < v.iov_len; k++)
			copy[k] = (char)~((char *)iov[i].iov_base)[k];
		ret = mfd_conn_plain_ops.send(c, &v, 1, more || i + 1 < n);
		free(copy);
	}
	return ret;
}

static int toy_recv(struct mfd_conn *c, void *buf, size_t len)
{
	struct toy *t = c->transport;

	for (size_t i = 0; i < len; i++) {
		if (t->at == t->n) {
			ssize_t n = recv(c->conn_fd, t->ahead, sizeof(t->ahead), 0);

			if (n <= 0)
				return n < 0 ? -errno : i ? -EPIPE : -ECONNRESET;
			t->at = 0;
			t->n = (size_t)n;
		}
		((char *)buf)[i] = (char)~t->ahead[t->at++];
	}
	return 0;
}

static size_t toy_buffered(const struct mfd_conn *c)
{
	const struct toy *t = c->transport;

	return t->n - t->at;
}

static void toy_close(struct mfd_conn *c)
{
	free(c->transport);
	mfd_conn_plain_ops.close(c);
}

static const struct mfd_conn_ops toy_ops = {
	.send = toy_send,
	.recv = toy_recv,
	.buffered = toy_buffered,
	.close = toy_close,
};

/* Each end says its part in the clear before it swaps. */
static int toy_handshake(struct mfd_conn *c, enum mfd_conn_end end,
			 const struct mfd_conn_config *cfg, struct mfd_error *err)
{
	const char mine = end == MFD_CONN_SOURCE ? 's' : 't';
	char theirs = 0;
	int ret = mfd_conn_send(c, &mine, 1, 0);

	assert_non_null(cfg->security);
	if (!ret)
		ret = mfd_conn_recv(c, &theirs, 1);
	if (!ret && theirs != (mine == 's' ? 't' : 's'))
		ret = -EPROTO;
	if (ret)
		return mfd_error_set(err, ret, "the peer does not speak toy");
	mfd_conn_swap(c, &toy_ops, calloc(1, sizeof(struct toy)));
	return 0;
}

static const struct mfd_conn_security toy = { .handshake = toy_handshake };

/* ---- both ends ---- */

static const struct mfd_conn_config plain_cfg = { .connect_ms = 5000, .stall_ms = 5000 };
static const struct mfd_conn_config toy_cfg = { .security = &toy,
						.connect_ms = 5000,
						.stall_ms = 5000 };

struct acceptor {
	pthread_t thread;
	int listener;
	const struct mfd_conn_config *cfg;
	struct mfd_conn conn;
	int ret;
};

static void *accept_one(void *arg)
{
	struct acceptor *a = arg;
	struct mfd_error err = { 0 };
	struct mfd_conn conn = { 0 };

	a->ret = mfd_conn_accept(&conn, a->listener);
	if (!a->ret)
		a->ret = mfd_conn_configure(&conn, a->cfg);
	mfd_conn_move(&a->conn, &conn); /* as a server does, before the handshake */
	if (!a->ret)
		a->ret = mfd_conn_handshake(&a->conn, MFD_CONN_TARGET, a->cfg, &err);
	if (a->ret)
		mfd_conn_close(&a->conn);
	return NULL;
}

static void connected(const struct mfd_conn_config *cfg, struct mfd_conn *s, struct mfd_conn *t)
{
	struct acceptor a = { .cfg = cfg };
	const int mss = 1448; /* as on a real link, not loopback's 64 KiB */
	struct mfd_sock_addr at;
	struct mfd_error err = { 0 };

	*s = (struct mfd_conn){ 0 };
	assert_int_equal(mfd_sock_parse("127.0.0.1:0", 1, &at, &err), 0);
	a.listener = mfd_sock_listen(&at, &err);
	assert_true(a.listener >= 0);
	setsockopt(a.listener, IPPROTO_TCP, TCP_MAXSEG, &mss, sizeof(mss));
	assert_int_equal(pthread_create(&a.thread, NULL, accept_one, &a), 0);
	assert_int_equal(mfd_conn_connect(s, &at, -1, NULL, cfg, &err), 0);
	pthread_join(a.thread, NULL);
	assert_int_equal(a.ret, 0);
	mfd_conn_move(t, &a.conn);
	assert_false(mfd_conn_is_open(&a.conn));
	close(a.listener);
}

static void exchange(struct mfd_conn *from, struct mfd_conn *to)
{
	struct iovec iov[2] = { { (char[]){ "head" }, 4 }, { (char[]){ "body" }, 4 } };
	char buf[16] = "";

	assert_int_equal(mfd_conn_sendv(from, iov, 2, 0), 0);
	assert_int_equal(mfd_conn_wait(to, 5000), 1);
	assert_int_equal(mfd_conn_recv(to, buf, 8), 0);
	assert_string_equal(buf, "headbody");
	assert_int_equal(mfd_conn_wait(to, 0), 0);
}

static void test_both_transports(void **state)
{
	const struct mfd_conn_config *cfg[] = { &plain_cfg, &toy_cfg };

	(void)state;
	for (int i = 0; i < 2; i++) {
		struct mfd_conn s, t;
		char text[80];

		connected(cfg[i], &s, &t);
		assert_int_equal(mfd_conn_peer_text(&t, text, sizeof(text)), 0);
		assert_non_null(strstr(text, "127.0.0.1:"));
		assert_int_equal(mfd_conn_stall_ms(&s), 5000);
		exchange(&s, &t);
		exchange(&t, &s);
		assert_int_equal(mfd_conn_gone(&t, 0), 0);
		mfd_conn_close(&s);
		assert_int_equal(mfd_conn_gone(&t, 5000), 1);
		assert_int_equal(mfd_conn_wait(&t, 0), 1); /* receiving tells */
		assert_int_equal(mfd_conn_recv(&t, text, 1), -ECONNRESET);
		mfd_conn_close(&t);
	}
}

/* The socket is empty after the first byte; the others are in the connection. */
static void test_buffered_counts_first(void **state)
{
	struct mfd_conn s, t;
	struct pollfd p;
	char buf[8];

	(void)state;
	connected(&toy_cfg, &s, &t);
	assert_int_equal(mfd_conn_watch(&t, &p), 0);
	assert_int_equal(poll(&p, 1, 0), 0);
	assert_int_equal(mfd_conn_send(&s, "abc", 3, 0), 0);
	assert_int_equal(mfd_conn_watch(&t, &p), 0);
	assert_int_equal(poll(&p, 1, 5000), 1);
	assert_int_equal(mfd_conn_recv(&t, buf, 1), 0);
	assert_int_equal(poll(&p, 1, 0), 0);
	assert_int_not_equal(mfd_conn_watch(&t, &p), 0);
	assert_int_equal(mfd_conn_wait(&t, -1), 1);
	/* The peer's end is seen while there is something to read. */
	mfd_conn_close(&s);
	assert_int_equal(mfd_conn_gone(&t, 5000), 1);
	assert_int_equal(mfd_conn_recv(&t, buf, 2), 0);
	assert_memory_equal(buf, "bc", 2);
	assert_int_equal(mfd_conn_recv(&t, buf, 1), -ECONNRESET);
	mfd_conn_close(&t);
}

static void test_refused_handshake(void **state)
{
	struct acceptor a = { .cfg = &plain_cfg };
	struct mfd_error err = { 0 };
	struct mfd_sock_addr at;
	struct mfd_conn s = { 0 };

	(void)state;
	assert_int_equal(mfd_sock_parse("127.0.0.1:0", 1, &at, &err), 0);
	a.listener = mfd_sock_listen(&at, &err);
	assert_int_equal(pthread_create(&a.thread, NULL, accept_one, &a), 0);
	assert_int_equal(mfd_conn_connect(&s, &at, -1, NULL, &plain_cfg, &err), 0);
	pthread_join(a.thread, NULL);
	assert_int_equal(mfd_conn_send(&a.conn, "?", 1, 0), 0);
	err = (struct mfd_error){ 0 };
	assert_int_equal(mfd_conn_handshake(&s, MFD_CONN_SOURCE, &toy_cfg, &err), -EPROTO);
	assert_string_equal(err.text, "the peer does not speak toy");
	mfd_conn_close(&s);
	mfd_conn_close(&a.conn);
	close(a.listener);
}

static void test_zerocopy_is_offered_or_not(void **state)
{
	struct mfd_zerocopy z;
	struct mfd_conn s, t;
	uint32_t ticket;
	char buf[6];

	(void)state;
	connected(&plain_cfg, &s, &t);
	assert_int_equal(mfd_conn_zerocopy_send(&s, "early", 5, &ticket), -ENOTCONN);
	assert_int_equal(mfd_conn_zerocopy(&s, &z, MFD_ON), 0);
	assert_int_equal(z.mode, MFD_ON);
	assert_int_equal(mfd_conn_zerocopy_send(&s, "pages", 5, &ticket), 0);
	assert_int_equal(mfd_conn_recv(&t, buf, 5), 0);
	assert_int_equal(mfd_conn_zerocopy_wait(&s, ticket, 5000), 0);
	assert_int_equal(mfd_conn_zerocopy_flush(&s, 5000), 0);
	mfd_conn_close(&s);
	mfd_conn_close(&t);
	assert_int_equal(z.completions, 1); /* still readable */

	connected(&toy_cfg, &s, &t);
	assert_int_equal(mfd_conn_zerocopy(&s, &z, MFD_ON), -EOPNOTSUPP);
	assert_int_equal(mfd_conn_zerocopy(&s, &z, MFD_AUTO), 0);
	assert_int_equal(z.mode, MFD_OFF);
	assert_non_null(z.fell_back);
	assert_int_equal(mfd_conn_zerocopy(&s, &z, MFD_OFF), 0);
	assert_null(z.fell_back);
	assert_int_equal(mfd_conn_zerocopy_flush(&s, 0), 0);
	mfd_conn_close(&s);
	mfd_conn_close(&t);
}

static void *send_until_it_fails(void *arg)
{
	static char buf[1 << 16];
	int ret = 0;

	while (!ret)
		ret = mfd_conn_send(arg, buf, sizeof(buf), 0);
	return (void *)(intptr_t)ret;
}

/* Wait until the peer's sender is blocked: what can be read does not grow any more. */
static int filled(int fd)
{
	int n = 0, before;

	do {
		before = n;
		usleep(50000);
		assert_int_equal(ioctl(fd, FIONREAD, &n), 0);
	} while (n != before);
	return n;
}

/*
 * All that had come was read before the close, so the kernel does not reset the connection by
 * itself; and the receive window, closed since before the shutdown, stays closed.
 */
static void test_reset_wakes_the_sender(void **state)
{
	struct mfd_conn s, t;
	pthread_t sender;
	uint64_t before;
	void *ret;
	char *buf;
	int n;

	(void)state;
	connected(&plain_cfg, &s, &t);
	assert_int_equal(pthread_create(&sender, NULL, send_until_it_fails, &s), 0);
	n = filled(t.conn_fd);
	mfd_conn_reset(&t);
	buf = malloc((size_t)n);
	assert_int_equal(mfd_conn_recv(&t, buf, (size_t)n), 0);
	free(buf);
	before = mfd_io_now_ms();
	mfd_conn_close(&t);
	pthread_join(sender, &ret);
	assert_true((intptr_t)ret == -ECONNRESET || (intptr_t)ret == -EPIPE);
	assert_true(mfd_io_now_ms() - before < 2500);
	mfd_conn_close(&s);
}

static void test_closed(void **state)
{
	const struct mfd_conn_config cfg = { 0 };
	struct mfd_conn c = { 0 };
	struct mfd_zerocopy z;
	struct pollfd p;
	char buf[80];

	(void)state;
	for (int i = 0; i < 2; i++) {
		assert_false(mfd_conn_is_open(&c));
		assert_int_equal(mfd_conn_configure(&c, &cfg), -ENOTCONN);
		assert_int_equal(mfd_conn_wait(&c, 0), -ENOTCONN);
		assert_int_equal(mfd_conn_gone(&c, 0), -ENOTCONN);
		assert_int_equal(mfd_conn_stall_ms(&c), -ENOTCONN);
		assert_int_equal(mfd_conn_recv(&c, buf, 1), -ENOTCONN);
		assert_int_equal(mfd_conn_peer_text(&c, buf, sizeof(buf)), -ENOTCONN);
		assert_int_equal(mfd_conn_zerocopy(&c, &z, MFD_AUTO), -ENOTCONN);
		assert_int_equal(mfd_conn_watch(&c, &p), 0);
		assert_int_equal(p.fd, -1);
		mfd_conn_shutdown(&c); /* must not touch descriptor 0 */
		mfd_conn_reset(&c);
		mfd_conn_close(&c);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_both_transports),
		cmocka_unit_test(test_buffered_counts_first),
		cmocka_unit_test(test_refused_handshake),
		cmocka_unit_test(test_zerocopy_is_offered_or_not),
		cmocka_unit_test(test_reset_wakes_the_sender),
		cmocka_unit_test(test_closed),
	};

	pair_time_limit(60);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
