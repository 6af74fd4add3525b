/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a task has mapped and another process may wait for.  A mapping is a reference to its file as
 * an open descriptor is.  A lock of the open file (flock, F_OFD_SETLK, a lease), a socket, and a
 * device that only one process may open, end only with it.
 */
#ifndef MFD_MAPPED_H
#define MFD_MAPPED_H

#include <sys/types.h>

/* Nonzero: the task has such a mapping, or it cannot be told. */
int mfd_mapped_is_awaited(pid_t pid);

#endif
