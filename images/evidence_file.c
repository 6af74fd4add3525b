// SPDX-License-Identifier: GPL-2.0-only
/* Evidence of ended sessions by their ids: see evidence_file.h. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "entry_file.h"
#include "evidence_file.h"

#define ENDED  ".ended"
#define BY_ID  ENDED "/by-id"
#define DIGITS (2 * MFD_EVIDENCE_FILE_ID)
#define NAME   (DIGITS + sizeof(".img"))

int mfd_evidence_file_is_needed(const Mfd__SessionEntry *e)
{
	return e->has_restorable_us || e->has_ready_us || e->has_running_us || e->has_committed_us;
}

/* Its source ended it by itself, or has told that its tasks are dead. */
static int is_spare(const Mfd__SessionEntry *e)
{
	return e->told || e->source_gone;
}

static int has_id(const Mfd__SessionEntry *e)
{
	return e->has_session_id && e->session_id.len == MFD_EVIDENCE_FILE_ID;
}

/* FNV-1a: peers that share a folder share its room, and no more. */
void mfd_evidence_file_folder(const char *identity, char *buf, size_t len)
{
	uint64_t h = 0xcbf29ce484222325ULL;

	for (; identity && *identity; identity++)
		h = (h ^ (unsigned char)*identity) * 0x100000001b3ULL;
	snprintf(buf, len, BY_ID "/%016llx", (unsigned long long)h);
}

static void name_of(char *buf, const uint8_t *id, const char *suffix)
{
	for (unsigned i = 0; i < MFD_EVIDENCE_FILE_ID; i++)
		snprintf(buf + 2 * i, 3, "%02x", id[i]);
	snprintf(buf + DIGITS, NAME - DIGITS, ".%s", suffix);
}

static int sync_folder(int dirfd, const char *name)
{
	int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW), ret;

	if (fd < 0)
		return -errno;
	ret = fsync(fd) ? -errno : 0;
	close(fd);
	return ret;
}

static int make(int dirfd, const char *name, const char *in)
{
	if (!mkdirat(dirfd, name, 0700))
		return sync_folder(dirfd, in);
	return errno == EEXIST ? 0 : -errno;
}

/* A descriptor or -errno. */
static int open_folder(int dirfd, const char *identity, int may_make)
{
	char name[sizeof(BY_ID) + 20];
	int fd, ret = may_make ? make(dirfd, ENDED, ".") : 0;

	mfd_evidence_file_folder(identity, name, sizeof(name));
	if (may_make) {
		ret = ret ? ret : make(dirfd, BY_ID, ENDED);
		ret = ret ? ret : make(dirfd, name, BY_ID);
	}
	if (ret)
		return ret;
	fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	return fd < 0 ? -errno : fd;
}

/* Of the records in a folder: how many, how many to spare, and the oldest to spare. */
struct census {
	unsigned all, spare;
	char oldest[NAME];
	struct timespec since;
};

static int older(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec != b->tv_sec ? a->tv_sec < b->tv_sec : a->tv_nsec < b->tv_nsec;
}

static void count_one(struct census *c, int folder, const char *name)
{
	struct stat st;

	if (strlen(name) != NAME - 1 || *name == '.')
		return;
	c->all++;
	if (strcmp(name + DIGITS, ".old") || fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW))
		return;
	if (!c->spare++ || older(&st.st_mtim, &c->since)) {
		c->since = st.st_mtim;
		memcpy(c->oldest, name, sizeof(c->oldest));
	}
}

static int walk(int folder, void (*each)(void *arg, int folder, const char *name), void *arg)
{
	int fd = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* its own position */
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *d;
	int ret = 0;

	if (!dir) {
		ret = -errno;
		if (fd >= 0)
			close(fd);
		return ret;
	}
	while ((d = readdir(dir)))
		each(arg, folder, d->d_name);
	closedir(dir);
	return ret;
}

static void count_each(void *arg, int folder, const char *name)
{
	count_one(arg, folder, name);
}

/* What is needed stays, however much there is. */
static void make_room(int folder)
{
	struct census c;

	do {
		c = (struct census){ 0 };
		if (walk(folder, count_each, &c) || c.all <= MFD_EVIDENCE_FILE_MOST || !c.spare)
			return;
	} while (!unlinkat(folder, c.oldest, 0));
}

static int keep_in(int folder, const Mfd__SessionEntry *e)
{
	Mfd__SessionEntry copy = *e; /* shallow */
	char name[NAME], other[NAME];
	int ret;

	name_of(name, e->session_id.data, is_spare(e) ? "old" : "img");
	name_of(other, e->session_id.data, is_spare(e) ? "img" : "old");
	copy.has_secret = 0;
	ret = mfd_entry_file_write(folder, name, &copy, 1);
	if (ret)
		return ret;
	if (unlinkat(folder, other, 0) && errno != ENOENT)
		return -errno;
	make_room(folder);
	return 0;
}

int mfd_evidence_file_keep(int dirfd, const Mfd__SessionEntry *e)
{
	int folder, ret;

	if (!has_id(e) || !mfd_evidence_file_is_needed(e))
		return 0;
	folder = open_folder(dirfd, e->identity, 1);
	if (folder < 0)
		return folder;
	ret = keep_in(folder, e);
	close(folder);
	return ret;
}

int mfd_evidence_file_keep_first(int dirfd, const Mfd__SessionEntry *e)
{
	Mfd__SessionEntry *old;
	int ret = has_id(e) ? mfd_evidence_file_find(dirfd, e->identity, e->session_id.data, &old) :
			      -ENOENT;

	if (ret)
		return ret == -ENOENT ? mfd_evidence_file_keep(dirfd, e) : ret;
	mfd__session_entry__free_unpacked(old, NULL);
	return 0;
}

static int read_either(int folder, const uint8_t *id, Mfd__SessionEntry **e)
{
	char name[NAME];
	int ret;

	name_of(name, id, "img");
	ret = mfd_entry_file_read(folder, name, e, NULL);
	if (ret != -ENOENT)
		return ret;
	name_of(name, id, "old");
	return mfd_entry_file_read(folder, name, e, NULL);
}

int mfd_evidence_file_find(int dirfd, const char *identity, const uint8_t *id,
			   Mfd__SessionEntry **e)
{
	int folder = open_folder(dirfd, identity, 0), ret;
	const Mfd__SessionEntry *r;

	*e = NULL;
	if (folder < 0)
		return folder;
	ret = read_either(folder, id, e);
	close(folder);
	if (ret)
		return ret;
	r = *e;
	if (has_id(r) && !memcmp(r->session_id.data, id, MFD_EVIDENCE_FILE_ID) &&
	    !strcmp(r->identity ? r->identity : "", identity ? identity : ""))
		return 0;
	mfd__session_entry__free_unpacked(*e, NULL);
	*e = NULL;
	return -ENOENT;
}

int mfd_evidence_file_is_full(int dirfd, const char *identity, unsigned most)
{
	int folder = open_folder(dirfd, identity, 0);
	struct census c = { 0 };

	if (folder < 0)
		return 0;
	walk(folder, count_each, &c);
	close(folder);
	return c.all - c.spare >= most;
}

/* ---- old ones ---- */

/* Also what a crash has left. */
static void expire_one(void *arg, int folder, const char *name)
{
	const time_t *before = arg;
	struct stat st;

	if (!fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) && S_ISREG(st.st_mode) &&
	    st.st_mtim.tv_sec < *before)
		unlinkat(folder, name, 0);
}

static void expire_folder(void *arg, int by_id, const char *name)
{
	int folder = *name == '.' ?
			     -1 :
			     openat(by_id, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

	if (folder < 0)
		return;
	walk(folder, expire_one, arg);
	close(folder);
}

int mfd_evidence_file_expire(int dirfd, uint64_t seconds)
{
	int by_id = openat(dirfd, BY_ID, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW), ret;
	time_t before = time(NULL) - (time_t)seconds;

	if (by_id < 0)
		return errno == ENOENT ? 0 : -errno;
	ret = seconds ? walk(by_id, expire_folder, &before) : 0;
	close(by_id);
	return ret;
}
