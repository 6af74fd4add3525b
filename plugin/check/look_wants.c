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
#include <sys/vfs.h>
#include <unistd.h>

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
	struct statfs fs;

	if (fstatfs(fd, &fs))
		return 1;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
		if ((unsigned long)fs.f_type == kinds[i])
			return 1;
	return 0;
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

/* in_proc leads to the file itself, whatever has its path by now. */
static void want(struct mfd_wants *w, const char *in_proc, const char *path, int written)
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
		f->grows |= written;
		goto out;
	}
	f = one_more(w);
	if (!f || !(f->path = strdup(path)))
		goto out;
	f->size = (uint64_t)st.st_size;
	f->folder = S_ISDIR(st.st_mode);
	f->grows = written;
	f->dev = st.st_dev;
	f->ino = st.st_ino;
	w->n++;
out:
	close(fd);
}

struct mapped {
	struct mfd_wants *w;
	pid_t pid;
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
	want(a->w, path, m->name, m->shared && m->write);
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

/* Nonzero: it is open for writing, or that cannot be told. */
static int is_written(int pid, int fd)
{
	char path[64];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, fd);
	return lstat(path, &st) || (st.st_mode & S_IWUSR);
}

static int look_at_fd(const struct mfd_look_fd *at)
{
	char path[64];

	if (mfd_procfile_namespace(at->pid, "mnt") != mfd_procfile_own_namespace("mnt"))
		return 0;
	snprintf(path, sizeof(path), "/proc/%d/fd/%d", at->pid, at->fd);
	want(at->arg, path, at->link, is_written(at->pid, at->fd));
	return 0;
}

static void look_at_folder(struct mfd_wants *w, pid_t pid)
{
	char path[40], link[4096];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/cwd", pid);
	n = readlink(path, link, sizeof(link) - 1);
	link[n > 0 ? n : 0] = 0;
	want(w, path, link, 0);
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
		struct mapped a = { &c->wants, pid };
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
	*w = (struct mfd_wants){ 0 };
}
