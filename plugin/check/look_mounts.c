// SPDX-License-Identifier: GPL-2.0-only
/*
 * Files whose mount no process of the tree sees: the mount was taken away, is another namespace's,
 * or is the kernel's own.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "io.h"
#include "looks.h"
#include "procfile.h"

struct mounts {
	int *v; /* the numbers of all mounts that are seen */
	size_t n, room;
};

static int add(struct mounts *m, int id)
{
	if (m->n == m->room) {
		size_t room = m->room ? 2 * m->room : 256;
		int *more = reallocarray(m->v, room, sizeof(*more));

		if (!more)
			return -1;
		m->v = more;
		m->room = room;
	}
	m->v[m->n++] = id;
	return 0;
}

static int has(const struct mounts *m, int id)
{
	for (size_t i = 0; i < m->n; i++)
		if (m->v[i] == id)
			return 1;
	return 0;
}

static void collect(struct mounts *m, pid_t pid)
{
	char path[40], *text, *line, *save;

	snprintf(path, sizeof(path), "/proc/%d/mountinfo", pid);
	if (mfd_io_read_file(AT_FDCWD, path, 64 << 20, &text, NULL))
		return;
	for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		add(m, atoi(line));
	free(text);
}

/* Of every mount namespace of the tree, once. */
static void collect_all(struct mounts *m, const struct mfd_walk_pids *tree)
{
	ino_t ns, before = 0;

	for (size_t i = 0; i < tree->n; i++) {
		ns = mfd_procfile_namespace(tree->v[i], "mnt");
		if (ns != before)
			collect(m, tree->v[i]);
		before = ns;
	}
}

static int mount_of(const struct mfd_look_fd *at)
{
	char path[64], *text, *id;
	int mount = -1;

	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", at->pid, at->fd);
	if (mfd_io_read_file(AT_FDCWD, path, 1 << 20, &text, NULL))
		return -1;
	id = strstr(text, "mnt_id:");
	if (id)
		mount = atoi(id + strlen("mnt_id:"));
	free(text);
	return mount;
}

/* What CRIU looks for by its path; terminals it knows by their numbers. */
static int is_by_path(const struct mfd_look_fd *at)
{
	char path[64];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", at->pid, at->fd);
	return at->link[0] == '/' && !mfd_look_is_nameless(at->link) && !stat(path, &st) &&
	       (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode));
}

static int look_at(const struct mfd_look_fd *at)
{
	char task[MFD_LOOK_NAME];
	int mount;

	if (!is_by_path(at))
		return 0;
	mount = mount_of(at);
	if (mount >= 0 && !has(at->arg, mount))
		mfd_check_add(at->c, MFD_FOUND_MOUNT, 0,
			      "process %s, descriptor %d: %.200s of mount %d",
			      mfd_look_name(at->pid, task), at->fd, at->link, mount);
	return 0;
}

int mfd_look_mounts(struct mfd_check *c)
{
	struct mounts m = { 0 };

	collect_all(&m, &c->tree);
	if (m.n)
		mfd_look_each_fd(c, look_at, &m);
	free(m.v);
	return 0;
}
