// SPDX-License-Identifier: GPL-2.0-only
/* Finding CRIU at its lazy page server, and letting its dump succeed or fail. Theory in gate.h. */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "gate.h"
#include "io.h"

int mfd_gate_init(struct mfd_gate *g, pid_t criu, struct mfd_error *err)
{
	*g = (struct mfd_gate){ .criu = criu, .listener = -1, .knock = -1 };
	g->pidfd = (int)syscall(SYS_pidfd_open, criu, 0);
	return g->pidfd < 0 ? mfd_error_sys(err, -errno, "CRIU's process %d", criu) : 0;
}

void mfd_gate_fini(struct mfd_gate *g)
{
	mfd_io_close(&g->pidfd);
	mfd_io_close(&g->listener);
	mfd_io_close(&g->knock);
}

int mfd_gate_criu_ended(struct mfd_gate *g, int timeout_ms)
{
	struct pollfd p = { .fd = g->pidfd, .events = POLLIN };

	return poll(&p, 1, timeout_ms) > 0;
}

/* The descriptor of the accept() that CRIU's main thread sleeps in, or -1. */
static int accepting_fd(pid_t criu)
{
	char path[40], text[128];
	long number;
	unsigned long arg;
	int fd;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/syscall", criu);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return -1;
	text[n] = 0;
	if (sscanf(text, "%ld %lx", &number, &arg) != 2) /* "running" */
		return -1;
	return number == SYS_accept || number == SYS_accept4 ? (int)arg : -1;
}

static int int_option(int fd, int level, int name, int *value)
{
	socklen_t len = sizeof(*value);

	return getsockopt(fd, level, name, value, &len) ? -errno : 0;
}

/* CRIU has a unix listening socket for a while; the page server's is TCP. */
static int is_page_server(int fd)
{
	int listening = 0, domain = 0;

	return !int_option(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening) && listening &&
	       !int_option(fd, SOL_SOCKET, SO_DOMAIN, &domain) &&
	       (domain == AF_INET || domain == AF_INET6);
}

/* A socket of ours with a local port that is known before it connects. */
static int bind_knock(struct mfd_gate *g, uint16_t *port)
{
	struct sockaddr_storage any = { .ss_family = g->addr.ss_family };
	socklen_t len = g->addr_len;

	g->knock = socket(g->addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (g->knock < 0 || bind(g->knock, (struct sockaddr *)&any, len) ||
	    getsockname(g->knock, (struct sockaddr *)&any, &len))
		return -errno;
	*port = any.ss_family == AF_INET ? ((struct sockaddr_in *)&any)->sin_port :
					   ((struct sockaddr_in6 *)&any)->sin6_port;
	return 0;
}

/*
 * On a TCP socket the filter sees the segment from its TCP header on: the first two bytes are the
 * source port.
 */
static int admit_only(int listener, uint16_t port_be)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ntohs(port_be), 0, 1),
		BPF_STMT(BPF_RET | BPF_K, 0xffffffff),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	struct sock_fprog prog = { .len = sizeof(code) / sizeof(*code), .filter = code };

	/*
	 * The port is bound here, so nobody on this host can have it; other hosts are kept out by
	 * the device.
	 */
	if (setsockopt(listener, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof(prog)) ||
	    setsockopt(listener, SOL_SOCKET, SO_BINDTODEVICE, "lo", 3))
		return -errno;
	return 0;
}

/* Somebody who was in before the filter would decide instead of us. */
static int queue_is_empty(int listener)
{
	struct tcp_info info;
	socklen_t len = sizeof(info);

	return !getsockopt(listener, IPPROTO_TCP, TCP_INFO, &info, &len) && info.tcpi_unacked == 0;
}

static void any_to_loopback(struct sockaddr_storage *a)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)a;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)a;

	if (a->ss_family == AF_INET && v4->sin_addr.s_addr == htonl(INADDR_ANY))
		v4->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	else if (a->ss_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&v6->sin6_addr))
		v6->sin6_addr = in6addr_loopback;
}

static int take_listener(struct mfd_gate *g, int fd, struct mfd_error *err)
{
	uint16_t port = 0;
	int ret;

	g->addr_len = sizeof(g->addr);
	if (getsockname(fd, (struct sockaddr *)&g->addr, &g->addr_len)) {
		ret = mfd_error_sys(err, -errno, "address of CRIU's lazy page server");
		goto err;
	}
	ret = bind_knock(g, &port);
	if (!ret)
		ret = admit_only(fd, port);
	if (ret) {
		mfd_error_sys(err, ret, "guarding CRIU's lazy page server");
		goto err;
	}
	if (!queue_is_empty(fd)) {
		ret = mfd_error_set(err, -EPERM,
				    "somebody else has connected to CRIU's lazy page server "
				    "(give criu dump --address 127.0.0.1)");
		goto err;
	}
	any_to_loopback(&g->addr);
	g->listener = fd;
	return 1;
err:
	/* Whatever went wrong: this dump must fail, and it is in our hands. */
	shutdown(fd, SHUT_RDWR);
	close(fd);
	mfd_io_close(&g->knock);
	return ret;
}

int mfd_gate_poll(struct mfd_gate *g, struct mfd_error *err)
{
	int fd, copy;

	if (g->listener >= 0)
		return 1;
	fd = accepting_fd(g->criu);
	if (fd < 0)
		return mfd_gate_criu_ended(g, 0) ? mfd_error_set(err, -ESRCH, "CRIU has ended") : 0;
	copy = (int)syscall(SYS_pidfd_getfd, g->pidfd, fd, 0);
	if (copy < 0)
		return errno == EBADF || errno == ESRCH ?
			       0 :
			       mfd_error_sys(err, -errno, "CRIU's lazy page server");
	if (!is_page_server(copy)) {
		close(copy);
		return 0;
	}
	return take_listener(g, copy, err);
}

int mfd_gate_commit(struct mfd_gate *g, struct mfd_error *err)
{
	int ret = 0;

	if (connect(g->knock, (struct sockaddr *)&g->addr, g->addr_len))
		ret = mfd_error_sys(err, -errno, "connecting to CRIU's lazy page server");
	mfd_io_close(&g->knock);
	return ret;
}

int mfd_gate_abort(struct mfd_gate *g)
{
	return g->listener >= 0 && shutdown(g->listener, SHUT_RDWR) ? -errno : 0;
}
