// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which process trees are meant: processes of a list, or those of control groups, which units,
 * slices and containers are found by.  No systemd and no container runtime is asked: what they name
 * is the name of a group.  A tree begins with a process whose parent is not among those meant.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cgroup.h"
#include "drain.h"
#include "io.h"
#include "procfile.h"
#include "walk.h"

#define PF_KTHREAD 0x00200000 /* linux/sched.h */
#define SKIP	   1	      /* of a group_fn */
#define DEEP	   64	      /* groups below groups */

/* ---- processes ---- */

static int add_pid(struct mfd_walk_pids *p, int pid)
{
	int *more;

	if (mfd_walk_has(p, pid))
		return 0;
	if (p->n == p->room) {
		more = realloc(p->v, (p->room * 2 + 64) * sizeof(*more));
		if (!more)
			return -ENOMEM;
		p->v = more;
		p->room = p->room * 2 + 64;
	}
	p->v[p->n++] = pid;
	return 0;
}

static int add_list(const struct mfd_drain *d, struct mfd_walk_pids *p, const char *list,
		    struct mfd_error *err)
{
	const char *word = list;

	for (size_t len = 0;; word += len + 1) {
		char *end;
		long pid = strtol(word, &end, 10);

		len = strcspn(word, ",");
		if (end != word + len || !len || *word < '0' || *word > '9' || pid < 1 ||
		    pid > INT32_MAX)
			return mfd_error_set(err, -EINVAL,
					     "--pid %s: '%.*s' is not the number of a process",
					     list, (int)len, word);
		if (mfd_procfile_start_time((pid_t)pid)) {
			if (add_pid(p, (int)pid))
				return mfd_error_sys(err, -ENOMEM, "--pid");
		} else if (!mfd_drain_left_knows(d, (pid_t)pid)) {
			return mfd_error_set(err, -ESRCH, "--pid %s: there is no process %ld here",
					     list, pid);
		}
		if (!word[len])
			return 0;
	}
}

/* ---- control groups ---- */

struct search {
	const struct mfd_drain_pick *pick;
	char name[256];
	int fd; /* the group that was found first, -1 */
	char path[2][MFD_CGROUP_PATH];
	unsigned found;
};

/* "ID", "docker-ID.scope", "libpod-ID.scope", "cri-containerd-ID.scope": the runtimes' names. */
static int is_container(const char *name, const char *id)
{
	const char *at = strstr(name, id), *end;
	size_t len = strlen(id);

	if (!at || (at != name && at[-1] != '-' && at[-1] != ':'))
		return 0;
	end = at + len;
	if (len >= 12)
		end += strspn(end, "0123456789abcdef");
	/* that of Podman's own monitor beside the container */
	return (!*end || !strcmp(end, ".scope")) && !strstr(name, "conmon");
}

static int matches(const struct search *s, const char *name)
{
	return s->pick->kind == MFD_DRAIN_CONTAINER ? is_container(name, s->name) :
						      !strcmp(name, s->name);
}

static void note_found(struct search *s, int fd, const char *path)
{
	if (s->found < 2)
		snprintf(s->path[s->found], sizeof(s->path[0]), "%s", path);
	if (!s->found++) /* not dup(): the walk reads the folder to its end */
		s->fd = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* Each group below `at` (which is consumed); `each`: 0, SKIP: not what is below it, -errno. */
typedef int group_fn(void *arg, int fd, const char *name, const char *path);
static int each_group(int at, const char *path, unsigned deep, group_fn *each, void *arg)
{
	DIR *d = fdopendir(at);
	struct dirent *e;
	int ret = 0;

	if (!d) {
		close(at);
		return 0;
	}
	while (!ret && deep < DEEP && (e = readdir(d))) {
		char below[MFD_CGROUP_PATH];
		int fd;

		if (e->d_type != DT_DIR || e->d_name[0] == '.')
			continue;
		fd = openat(dirfd(d), e->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
		if (fd < 0 || snprintf(below, sizeof(below), "%s/%s", path, e->d_name) >=
				      (int)sizeof(below)) {
			mfd_io_close(&fd);
			continue;
		}
		ret = each(arg, fd, e->d_name, below);
		if (ret)
			close(fd);
		else
			ret = each_group(fd, below, deep + 1, each, arg);
		ret = ret == SKIP ? 0 : ret;
	}
	closedir(d);
	return ret;
}

static int look_for(void *arg, int fd, const char *name, const char *path)
{
	struct search *s = arg;

	struct stat st;

	/* One that a user was given may have any name in it: that is not the unit's. */
	if (fstat(fd, &st) || st.st_uid)
		return SKIP;
	if (matches(s, name))
		note_found(s, fd, path);
	return 0;
}

static int add_procs(struct mfd_walk_pids *p, int group)
{
	char *text = NULL, *save, *word;
	int ret = 0;

	if (mfd_io_read_file(group, "cgroup.procs", 16 << 20, &text, NULL))
		return 0; /* gone meanwhile, or a threaded one: its processes are in its domain */
	for (word = strtok_r(text, "\n", &save); word && !ret; word = strtok_r(NULL, "\n", &save))
		if (atoi(word) > 0)
			ret = add_pid(p, atoi(word));
	free(text);
	return ret;
}

static int take_group(void *arg, int fd, const char *name, const char *path)
{
	(void)name;
	(void)path;
	return add_procs(arg, fd);
}

static int find_by_name(struct search *s, int root, struct mfd_error *err)
{
	static const char *const words[] = {
		[MFD_DRAIN_UNIT] = "unit",
		[MFD_DRAIN_CONTAINER] = "container",
		[MFD_DRAIN_SLICE] = "slice",
	};
	const char *word = words[s->pick->kind];

	each_group(openat(root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), "", 0, look_for, s);
	if (!s->found)
		return mfd_error_set(err, -ENOENT,
				     "--%s %s: nothing of it runs here (no control group '%s')",
				     word, s->pick->value, s->name);
	if (s->found > 1)
		return mfd_error_set(
			err, -EEXIST,
			"--%s %s: there are %u: say which by --cgroup %s or --cgroup %s", word,
			s->pick->value, s->found, s->path[0], s->path[1]);
	return 0;
}

/* A path as in /proc/PID/cgroup, or below the folder where the hierarchy is mounted. */
static int find_by_path(struct search *s, int root, struct mfd_error *err)
{
	static const char *const mounts[] = { "/sys/fs/cgroup/unified/", "/sys/fs/cgroup/" };
	const char *path = s->pick->value;

	for (size_t i = 0; i < sizeof(mounts) / sizeof(*mounts); i++)
		if (!strncmp(path, mounts[i], strlen(mounts[i]))) {
			path += strlen(mounts[i]) - 1;
			break;
		}
	while (*path == '/')
		path++;
	s->fd = openat(root, *path ? path : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return s->fd >= 0 ? 0 :
			    mfd_error_sys(err, -errno, "--cgroup %s: no control group of version 2",
					  s->pick->value);
}

static const char *suffix(const struct mfd_drain_pick *p)
{
	const char *dot = strrchr(p->value, '.');

	if (p->kind == MFD_DRAIN_SLICE)
		return dot && !strcmp(dot, ".slice") ? "" : ".slice";
	if (p->kind == MFD_DRAIN_UNIT)
		return dot && (!strcmp(dot, ".service") || !strcmp(dot, ".scope")) ? "" :
										     ".service";
	return "";
}

static int add_groups(struct mfd_walk_pids *p, const struct mfd_drain_pick *pick,
		      struct mfd_error *err)
{
	struct search s = { .pick = pick, .fd = -1 };
	int root = mfd_cgroup_open(), ret;

	if (root < 0)
		return mfd_error_sys(err, root,
				     "control groups of version 2, by which '%s' is found",
				     pick->value);
	snprintf(s.name, sizeof(s.name), "%.200s%s", pick->value, suffix(pick));
	ret = pick->kind == MFD_DRAIN_CGROUP ? find_by_path(&s, root, err) :
					       find_by_name(&s, root, err);
	close(root);
	if (ret) {
		mfd_io_close(&s.fd);
		return ret;
	}
	ret = add_procs(p, s.fd);
	ret = ret ? ret : each_group(s.fd, "", 0, take_group, p);
	return ret ? mfd_error_sys(err, ret, "control group '%s'", pick->value) : 0;
}

/* ---- trees ---- */

static int is_meant(pid_t pid)
{
	struct mfd_procfile_stat st;

	return !mfd_procfile_stat(pid, &st) && !(st.flags & PF_KTHREAD) &&
	       !mfd_procfile_is_over(&st);
}

/* A tree moves with all its processes: one below another that is meant goes along. */
static int is_below(const struct mfd_walk_pids *p, pid_t pid)
{
	for (pid_t up = mfd_procfile_parent(pid); up > 1; up = mfd_procfile_parent(up))
		if (mfd_walk_has(p, up))
			return 1;
	return 0;
}

static int is_listed(const struct mfd_drain *d, pid_t pid)
{
	for (size_t i = 0; i < d->n; i++)
		if (d->items[i].pid == pid && d->items[i].start == mfd_procfile_start_time(pid))
			return 1;
	return 0;
}

static int add_trees(struct mfd_drain *d, const struct mfd_walk_pids *p)
{
	for (size_t i = 0; i < p->n; i++)
		if (!is_below(p, p->v[i]) && is_meant(p->v[i]) && !is_listed(d, p->v[i]) &&
		    !mfd_drain_item_add(d, p->v[i]))
			return -ENOMEM;
	return 0;
}

int mfd_drain_pick(struct mfd_drain *d, int again, struct mfd_error *err)
{
	struct mfd_walk_pids p = { 0 };
	int ret = 0;

	/* Afterwards a pid of a list is none of those that were meant: it would be used again. */
	for (unsigned i = 0; i < d->n_picks && (!ret || again); i++) {
		if (again && d->picks[i].kind == MFD_DRAIN_PIDS)
			continue;
		ret = d->picks[i].kind == MFD_DRAIN_PIDS ? add_list(d, &p, d->picks[i].value, err) :
							   add_groups(&p, &d->picks[i], err);
	}
	/* What has moved has no group any more: that hides nothing of the others. */
	if (again)
		ret = 0;
	if (!ret && add_trees(d, &p))
		ret = mfd_error_sys(err, -ENOMEM, "the list of processes");
	free(p.v);
	return ret;
}
