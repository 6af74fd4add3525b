/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Read pages of a task, frozen or not, into a buffer: process_vm_readv, and /proc/PID/mem for what
 * that refuses (PROT_NONE) or would copy for good (pages that are shared by copy-on-write).
 * Thread-safe: one object serves all channel threads.
 */
#ifndef MFD_PAGEREAD_H
#define MFD_PAGEREAD_H

#include <stdint.h>
#include <sys/types.h>

#include "error.h"
#include "pagescan.h"

struct mfd_pageread {
	pid_t pid;
	int mem_fd;	/* /proc/PID/mem, opened once */
	int pagemap_fd; /* -1: it cannot be opened */
	/*
	 * Of a process that runs: a page that is gone since it was found reads as zeros, and so
	 * does each one of a process that has ended.
	 */
	int running;
	_Atomic int *unread; /* set then: a page that is there cannot be read, and reads as zeros */
};

int mfd_pageread_open(struct mfd_pageread *r, pid_t pid, struct mfd_error *err);
void mfd_pageread_close(struct mfd_pageread *r);
/*
 * Read the pages of runs[0..n-1] one after the other into buf.  0 or -errno (-EFAULT: a page is
 * gone, -ESRCH: the task is).
 */
int mfd_pageread_runs(const struct mfd_pageread *r, const struct mfd_run *runs, unsigned n,
		      void *buf);
/* Nonzero if all 4096 bytes are zero. */
int mfd_pageread_is_zero(const void *page);

#endif
