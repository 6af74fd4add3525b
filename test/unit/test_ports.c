/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Local ports in a row: that they are, what happens where they cannot be had, and connections made
 * with them.
 */
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "io.h"
#include "ports.h"
#include "sock.h"

#define N 8

static unsigned port_of(int fd)
{
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);

	if (fd < 0 || getsockname(fd, (struct sockaddr *)&sa, &len))
		return 0;
	return ntohs(sa.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&sa)->sin6_port :
						((struct sockaddr_in *)&sa)->sin_port);
}

static int listen_any(const char *text, struct mfd_sock_addr *addr)
{
	struct mfd_error err = { .code = 0 };

	assert_int_equal(mfd_sock_parse(text, 1, addr, &err), 0);
	return mfd_sock_listen(addr, &err);
}

static void connected_in_a_row(const char *where)
{
	struct mfd_sock_addr addr;
	struct mfd_error err = { .code = 0 };
	int l = listen_any(where, &addr), fd[N], peer[N];
	struct mfd_ports p;
	unsigned base = 0;

	if (l < 0) {
		print_message("# skip: kernel lacks %s\n", where);
		skip();
	}
	mfd_ports_reserve(&p, addr.sa.ss_family, N);
	assert_int_equal(p.n, N);
	for (unsigned i = 0; i < N; i++) {
		char text[72], want[16];

		fd[i] = mfd_sock_connect(&addr, mfd_ports_take(&p, i), 1000, &err);
		assert_true(fd[i] >= 0);
		assert_false(fcntl(fd[i], F_GETFL) & O_NONBLOCK);
		assert_true(fcntl(fd[i], F_GETFD) & FD_CLOEXEC);
		if (!i)
			base = port_of(fd[0]);
		assert_int_equal(port_of(fd[i]), base + i);
		assert_int_equal(port_of(fd[i]) & 7, i);
		/* And that is what the other side sees. */
		peer[i] = accept4(l, NULL, NULL, SOCK_CLOEXEC);
		assert_int_equal(mfd_sock_peer_text(peer[i], text, sizeof(text)), 0);
		snprintf(want, sizeof(want), ":%u", base + i);
		assert_string_equal(strrchr(text, ':'), want);
		assert_int_equal(mfd_ports_take(&p, i), -1);
	}
	mfd_ports_release(&p);
	for (unsigned i = 0; i < N; i++) {
		assert_true(fcntl(fd[i], F_GETFD) >= 0);
		close(fd[i]);
		close(peer[i]);
	}
	close(l);
}

static void test_v4(void **state)
{
	(void)state;
	connected_in_a_row("127.0.0.1:0");
}

static void test_v6(void **state)
{
	(void)state;
	connected_in_a_row("[::1]:0");
}

static void test_v4_mapped(void **state)
{
	(void)state;
	connected_in_a_row("[::ffff:127.0.0.1]:0");
}

static void test_release(void **state)
{
	struct mfd_ports p;
	unsigned port;
	int fd;

	(void)state;
	mfd_ports_reserve(&p, AF_INET, 3);
	assert_int_equal(p.n, 3);
	port = port_of(p.fd[0]);
	assert_int_equal(port % 4, 0);
	assert_int_equal(mfd_sock_bound(AF_INET, port), -EADDRINUSE);
	mfd_ports_release(&p);
	fd = mfd_sock_bound(AF_INET, port);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(mfd_ports_take(&p, 0), -1);
	mfd_ports_reserve(&p, AF_INET, MFD_PORTS_MAX + 1);
	assert_int_equal(mfd_ports_take(&p, 0), -1);
	mfd_ports_release(&p);
	mfd_ports_reserve(&p, AF_UNIX + 12345, 4); /* no such family */
	assert_int_equal(mfd_ports_take(&p, 0), -1);
	mfd_ports_release(&p);
}

/* A port that has just been used, and whose side closed first, is not used again at once. */
static void test_time_wait(void **state)
{
	struct mfd_sock_addr addr;
	struct mfd_error err = { .code = 0 };
	int l = listen_any("127.0.0.1:0", &addr), fd, peer;
	struct mfd_ports p;
	unsigned port;
	char c;

	(void)state;
	mfd_ports_reserve(&p, AF_INET, 1);
	fd = mfd_sock_connect(&addr, mfd_ports_take(&p, 0), 1000, &err);
	mfd_ports_release(&p);
	peer = accept(l, NULL, NULL);
	port = port_of(fd);
	close(fd);
	assert_int_equal(read(peer, &c, 1), 0);
	close(peer);
	close(l);
	assert_int_equal(mfd_sock_bound(AF_INET, port), -EADDRINUSE);
}

/* ---- in a network namespace with settings of its own ---- */

static int setting(const char *name, const char *value)
{
	char path[100];
	int fd, ret;

	snprintf(path, sizeof(path), "/proc/sys/net/ipv4/%s", name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	ret = write(fd, value, strlen(value)) < 0 ? -errno : 0;
	close(fd);
	return ret;
}

static int loopback_up(void)
{
	struct ifreq r = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), ret = ioctl(fd, SIOCSIFFLAGS, &r);

	close(fd);
	return ret;
}

/*
 * Runs in a child, so that this process's namespace stays; its result is the exit code, 77 when
 * there is no such namespace.
 */
static int in_namespace(int (*what)(void))
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (!pid)
		_exit(unshare(CLONE_NEWNET) ? 77 : what());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void expect_in_namespace(int (*what)(void))
{
	int ret = in_namespace(what);

	if (ret == 77) {
		print_message("# skip: needs root\n");
		skip();
	}
	assert_int_equal(ret, 0);
}

#define WANT(cond)                                                  \
	do {                                                        \
		if (!(cond)) {                                      \
			print_message("%d: %s\n", __LINE__, #cond); \
			return 1;                                   \
		}                                                   \
	} while (0)

/* 40000..40015: two rows of eight. */
static int crowded(void)
{
	struct mfd_ports p, q;
	int taken;

	WANT(!setting("ip_local_port_range", "40000 40015"));
	/* The first row has a port that is in use: it must be the second, whatever comes first. */
	taken = mfd_sock_bound(AF_INET, 40003);
	WANT(taken >= 0);
	mfd_ports_reserve(&p, AF_INET, 8);
	WANT(p.n == 8);
	for (unsigned i = 0; i < 8; i++)
		WANT(port_of(p.fd[i]) == 40008 + i);
	/* Seven of eight are left, in no row. */
	mfd_ports_reserve(&q, AF_INET, 8);
	WANT(q.n == 8);
	for (unsigned i = 0; i < 8; i++)
		WANT(port_of(mfd_ports_take(&q, i)) == (i == 3 ? 0 : 40000 + i));
	mfd_ports_release(&p);
	mfd_ports_release(&q); /* what was taken stays */

	/* No row any more, but a port for each. */
	close(taken);
	for (unsigned i = 1; i < 8; i += 2)
		WANT(mfd_sock_bound(AF_INET, 40008 + i) >= 0);
	mfd_ports_reserve(&p, AF_INET, 8);
	for (unsigned i = 0; i < 8; i += 2)
		WANT(port_of(mfd_ports_take(&p, i)) == 40008 + i);
	WANT(port_of(mfd_ports_take(&p, 3)) == 40003);
	return 0;
}

static int reserved(void)
{
	struct mfd_ports p;

	WANT(!setting("ip_local_port_range", "40000 40015"));
	WANT(!setting("ip_local_reserved_ports", "80,40000-40002,40007"));
	for (int i = 0; i < 20; i++) {
		mfd_ports_reserve(&p, AF_INET, 8);
		WANT(p.n == 8 && port_of(p.fd[0]) == 40008 && port_of(p.fd[7]) == 40015);
		mfd_ports_release(&p);
	}
	return 0;
}

/* Nothing to be had: a connection comes about all the same, from the port that the kernel finds. */
static int full(void)
{
	struct mfd_sock_addr addr;
	struct mfd_error err = { .code = 0 };
	int fd[6], l;
	struct mfd_ports p;

	WANT(!loopback_up());
	l = listen_any("127.0.0.1:2000", &addr);
	WANT(l >= 0);
	WANT(!setting("ip_local_port_range", "40001 40006"));
	mfd_ports_reserve(&p, AF_INET, 8); /* no row fits */
	WANT(p.n == 0);
	for (unsigned i = 0; i < 6; i++) {
		fd[i] = mfd_sock_connect(&addr, mfd_ports_take(&p, i), 1000, &err);
		WANT(port_of(fd[i]) >= 40001 && port_of(fd[i]) <= 40006);
	}
	mfd_ports_release(&p);
	/*
	 * All in use by now, but to another address they can be used again: the kernel knows, bind
	 * does not.
	 */
	l = listen_any("127.0.0.1:2001", &addr);
	mfd_ports_reserve(&p, AF_INET, 2);
	for (unsigned i = 0; i < 2; i++) {
		WANT(p.n <= i || p.fd[i] == -1);
		fd[i] = mfd_sock_connect(&addr, mfd_ports_take(&p, i), 1000, &err);
		WANT(port_of(fd[i]) >= 40001 && port_of(fd[i]) <= 40006);
	}
	mfd_ports_release(&p);
	return 0;
}

/*
 * The port was free when it was bound, and does not suit the connection: it is made from another
 * one.
 */
static int unsuitable(void)
{
	struct sockaddr_in only = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000002) };
	struct mfd_sock_addr addr;
	struct mfd_error err = { .code = 0 };
	int l, one = 1, a, b, fd;

	WANT(!loopback_up());
	l = listen_any("127.0.0.1:2000", &addr);
	a = socket(AF_INET, SOCK_STREAM, 0);
	b = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	setsockopt(a, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	setsockopt(b, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	only.sin_port = htons(41000);
	WANT(!bind(a, (struct sockaddr *)&only, sizeof(only)));
	WANT(!bind(b, (struct sockaddr *)&only, sizeof(only)));
	WANT(!connect(a, (struct sockaddr *)&addr.sa, addr.len));
	fd = mfd_sock_connect(&addr, b, 1000, &err); /* the same four numbers */
	WANT(fd >= 0);
	WANT(port_of(fd) && port_of(fd) != 41000);
	WANT(l >= 0);
	return 0;
}

static void test_crowded(void **state)
{
	(void)state;
	expect_in_namespace(crowded);
}

static void test_reserved(void **state)
{
	(void)state;
	expect_in_namespace(reserved);
}

static void test_full(void **state)
{
	(void)state;
	expect_in_namespace(full);
}

static void test_unsuitable(void **state)
{
	(void)state;
	expect_in_namespace(unsuitable);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_v4),	   cmocka_unit_test(test_v6),
		cmocka_unit_test(test_v4_mapped),  cmocka_unit_test(test_release),
		cmocka_unit_test(test_time_wait),  cmocka_unit_test(test_crowded),
		cmocka_unit_test(test_reserved),   cmocka_unit_test(test_full),
		cmocka_unit_test(test_unsuitable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
