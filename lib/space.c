// SPDX-License-Identifier: GPL-2.0-only
/* Sentences about full file systems. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "size.h"
#include "space.h"

#define LITTLE 65536U /* bytes: no page table of an image fits any more */

static void name_of(int fd, char *name, size_t len)
{
	char self[40];
	ssize_t n;

	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	n = readlink(self, name, len - 1);
	name[n > 0 ? n : 0] = 0;
	if (n <= 0)
		snprintf(name, len, "the file system");
}

static int has_no_files(const struct statvfs *v)
{
	return v->f_files && !v->f_favail;
}

const char *mfd_space_text(int code, int fd, uint64_t needed, char text[MFD_SPACE_TEXT])
{
	char name[200], all[MFD_SIZE_TEXT], left[MFD_SIZE_TEXT], more[MFD_SIZE_TEXT + 16] = "";
	struct statvfs v;

	*text = 0;
	if (code != -ENOSPC && code != -EDQUOT)
		return text;
	name_of(fd, name, sizeof(name));
	if (needed) {
		mfd_size_text(needed, left);
		snprintf(more, sizeof(more), ", %s needed", left);
	}
	if (code == -EDQUOT || fstatvfs(fd, &v))
		snprintf(text, MFD_SPACE_TEXT, "%s is full%s%s", name,
			 code == -EDQUOT ? ": its quota is used up" : "", more);
	else if (has_no_files(&v) && v.f_bavail * v.f_frsize > needed)
		snprintf(text, MFD_SPACE_TEXT, "%s is full: it has no room for another file", name);
	else
		snprintf(text, MFD_SPACE_TEXT, "%s is full: %s in all, %s free%s", name,
			 mfd_size_text((uint64_t)v.f_blocks * v.f_frsize, all),
			 mfd_size_text((uint64_t)v.f_bavail * v.f_frsize, left), more);
	return text;
}

int mfd_space_error(struct mfd_error *err, int code, int fd, uint64_t needed, const char *fmt, ...)
{
	char what[200], text[MFD_SPACE_TEXT];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	if (!*mfd_space_text(code, fd, needed, text))
		return mfd_error_sys(err, code, "%s", what);
	return mfd_error_set(err, code, "%s: %s", what, text);
}

int mfd_space_is_full(int fd)
{
	struct statvfs v;

	return !fstatvfs(fd, &v) &&
	       ((uint64_t)v.f_bavail * v.f_frsize < LITTLE || has_no_files(&v));
}
