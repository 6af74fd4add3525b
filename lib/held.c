// SPDX-License-Identifier: GPL-2.0-only
/* Restored tasks in a frozen control group; see held.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "held.h"
#include "io.h"

#define FILE_MAX (16U << 20)

/* ---- the file ---- */

int mfd_held_note(int dirfd, const char *line)
{
	int fd = openat(dirfd, MFD_HELD_FILE,
			O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	int ret;

	if (fd < 0)
		return -errno;
	ret = mfd_io_write_all(fd, line, strlen(line));
	close(fd);
	return ret;
}

static int note(const struct mfd_held *h, const char *what, const char *path)
{
	char line[MFD_FROZEN_PATH + 16];

	snprintf(line, sizeof(line), "%s %s\n", what, path);
	return mfd_held_note(h->dirfd, line);
}

static int add_origin(struct mfd_held *h, const char *path)
{
	char(*more)[MFD_FROZEN_PATH] = reallocarray(h->origin, h->n + 1, sizeof(*more));

	if (!more)
		return -ENOMEM;
	h->origin = more;
	snprintf(h->origin[h->n++], MFD_FROZEN_PATH, "%s", path);
	return 0;
}

/* Nothing but a group of this kind is ever emptied or removed. */
static int is_ours(const char *group)
{
	const char *last = strrchr(group, '/');

	return group[0] == '/' && !strncmp(last + 1, MFD_HELD_GROUP, strlen(MFD_HELD_GROUP)) &&
	       !strstr(group, "/../");
}

static int take_line(struct mfd_held *h, const char *line)
{
	char path[MFD_FROZEN_PATH];

	if (sscanf(line, "group %511[^\n]", path) == 1 && is_ours(path))
		snprintf(h->group, sizeof(h->group), "%s", path);
	else if (sscanf(line, "origin %511[^\n]", path) == 1 && path[0] == '/')
		return add_origin(h, path);
	return 0;
}

int mfd_held_open(struct mfd_held *h, int dirfd)
{
	char *text = NULL, *line, *save;
	int ret;

	*h = (struct mfd_held){ .dirfd = dirfd, .root = -1 };
	ret = mfd_io_read_file(dirfd, MFD_HELD_FILE, FILE_MAX, &text, NULL);
	if (ret)
		return ret == -ENOENT ? 0 : ret;
	for (line = strtok_r(text, "\n", &save); line && !ret; line = strtok_r(NULL, "\n", &save))
		ret = take_line(h, line);
	free(text);
	return ret;
}

void mfd_held_close(struct mfd_held *h)
{
	mfd_io_close(&h->root);
	free(h->origin);
	h->origin = NULL;
	h->n = 0;
}

/* ---- the groups ---- */

static int need_root(struct mfd_held *h)
{
	if (h->root < 0)
		h->root = mfd_frozen_open();
	return h->root < 0 ? -EOPNOTSUPP : 0;
}

static void below(const struct mfd_held *h, size_t i, char sub[MFD_FROZEN_PATH])
{
	snprintf(sub, MFD_FROZEN_PATH, "%.490s/%zu", h->group, i);
}

static int is_inside(const struct mfd_held *h, const char *group)
{
	size_t len = strlen(h->group);

	return len && !strncmp(group, h->group, len) && (!group[len] || group[len] == '/');
}

static int begin(struct mfd_held *h, const char *name, const char *parent)
{
	char last[128];
	int ret;

	snprintf(last, sizeof(last), MFD_HELD_GROUP ".%.64s", name);
	if (strlen(parent) + sizeof(last) > MFD_FROZEN_PATH)
		return -ENAMETOOLONG;
	snprintf(h->group, sizeof(h->group), "%.380s/%s", strcmp(parent, "/") ? parent : "", last);
	ret = note(h, "group", h->group);
	ret = ret ? ret : mfd_frozen_make(h->root, parent, last, h->group);
	return ret ? ret : mfd_frozen_set(h->root, h->group, 1);
}

/* Number of the origin, which has a group below ours from now on; or -errno. */
static int number_of(struct mfd_held *h, const char *group)
{
	char number[24], sub[MFD_FROZEN_PATH];
	size_t i;
	int ret;

	for (i = 0; i < h->n && strcmp(h->origin[i], group); i++)
		;
	ret = i < h->n ? 0 : note(h, "origin", group);
	if (!ret && i == h->n)
		ret = add_origin(h, group);
	snprintf(number, sizeof(number), "%zu", i);
	ret = ret ? ret : mfd_frozen_make(h->root, h->group, number, sub);
	return ret ? ret : (int)i;
}

static int move_there(struct mfd_held *h, const char *group, pid_t pid)
{
	char sub[MFD_FROZEN_PATH];
	int i = number_of(h, group);

	if (i < 0)
		return i;
	below(h, (size_t)i, sub);
	return mfd_cgroup_move(h->root, sub, pid);
}

static int remove_groups(const struct mfd_held *h, unsigned wait_ms)
{
	char sub[MFD_FROZEN_PATH];
	int ret = 0;

	for (size_t i = 0; i < h->n && !ret; i++) {
		below(h, i, sub);
		ret = mfd_frozen_remove(h->root, sub, wait_ms);
	}
	return ret ? ret : mfd_frozen_remove(h->root, h->group, wait_ms);
}

/* Nothing is in it: 0, and as if it had not been begun. */
static int begin_anew(struct mfd_held *h)
{
	int ret = remove_groups(h, 0);

	if (ret)
		return ret;
	h->group[0] = 0;
	h->n = 0;
	return unlinkat(h->dirfd, MFD_HELD_FILE, 0) ? -errno : 0;
}

static int add_first(struct mfd_held *h, const char *name, const char *group, pid_t pid)
{
	int ret = begin(h, name, group);

	ret = ret ? ret : move_there(h, group, pid);
	if (!mfd_frozen_is_unfit(ret) || begin_anew(h))
		return ret;
	ret = begin(h, name, "/");
	return ret ? ret : move_there(h, group, pid);
}

int mfd_held_add(struct mfd_held *h, const char *name, pid_t pid)
{
	char group[MFD_FROZEN_PATH];
	int ret = need_root(h);

	ret = ret ? ret : mfd_frozen_group_of(h->root, pid, group);
	if (ret == -ENOENT || ret == -ESRCH)
		return 0;
	if (ret || is_inside(h, group))
		return ret;
	return h->group[0] ? move_there(h, group, pid) : add_first(h, name, group, pid);
}

/* ---- the end ---- */

/* The group of an origin that is gone: the one that ours lies in. */
static int move_back(const struct mfd_held *h, size_t i)
{
	char sub[MFD_FROZEN_PATH], parent[MFD_FROZEN_PATH];
	int ret;

	below(h, i, sub);
	ret = mfd_frozen_move_all(h->root, sub, h->origin[i]);
	if (!ret)
		return 0;
	snprintf(parent, sizeof(parent), "%s", h->group);
	*strrchr(parent, '/') = 0;
	return mfd_frozen_move_all(h->root, sub, parent);
}

int mfd_held_release(int dirfd)
{
	struct mfd_held h;
	int ret = mfd_held_open(&h, dirfd);

	if (!ret && h.group[0])
		ret = need_root(&h);
	for (size_t i = 0; !ret && h.group[0] && i < h.n; i++)
		ret = move_back(&h, i);
	if (ret && h.root >= 0)
		mfd_frozen_set(h.root, h.group, 0);
	else if (!ret && h.group[0])
		remove_groups(&h, 0);
	if (!ret)
		unlinkat(dirfd, MFD_HELD_FILE, 0);
	mfd_held_close(&h);
	return ret;
}

int mfd_held_remove(int dirfd, unsigned wait_ms)
{
	struct mfd_held h;
	int ret = mfd_held_open(&h, dirfd);

	if (!ret && h.group[0])
		ret = need_root(&h);
	if (!ret && h.group[0])
		ret = remove_groups(&h, wait_ms);
	if (!ret)
		unlinkat(dirfd, MFD_HELD_FILE, 0);
	mfd_held_close(&h);
	return ret;
}
