// SPDX-License-Identifier: GPL-2.0-only
/* What a session's name stands for, when sessions of one name follow each other; see record.h. */
#include <errno.h>
#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "evidence_file.h"
#include "io.h"
#include "log.h"
#include "ours.h"
#include "record.h"
#include "session.h"
#include "session_file.h"

/* DIR/.ended/before, made if it is to be; >= 0 or -errno. */
static int open_before(int rootfd, int may_make)
{
	int fd;

	if (may_make && mkdirat(rootfd, MFD_SESSION_FILE_ENDED, 0700) && errno != EEXIST)
		return -errno;
	if (may_make && mkdirat(rootfd, MFD_SESSION_FILE_BEFORE, 0700) && errno != EEXIST)
		return -errno;
	fd = openat(rootfd, MFD_SESSION_FILE_BEFORE,
		    O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	return fd < 0 ? -errno : fd;
}

static int is_ours(int rootfd, const Mfd__SessionEntry *e, const char *name)
{
	int fd = mfd_ours_dir(rootfd, name);

	if (fd < 0)
		return fd == -EPERM ? -EEXIST : fd;
	close(fd);
	return strcmp(e->name, name) ? -EEXIST : 0;
}

int mfd_record_set_aside(int rootfd, const Mfd__SessionEntry *e, const char *name)
{
	int ret = is_ours(rootfd, e, name), before;

	ret = ret ? ret : mfd_evidence_file_keep_first(rootfd, e);
	if (ret)
		return ret;
	before = open_before(rootfd, 1);
	if (before < 0)
		return before;
	ret = mfd_clean_folder(rootfd, before, name);
	if (!ret && renameat(rootfd, name, before, name))
		ret = -errno;
	close(before);
	return ret;
}

int mfd_record_put_back(int rootfd, const char *name)
{
	int before = open_before(rootfd, 0), ret;

	if (before < 0)
		return before == -ENOENT ? 0 : before;
	ret = renameat(before, name, rootfd, name) && errno != ENOENT ? -errno : 0;
	close(before);
	return ret == -EEXIST || ret == -ENOTEMPTY ? 0 : ret;
}

int mfd_record_remove(int rootfd, const char *name)
{
	return mfd_clean_folder(rootfd, rootfd, name) ?: mfd_record_put_back(rootfd, name);
}

int mfd_record_displace(int rootfd, const char *name)
{
	int before = open_before(rootfd, 0), ret = 0;

	if (before >= 0) {
		ret = mfd_clean_folder(rootfd, before, name);
		close(before);
	} else if (before != -ENOENT) {
		ret = before;
	}
	return ret ? ret : mfd_session_file_exhume(rootfd, name);
}

/* A server that died has left both, or the one before alone. */
static int settle(int rootfd, const char *name)
{
	struct mfd_session_file f;
	int needed, ret = mfd_session_file_find(rootfd, name, &f);

	if (ret && ret != -ENOENT)
		return ret;
	if (ret || f.ended) {
		if (!ret)
			mfd_session_file_release(&f);
		return mfd_record_remove(rootfd, name);
	}
	needed = f.entry && mfd_evidence_file_is_needed(f.entry);
	mfd_session_file_release(&f);
	return needed ? mfd_record_displace(rootfd, name) : 0;
}

void mfd_record_settle_all(int rootfd)
{
	int before = open_before(rootfd, 0), ret;
	DIR *dir = before < 0 ? NULL : fdopendir(before);
	struct dirent *d;

	if (before >= 0 && !dir)
		close(before);
	while (dir && (d = readdir(dir))) {
		ret = *d->d_name == '.' ? 0 : settle(rootfd, d->d_name);
		if (ret)
			mfd_log_warn("%s: the record of the session before of that name stays in "
				     "%s: %s",
				     d->d_name, MFD_SESSION_FILE_BEFORE, strerror(-ret));
	}
	if (dir)
		closedir(dir);
}
