// SPDX-License-Identifier: GPL-2.0-only
/* The kind of a file's file system; see fskind.h. */
#include <sys/vfs.h>

#include "fskind.h"

int mfd_fskind_may_be(int fd, const unsigned long *kinds, size_t n)
{
	struct statfs fs;

	if (fstatfs(fd, &fs))
		return 1;
	for (size_t i = 0; i < n; i++)
		if ((unsigned long)fs.f_type == kinds[i])
			return 1;
	return 0;
}
