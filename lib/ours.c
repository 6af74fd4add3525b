// SPDX-License-Identifier: GPL-2.0-only
/* Opening what is ours and nothing else. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ours.h"

/* One component: no link is followed, and the last part of a path is all that there is. */
static int open_below(int at, const char *name, int flags, mode_t mode)
{
	struct open_how how = {
		.flags = (uint64_t)(flags | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY),
		.mode = flags & O_CREAT ? mode : 0,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS,
	};
	long fd;

	if (!*name || strchr(name, '/') || !strcmp(name, ".."))
		return -EINVAL;
	fd = syscall(SYS_openat2, at, name, &how, sizeof(how));
	if (fd < 0 && errno == ENOSYS) /* before Linux 5.6, or a filter of system calls */
		fd = openat(at, name, (int)how.flags, mode);
	if (fd >= 0)
		return (int)fd;
	/*
	 * A link, or a file where a folder should be, is not ours; nor what the kernel protects us
	 * from (fs.protected_fifos, fs.protected_regular).
	 */
	return errno == ELOOP || errno == ENOTDIR || errno == EACCES ? -EPERM : -errno;
}

static int others_own(const struct stat *st)
{
	return st->st_uid && st->st_uid != geteuid();
}

/* A group is another user, unless it is root's or our own. */
static int others_write(const struct stat *st)
{
	return st->st_mode & S_IWOTH ||
	       (st->st_mode & S_IWGRP && st->st_gid && st->st_gid != getegid());
}

int mfd_ours_others_change(const struct stat *st)
{
	return others_own(st) || others_write(st);
}

static int keep_if(int ok, int fd)
{
	if (ok)
		return fd;
	close(fd);
	return -EPERM;
}

int mfd_ours_dir(int at, const char *name)
{
	int fd = open_below(at, name, O_RDONLY | O_DIRECTORY, 0);
	struct stat st;

	if (fd < 0)
		return fd;
	return keep_if(!fstat(fd, &st) && st.st_uid == geteuid() && !others_write(&st), fd);
}

int mfd_ours_make_dir(int at, const char *name)
{
	if (mkdirat(at, name, 0700) && errno != EEXIST)
		return -errno;
	return mfd_ours_dir(at, name);
}

int mfd_ours_file(int at, const char *name, int flags, mode_t mode)
{
	/* O_NONBLOCK: opening a FIFO must not wait; it has no effect on a regular file. */
	int fd = open_below(at, name, flags | O_NONBLOCK, mode);
	struct stat st;

	if (fd == -ENXIO) /* a FIFO that no process reads, a socket */
		return -EPERM;
	if (fd < 0)
		return fd;
	return keep_if(!fstat(fd, &st) && S_ISREG(st.st_mode) && st.st_uid == geteuid() &&
			       st.st_nlink <= 1 && !others_write(&st),
		       fd);
}

int mfd_ours_is_safe(int fd)
{
	struct stat st;

	return !fstat(fd, &st) && !others_own(&st) && (st.st_mode & S_ISVTX || !others_write(&st));
}

static int refuse(struct mfd_error *err, const char *path, int n)
{
	return mfd_error_set(err, -EPERM,
			     "%.*s: other users can change this folder: it must belong to root and "
			     "be writable by root alone",
			     n ? n : 1, path);
}

static int open_step(int at, const char *name, const char *path, struct mfd_error *err)
{
	int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	return fd < 0 ? mfd_error_sys(err, -errno, "%s", path) : fd;
}

/* From / on, each part of a path without links. */
static int walk(const char *path, struct mfd_error *err)
{
	int at = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC), fd = 0;
	char name[NAME_MAX + 1];
	size_t done = 0, n;

	while (at >= 0 && fd >= 0 && path[done + 1]) {
		n = strcspn(path + done + 1, "/");
		snprintf(name, sizeof(name), "%.*s", (int)n, path + done + 1);
		if (mfd_ours_is_safe(at))
			fd = open_step(at, name, path, err);
		else
			fd = refuse(err, path, (int)done);
		close(at);
		at = fd;
		done += n + 1;
		if (!path[done])
			break;
	}
	return at;
}

/* Nothing in it is another user's, and it is empty or has `mark`. */
static int may_close(int fd, const char *mark)
{
	int again = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), ok, empty = 1;
	DIR *d = again < 0 ? NULL : fdopendir(again);
	struct dirent *e;
	struct stat st;

	ok = d != NULL;
	while (ok && (e = readdir(d))) {
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		empty = 0;
		ok = !fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) && st.st_uid == geteuid();
	}
	if (d)
		closedir(d);
	return ok &&
	       (empty || (!fstatat(fd, mark, &st, AT_SYMLINK_NOFOLLOW) && S_ISREG(st.st_mode)));
}

static int is_ours(int fd, const char *mark)
{
	struct stat st;

	if (fstat(fd, &st) || others_own(&st))
		return 0;
	if (!others_write(&st))
		return 1;
	return mark && may_close(fd, mark) && !fchmod(fd, st.st_mode & 0755);
}

int mfd_ours_claim(const char *path, const char *mark, struct mfd_error *err)
{
	char *whole = realpath(path, NULL);
	int fd;

	if (!whole)
		return mfd_error_sys(err, -errno, "%s", path);
	fd = walk(whole, err);
	if (fd >= 0 && !is_ours(fd, mark)) {
		close(fd);
		fd = refuse(err, whole, (int)strlen(whole));
	}
	free(whole);
	return fd;
}

int mfd_ours_path(const char *path, struct mfd_error *err)
{
	return mfd_ours_claim(path, NULL, err);
}
