// SPDX-License-Identifier: GPL-2.0-only
/* A frozen control group of our own; see frozen.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "frozen.h"
#include "io.h"

#define ROUNDS 100 /* of moving all: a task may fork meanwhile, if nothing freezes it */

/* A name of its own, so that a test can play a host without such groups. */
int mfd_frozen_open(void)
{
	return mfd_cgroup_open();
}

int mfd_frozen_group_of(int root, pid_t pid, char group[MFD_FROZEN_PATH])
{
	int ret = mfd_cgroup_of(pid, pid, group);

	while (!ret && mfd_cgroup_is_threaded(root, group) && mfd_cgroup_up(group))
		;
	return ret;
}

int mfd_frozen_make(int root, const char *parent, const char *name, char group[MFD_FROZEN_PATH])
{
	int n = snprintf(group, MFD_FROZEN_PATH, "%s/%s", strcmp(parent, "/") ? parent : "", name);

	if (n >= MFD_FROZEN_PATH)
		return -ENAMETOOLONG;
	return mkdirat(root, group + 1, 0755) && errno != EEXIST ? -errno : 0;
}

int mfd_frozen_is_unfit(int ret)
{
	return ret == -EOPNOTSUPP || ret == -EAGAIN || ret == -EBUSY;
}

/* One look at what is in it: the number of those moved, or -errno. */
static int move_those(int root, const char *from, const char *to)
{
	char path[MFD_FROZEN_PATH + 16];
	int fd, n = 0, ret = 0;
	FILE *f;
	pid_t pid;

	snprintf(path, sizeof(path), ".%s/cgroup.procs", from);
	fd = openat(root, path, O_RDONLY | O_CLOEXEC);
	f = fd < 0 ? NULL : fdopen(fd, "r");
	if (!f)
		return -errno;
	for (; !ret && fscanf(f, "%d", &pid) == 1; n++)
		ret = mfd_cgroup_move(root, to, pid);
	fclose(f);
	return ret ? ret : n;
}

int mfd_frozen_move_all(int root, const char *from, const char *to)
{
	int n = 1;

	for (unsigned i = 0; i < ROUNDS && n > 0; i++)
		n = move_those(root, from, to);
	return n == -ENOENT || n == -ENODEV ? 0 : n > 0 ? -EBUSY : n;
}

int mfd_frozen_set(int root, const char *group, int frozen)
{
	return mfd_cgroup_write(root, group, "cgroup.freeze", frozen ? "1" : "0");
}

int mfd_frozen_remove(int root, const char *group, unsigned wait_ms)
{
	uint64_t end = mfd_io_now_ms() + wait_ms;
	int ret = 0;

	while (unlinkat(root, group + 1, AT_REMOVEDIR)) {
		ret = errno == ENOENT ? 0 : -errno;
		if (ret != -EBUSY || mfd_io_now_ms() >= end)
			return ret;
		usleep(2000);
	}
	return 0;
}
