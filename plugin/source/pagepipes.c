// SPDX-License-Identifier: GPL-2.0-only
/* Pipes of another process, found in its /proc/PID/fd. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "io.h"
#include "pagepipes.h"

#define ROOM 4000 /* of 16 GiB; the table takes 32 KiB then */

struct end {
	unsigned long inode;
	int fd;
	mode_t mode; /* S_IRUSR, S_IWUSR: what it is open for */
};

struct ends {
	struct end *v;
	size_t n, room;
};

static int add(struct ends *e, struct end one)
{
	if (e->n == e->room) {
		size_t room = e->room ? 2 * e->room : 256;
		struct end *more = reallocarray(e->v, room, sizeof(*more));

		if (!more)
			return -1;
		e->v = more;
		e->room = room;
	}
	e->v[e->n++] = one;
	return 0;
}

static void list(pid_t pid, struct ends *ends)
{
	char path[40], link[64];
	unsigned long inode;
	struct dirent *e;
	struct stat st;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	d = opendir(path);
	while (d && (e = readdir(d))) {
		ssize_t n = readlinkat(dirfd(d), e->d_name, link, sizeof(link) - 1);

		link[n > 0 ? n : 0] = 0;
		if (sscanf(link, "pipe:[%lu]", &inode) != 1 ||
		    fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW))
			continue;
		if (add(ends,
			(struct end){ inode, atoi(e->d_name), st.st_mode & (S_IRUSR | S_IWUSR) }))
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

/* Half of what may be open: connections that are made again need descriptors, too. */
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

void mfd_pagepipes_prepare(void)
{
	rlim_t room = most();
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC), high;

	high = null < 0 ? -1 : fcntl(null, F_DUPFD_CLOEXEC, (int)(room < ROOM ? room : ROOM));
	mfd_io_close(&high);
	mfd_io_close(&null);
}

static int open_full(int pidfd, int number)
{
	int fd = (int)syscall(SYS_pidfd_getfd, pidfd, number, 0), bytes = 0;

	if (fd >= 0 && (ioctl(fd, FIONREAD, &bytes) || !bytes))
		mfd_io_close(&fd);
	return fd;
}

void mfd_pagepipes_keep(struct mfd_pagepipes *k, pid_t criu, int pidfd)
{
	struct ends ends = { 0 };
	rlim_t room = most();

	list(criu, &ends);
	if (ends.n)
		qsort(ends.v, ends.n, sizeof(*ends.v), by_inode);
	k->fd = calloc(ends.n / 2 + 1, sizeof(*k->fd));
	for (size_t i = 0, next; k->fd && i < ends.n && k->n < room; i = next) {
		mode_t modes = 0;

		/*
		 * Two writing ends are standard output and standard error: another process reads
		 * what is in there.
		 */
		for (next = i; next < ends.n && ends.v[next].inode == ends.v[i].inode; next++)
			modes |= ends.v[next].mode;
		if (modes == (S_IRUSR | S_IWUSR) && next - i > 1 &&
		    (k->fd[k->n] = open_full(pidfd, ends.v[i].fd)) >= 0)
			k->n++;
	}
	free(ends.v);
}

void mfd_pagepipes_close(struct mfd_pagepipes *k)
{
	while (k->n)
		close(k->fd[--k->n]);
	free(k->fd);
	k->fd = NULL;
}
