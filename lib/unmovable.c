// SPDX-License-Identifier: GPL-2.0-only
/* What neither CRIU nor the keeper can carry over. */
#include <fcntl.h>
#include <limits.h>
#include <linux/sockios.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "maps.h"
#include "unmovable.h"
#include "walk.h"

#ifndef SIOCGSKNS
#define SIOCGSKNS 0x894C
#endif

static const char *why_not_link(const char *link)
{
	if (!strcmp(link, "anon_inode:[io_uring]"))
		return "an io_uring instance: its rings live in the kernel and cannot be handed over";
	if (!strcmp(link, "/secretmem (deleted)") || !strcmp(link, "/secretmem") ||
	    !strcmp(link, "anon_inode:[secretmem]"))
		return "memory of memfd_secret: only the process itself may read it";
	return NULL;
}

static ino_t net_namespace(int pid)
{
	char path[40];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%d/ns/net", pid);
	return stat(path, &st) ? 0 : st.st_ino;
}

static int is_foreign(int pid, int sock)
{
	int ns = ioctl(sock, SIOCGSKNS);
	ino_t ours = net_namespace(pid);
	struct stat st;
	int foreign;

	if (ns < 0)
		return 0;
	foreign = ours && !fstat(ns, &st) && st.st_ino != ours;
	close(ns);
	return foreign;
}

static const char *why_not_socket(int pid, int fd)
{
	int sock = mfd_walk_get(pid, fd), family = 0;
	socklen_t len = sizeof(family);
	const char *why = NULL;

	if (sock < 0)
		return NULL;
	getsockopt(sock, SOL_SOCKET, SO_DOMAIN, &family, &len);
	if (family == AF_VSOCK)
		why = "a vsock socket: CRIU does not know them and they belong to this machine";
	else if (family == AF_UNIX && is_foreign(pid, sock))
		why = "a unix socket of another network namespace than its process's: CRIU cannot find it";
	close(sock);
	return why;
}

struct look {
	struct mfd_unmovable at;
	mfd_unmovable_fn *fn;
	void *arg;
	int ret; /* what fn returned last */
};

static int look_at_fd(void *ctx, int fd)
{
	struct look *l = ctx;
	char link[PATH_MAX];

	if (mfd_walk_link(l->at.pid, fd, link, sizeof(link)))
		return 0;
	l->at.fd = fd;
	l->at.why = strncmp(link, "socket:[", 8) ? why_not_link(link) :
						   why_not_socket(l->at.pid, fd);
	return l->at.why ? (l->ret = l->fn(l->arg, &l->at)) : 0;
}

/* The descriptor may be closed and the mapping be left. */
static int look_at_map(const struct mfd_map *m, void *ctx)
{
	struct look *l = ctx;

	l->at.fd = -1;
	l->at.address = m->start;
	l->at.why = why_not_link(m->name);
	return l->at.why ? (l->ret = l->fn(l->arg, &l->at)) : 0;
}

int mfd_unmovable_each(int pid, mfd_unmovable_fn *fn, void *arg)
{
	struct look l = { .at.pid = pid, .fn = fn, .arg = arg };
	char path[40];

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	if (!mfd_walk_numbers(path, look_at_fd, &l))
		mfd_maps_each(pid, MFD_MAPS, look_at_map, &l); /* unreadable: CRIU's to judge */
	return l.ret;
}
