// SPDX-License-Identifier: GPL-2.0-only
/* Pipes of another process, found in its /proc/PID/fd. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "pagepipes.h"

struct end {
	unsigned long inode;
	int fd;
};

struct ends {
	struct end *v;
	size_t n, room;
};

static int add(struct ends *e, unsigned long inode, int fd)
{
	if (e->n == e->room) {
		size_t room = e->room ? 2 * e->room : 256;
		struct end *more = reallocarray(e->v, room, sizeof(*more));

		if (!more)
			return -1;
		e->v = more;
		e->room = room;
	}
	e->v[e->n++] = (struct end){ inode, fd };
	return 0;
}

static void list(pid_t pid, struct ends *ends)
{
	char path[40], link[64];
	unsigned long inode;
	struct dirent *e;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	d = opendir(path);
	while (d && (e = readdir(d))) {
		ssize_t n = readlinkat(dirfd(d), e->d_name, link, sizeof(link) - 1);

		link[n > 0 ? n : 0] = 0;
		if (sscanf(link, "pipe:[%lu]", &inode) == 1 && add(ends, inode, atoi(e->d_name)))
			break;
	}
	if (d)
		closedir(d);
}

static int by_inode(const void *a, const void *b)
{
	const struct end *x = a, *y = b;

	return x->inode != y->inode ? (x->inode > y->inode) - (x->inode < y->inode) : x->fd - y->fd;
}

/* Others need descriptors, too: a connection that is made again. */
static rlim_t most(void)
{
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l))
		return 0;
	if (l.rlim_cur < l.rlim_max) {
		l.rlim_cur = l.rlim_max;
		setrlimit(RLIMIT_NOFILE, &l);
		getrlimit(RLIMIT_NOFILE, &l);
	}
	return l.rlim_cur / 2;
}

static int keep(int pidfd, int number)
{
	int fd = (int)syscall(SYS_pidfd_getfd, pidfd, number, 0), bytes = 0;

	if (fd < 0)
		return 0;
	if (ioctl(fd, FIONREAD, &bytes) || !bytes) {
		close(fd);
		return 0;
	}
	return 1;
}

unsigned mfd_pagepipes_keep(pid_t criu, int pidfd)
{
	struct ends ends = { 0 };
	rlim_t room = most();
	unsigned kept = 0;

	list(criu, &ends);
	if (ends.n)
		qsort(ends.v, ends.n, sizeof(*ends.v), by_inode);
	for (size_t i = 0; i + 1 < ends.n && kept < room; i++)
		if (ends.v[i].inode == ends.v[i + 1].inode)
			kept += (unsigned)keep(pidfd, ends.v[i++].fd);
	free(ends.v);
	return kept;
}
