// SPDX-License-Identifier: GPL-2.0-only
/* Removing a session's folder. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "session.h"

/* CRIU makes no folders of its own in there; a person may have. */
#define MAX_DEPTH 16

static int remove_tree(int dirfd, const char *name, int depth);

static int remove_children(int fd, int depth)
{
	struct dirent *d;
	int ret = 0, one;
	DIR *dir = fdopendir(fd);

	if (!dir) {
		ret = -errno;
		close(fd);
		return ret;
	}
	while ((d = readdir(dir))) {
		if (!strcmp(d->d_name, ".") || !strcmp(d->d_name, ".."))
			continue;
		one = remove_tree(dirfd(dir), d->d_name, depth + 1);
		ret = ret ? ret : one;
	}
	closedir(dir);
	return ret;
}

static int remove_tree(int dirfd, const char *name, int depth)
{
	int fd, ret;

	if (!unlinkat(dirfd, name, 0) || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return -errno;
	if (depth > MAX_DEPTH)
		return -ELOOP;
	fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	ret = remove_children(fd, depth);
	if (!ret && unlinkat(dirfd, name, AT_REMOVEDIR) && errno != ENOENT)
		ret = -errno;
	return ret;
}

int mfd_clean_tree(int dirfd, const char *name)
{
	return remove_tree(dirfd, name, 0);
}

uint64_t mfd_clean_now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}
