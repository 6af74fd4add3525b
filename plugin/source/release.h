/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the tasks leave behind when they die: their memory (mmpin.h) and the pages in CRIU's pipes
 * (pagepipes.h).  To give it back takes time, in which the tasks would not be gone; so it is kept
 * across their death and given back after it.
 */
#ifndef MFD_RELEASE_H
#define MFD_RELEASE_H

#include <stdint.h>
#include <sys/types.h>

#include "mmpin.h"
#include "pagepipes.h"
#include "tasks.h"

/* All zero at the start.  By the main thread. */
struct mfd_release {
	struct mfd_mmpin *pin; /* NULL = none */
	unsigned pinned;       /* so many tasks' memory is in it */
	struct mfd_pagepipes pipes;
};

/*
 * Keep CRIU's pipes.  `criu` (pidfd is its) stands at its gate with `bytes` of all tasks.  For the
 * time after END, in which the target verifies; the first call counts.
 */
void mfd_release_keep_pipes(struct mfd_release *r, uint64_t bytes, pid_t criu, int pidfd);
/*
 * Keep the memory of large tasks, just before the verdict.  The tasks must be gone, with their
 * ports and locks, when the target hears of it; a large memory would delay that by 0.1 s per GiB,
 * and take the processors from a target on the same host.  Nonzero: the memory of each large task
 * is kept.
 */
int mfd_release_keep_memory(struct mfd_release *r, const struct mfd_tasks *t);
/*
 * Give everything back, since what comes next may take long: the target is out of reach.
 */
void mfd_release_give_back(struct mfd_release *r);
/*
 * Give everything back as the last thing that this process does, at the lowest priority: no process
 * waits for it, and a target on the same host needs the processors now.
 */
void mfd_release_end(struct mfd_release *r);

#endif
