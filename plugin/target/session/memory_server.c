// SPDX-License-Identifier: GPL-2.0-only
/* What of the server's folder is memory, and what ended sessions hold of it. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <linux/magic.h>
#include <unistd.h>

#include "assert.h"
#include "io.h"
#include "log.h"
#include "memory_server.h"
#include "session.h"
#include "session_file.h"

#define PUBLISH_MS    1000
#define SWEEP_MS      1000  /* between two looks at ended sessions, when memory is short */
#define SWEEP_IDLE_MS 30000 /* ... and when it is not */

/* ---- what ended sessions hold ---- */

static int is_memory(int fd)
{
	struct statfs fs;

	return !fstatfs(fd, &fs) && (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC);
}

uint64_t mfd_memory_server_left(const struct mfd_server *sv, int dirfd)
{
	uint64_t sum = mfd_pagestore_left(dirfd);
	DIR *d = sv->dir_in_memory ?
			 fdopendir(openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)) :
			 NULL;
	struct dirent *e;
	struct stat st;

	while (d && (e = readdir(d))) {
		if (strcmp(e->d_name, "pages.store") &&
		    !fstatat(dirfd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) && S_ISREG(st.st_mode))
			sum += (uint64_t)st.st_blocks * 512;
	}
	if (d)
		closedir(d);
	return sum;
}

static int is_live(struct mfd_server *sv, const char *name)
{
	struct mfd_session *s = mfd_session_find(sv, name);

	mfd_session_put(s);
	return s != NULL;
}

static int is_none(struct mfd_server *sv, const char *name)
{
	(void)sv;
	(void)name;
	return 0;
}

/* Adds what the folders below `path` hold, but for `spare`. */
static int sweep(struct mfd_server *sv, const char *path,
		 int (*spare)(struct mfd_server *sv, const char *name), uint64_t *sum)
{
	int dirfd = openat(sv->dirfd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), fd;
	DIR *d = dirfd < 0 ? NULL : fdopendir(dirfd);
	struct dirent *e;

	if (!d)
		return 0;
	while ((e = readdir(d))) {
		if (e->d_name[0] == '.' || spare(sv, e->d_name))
			continue;
		fd = openat(dirfd, e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0)
			continue;
		*sum += mfd_memory_server_left(sv, fd);
		close(fd);
	}
	closedir(d);
	return 1;
}

int mfd_memory_server_sweep(struct mfd_server *sv)
{
	unsigned seen = mfd_budget_left_begin(&sv->budget);
	uint64_t sum = 0, now = mfd_io_now_ms(), then = atomic_load(&sv->swept_ms);

	if ((then && now - then < SWEEP_MS) ||
	    !atomic_compare_exchange_strong(&sv->swept_ms, &then, now))
		return 0;
	if (!sweep(sv, ".", is_live, &sum))
		return 0;
	sweep(sv, MFD_SESSION_FILE_BEFORE, is_none, &sum);
	mfd_budget_left_set(&sv->budget, seen, sum);
	return 1;
}

/* ---- figures for status ---- */

void mfd_memory_server_rights(struct mfd_server *sv, const struct mfd_rights *rights)
{
	uint64_t none = 0;

	mfd_assert(sv);
	if (rights)
		atomic_compare_exchange_strong(&sv->max_memory, &none, MFD_MEMORY_COUNTED);
	mfd_assert(!rights || sv->max_memory);
}

void mfd_memory_server_begin(struct mfd_server *sv)
{
	struct mfd_rights *rights = mfd_rights_now(&sv->rights);

	mfd_memory_server_rights(sv, rights);
	mfd_rights_put(rights);
	mfd_budget_init(&sv->budget, sv->max_memory);
	sv->dir_in_memory = is_memory(sv->dirfd);
	sv->store_in_memory = !sv->durable || sv->dir_in_memory;
	mfd_memory_server_unpublish(sv);
}

/*
 * Without the fsync of session.img: it is of no use after a crash, and the main thread must not
 * wait for a disk.
 */
static void replace(struct mfd_server *sv, const char *text)
{
	int fd = openat(sv->dirfd, MFD_SERVER_MEMORY ".tmp",
			O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	int ret = fd < 0 ? -errno : mfd_io_write_all(fd, text, strlen(text));

	mfd_io_close(&fd);
	if (!ret && renameat(sv->dirfd, MFD_SERVER_MEMORY ".tmp", sv->dirfd, MFD_SERVER_MEMORY))
		ret = -errno;
	if (ret)
		mfd_log_debug("%s/" MFD_SERVER_MEMORY ": %s", sv->dir, strerror(-ret));
}

void mfd_memory_server_publish(struct mfd_server *sv)
{
	uint64_t now = mfd_io_now_ms();
	struct mfd_budget_figures f;
	char text[sizeof(sv->published)];

	if (!sv->max_memory || sv->max_memory == MFD_MEMORY_COUNTED ||
	    now - sv->published_ms < PUBLISH_MS)
		return;
	sv->published_ms = now;
	if (now - atomic_load(&sv->swept_ms) > SWEEP_IDLE_MS)
		mfd_memory_server_sweep(sv);
	mfd_budget_look(&sv->budget, NULL, &f);
	snprintf(
		text, sizeof(text),
		"{\"limit\":%llu,\"used\":%llu,\"promised\":%llu,\"free\":%llu,\"ended\":%llu,\"sessions\":%u,"
		"\"waiting\":%u,\"server_pid\":%d}\n",
		(unsigned long long)f.limit, (unsigned long long)f.used,
		(unsigned long long)f.promised, (unsigned long long)f.free,
		(unsigned long long)f.left, f.claims, f.waiting, getppid());
	if (!strcmp(text, sv->published))
		return;
	snprintf(sv->published, sizeof(sv->published), "%s", text);
	replace(sv, text);
}

void mfd_memory_server_unpublish(struct mfd_server *sv)
{
	unlinkat(sv->dirfd, MFD_SERVER_MEMORY, 0);
}
