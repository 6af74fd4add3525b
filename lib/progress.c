// SPDX-License-Identifier: GPL-2.0-only
/* A mapped file of counters. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "progress.h"
#include "space.h"

#define MAGIC 0x5047464dU /* "MFGP" */

static struct mfd_progress *map(int fd)
{
	void *p = mmap(NULL, sizeof(struct mfd_progress), PROT_READ | PROT_WRITE,
		       MAP_SHARED | (fd < 0 ? MAP_ANONYMOUS : 0), fd, 0);

	return p == MAP_FAILED ? NULL : p;
}

struct mfd_progress *mfd_progress_create(const char *path, struct mfd_error *err)
{
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600), ret;
	struct mfd_progress *p = NULL;

	/* With its blocks: on a full file system a write to the mapping would be a SIGBUS. */
	ret = fd < 0 ? -errno : -posix_fallocate(fd, 0, sizeof(*p));
	if (!ret && !(p = map(fd)))
		ret = -errno;
	if (p)
		p->magic = MAGIC;
	if (ret)
		mfd_space_error(err, ret, fd, sizeof(*p), "%s", path);
	if (fd >= 0)
		close(fd);
	return p;
}

/* Only a file that mfd_progress_create has made: the environment may name another file. */
static struct mfd_progress *map_existing(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct mfd_progress *p = NULL;
	struct stat st;

	if (fd < 0)
		return NULL;
	if (!fstat(fd, &st) && S_ISREG(st.st_mode) && st.st_size == sizeof(*p))
		p = map(fd);
	close(fd);
	if (p && p->magic != MAGIC) {
		munmap(p, sizeof(*p));
		return NULL;
	}
	return p;
}

struct mfd_progress *mfd_progress_open(void)
{
	const char *path = getenv(MFD_PROGRESS_ENV);
	struct mfd_progress *p = path && *path ? map_existing(path) : NULL;

	return p ? p : map(-1);
}

void mfd_progress_close(struct mfd_progress *p)
{
	if (p)
		munmap(p, sizeof(*p));
}

const char *mfd_progress_word(unsigned phase)
{
	static const char *const words[] = {
		[MFD_PROGRESS_STARTING] = "starting",	[MFD_PROGRESS_CONNECTING] = "connecting",
		[MFD_PROGRESS_QUEUED] = "queued",	[MFD_PROGRESS_PRECOPY] = "precopy",
		[MFD_PROGRESS_FREEZING] = "freezing",	[MFD_PROGRESS_STREAMING] = "streaming",
		[MFD_PROGRESS_VERIFYING] = "verifying", [MFD_PROGRESS_RESTORING] = "restoring",
		[MFD_PROGRESS_RELEASING] = "releasing", [MFD_PROGRESS_RELEASED] = "released",
		[MFD_PROGRESS_ABORTED] = "aborted",
	};

	return phase < sizeof(words) / sizeof(*words) ? words[phase] : "?";
}
