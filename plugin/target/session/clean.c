// SPDX-License-Identifier: GPL-2.0-only
/*
 * Removing a session's folder: only what bears a mark of ours.  DIR may hold what a person has put
 * there, and the names of sessions come from peers.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "evidence_file.h"
#include "held.h"
#include "io.h"
#include "log.h"
#include "ours.h"
#include "restored_notes.h"
#include "session.h"
#include "session_file.h"

/* CRIU makes no folders of its own in there; a person may have. */
#define MAX_DEPTH 16
#define HELD_MS	  1000	/* what was killed leaves its control group */
#define EXPIRE_MS 60000 /* between two looks at old tombstones, or after so many new ones */
#define EXPIRE_N  64
#define MAX_NAMES 1000 /* of ended sessions, for people: peers make them at will */

static int remove_tree(int dirfd, const char *name, int depth);

/* Takes fd over. */
static int remove_children(int fd, int depth, const char *except)
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
		if (!strcmp(d->d_name, ".") || !strcmp(d->d_name, "..") ||
		    (except && !strcmp(d->d_name, except)))
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
	ret = remove_children(fd, depth, NULL);
	if (!ret && unlinkat(dirfd, name, AT_REMOVEDIR) && errno != ENOENT)
		ret = -errno;
	return ret;
}

/*
 * Its session.img is of this name, or is no entry that can be understood (*e NULL then); or 0.
 * -errno: what it says could not be read just now, and may be evidence.
 */
static int is_marked(int fd, const char *name, Mfd__SessionEntry **e)
{
	int ret = mfd_session_file_load(fd, e, NULL);

	if (ret == -ENOENT)
		return 0;
	if (ret)
		return mfd_entry_file_is_strange(ret) ? 1 : ret;
	return !strcmp((*e)->name, name);
}

/* All but the mark, so that a server that goes on after a crash still finds it. */
static int remove_content(int fd)
{
	int again = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (again < 0)
		return -errno;
	return remove_children(again, 0, MFD_SESSION_FILE_NAME);
}

/*
 * Everything, its mark last.  What is done has no tombstone, and its source may not have heard of
 * that yet: evidence of it is there before the mark goes, and after what may fill the disk has.
 */
static int remove_marked(int rootfd, int fd, const Mfd__SessionEntry *e)
{
	int ret = mfd_held_remove(fd, HELD_MS);

	if (ret)
		mfd_log_warn("the control group that held its tasks is left: %s", strerror(-ret));
	ret = remove_content(fd);

	if (!ret && e && e->state == MFD__SESSION_STATE__DONE)
		ret = mfd_evidence_file_keep_first(rootfd, e);
	if (!ret && unlinkat(fd, MFD_SESSION_FILE_NAME, 0) && errno != ENOENT)
		ret = -errno;
	return ret;
}

int mfd_clean_folder(int rootfd, int parentfd, const char *name)
{
	int fd = mfd_ours_dir(parentfd, name), ret, marked;
	Mfd__SessionEntry *e = NULL;

	if (fd < 0)
		return fd == -ENOENT ? 0 : fd == -EPERM ? -EEXIST : fd;
	marked = is_marked(fd, name, &e);
	ret = marked < 0 ? marked : 0;
	/* Without the mark: a session that has not got so far as to write it has these alone. */
	if (marked > 0 || (!marked && mfd_pagestore_is_alone(fd)))
		mfd_pagestore_remove(fd);
	if (marked > 0)
		ret = remove_marked(rootfd, fd, e);
	mfd_session_file_free(e);
	close(fd);
	if (!ret && unlinkat(parentfd, name, AT_REMOVEDIR) && errno != ENOENT)
		ret = errno == ENOTEMPTY ? -EEXIST : -errno;
	return ret;
}

void mfd_clean_done(int dirfd)
{
	unlinkat(dirfd, MFD_NOTES_FILE, 0);
	unlinkat(dirfd, MFD_SESSION_ROOM_FILE, 0);
}

void mfd_clean_ended(struct mfd_server *sv)
{
	uint64_t now = mfd_io_now_ms(), then = atomic_load(&sv->expired_ms);
	int many = atomic_fetch_add(&sv->unexpired, 1) >= EXPIRE_N;

	if ((then && now - then < EXPIRE_MS && !many) ||
	    !atomic_compare_exchange_strong(&sv->expired_ms, &then, now))
		return;
	atomic_store(&sv->unexpired, 0);
	if (mfd_session_file_expire(sv->dirfd, sv->keep_ended, MAX_NAMES))
		mfd_log_debug("%s: old sessions are not forgotten", sv->dir);
}

uint64_t mfd_clean_now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}
