/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A process tree and its descriptors in /proc.  What is gone while it is looked at is left out;
 * nothing here freezes anything.
 */
#ifndef MFD_WALK_H
#define MFD_WALK_H

#include <stddef.h>
#include <stdint.h>

struct mfd_walk_pids {
	int *v; /* the caller's to free */
	size_t n, room;
};

/* `root` and its descendants, parents first.  0 or -ENOMEM. */
int mfd_walk_tree(int root, struct mfd_walk_pids *p);
int mfd_walk_has(const struct mfd_walk_pids *p, int pid);

/* Numbers among the names in a folder of /proc, until one result is not 0, which is returned. */
int mfd_walk_numbers(const char *path, int (*each)(void *ctx, int number), void *ctx);

int mfd_walk_link(int pid, int fd, char *link, size_t len); /* of /proc/PID/fd/FD; 0 or -1 */
/* A descriptor in this process for the same description, or -errno. */
int mfd_walk_get(int pid, int fd);
/* The pid as images have it: that in the innermost namespace. */
uint32_t mfd_walk_inner_pid(int pid);

#endif
