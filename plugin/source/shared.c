// SPDX-License-Identifier: GPL-2.0-only
/* The tasks of the dump as both processes of the sender know them: pid, pid inside, and whether still alive. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io.h"
#include "shared.h"

/* State letter and start time; the name in field 2 may hold spaces and parentheses, so count from its last ')'. */
static int read_stat(pid_t pid, char *state, uint64_t *starttime)
{
	char path[40], *text, *p;
	size_t len;
	int ret;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	ret = mfd_io_read_file(AT_FDCWD, path, 4096, &text, &len);
	if (ret)
		return ret;
	p = strrchr(text, ')');
	ret = -EIO;
	if (p && sscanf(p + 1, " %c", state) == 1) {
		for (int field = 2; p && field < 22; field++)
			p = strchr(p + 1, ' ');
		if (p && sscanf(p, "%lu", starttime) == 1)
			ret = 0;
	}
	free(text);
	return ret;
}

static int read_vpid(pid_t pid, uint32_t *vpid)
{
	char path[40], *text, *p, *save = NULL;
	size_t len;
	int ret;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	ret = mfd_io_read_file(AT_FDCWD, path, 1 << 16, &text, &len);
	if (ret)
		return ret;
	ret = -EIO;
	p = strstr(text, "\nNSpid:");
	for (p = p ? strtok_r(p + 7, " \t\n", &save) : NULL; p && *p >= '0' && *p <= '9';
	     p = strtok_r(NULL, " \t", &save)) {
		*vpid = (uint32_t)strtoul(p, NULL, 10);
		ret = 0;
		if (strchr(p, '\n'))
			break;
	}
	free(text);
	return ret;
}

int mfd_shared_task_fill(struct mfd_shared_task *t, pid_t pid)
{
	char state;
	int ret;

	t->pid = pid;
	ret = read_stat(pid, &state, &t->starttime);
	return ret ? ret : read_vpid(pid, &t->vpid);
}

int mfd_shared_task_alive(const struct mfd_shared_task *t)
{
	uint64_t start;
	char state;

	return !read_stat(t->pid, &state, &start) && start == t->starttime && state != 'Z' && state != 'X';
}

unsigned mfd_shared_tasks_alive(const struct mfd_shared *s)
{
	unsigned n = atomic_load(&s->ntasks), alive = 0;

	for (unsigned i = 0; i < n; i++)
		alive += !!mfd_shared_task_alive(&s->task[i]);
	return alive;
}
