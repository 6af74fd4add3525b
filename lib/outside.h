/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Pipes, eventfds, memfds and sockets of a process tree that a process outside of it has open, too,
 * as /proc shows them.
 */
#ifndef MFD_OUTSIDE_H
#define MFD_OUTSIDE_H

#include <stdint.h>

enum mfd_outside_what {
	MFD_OUTSIDE_PIPE,
	MFD_OUTSIDE_EVENTFD,
	MFD_OUTSIDE_MEMFD,
	MFD_OUTSIDE_SOCKET,
};

/* One descriptor of the tree. */
struct mfd_outside {
	enum mfd_outside_what what;
	int pid, fd;
	int holder;	   /* a process outside that has the object open; 0: none */
	uint64_t dev, ino; /* of the object; of an eventfd its id */
	unsigned others;   /* descriptions of the same object that came before */
};

/*
 * Call `each` once for each open file description that is shared so, until it returns nonzero,
 * which is returned.  This process does not count.  Also -ENOMEM.
 */
int mfd_outside_each(int root, int (*each)(void *ctx, const struct mfd_outside *s), void *ctx);

#endif
