// SPDX-License-Identifier: GPL-2.0-only
/* What several looks need: a process's name, every descriptor of the tree. */
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io.h"
#include "looks.h"

const char *mfd_look_name(pid_t pid, char text[MFD_LOOK_NAME])
{
	char path[40], *comm;

	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	if (mfd_io_read_file(-1, path, 256, &comm, NULL)) {
		snprintf(text, MFD_LOOK_NAME, "%d", pid);
		return text;
	}
	comm[strcspn(comm, "\n")] = 0;
	snprintf(text, MFD_LOOK_NAME, "%d (%.24s)", pid, comm);
	free(comm);
	return text;
}

struct each {
	struct mfd_look_fd at;
	mfd_look_fd_fn *fn;
};

static int one_fd(void *ctx, int fd)
{
	struct each *e = ctx;
	char link[PATH_MAX];

	if (mfd_walk_link(e->at.pid, fd, link, sizeof(link)))
		return 0;
	e->at.fd = fd;
	e->at.link = link;
	return e->fn(&e->at);
}

int mfd_look_each_fd(struct mfd_check *c, mfd_look_fd_fn *each, void *arg)
{
	struct each e = { .at = { .c = c, .arg = arg }, .fn = each };
	char path[40];
	int ret = 0;

	for (size_t i = 0; i < c->tree.n && !ret; i++) {
		e.at.pid = c->tree.v[i];
		snprintf(path, sizeof(path), "/proc/%d/fd", e.at.pid);
		ret = mfd_walk_numbers(path, one_fd, &e);
	}
	return ret;
}
