// SPDX-License-Identifier: GPL-2.0-only
/*
 * What CRIU opens again by its path, and the numbers that it gives again.  Of tasks in a mount
 * namespace of their own the paths are inside of that, and of those in a pid namespace of their own
 * the numbers are: nothing is asked of the target's then.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fskind.h"
#include "io.h"
#include "looks.h"
#include "maps.h"
#include "procfile.h"

#define DELETED " (deleted)"

#ifndef BINFMTFS_MAGIC
#define BINFMTFS_MAGIC 0x42494e4d
#endif

/* Made by the kernel: what lies there is the target's own. */
static int is_kernels(int fd)
{
	static const unsigned long kinds[] = { PROC_SUPER_MAGIC,   SYSFS_MAGIC,
					       CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC,
					       DEBUGFS_MAGIC,	   TRACEFS_MAGIC,
					       DEVPTS_SUPER_MAGIC, BPF_FS_MAGIC,
					       BINFMTFS_MAGIC };

	return mfd_fskind_may_be(fd, kinds, sizeof(kinds) / sizeof(*kinds));
}

static int is_plain_path(const char *path)
{
	size_t len = strlen(path), end = strlen(DELETED);

	return path[0] == '/' && !strchr(path, '\\') && !mfd_look_is_nameless(path) &&
	       (len <= end || strcmp(path + len - end, DELETED));
}

static struct mfd_want *known(struct mfd_wants *w, const struct stat *st, const char *path)
{
	for (size_t i = 0; i < w->n; i++)
		if (w->file[i].dev == st->st_dev && w->file[i].ino == st->st_ino &&
		    !strcmp(w->file[i].path, path))
			return &w->file[i];
	return NULL;
}

static struct mfd_want *one_more(struct mfd_wants *w)
{
	if (w->n == MFD_WANTS_FILES)
		return NULL;
	if (w->n == w->room) {
		size_t room = w->room ? 2 * w->room : 64;
		struct mfd_want *more = reallocarray(w->file, room, sizeof(*more));

		if (!more)
			return NULL;
		w->file = more;
		w->room = room;
	}
	w->file[w->n] = (struct mfd_want){ 0 };
	return &w->file[w->n];
}

enum use {
	READ,
	WRITTEN,
	APPENDED, /* and nothing else: a log; CRIU notes no size of it */
};

/* A file that is used in several ways is what the strictest look of CRIU sees. */
static void used(struct mfd_want *f, enum use use, int stays)
{
	f->grows |= use != READ;
	f->unsized &= use == APPENDED;
	f->stays |= stays;
}

/* in_proc leads to the file itself, whatever has its path by now. */
static void want(struct mfd_wants *w, const char *in_proc, const char *path, enum use use,
		 int stays)
{
	struct mfd_want *f;
	struct stat st;
	int fd;

	if (!is_plain_path(path))
		return;
	fd = open(in_proc, O_PATH | O_CLOEXEC);
	if (fd < 0)
		return;
	if (fstat(fd, &st) || !(S_ISREG(st.st_mode) || S_ISDIR(st.st_mode)) || is_kernels(fd))
		goto out;
	f = known(w, &st, path);
	if (f) {
		used(f, use, stays);
		goto out;
	}
	f = one_more(w);
	if (!f || !(f->path = strdup(path)))
		goto out;
	f->size = (uint64_t)st.st_size;
	f->folder = S_ISDIR(st.st_mode);
	f->unsized = 1;
	used(f, use, stays);
	f->dev = st.st_dev;
	f->ino = st.st_ino;
	w->n++;
out:
	close(fd);
}

struct mapped {
	struct mfd_wants *w;
	pid_t pid;
	int is_root; /* bool: the first process of the tree */
};

/* A library is named by its build id where it has one. */
static int look_at_map(const struct mfd_map *m, void *arg)
{
	struct mapped *a = arg;
	size_t before = a->w->n;
	char path[64];
	int fd;

	if (!m->inode || !m->name[0])
		return 0;
	snprintf(path, sizeof(path), "/proc/%d/map_files/%llx-%llx", a->pid,
		 (unsigned long long)m->start, (unsigned long long)m->end);
	/* A child of a script, or a file of the moment, may be gone when the tasks are frozen. */
	want(a->w, path, m->name, m->shared && m->write ? WRITTEN : READ, m->exec && a->is_root);
	if (a->w->n == before)
		return 0;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd >= 0) {
		struct mfd_want *f = &a->w->file[before];

		f->id_len = mfd_buildid_read(fd, f->id);
		close(fd);
	}
	return 0;
}

/* As /proc/PID/fdinfo/FD has its flags. */
static enum use use_of(int pid, int fd)
{
	char path[64], *text, *at;
	unsigned long flags = O_RDWR;

	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", pid, fd);
	if (mfd_io_read_file(AT_FDCWD, path, 1 << 20, &text, NULL))
		return WRITTEN;
	at = strstr(text, "flags:");
	if (at)
		flags = strtoul(at + strlen("flags:"), NULL, 8);
	free(text);
	if ((flags & O_ACCMODE) == O_RDONLY)
		return READ;
	return (flags & O_ACCMODE) == O_WRONLY && flags & O_APPEND ? APPENDED : WRITTEN;
}

static int look_at_fd(const struct mfd_look_fd *at)
{
	char path[64];

	if (mfd_procfile_namespace(at->pid, "mnt") != mfd_procfile_own_namespace("mnt"))
		return 0;
	snprintf(path, sizeof(path), "/proc/%d/fd/%d", at->pid, at->fd);
	want(at->arg, path, at->link, use_of(at->pid, at->fd), 0);
	return 0;
}

static void look_at_folder(struct mfd_wants *w, pid_t pid)
{
	char path[40], link[4096];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/cwd", pid);
	n = readlink(path, link, sizeof(link) - 1);
	link[n > 0 ? n : 0] = 0;
	want(w, path, link, READ, 0);
}

static int look_at_thread(void *arg, int tid)
{
	struct mfd_wants *w = arg;

	if (w->n_pids == MFD_WANTS_PIDS)
		return 1;
	if (w->n_pids == w->room_pids) {
		size_t room = w->room_pids ? 2 * w->room_pids : 64;
		uint32_t *more = reallocarray(w->pid, room, sizeof(*more));

		if (!more)
			return 1;
		w->pid = more;
		w->room_pids = room;
	}
	w->pid[w->n_pids++] = (uint32_t)tid;
	return 0;
}

int mfd_look_wants(struct mfd_check *c)
{
	int own_pids = mfd_procfile_namespace(c->root, "pid") != mfd_procfile_own_namespace("pid");

	for (size_t i = 0; i < c->tree.n; i++) {
		pid_t pid = c->tree.v[i];
		struct mapped a = { &c->wants, pid, pid == c->root };
		char path[40];

		if (mfd_procfile_namespace(pid, "mnt") == mfd_procfile_own_namespace("mnt")) {
			mfd_maps_each(pid, MFD_MAPS, look_at_map, &a);
			look_at_folder(&c->wants, pid);
		}
		snprintf(path, sizeof(path), "/proc/%d/task", pid);
		if (!own_pids)
			mfd_walk_numbers(path, look_at_thread, &c->wants);
	}
	mfd_look_each_fd(c, look_at_fd, &c->wants);
	return 0;
}

void mfd_wants_free(struct mfd_wants *w)
{
	for (size_t i = 0; i < w->n; i++)
		free(w->file[i].path);
	free(w->file);
	free(w->pid);
	free(w->port);
	*w = (struct mfd_wants){ 0 };
}
