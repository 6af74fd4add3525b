// SPDX-License-Identifier: GPL-2.0-only
/* The ends of pseudo terminals that a process tree has open. */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#include "io.h"
#include "procfile.h"
#include "terminals.h"

#define FIRST_PTS_MAJOR 136U /* Unix98 slaves: eight majors of 256 minors each */
#define LAST_PTS_MAJOR	143U

static unsigned pts_index(dev_t rdev)
{
	return (major(rdev) - FIRST_PTS_MAJOR) * 256 + minor(rdev);
}

static int master_index(int pid, int fd, unsigned *index)
{
	char path[64], *text, *at;
	int ret;

	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", pid, fd);
	ret = mfd_io_read_file(AT_FDCWD, path, 1 << 16, &text, NULL);
	if (ret)
		return ret;
	at = strstr(text, "tty-index:");
	ret = at && sscanf(at + 10, "%u", index) == 1 ? 0 : -ENOENT;
	free(text);
	return ret;
}

/* 0 when it is one. */
static int identify(int pid, int fd, struct mfd_terminals_end *e)
{
	char path[64];
	struct statfs fs;
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, fd);
	if (stat(path, &st) || !S_ISCHR(st.st_mode))
		return -ENOENT;
	*e = (struct mfd_terminals_end){
		.pid = pid, .fd = fd, .rdev = st.st_rdev, .dev = st.st_dev
	};
	if (major(st.st_rdev) >= FIRST_PTS_MAJOR && major(st.st_rdev) <= LAST_PTS_MAJOR) {
		e->index = pts_index(st.st_rdev);
		return 0;
	}
	e->which = st.st_rdev == makedev(5, 2) ? MFD_TERMINALS_MASTER : MFD_TERMINALS_DEV_TTY;
	if (st.st_rdev != makedev(5, 2))
		return st.st_rdev == makedev(5, 0) ? 0 : -ENOENT;
	e->at_devpts = !statfs(path, &fs) && fs.f_type == DEVPTS_SUPER_MAGIC;
	return master_index(pid, fd, &e->index);
}

static int collect(void *ctx, int fd)
{
	struct mfd_terminals *l = ctx;
	struct mfd_terminals_end e;

	if (identify(l->pid, fd, &e))
		return 0;
	if (l->n == l->room) {
		size_t room = l->room ? l->room * 2 : 64;
		struct mfd_terminals_end *more = realloc(l->v, room * sizeof(*more));

		if (!more)
			return -ENOMEM;
		l->v = more;
		l->room = room;
	}
	l->v[l->n++] = e;
	return 0;
}

int mfd_terminals_same(const struct mfd_terminals_end *a, const struct mfd_terminals_end *b)
{
	return a->rdev == b->rdev && a->dev == b->dev;
}

int mfd_terminals_has_master(const struct mfd_terminals *l, const struct mfd_terminals_end *slave)
{
	for (size_t i = 0; i < l->n; i++) {
		const struct mfd_terminals_end *m = &l->v[i];

		if (m->which == MFD_TERMINALS_MASTER && m->index == slave->index &&
		    (!m->at_devpts || m->dev == slave->dev))
			return 1;
	}
	return 0;
}

int mfd_terminals_done_before(const struct mfd_terminals *l, size_t i)
{
	for (size_t j = 0; j < i; j++) {
		if (l->v[j].which == MFD_TERMINALS_SLAVE && mfd_terminals_same(&l->v[j], &l->v[i]))
			return 1;
	}
	return 0;
}

/* The session whose controlling terminal it is, as that process sees it; 0 = it is not. */
int mfd_terminals_controls(int pid, dev_t rdev)
{
	struct mfd_procfile_stat st;

	if (mfd_procfile_stat(pid, &st))
		return 0;
	return makedev(st.tty >> 8 & 0xfff, (st.tty & 0xff) | (st.tty >> 12 & 0xfff00)) == rdev ?
		       st.session :
		       0;
}

int mfd_terminals_foreign_session(const struct mfd_terminals *l, const struct mfd_terminals_end *e)
{
	for (size_t i = 0; i < l->n; i++) {
		int session = l->v[i].which == MFD_TERMINALS_SLAVE &&
					      mfd_terminals_same(&l->v[i], e) ?
				      mfd_terminals_controls(l->v[i].pid, e->rdev) :
				      0;

		if (session && !mfd_walk_has(&l->tree, session))
			return session;
	}
	return 0;
}

int mfd_terminals_find(int root, struct mfd_terminals *t)
{
	int ret = mfd_walk_tree(root, &t->tree);
	char path[40];

	for (size_t i = 0; i < t->tree.n && !ret; i++) {
		t->pid = t->tree.v[i];
		snprintf(path, sizeof(path), "/proc/%d/fd", t->pid);
		ret = mfd_walk_numbers(path, collect, t);
	}
	return ret;
}

void mfd_terminals_free(struct mfd_terminals *t)
{
	free(t->tree.v);
	free(t->v);
}
