// SPDX-License-Identifier: GPL-2.0-only
/* A process tree and its descriptors in /proc. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "walk.h"
#include "io.h"
#include "procfile.h"

static int add_pid(struct mfd_walk_pids *p, int pid)
{
	if (p->n == p->room) {
		size_t room = p->room ? p->room * 2 : 64;
		int *more = realloc(p->v, room * sizeof(*more));

		if (!more)
			return -ENOMEM;
		p->v = more;
		p->room = room;
	}
	p->v[p->n++] = pid;
	return 0;
}

int mfd_walk_has(const struct mfd_walk_pids *p, int pid)
{
	for (size_t i = 0; i < p->n; i++) {
		if (p->v[i] == pid)
			return 1;
	}
	return 0;
}

/* Numbers among the names in a folder of /proc; a process that is gone has none. */
int mfd_walk_numbers(const char *path, int (*each)(void *ctx, int number), void *ctx)
{
	DIR *d = opendir(path);
	struct dirent *e;
	int ret = 0;

	if (!d)
		return 0;
	while (!ret && (e = readdir(d))) {
		if (e->d_name[0] >= '0' && e->d_name[0] <= '9')
			ret = each(ctx, atoi(e->d_name));
	}
	closedir(d);
	return ret;
}

struct family {
	struct mfd_walk_pids *pids;
	int pid;
};

static int add_children(void *ctx, int tid)
{
	struct family *f = ctx;
	char path[64], *text, *p, *end;
	int ret = 0;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", f->pid, tid);
	if (mfd_io_read_file(AT_FDCWD, path, 16 << 20, &text, NULL))
		return 0;
	for (p = text; !ret; p = end) {
		long pid = strtol(p, &end, 10);

		if (end == p)
			break;
		ret = add_pid(f->pids, (int)pid);
	}
	free(text);
	return ret;
}

int mfd_walk_tree(int root, struct mfd_walk_pids *p)
{
	struct family f = { .pids = p };
	char path[64];
	int ret = add_pid(p, root);

	for (size_t i = 0; i < p->n && !ret; i++) {
		f.pid = p->v[i];
		snprintf(path, sizeof(path), "/proc/%d/task", f.pid);
		ret = mfd_walk_numbers(path, add_children, &f);
	}
	return ret;
}

int mfd_walk_link(int pid, int fd, char *link, size_t len)
{
	char path[64];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, fd);
	n = readlink(path, link, len - 1);
	link[n > 0 ? n : 0] = 0;
	return n > 0 ? 0 : -1;
}

int mfd_walk_get(int pid, int fd)
{
	int pidfd = (int)syscall(SYS_pidfd_open, pid, 0), got;

	if (pidfd < 0)
		return -errno;
	got = (int)syscall(SYS_pidfd_getfd, pidfd, fd, 0);
	if (got < 0)
		got = -errno;
	close(pidfd);
	return got;
}

uint32_t mfd_walk_inner_pid(int pid)
{
	uint32_t inner = mfd_procfile_inner_pid(pid);

	return inner ? inner : (uint32_t)pid;
}
