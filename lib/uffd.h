/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The userfaultfd calls the pager makes, with the kernel's ways of saying "not now", "already
 * there" and "task gone" told apart.  Nothing here keeps state.
 */
#ifndef MFD_UFFD_H
#define MFD_UFFD_H

#include <stdint.h>
#include <linux/userfaultfd.h>

/*
 * Copy `len` bytes to `dst`.  *done = bytes that were installed (or found present) from the start
 * of the range. 0: all done (pages that were present already are skipped and count as done);
 * -EAGAIN: the task's mappings are changing, read events and try again from *done; -ENOENT: not
 * registered (any more) at dst + *done; -ESRCH: the task is gone; others are errors.
 */
int mfd_uffd_copy(int uffd, uint64_t dst, const void *src, uint64_t len, uint64_t *done);
int mfd_uffd_zero(int uffd, uint64_t dst, uint64_t len, uint64_t *done);
int mfd_uffd_wake(int uffd, uint64_t start, uint64_t len);
int mfd_uffd_wake_all(int uffd); /* every thread that waits for a page, wherever */
int mfd_uffd_unregister(int uffd, uint64_t start, uint64_t len);
/* Nonzero: no task lives in its memory any more, so closing it fills in no zeros. */
int mfd_uffd_ended(int uffd);
/* Up to max messages without blocking: count, 0 when none, -errno. */
int mfd_uffd_read(int uffd, struct uffd_msg *msgs, int max);

#endif
