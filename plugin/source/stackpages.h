/* SPDX-License-Identifier: GPL-2.0-only */
/* Where the stack pointers of a stopped task's threads are. */
#ifndef MFD_STACKPAGES_H
#define MFD_STACKPAGES_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct mfd_stackpages {
	uint64_t *sp; /* one for each thread */
	size_t n;
};

/* 0 or -errno; -EAGAIN: a thread runs, or the kernel does not tell.  To be freed in any case. */
int mfd_stackpages_find(struct mfd_stackpages *s, pid_t pid);
void mfd_stackpages_free(struct mfd_stackpages *s);
/* Nonzero: one of them is in [start, end). */
int mfd_stackpages_in(const struct mfd_stackpages *s, uint64_t start, uint64_t end);

#endif
