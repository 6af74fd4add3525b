// SPDX-License-Identifier: GPL-2.0-only
/* The most of each thing that a host limits: the target's limits may be others. */
#include <stdio.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "looks.h"
#include "maps.h"
#include "procfile.h"

static void most(struct mfd_check *c, enum mfd_want_limit what, uint64_t value, pid_t pid)
{
	if (value <= c->wants.limit[what].most)
		return;
	c->wants.limit[what].most = value;
	c->wants.limit[what].pid = pid;
}

static int larger(void *ctx, int number)
{
	uint64_t *seen = ctx;

	if ((uint64_t)number > *seen)
		*seen = (uint64_t)number;
	return 0;
}

static int count(const struct mfd_map *m, void *arg)
{
	(void)m;
	++*(uint64_t *)arg;
	return 0;
}

/* CRIU gives each task its limits again. */
static void look_at_nofile(struct mfd_check *c, pid_t pid)
{
	struct rlimit r;

	if (!syscall(SYS_prlimit64, pid, RLIMIT_NOFILE, NULL, &r))
		most(c, MFD_WANT_NOFILE, r.rlim_max, pid);
}

int mfd_look_limits(struct mfd_check *c)
{
	uint64_t threads = 0;

	for (size_t i = 0; i < c->tree.n; i++) {
		uint64_t fd = 0, maps = 0, n = 0;
		pid_t pid = c->tree.v[i];
		char path[40];

		snprintf(path, sizeof(path), "/proc/%d/fd", pid);
		mfd_walk_numbers(path, larger, &fd);
		most(c, MFD_WANT_DESCRIPTOR, fd, pid);
		mfd_maps_each(pid, MFD_MAPS, count, &maps);
		most(c, MFD_WANT_MAPS, maps, pid);
		most(c, MFD_WANT_PID, mfd_procfile_inner_pid(pid), pid);
		look_at_nofile(c, pid);
		threads += mfd_procfile_number(pid, "Threads", 10, &n) ? 0 : n;
	}
	/* Threads, too, where they have the numbers that are seen here. */
	for (size_t i = 0; i < c->wants.n_pids; i++)
		most(c, MFD_WANT_PID, c->wants.pid[i], (pid_t)c->wants.pid[i]);
	most(c, MFD_WANT_THREADS, threads, c->root);
	return 0;
}
