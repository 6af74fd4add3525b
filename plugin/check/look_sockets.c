// SPDX-License-Identifier: GPL-2.0-only
/* Sockets: their kinds, TCP connections, and unix sockets whose peer is outside the tree. */
#include <arpa/inet.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "looks.h"
#include "procfile.h"
#include "unixpeer.h"

struct sockets {
	uint64_t *v; /* inodes of all of the tree */
	size_t n, room;
};

static uint64_t inode_of(const char *link)
{
	return strncmp(link, "socket:[", 8) ? 0 : strtoull(link + 8, NULL, 10);
}

static int collect(const struct mfd_look_fd *at)
{
	struct sockets *s = at->arg;
	uint64_t inode = inode_of(at->link);

	if (!inode)
		return 0;
	if (s->n == s->room) {
		size_t room = s->room ? 2 * s->room : 256;
		uint64_t *more = reallocarray(s->v, room, sizeof(*more));

		if (!more)
			return -1;
		s->v = more;
		s->room = room;
	}
	s->v[s->n++] = inode;
	return 0;
}

static int compare(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static int has(const struct sockets *s, uint64_t inode)
{
	return bsearch(&inode, s->v, s->n, sizeof(inode), compare) != NULL;
}

/* ---- TCP ---- */

static void address_text(const struct sockaddr_storage *a, char *text, size_t len)
{
	const struct sockaddr_in *v4 = (const void *)a;
	const struct sockaddr_in6 *v6 = (const void *)a;
	char ip[INET6_ADDRSTRLEN] = "?";

	if (a->ss_family == AF_INET) {
		inet_ntop(AF_INET, &v4->sin_addr, ip, sizeof(ip));
		snprintf(text, len, "%s:%u", ip, ntohs(v4->sin_port));
	} else {
		inet_ntop(AF_INET6, &v6->sin6_addr, ip, sizeof(ip));
		snprintf(text, len, "[%s]:%u", ip, ntohs(v6->sin6_port));
	}
}

static void addresses(int fd, char *own, char *peer, size_t len)
{
	struct sockaddr_storage a = { 0 };
	socklen_t size = sizeof(a);

	getsockname(fd, (struct sockaddr *)&a, &size);
	address_text(&a, own, len);
	a = (struct sockaddr_storage){ .ss_family = a.ss_family };
	size = sizeof(a);
	getpeername(fd, (struct sockaddr *)&a, &size);
	address_text(&a, peer, len);
}

/* What CRIU calls connected: everything with a peer, also while it is being set up or closed. */
static int is_connected(unsigned state)
{
	return state != TCP_CLOSE && state != TCP_LISTEN;
}

static int is_noted(const struct mfd_wants *w, const struct mfd_want_port *p)
{
	for (size_t i = 0; i < w->n_ports; i++)
		if (w->port[i].len == p->len && w->port[i].port == p->port &&
		    !memcmp(w->port[i].address, p->address, p->len))
			return 1;
	return 0;
}

static void add_port(struct mfd_wants *w, const struct mfd_want_port *p)
{
	size_t room = w->room_ports ? 2 * w->room_ports : 16;
	struct mfd_want_port *more;

	if (w->n_ports == w->room_ports) {
		more = reallocarray(w->port, room, sizeof(*more));
		if (!more)
			return;
		w->port = more;
		w->room_ports = room;
	}
	w->port[w->n_ports++] = *p;
}

/* Of another network namespace they are restored in a new one, where nothing is in the way. */
static void note_port(const struct mfd_look_fd *at, int fd)
{
	struct mfd_wants *w = &at->c->wants;
	struct sockaddr_storage a = { 0 };
	struct mfd_want_port p = { .pid = at->pid };
	socklen_t size = sizeof(a);

	if (w->n_ports == MFD_WANTS_PORTS || getsockname(fd, (struct sockaddr *)&a, &size) ||
	    mfd_procfile_namespace(at->pid, "net") != mfd_procfile_own_namespace("net"))
		return;
	if (a.ss_family == AF_INET) {
		p.len = 4;
		p.port = ntohs(((struct sockaddr_in *)&a)->sin_port);
		memcpy(p.address, &((struct sockaddr_in *)&a)->sin_addr, p.len);
	} else {
		p.len = 16;
		p.port = ntohs(((struct sockaddr_in6 *)&a)->sin6_port);
		memcpy(p.address, &((struct sockaddr_in6 *)&a)->sin6_addr, p.len);
	}
	if (!is_noted(w, &p)) /* many processes may have it */
		add_port(w, &p);
}

static void look_at_tcp(const struct mfd_look_fd *at, int fd)
{
	char task[MFD_LOOK_NAME], own[80], peer[80];
	struct tcp_info info = { 0 };
	socklen_t len = sizeof(info);

	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len))
		return;
	addresses(fd, own, peer, sizeof(own));
	mfd_look_name(at->pid, task);
	if (info.tcpi_state == TCP_LISTEN)
		note_port(at, fd);
	if (is_connected(info.tcpi_state))
		mfd_check_add(at->c, MFD_FOUND_TCP, 0, "process %s, descriptor %d: %s to %s", task,
			      at->fd, own, peer);
	else if (info.tcpi_state == TCP_LISTEN && info.tcpi_unacked)
		mfd_check_add(at->c, MFD_FOUND_IN_FLIGHT, 0,
			      "process %s, descriptor %d: %u wait at %s", task, at->fd,
			      info.tcpi_unacked, own);
}

/* ---- unix ---- */

static int is_named(int fd, char *name, size_t len)
{
	struct sockaddr_un a = { 0 };
	socklen_t size = sizeof(a);

	if (getpeername(fd, (struct sockaddr *)&a, &size) ||
	    size <= offsetof(struct sockaddr_un, sun_path))
		return 0;
	snprintf(name, len, "%s%.107s", a.sun_path[0] ? "" : "@", a.sun_path + !a.sun_path[0]);
	return 1;
}

static void look_at_unix(const struct mfd_look_fd *at, int fd, int type)
{
	char task[MFD_LOOK_NAME], name[128] = "a socket without a name";
	uint32_t state = 0, peer = 0;
	int named;

	if (mfd_unixpeer(fd, (uint32_t)inode_of(at->link), &state, &peer) || !peer ||
	    has(at->arg, peer))
		return;
	named = is_named(fd, name, sizeof(name));
	mfd_check_add(at->c,
		      type == SOCK_DGRAM && named ? MFD_FOUND_UNIX_NAMED : MFD_FOUND_UNIX_OUTSIDE,
		      0, "process %s, descriptor %d: %s", mfd_look_name(at->pid, task), at->fd,
		      name);
}

/* ---- kinds ---- */

static int option(int fd, int name)
{
	int value = -1;
	socklen_t len = sizeof(value);

	return getsockopt(fd, SOL_SOCKET, name, &value, &len) ? -1 : value;
}

static void look_at_kind(const struct mfd_look_fd *at, int family, int protocol)
{
	char task[MFD_LOOK_NAME];

	mfd_check_add(at->c, MFD_FOUND_SOCKET_KIND, 0,
		      "process %s, descriptor %d: family %d, protocol %d",
		      mfd_look_name(at->pid, task), at->fd, family, protocol);
}

static void look_at_inet(const struct mfd_look_fd *at, int fd, int family)
{
	int type = option(fd, SO_TYPE), protocol = option(fd, SO_PROTOCOL);

	if (at->c->criu && at->c->criu < 402 && option(fd, SO_PASSCRED) < 0)
		mfd_check_add(at->c, MFD_FOUND_CRIU_TOO_OLD, 0, "process %d, descriptor %d",
			      at->pid, at->fd);
	if (type == SOCK_STREAM && protocol == IPPROTO_TCP)
		look_at_tcp(at, fd);
	else if (type != SOCK_DGRAM && type != SOCK_RAW)
		look_at_kind(at, family, protocol);
}

static int look_at(const struct mfd_look_fd *at)
{
	int fd, family;

	if (!inode_of(at->link))
		return 0;
	fd = mfd_walk_get(at->pid, at->fd);
	if (fd < 0)
		return 0;
	family = option(fd, SO_DOMAIN);
	if (family == AF_UNIX)
		look_at_unix(at, fd, option(fd, SO_TYPE));
	else if (family == AF_INET || family == AF_INET6)
		look_at_inet(at, fd, family);
	else if (family >= 0 && family != AF_PACKET && family != AF_NETLINK && family != AF_VSOCK)
		look_at_kind(at, family, option(fd, SO_PROTOCOL));
	close(fd);
	return 0;
}

int mfd_look_sockets(struct mfd_check *c)
{
	struct sockets s = { 0 };

	mfd_look_each_fd(c, collect, &s);
	if (s.n) {
		qsort(s.v, s.n, sizeof(*s.v), compare);
		mfd_look_each_fd(c, look_at, &s);
	}
	free(s.v);
	return 0;
}
