/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How much memory tasks have, before it is read: for a target with a limit, and for the progress
 * that a person sees.  An estimate: what the scan finds, and the size of CRIU's images, decide.
 */
#ifndef MFD_ESTIMATE_H
#define MFD_ESTIMATE_H

#include <stdint.h>
#include <sys/types.h>

/*
 * Bytes that a task brings along by itself: anonymous memory, resident or in swap, and huge pages;
 * private copies of file pages are among these. *shared (may be NULL): resident shared memory,
 * which CRIU dumps once for all tasks that have it.
 */
uint64_t mfd_estimate_task(pid_t pid, uint64_t *shared);
/*
 * The same of a tree that still runs: the tasks' own and the largest share of shared memory that
 * one of them has (to find out which tasks share which pages would cost a walk through all of it).
 * *shared is that share.  0: there is no such process.
 */
uint64_t mfd_estimate_tree(pid_t root, uint64_t *shared);
/* The root of the tree that this criu dumps, from its command line; 0: it does not say (RPC). */
pid_t mfd_estimate_root(pid_t criu);

#endif
