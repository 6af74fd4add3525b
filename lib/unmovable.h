/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What neither CRIU nor the keeper can carry over, as /proc shows it: io_uring, vsock sockets,
 * memfd_secret, unix sockets of another network namespace.
 */
#ifndef MFD_UNMOVABLE_H
#define MFD_UNMOVABLE_H

#include <stdint.h>

struct mfd_unmovable {
	int pid;
	int fd;		  /* -1: a mapping, of which the descriptor may be closed */
	uint64_t address; /* of the mapping */
	const char *why;  /* what it is, and why it cannot move */
};

/* Return nonzero to stop: mfd_unmovable_each returns it. */
typedef int mfd_unmovable_fn(void *arg, const struct mfd_unmovable *u);

/* Each descriptor, then each mapping of the process. What cannot be looked at is left out. */
int mfd_unmovable_each(int pid, mfd_unmovable_fn *fn, void *arg);

#endif
