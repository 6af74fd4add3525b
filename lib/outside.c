// SPDX-License-Identifier: GPL-2.0-only
/* What a process tree shares with processes outside of it. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/kcmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "io.h"
#include "outside.h"
#include "walk.h"

struct sharing {
	struct mfd_walk_pids tree;
	int pid;     /* whose descriptors are looked at */
	int collect; /* in the tree; else outside */
	struct mfd_outside *v;
	size_t n, room;
};

static int eventfd_id(int pid, int fd, uint64_t *id)
{
	char path[64], *text, *at;
	unsigned value;
	int ret;

	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", pid, fd);
	ret = mfd_io_read_file(AT_FDCWD, path, 1 << 16, &text, NULL);
	if (ret)
		return ret;
	at = strstr(text, "eventfd-id:");
	ret = at && sscanf(at + 11, "%u", &value) == 1 ? 0 : -ENOENT;
	free(text);
	*id = ret ? 0 : value;
	return ret;
}

static int inode_of(int pid, int fd, struct mfd_outside *s)
{
	char path[64];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, fd);
	if (stat(path, &st))
		return -errno;
	s->dev = st.st_dev;
	s->ino = st.st_ino;
	return 0;
}

/* 0 when it is one that can be shared. */
static int identify(int pid, int fd, struct mfd_outside *s)
{
	char link[PATH_MAX];

	*s = (struct mfd_outside){ .pid = pid, .fd = fd };
	if (mfd_walk_link(pid, fd, link, sizeof(link)))
		return -ENOENT;
	if (!strncmp(link, "pipe:[", 6)) {
		s->what = MFD_OUTSIDE_PIPE;
		s->ino = strtoull(link + 6, NULL, 10);
		return 0;
	}
	if (!strcmp(link, "anon_inode:[eventfd]")) {
		s->what = MFD_OUTSIDE_EVENTFD;
		return eventfd_id(pid, fd, &s->ino);
	}
	if (!strncmp(link, "socket:[", 8)) {
		s->what = MFD_OUTSIDE_SOCKET;
		s->ino = strtoull(link + 8, NULL, 10);
		return 0;
	}
	s->what = MFD_OUTSIDE_MEMFD;
	return strncmp(link, "/memfd:", 7) ? -ENOENT : inode_of(pid, fd, s);
}

/* By object; one object's in the order of their owners. */
static int compare(const void *x, const void *y)
{
	const struct mfd_outside *a = x, *b = y;

	if (a->what != b->what)
		return a->what < b->what ? -1 : 1;
	if (a->ino != b->ino)
		return a->ino < b->ino ? -1 : 1;
	return a->dev < b->dev ? -1 : a->dev > b->dev;
}

static int compare_all(const void *x, const void *y)
{
	const struct mfd_outside *a = x, *b = y;
	int d = compare(x, y);

	d = d ? d : a->pid - b->pid;
	return d ? d : a->fd - b->fd;
}

/* A process outside the tree has the object of `s` open. */
static void mark(struct sharing *sh, const struct mfd_outside *s)
{
	struct mfd_outside *found = bsearch(s, sh->v, sh->n, sizeof(*s), compare);

	if (!found || found->holder)
		return;
	while (found > sh->v && !compare(found - 1, s))
		found--;
	for (; found < sh->v + sh->n && !compare(found, s); found++)
		found->holder = s->pid;
}

static int look_at(void *ctx, int fd)
{
	struct sharing *sh = ctx;
	struct mfd_outside s;

	if (identify(sh->pid, fd, &s))
		return 0;
	if (!sh->collect) {
		mark(sh, &s);
		return 0;
	}
	if (sh->n == sh->room) {
		size_t room = sh->room ? sh->room * 2 : 64;
		struct mfd_outside *more = realloc(sh->v, room * sizeof(*more));

		if (!more)
			return -ENOMEM;
		sh->v = more;
		sh->room = room;
	}
	sh->v[sh->n++] = s;
	return 0;
}

static int look_at_process(struct sharing *sh, int pid)
{
	char path[40];

	sh->pid = pid;
	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	return mfd_walk_numbers(path, look_at, sh);
}

static int look_outside(void *ctx, int pid)
{
	struct sharing *sh = ctx;

	return pid == getpid() || mfd_walk_has(&sh->tree, pid) ? 0 : look_at_process(sh, pid);
}

static int same_description(const struct mfd_outside *a, const struct mfd_outside *b)
{
	return !syscall(SYS_kcmp, a->pid, b->pid, KCMP_FILE, a->fd, b->fd);
}

/*
 * Delivered already: another descriptor of the same description. *others: of those before, how many
 * are of the same object.
 */
static int seen(const struct sharing *sh, size_t i, unsigned *others)
{
	const struct mfd_outside *s = &sh->v[i], *t;

	*others = 0;
	for (size_t j = i; j > 0 && !compare(&sh->v[j - 1], s); j--) {
		t = &sh->v[j - 1];
		if (same_description(t, s))
			return 1;
		(*others)++;
	}
	return 0;
}

int mfd_outside_each(int root, int (*each)(void *ctx, const struct mfd_outside *s), void *ctx)
{
	struct sharing sh = { .collect = 1 };
	int ret = mfd_walk_tree(root, &sh.tree);

	for (size_t i = 0; i < sh.tree.n && !ret; i++)
		ret = look_at_process(&sh, sh.tree.v[i]);
	sh.collect = 0;
	if (sh.n)
		qsort(sh.v, sh.n, sizeof(*sh.v), compare_all);
	if (!ret && sh.n)
		ret = mfd_walk_numbers("/proc", look_outside, &sh);
	for (size_t i = 0; i < sh.n && !ret; i++) {
		if (sh.v[i].holder && !seen(&sh, i, &sh.v[i].others))
			ret = each(ctx, &sh.v[i]);
	}
	free(sh.tree.v);
	free(sh.v);
	return ret;
}
