/* SPDX-License-Identifier: GPL-2.0-only */
/* TCP sockets: addresses, connecting within a time, listening, channel options. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "io.h"
#include "sock.h"

#define LISTEN_BACKLOG 1024
#define HOST_MAX       256 /* a DNS name has at most 253 bytes */

/* Split "HOST:PORT" or "[V6]:PORT".  NULL, or what is wrong. */
static const char *split(const char *text, char host[HOST_MAX], const char **port)
{
	const char *colon = strrchr(text, ':'), *begin = text, *end = colon;

	if (!colon)
		return "the port is missing, expected HOST:PORT or [V6]:PORT";
	if (*text == '[') {
		begin++;
		end--;
		if (end <= begin || *end != ']')
			return "expected [V6]:PORT";
	} else if (memchr(text, ':', (size_t)(colon - text))) {
		return "an IPv6 address is written in brackets, [V6]:PORT";
	}
	if (end == begin)
		return "the host is missing, expected HOST:PORT or [V6]:PORT";
	if (end - begin == 1 && *begin == '*')
		return "'*' is no host; 0.0.0.0:PORT and [::]:PORT are every address";
	if (end - begin >= HOST_MAX)
		return "the host name is too long";
	memcpy(host, begin, (size_t)(end - begin));
	host[end - begin] = '\0';
	*port = colon + 1;
	return NULL;
}

static int port_ok(const char *port, int allow_port0)
{
	unsigned long value;

	if (!*port || strlen(port) > 5 || strspn(port, "0123456789") != strlen(port))
		return 0;
	value = strtoul(port, NULL, 10);
	return value <= 65535 && (value || allow_port0);
}

static int addr_text(const struct sockaddr *sa, socklen_t len, char *buf, size_t size)
{
	char host[NI_MAXHOST], port[NI_MAXSERV];
	int n;

	if (sa->sa_family != AF_INET && sa->sa_family != AF_INET6) {
		n = snprintf(buf, size, sa->sa_family == AF_UNIX ? "unix" : "unknown");
		return (size_t)n < size ? 0 : -ENOSPC;
	}
	if (getnameinfo(sa, len, host, sizeof(host), port, sizeof(port),
			NI_NUMERICHOST | NI_NUMERICSERV))
		return -EINVAL;
	n = snprintf(buf, size, sa->sa_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
	return (size_t)n < size ? 0 : -ENOSPC;
}

static int sa_is_loopback(const struct sockaddr *sa)
{
	const struct sockaddr_in *v4 = (const void *)sa;
	const struct sockaddr_in6 *v6 = (const void *)sa;

	if (sa->sa_family == AF_INET)
		return ntohl(v4->sin_addr.s_addr) >> 24 == 127;
	if (sa->sa_family != AF_INET6)
		return 0;
	return IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr) ||
	       (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr) && v6->sin6_addr.s6_addr[12] == 127);
}

/*
 * The resolver's order stands (it puts unreachable families last), except that "localhost" means
 * 127.0.0.1 where it means both: a server listens there unless told otherwise.
 */
static const struct addrinfo *choose(const struct addrinfo *list)
{
	const struct addrinfo *ai;

	if (list->ai_family == AF_INET6 && sa_is_loopback(list->ai_addr))
		for (ai = list; ai; ai = ai->ai_next)
			if (ai->ai_family == AF_INET && sa_is_loopback(ai->ai_addr))
				return ai;
	return list;
}

int mfd_sock_parse(const char *text, int allow_port0, struct mfd_sock_addr *addr,
		   struct mfd_error *err)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV };
	struct addrinfo *list = NULL;
	const struct addrinfo *ai;
	const char *port, *why;
	char host[HOST_MAX];
	int ret;

	why = split(text, host, &port);
	if (why)
		return mfd_error_set(err, -EINVAL, "address '%s': %s", text, why);
	if (!port_ok(port, allow_port0))
		return mfd_error_set(err, -EINVAL,
				     "address '%s': the port must be a number from %d to 65535",
				     text, !allow_port0);

	ret = getaddrinfo(host, port, &hints, &list);
	if (ret)
		return mfd_error_set(err, -EINVAL, "address '%s': %s", text,
				     ret == EAI_SYSTEM ? strerror(errno) : gai_strerror(ret));
	ai = choose(list);
	memset(addr, 0, sizeof(*addr));
	memcpy(&addr->sa, ai->ai_addr, ai->ai_addrlen);
	addr->len = ai->ai_addrlen;
	freeaddrinfo(list);
	ret = addr_text((struct sockaddr *)&addr->sa, addr->len, addr->text, sizeof(addr->text));
	return ret ? mfd_error_sys(err, ret, "address '%s'", text) : 0;
}

int mfd_sock_is_loopback(const struct mfd_sock_addr *addr)
{
	return sa_is_loopback((const struct sockaddr *)&addr->sa);
}

/* Wait for a connect in progress; 0 = no limit. */
static int wait_connected(int fd, unsigned timeout_ms)
{
	uint64_t start = mfd_io_now_ms(), spent;
	struct pollfd pfd = { .fd = fd, .events = POLLOUT };
	socklen_t len = sizeof(int);
	int ret, error;

	for (;;) {
		spent = mfd_io_now_ms() - start;
		if (timeout_ms && spent >= timeout_ms)
			return -ETIMEDOUT;
		ret = poll(&pfd, 1, timeout_ms ? (int)(timeout_ms - spent) : -1);
		if (ret > 0)
			break;
		if (ret < 0 && errno != EINTR)
			return -errno;
	}
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len))
		return -errno;
	return -error;
}

static int set_blocking(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	return flags < 0 || fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) ? -errno : 0;
}

static int try_connect(int fd, const struct mfd_sock_addr *addr, unsigned timeout_ms)
{
	int ret = 0;

	if (connect(fd, (const struct sockaddr *)&addr->sa, addr->len))
		ret = errno == EINPROGRESS || errno == EINTR ? wait_connected(fd, timeout_ms) :
							       -errno;
	if (!ret)
		ret = set_blocking(fd);
	return ret;
}

/* Connect with a new socket that is bound to nothing. */
static int connect_fresh(const struct mfd_sock_addr *addr, unsigned timeout_ms,
			 struct mfd_error *err)
{
	int fd, ret;

	fd = socket(addr->sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return mfd_error_sys(err, -errno, "cannot make a socket for %s", addr->text);
	ret = try_connect(fd, addr, timeout_ms);
	if (!ret)
		return fd;
	close(fd);
	if (ret == -EADDRNOTAVAIL)
		return mfd_error_set(
			err, ret,
			"cannot connect to %s: this host has no local port for that left (connections that "
			"ended a moment ago hold theirs for a minute; net.ipv4.ip_local_port_range says which "
			"there are), or no address that reaches it",
			addr->text);
	return mfd_error_sys(err, ret, "cannot connect to %s", addr->text);
}

int mfd_sock_connect(const struct mfd_sock_addr *addr, int bound, unsigned timeout_ms,
		     struct mfd_error *err)
{
	int ret;

	if (bound < 0)
		return connect_fresh(addr, timeout_ms, err);
	ret = try_connect(bound, addr, timeout_ms);
	if (!ret)
		return bound;
	close(bound);
	/*
	 * The local port is in the way: a caller that asked for one must not be worse off than a
	 * caller that did not.
	 */
	if (ret == -EADDRNOTAVAIL || ret == -EADDRINUSE)
		return connect_fresh(addr, timeout_ms, err);
	return mfd_error_sys(err, ret, "cannot connect to %s", addr->text);
}

/*
 * Without SO_REUSEADDR: a port whose last connection is in TIME_WAIT counts as in use, so that no
 * late packet of that one is taken for ours.
 */
int mfd_sock_bound(int family, unsigned port)
{
	struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port) };
	int v6_wanted = family == AF_INET6, fd, ret;

	fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (!bind(fd, v6_wanted ? (void *)&v6 : (void *)&v4, v6_wanted ? sizeof(v6) : sizeof(v4)))
		return fd;
	ret = -errno;
	close(fd);
	return ret;
}

static int bound_address(int fd, struct mfd_sock_addr *addr)
{
	addr->len = sizeof(addr->sa);
	if (getsockname(fd, (struct sockaddr *)&addr->sa, &addr->len))
		return -errno;
	return addr_text((struct sockaddr *)&addr->sa, addr->len, addr->text, sizeof(addr->text));
}

static int bind_and_listen(int fd, struct mfd_sock_addr *addr)
{
	int one = 1;

	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
	    bind(fd, (struct sockaddr *)&addr->sa, addr->len) || listen(fd, LISTEN_BACKLOG))
		return -errno;
	return bound_address(fd, addr);
}

static int socket_number(int fd, int name)
{
	socklen_t len = sizeof(int);
	int value = -1;

	return getsockopt(fd, SOL_SOCKET, name, &value, &len) ? -errno : value;
}

int mfd_sock_listening(int fd, struct mfd_sock_addr *addr, struct mfd_error *err)
{
	int listening = socket_number(fd, SO_ACCEPTCONN), type = socket_number(fd, SO_TYPE), ret;

	if (listening < 0)
		return mfd_error_sys(err, listening, "descriptor %d", fd);
	ret = bound_address(fd, addr);
	if (ret)
		return mfd_error_sys(err, ret, "descriptor %d: its address", fd);
	if (listening != 1 || type != SOCK_STREAM ||
	    (addr->sa.ss_family != AF_INET && addr->sa.ss_family != AF_INET6))
		return mfd_error_set(err, -EINVAL,
				     "descriptor %d (%s) is not a TCP socket that listens", fd,
				     addr->text);
	return 0;
}

int mfd_sock_listen(struct mfd_sock_addr *addr, struct mfd_error *err)
{
	int fd, ret;

	fd = socket(addr->sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return mfd_error_sys(err, -errno, "cannot make a socket for %s", addr->text);
	ret = bind_and_listen(fd, addr);
	if (!ret)
		return fd;
	close(fd);
	return mfd_error_sys(err, ret, "cannot listen on %s", addr->text);
}

static int set_int(int fd, int level, int name, int value)
{
	return setsockopt(fd, level, name, &value, sizeof(value)) ? -errno : 0;
}

/*
 * A peer that has vanished is noticed about when the stall time is over, also while nothing is
 * sent.
 */
static int tune_tcp(int fd, unsigned stall_ms)
{
	int interval = stall_ms ? (int)(stall_ms / 1000 / 4) : 15;
	int ret;

	if (interval < 1)
		interval = 1;
	ret = set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	if (!ret)
		ret = set_int(fd, IPPROTO_TCP, TCP_KEEPIDLE, interval);
	if (!ret)
		ret = set_int(fd, IPPROTO_TCP, TCP_KEEPINTVL, interval);
	if (!ret)
		ret = set_int(fd, IPPROTO_TCP, TCP_KEEPCNT, 3);
	if (!ret)
		ret = set_int(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, (int)stall_ms);
	return ret;
}

int mfd_sock_tune(int fd, unsigned stall_ms)
{
	struct timeval tv = { .tv_sec = stall_ms / 1000,
			      .tv_usec = (suseconds_t)(stall_ms % 1000) * 1000 };
	socklen_t len = sizeof(int);
	int protocol, ret = 0;

	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)) ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv)) ||
	    getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &len))
		return -errno;
	if (protocol == IPPROTO_TCP) { /* tests use socketpairs */
		ret = set_int(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
		if (!ret)
			ret = tune_tcp(fd, stall_ms);
	}
	return ret;
}

int mfd_sock_peer_text(int fd, char *buf, size_t len)
{
	struct sockaddr_storage sa;
	socklen_t salen = sizeof(sa);

	memset(&sa, 0, sizeof(sa));
	if (getpeername(fd, (struct sockaddr *)&sa, &salen))
		return -errno;
	return addr_text((struct sockaddr *)&sa, salen, buf, len);
}
