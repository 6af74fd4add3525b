// SPDX-License-Identifier: GPL-2.0-only
/* What is mapped against the locks in /proc/PID/fdinfo. */
#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io.h"
#include "mapped.h"
#include "maps.h"

#define LOCKS_MAX (1U << 20) /* of one descriptor */
#define FDS_MAX	  1024U	     /* more are not looked at: 5 ms */

static int begins(const char *text, const char *with)
{
	return !strncmp(text, with, strlen(with));
}

static int is_object(const char *path)
{
	return begins(path, "socket:") || begins(path, "anon_inode:") ||
	       (begins(path, "/dev/") && !begins(path, "/dev/shm/") && !begins(path, "/dev/zero"));
}

/*
 * "lock: 1: FLOCK  ADVISORY  WRITE 1234 08:02:5678 0 EOF".  Where files lie on an overlay, device
 * numbers differ: the inode's must do.
 */
static int is_locked(const char *locks, uint64_t inode)
{
	char key[32];

	snprintf(key, sizeof(key), ":%" PRIu64 " ", inode);
	return strstr(locks, key) != NULL;
}

static int is_awaited(const struct mfd_map *m, void *locks)
{
	return m->inode && (is_object(m->name) || is_locked(locks, m->inode));
}

/*
 * Add the locks of the open file behind one descriptor, without POSIX locks: those are the
 * process's and end with it.
 */
static void add_locks(int dir, const char *fd, FILE *locks)
{
	char *text, *line, *save;

	if (mfd_io_read_file(dir, fd, LOCKS_MAX, &text, NULL))
		return; /* it is frozen: this is a descriptor that cannot be looked at */
	for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		if (begins(line, "lock:") && !strstr(line, " POSIX "))
			fprintf(locks, "%s\n", line);
	free(text);
}

/*
 * Not from /proc/locks: its reader waits until every processor has seen that it reads
 * (percpu_down_write in fs/locks.c), 15 ms.
 */
static int read_locks(pid_t pid, char **locks)
{
	unsigned n = 0;
	char path[40];
	struct dirent *e;
	size_t len;
	FILE *f;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/fdinfo", pid);
	d = opendir(path);
	f = d ? open_memstream(locks, &len) : NULL;
	while (f && n < FDS_MAX && (e = readdir(d)))
		if (e->d_name[0] != '.') {
			n++;
			add_locks(dirfd(d), e->d_name, f);
		}
	if (d)
		closedir(d);
	return f && !fclose(f) && n < FDS_MAX ? 0 : -1;
}

int mfd_mapped_is_awaited(pid_t pid)
{
	char *locks = NULL;
	int ret = read_locks(pid, &locks) || mfd_maps_each(pid, MFD_MAPS, is_awaited, locks);

	free(locks);
	return ret;
}
