// SPDX-License-Identifier: GPL-2.0-only
/* /proc/PID/maps against /proc/locks. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io.h"
#include "mapped.h"

#define LOCKS_MAX (16U << 20)
#define MAPS_MAX  (64U << 20)

/* "1: FLOCK  ADVISORY  WRITE 1234 08:02:5678 0 EOF".  Where files lie on an overlay, device numbers differ: the inode's must do. */
static int is_locked(const char *locks, unsigned long inode)
{
	char key[32];
	const char *p;

	snprintf(key, sizeof(key), ":%lu ", inode);
	for (p = strstr(locks, key); p; p = strstr(p + 1, key)) {
		const char *line = p;

		while (line > locks && line[-1] != '\n')
			line--;
		/* A POSIX lock is the process's and ends with it. */
		if (!strstr(line, " POSIX ") || strstr(line, " POSIX ") > p)
			return 1;
	}
	return 0;
}

static int begins(const char *text, const char *with)
{
	return !strncmp(text, with, strlen(with));
}

static int is_object(const char *path)
{
	return begins(path, "socket:") || begins(path, "anon_inode:") ||
	       (begins(path, "/dev/") && !begins(path, "/dev/shm/") && !begins(path, "/dev/zero"));
}

static int is_awaited(const char *line, const char *locks)
{
	unsigned long inode;
	int path = 0;

	if (sscanf(line, "%*x-%*x %*s %*x %*x:%*x %lu %n", &inode, &path) != 1 || !inode)
		return 0;
	return (path && is_object(line + path)) || is_locked(locks, inode);
}

int mfd_mapped_is_awaited(pid_t pid)
{
	char path[40], *maps = NULL, *locks = NULL, *save, *line;
	int ret;

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	ret = mfd_io_read_file(AT_FDCWD, "/proc/locks", LOCKS_MAX, &locks, NULL) ||
	      mfd_io_read_file(AT_FDCWD, path, MAPS_MAX, &maps, NULL);
	for (line = ret ? NULL : strtok_r(maps, "\n", &save); line && !ret; line = strtok_r(NULL, "\n", &save))
		ret = is_awaited(line, locks);
	free(maps);
	free(locks);
	return ret;
}
