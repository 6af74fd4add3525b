/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Keep the memory of tasks that are about to be killed for a little longer than the tasks.
 *
 * A process that ends gives back its memory before it closes its descriptors and is gone: 0.08 s
 * per GiB, in which its ports, locks and pipes are still there.  A process that reads the memory of
 * another one has a reference to all of it (mm_users, taken in mm/process_vm_access.c), and a
 * read that has to wait for its own destination keeps that for as long as it waits.  So one thread
 * for each task reads a byte into a page that a userfaultfd of this process holds back: the task
 * ends at once, and that thread gives back what it leaves, later and behind everything else.
 *
 * This is a hint: if the kernel gives this process no userfaultfd, or a task cannot be read,
 * nothing is pinned and the task ends as it always does.  If this process dies, the kernel ends the
 * reads, and the memory of a dead task goes with them; a task that lives notices nothing.
 */
#ifndef MFD_MMPIN_H
#define MFD_MMPIN_H

#include <stdint.h>
#include <sys/types.h>

struct mfd_mmpin;

/* Make room for at most `room` tasks.  NULL: nothing can be pinned; the others accept that. */
struct mfd_mmpin *mfd_mmpin_open(unsigned room);
/*
 * Begin to pin the memory of pid, in which a byte can be read at addr.  Tasks beyond `room` are
 * left alone.
 */
void mfd_mmpin_take(struct mfd_mmpin *h, pid_t pid, uint64_t addr);
/*
 * Wait, at most timeout_ms, until the memory of each task is pinned or has turned out not to be.
 * Return how many are.
 */
unsigned mfd_mmpin_await(struct mfd_mmpin *h, unsigned timeout_ms);
/* Begin to give all of it back, in processor time that no other thread of this group needs. */
void mfd_mmpin_release(struct mfd_mmpin *h);
/* Wait for that.  Nonzero: it has been given back within the time. */
int mfd_mmpin_wait(struct mfd_mmpin *h, unsigned timeout_ms);
/* Give back what is left as any other work, wait for that, free h. */
void mfd_mmpin_close(struct mfd_mmpin *h);

#endif
