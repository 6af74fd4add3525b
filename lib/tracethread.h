/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Which thread of a process is stopped best by ptrace: not one that waits for a device, for it does
 * not stop, and rather not one in a call that a stop ends with EINTR.
 */
#ifndef MFD_TRACETHREAD_H
#define MFD_TRACETHREAD_H

#include <sys/types.h>

/* 0: none is alive.  *threads: how many the process has. */
pid_t mfd_tracethread_choose(pid_t pid, unsigned *threads);
/*
 * Nonzero: a call that has returned EINTR because of a stop can be made again.  Not so where it may
 * have had its effect: close(), or connect(), which goes on by itself.
 */
int mfd_tracethread_repeatable(long call);

#endif
