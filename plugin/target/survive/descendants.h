/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * All descendants of a process, as /proc shows them.  A look takes a moment in which processes come
 * and go: what must reach all of them (kill) is repeated until nothing is left.
 */
#ifndef MFD_DESCENDANTS_H
#define MFD_DESCENDANTS_H

#include <stdint.h>
#include <sys/types.h>

struct mfd_descendant {
	pid_t pid; /* here */
	pid_t ppid;
	uint32_t inner; /* its number in the innermost pid namespace it is in, as images name it */
	char state;
};

/* *list is to be freed. 0 or -errno. */
int mfd_descendants_list(pid_t root, struct mfd_descendant **list, size_t *n);
/*
 * SIGKILL to all descendants of root and root itself, until they are gone or timeout_ms have
 * passed: -EBUSY.
 */
int mfd_descendants_kill(pid_t root, unsigned timeout_ms);

#endif
