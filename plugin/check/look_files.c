// SPDX-License-Identifier: GPL-2.0-only
/* Files, devices and kernel objects that are open or mapped; and how high their numbers go. */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "looks.h"
#include "maps.h"
#include "procfile.h"
#include "unmovable.h"

#define GHOST_LIMIT (1U << 20) /* CRIU's own, of --ghost-limit */
#define BLOCK	    512	       /* st_blocks */
#define SERVICE_FDS 64	       /* CRIU's own descriptors of a restored task, and their alignment */
#define DELETED	    " (deleted)"

/* Names that the kernel gives to what never was a file of a folder. */
static const char *const nameless[] = { "/memfd:", "/dev/zero",	     "/SYSV",
					"/[aio]",  "/secretmem",     "/dmabuf:",
					"/drm mm", "/anon_hugepage", NULL };

struct seen {
	struct file {
		dev_t dev;
		ino_t ino;
	} * v;
	size_t n, room;
};

/* Nonzero: that file came before, or there is no memory to note it. */
static int came_before(struct seen *s, const struct stat *st)
{
	for (size_t i = 0; i < s->n; i++)
		if (s->v[i].dev == st->st_dev && s->v[i].ino == st->st_ino)
			return 1;
	if (s->n == s->room) {
		size_t room = s->room ? 2 * s->room : 64;
		struct file *more = reallocarray(s->v, room, sizeof(*more));

		if (!more)
			return 1;
		s->v = more;
		s->room = room;
	}
	s->v[s->n++] = (struct file){ st->st_dev, st->st_ino };
	return 0;
}

int mfd_look_is_nameless(const char *link)
{
	for (size_t i = 0; nameless[i]; i++)
		if (!strncmp(link, nameless[i], strlen(nameless[i])))
			return 1;
	return 0;
}

static int is_deleted(const char *name)
{
	size_t len = strlen(name), end = strlen(DELETED);

	if (name[0] != '/' || len <= end || strcmp(name + len - end, DELETED))
		return 0;
	return !mfd_look_is_nameless(name);
}

/* path: in /proc, leads to the file itself. */
static void look_at_deleted(struct mfd_check *c, struct seen *seen, int pid, const char *path,
			    const char *name)
{
	char task[MFD_LOOK_NAME];
	uint64_t bytes;
	struct stat st;

	if (!is_deleted(name) || stat(path, &st) || !S_ISREG(st.st_mode) || came_before(seen, &st))
		return;
	bytes = (uint64_t)st.st_blocks * BLOCK;
	if (st.st_nlink)
		mfd_check_add(c, MFD_FOUND_LINK, 0, "process %s: %.200s", mfd_look_name(pid, task),
			      name);
	else if (bytes > GHOST_LIMIT)
		mfd_check_add(c, MFD_FOUND_GHOST, bytes, "process %s: %.200s, %" PRIu64 " MiB",
			      mfd_look_name(pid, task), name, bytes >> 20);
}

/* ---- devices and what is no file ---- */

static const char *const known_anon[] = { "[eventfd]",	 "[eventpoll]", "inotify", "[fanotify]",
					  "[signalfd]",	 "[timerfd]",	"[pidfd]", "[io_uring]",
					  "[secretmem]", NULL };

static void look_at_anon(const struct mfd_look_fd *at)
{
	const char *kind = at->link + strlen("anon_inode:");
	char task[MFD_LOOK_NAME];

	for (size_t i = 0; known_anon[i]; i++)
		if (!strcmp(kind, known_anon[i]))
			return;
	mfd_check_add(at->c, MFD_FOUND_KERNEL_OBJECT, 0, "process %s, descriptor %d: %.100s",
		      mfd_look_name(at->pid, task), at->fd, at->link);
}

static int is_gpu(const char *path)
{
	return !strncmp(path, "/dev/nvidia", 11) || !strcmp(path, "/dev/kfd") ||
	       !strncmp(path, "/dev/dri/", 9);
}

/* Memory devices, tun, and whatever is a terminal: CRIU opens them again by itself. */
static int criu_knows(dev_t dev)
{
	unsigned maj = major(dev);

	return maj == 1 || maj == 4 || maj == 5 || (maj >= 136 && maj <= 143) ||
	       dev == makedev(10, 200) || dev == makedev(229, 0);
}

static void look_at_device(const struct mfd_look_fd *at, const struct stat *st)
{
	char task[MFD_LOOK_NAME];
	int gpu = is_gpu(at->link);

	if (!gpu && S_ISCHR(st->st_mode) && criu_knows(st->st_rdev))
		return;
	mfd_check_add(at->c,
		      gpu				    ? MFD_FOUND_GPU :
		      !strcmp(at->link, "/dev/userfaultfd") ? MFD_FOUND_KERNEL_OBJECT :
							      MFD_FOUND_DEVICE,
		      0, "process %s, descriptor %d: %.100s", mfd_look_name(at->pid, task), at->fd,
		      at->link);
}

static int look_at_fd(const struct mfd_look_fd *at)
{
	char path[64];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", at->pid, at->fd);
	if (!strncmp(at->link, "anon_inode:", 11))
		look_at_anon(at);
	else if (at->link[0] != '/')
		return 0;
	else if (!stat(path, &st) && (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode)))
		look_at_device(at, &st);
	else
		look_at_deleted(at->c, at->arg, at->pid, path, at->link);
	return 0;
}

/* ---- mappings ---- */

struct mapped {
	struct mfd_check *c;
	struct seen *seen;
	pid_t pid;
	int in_ipc_namespace; /* of the tree's own */
};

static int look_at_map(const struct mfd_map *m, void *arg)
{
	struct mapped *a = arg;
	char path[96], task[MFD_LOOK_NAME];

	if (!strncmp(m->name, "/SYSV", 5) && !a->in_ipc_namespace)
		mfd_check_add(a->c, MFD_FOUND_SYSV, 0, "process %s has attached %.40s",
			      mfd_look_name(a->pid, task), m->name);
	snprintf(path, sizeof(path), "/proc/%d/map_files/%" PRIx64 "-%" PRIx64, a->pid, m->start,
		 m->end);
	look_at_deleted(a->c, a->seen, a->pid, path, m->name);
	return 0;
}

static int look_at_unmovable(void *arg, const struct mfd_unmovable *u)
{
	char task[MFD_LOOK_NAME];

	mfd_look_name(u->pid, task);
	if (u->fd >= 0)
		mfd_check_add(arg, MFD_FOUND_UNMOVABLE, 0, "process %s, descriptor %d is %s", task,
			      u->fd, u->why);
	else
		mfd_check_add(arg, MFD_FOUND_UNMOVABLE, 0,
			      "process %s has mapped at %#" PRIx64 " %s", task, u->address, u->why);
	return 0;
}

/* ---- numbers ---- */

static int larger(void *ctx, int fd)
{
	int *most = ctx;

	if (fd > *most)
		*most = fd;
	return 0;
}

static void look_at_numbers(struct mfd_check *c, pid_t pid)
{
	char path[40], task[MFD_LOOK_NAME];
	struct rlimit r;
	int most = -1;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	mfd_walk_numbers(path, larger, &most);
	if (!getrlimit(RLIMIT_NOFILE, &r) && most >= 0 && (rlim_t)most + SERVICE_FDS > r.rlim_max)
		mfd_check_add(c, MFD_FOUND_DESCRIPTOR_NUMBER, (uint64_t)most,
			      "process %s has descriptor %d, and the limit here is %" PRIu64,
			      mfd_look_name(pid, task), most, (uint64_t)r.rlim_max);
}

int mfd_look_files(struct mfd_check *c)
{
	struct seen seen = { 0 };
	struct mapped a = { .c = c, .seen = &seen };

	mfd_look_each_fd(c, look_at_fd, &seen);
	for (size_t i = 0; i < c->tree.n; i++) {
		a.pid = c->tree.v[i];
		a.in_ipc_namespace = mfd_procfile_namespace(a.pid, "ipc") !=
				     mfd_procfile_own_namespace("ipc");
		mfd_maps_each(a.pid, MFD_MAPS, look_at_map, &a);
		mfd_unmovable_each(a.pid, look_at_unmovable, c);
		look_at_numbers(c, a.pid);
	}
	free(seen.v);
	return 0;
}
