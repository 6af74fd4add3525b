/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the tasks leave when they are let go: their memory (mmhold.h) and the pages in CRIU's pipes
 * (pagepipes.h).  Both would keep them, and whoever waits for their end; both are given back after
 * it.
 */
#ifndef MFD_RELEASE_H
#define MFD_RELEASE_H

#include <stdint.h>
#include <sys/types.h>

#include "mmhold.h"
#include "pagepipes.h"
#include "tasks.h"

/* All zero at the start. The main thread's. */
struct mfd_release {
	struct mfd_mmhold *hold; /* NULL = none */
	unsigned held;		 /* of so many tasks */
	struct mfd_pagepipes pipes;
};

/*
 * `criu` (pidfd is its) stands at its gate with `bytes` of all tasks: while the target looks at
 * what it has, there is time. Once.
 */
void mfd_release_prepare(struct mfd_release *r, uint64_t bytes, pid_t criu, int pidfd);
/*
 * Just before the verdict.  The tasks shall be gone, with their ports and locks, when the target
 * hears of it: a large memory would keep them for 0.1 s per GiB, and the processors, where the
 * target is on the same ones.  Nonzero: there is nothing that would take them longer.
 */
int mfd_release_hold(struct mfd_release *r, const struct mfd_tasks *t);
/*
 * Nobody knows for how long what comes next will take: what the tasks have left must not lie here
 * for that.
 */
void mfd_release_early(struct mfd_release *r);
/*
 * The last thing this process does.  Nobody waits for it, and where the target is on this host,
 * too, it has the processors now.
 */
void mfd_release_end(struct mfd_release *r);

#endif
