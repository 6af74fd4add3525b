/* SPDX-License-Identifier: GPL-2.0-only */
/* Addresses, connecting, listening, and connections over sockets. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "conn.h"
#include "io.h"
#include "sock.h"

static void test_parse_good(void **state)
{
	static const struct {
		const char *text, *resolved;
		int loopback;
	} good[] = {
		{ "127.0.0.1:7777", "127.0.0.1:7777", 1 },
		{ "127.3.2.1:1", "127.3.2.1:1", 1 },
		{ "192.0.2.1:65535", "192.0.2.1:65535", 0 },
		{ "0.0.0.0:80", "0.0.0.0:80", 0 },
		{ "[::1]:7777", "[::1]:7777", 1 },
		{ "[2001:db8::1]:7777", "[2001:db8::1]:7777", 0 },
		{ "[::ffff:127.0.0.1]:7", "[::ffff:127.0.0.1]:7", 1 },
		{ "[::ffff:192.0.2.1]:7", "[::ffff:192.0.2.1]:7", 0 },
		{ "[::]:7", "[::]:7", 0 },
		{ "localhost:7", "127.0.0.1:7", 1 },
	};
	struct mfd_sock_addr addr;
	struct mfd_error err = { .code = 0 };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_int_equal(mfd_sock_parse(good[i].text, 0, &addr, &err), 0);
		assert_string_equal(addr.text, good[i].resolved);
		assert_int_equal(mfd_sock_is_loopback(&addr), good[i].loopback);
	}
	assert_int_equal(mfd_sock_parse("127.0.0.1:0", 1, &addr, &err), 0);
	addr.sa.ss_family = AF_UNIX;
	assert_int_equal(mfd_sock_is_loopback(&addr), 0);
}

static void test_parse_bad(void **state)
{
	static const struct {
		const char *text, *says;
	} bad[] = {
		{ "", "port is missing" },
		{ "host", "port is missing" },
		{ "127.0.0.1", "port is missing" },
		{ ":7777", "host is missing" },
		{ "*:9000", "0.0.0.0:PORT" },
		{ "[]:7777", "[V6]:PORT" },
		{ "[::1:7777", "[V6]:PORT" },
		{ "[::1]7777", "[V6]:PORT" },
		{ "[::1]", "[V6]:PORT" },
		{ "[:1", "[V6]:PORT" },
		{ "::1:7777", "in brackets" },
		{ "127.0.0.1:", "number from 1" },
		{ "127.0.0.1:0", "number from 1" },
		{ "127.0.0.1:65536", "number from 1" },
		{ "127.0.0.1:123456", "number from 1" },
		{ "127.0.0.1:+1", "number from 1" },
		{ "127.0.0.1: 1", "number from 1" },
		{ "127.0.0.1:http", "number from 1" },
		{ "[127.0.0.1.5]:7", "127.0.0.1.5" },
	};
	char text[400];
	struct mfd_sock_addr addr;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct mfd_error err = { .code = 0 };

		assert_int_equal(mfd_sock_parse(bad[i].text, 0, &addr, &err), -EINVAL);
		assert_non_null(strstr(err.text, bad[i].text));
		assert_non_null(strstr(err.text, bad[i].says));
	}
	memset(text, 'h', sizeof(text));
	strcpy(text + 300, ":1");
	assert_int_equal(mfd_sock_parse(text, 0, &addr, NULL), -EINVAL);
}

static int listen_any(const char *text, struct mfd_sock_addr *addr)
{
	struct mfd_error err = { .code = 0 };
	int fd;

	assert_int_equal(mfd_sock_parse(text, 1, addr, &err), 0);
	fd = mfd_sock_listen(addr, &err);
	if (fd < 0)
		fail_msg("%s", err.text);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	return fd;
}

static void connected(int fds[2])
{
	struct mfd_sock_addr addr;
	struct mfd_error err = { .code = 0 };
	int l = listen_any("127.0.0.1:0", &addr);

	fds[0] = mfd_sock_connect(&addr, -1, 1000, &err);
	assert_true(fds[0] >= 0);
	fds[1] = accept4(l, NULL, NULL, SOCK_CLOEXEC);
	assert_true(fds[1] >= 0);
	close(l);
}

static void test_connect(void **state)
{
	struct mfd_sock_addr addr;
	struct mfd_error err = { .code = 0 };
	int l = listen_any("127.0.0.1:0", &addr), fd, peer, user, nodelay;
	socklen_t len = sizeof(int);
	char text[72], tiny[4];

	(void)state;
	assert_null(strstr(addr.text, ":0"));
	fd = mfd_sock_connect(&addr, -1, 1000, &err);
	assert_true(fd >= 0);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	assert_false(fcntl(fd, F_GETFL) & O_NONBLOCK);
	peer = accept(l, NULL, NULL);
	assert_int_equal(mfd_sock_peer_text(fd, text, sizeof(text)), 0);
	assert_string_equal(text, addr.text);
	assert_int_equal(mfd_sock_peer_text(fd, tiny, sizeof(tiny)), -ENOSPC);
	assert_int_equal(mfd_sock_peer_text(l, text, sizeof(text)), -ENOTCONN);
	assert_int_equal(mfd_sock_tune(fd, 1500), 0);
	assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user, &len), 0);
	assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &nodelay, &len), 0);
	assert_int_equal(user, 1500);
	assert_true(nodelay);
	assert_int_equal(mfd_sock_tune(fd, 0), 0);
	close(fd);
	close(peer);
	close(l);

	/* No process listens there any more. */
	assert_int_equal(mfd_sock_connect(&addr, -1, 1000, &err), -ECONNREFUSED);
	assert_non_null(strstr(err.text, addr.text));
	assert_non_null(strstr(err.text, "refused"));
	assert_int_equal(mfd_sock_connect(&addr, -1, 0, NULL), -ECONNREFUSED);
}

static void test_listen_twice(void **state)
{
	struct mfd_sock_addr addr;
	struct mfd_error err = { .code = 0 };
	int l = listen_any("127.0.0.1:0", &addr);

	(void)state;
	assert_int_equal(mfd_sock_listen(&addr, &err), -EADDRINUSE);
	assert_non_null(strstr(err.text, "in use"));
	close(l);
}

static void test_v6(void **state)
{
	struct mfd_sock_addr addr;
	struct mfd_error err = { .code = 0 };
	int l, fd;

	(void)state;
	assert_int_equal(mfd_sock_parse("[::1]:0", 1, &addr, &err), 0);
	l = mfd_sock_listen(&addr, &err);
	if (l < 0) {
		print_message("no IPv6 here: %s\n", err.text);
		skip();
	}
	fd = mfd_sock_connect(&addr, -1, 1000, &err);
	assert_true(fd >= 0);
	close(fd);
	close(l);
}

/* A listener whose queue is full leaves connects unanswered. */
static void test_connect_timeout(void **state)
{
	struct mfd_sock_addr addr;
	struct mfd_error err = { .code = 0 };
	int l = listen_any("127.0.0.1:0", &addr), fill[8], i, ret;
	uint64_t start, spent;

	(void)state;
	assert_int_equal(listen(l, 0), 0);
	for (i = 0; i < 8; i++) {
		fill[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		connect(fill[i], (struct sockaddr *)&addr.sa, addr.len);
	}
	usleep(50000);
	start = mfd_io_now_ms();
	ret = mfd_sock_connect(&addr, -1, 300, &err);
	spent = mfd_io_now_ms() - start;
	assert_int_equal(ret, -ETIMEDOUT);
	assert_non_null(strstr(err.text, "timed out"));
	assert_true(spent >= 290 && spent < 3000);
	for (i = 0; i < 8; i++)
		close(fill[i]);
	close(l);
}

#define BIG (4U << 20)

static void *send_big(void *arg)
{
	static unsigned char data[BIG];
	struct mfd_conn *c = arg;
	struct iovec iov[2000];
	size_t step = BIG / 2000, i;
	int ret;

	for (i = 0; i < BIG; i++)
		data[i] = (unsigned char)(i * 7 >> 2);
	for (i = 0; i < 2000; i++)
		iov[i] = (struct iovec){ data + i * step, i == 1999 ? BIG - i * step : step };
	ret = mfd_conn_sendv(c, iov, 2000, 1);
	if (!ret)
		ret = mfd_conn_send(c, "end", 3, 0);
	return (void *)(intptr_t)ret;
}

static void test_conn(void **state)
{
	struct mfd_conn a, b;
	unsigned char *buf = malloc(BIG);
	int fds[2];
	pthread_t t;
	void *res;
	size_t i;

	(void)state;
	connected(fds);
	mfd_conn_plain(&a, fds[0]);
	mfd_conn_plain(&b, fds[1]);
	assert_int_equal(pthread_create(&t, NULL, send_big, &a), 0);
	assert_int_equal(mfd_conn_recv(&b, buf, BIG), 0);
	for (i = 0; i < BIG; i++)
		assert_int_equal(buf[i], (unsigned char)(i * 7 >> 2));
	assert_int_equal(mfd_conn_recv(&b, buf, 3), 0);
	assert_memory_equal(buf, "end", 3);
	pthread_join(t, &res);
	assert_null(res);

	assert_int_equal(mfd_conn_send(&a, "ab", 2, 0), 0);
	mfd_conn_close(&a);
	assert_int_equal(mfd_conn_recv(&b, buf, 3), -EPIPE);
	assert_int_equal(mfd_conn_recv(&b, buf, 3), -ECONNRESET);
	mfd_conn_close(&b);
	mfd_conn_close(&b);
	assert_false(mfd_conn_is_open(&b));
	assert_int_equal(mfd_conn_send(&b, "x", 1, 0), -ENOTCONN);
	assert_int_equal(mfd_conn_recv(&b, buf, 1), -ENOTCONN);
	mfd_conn_shutdown(&b);
	free(buf);
}

static void test_conn_stall(void **state)
{
	struct mfd_conn a, b;
	static char junk[16 << 20];
	uint64_t start = mfd_io_now_ms();
	int fds[2];

	(void)state;
	connected(fds);
	mfd_conn_plain(&a, fds[0]);
	mfd_conn_plain(&b, fds[1]);
	assert_int_equal(mfd_sock_tune(fds[0], 200), 0);
	assert_int_equal(mfd_conn_recv(&a, junk, 1), -ETIMEDOUT);
	assert_int_equal(mfd_conn_send(&a, junk, sizeof(junk), 0), -ETIMEDOUT);
	assert_true(mfd_io_now_ms() - start < 5000);
	mfd_conn_close(&a);
	mfd_conn_close(&b);
}

static void *recv_one(void *arg)
{
	char c;

	return (void *)(intptr_t)mfd_conn_recv(arg, &c, 1);
}

static void test_conn_shutdown(void **state)
{
	struct mfd_conn a, b;
	int fds[2];
	pthread_t t;
	void *res;

	(void)state;
	connected(fds);
	mfd_conn_plain(&a, fds[0]);
	mfd_conn_plain(&b, fds[1]);
	assert_int_equal(pthread_create(&t, NULL, recv_one, &a), 0);
	usleep(20000);
	mfd_conn_shutdown(&a);
	pthread_join(t, &res);
	assert_int_equal((intptr_t)res, -ECONNRESET);
	assert_int_equal(mfd_conn_send(&a, "x", 1, 0), -EPIPE);
	mfd_conn_close(&a);
	mfd_conn_close(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse_good),
		cmocka_unit_test(test_parse_bad),
		cmocka_unit_test(test_connect),
		cmocka_unit_test(test_listen_twice),
		cmocka_unit_test(test_v6),
		cmocka_unit_test(test_connect_timeout),
		cmocka_unit_test(test_conn),
		cmocka_unit_test(test_conn_stall),
		cmocka_unit_test(test_conn_shutdown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
