/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * CRIU's page pipes.  With --lazy-pages it holds all pages of the tasks in pipes for its lazy page server, and closes them after that, before the
 * tasks die or run on: 10 ms per GiB, as the kernel lets go of each page.  A pipe that somebody else has open, too, is closed
 * in no time, and what is in it goes when that process ends.
 */
#ifndef MFD_PAGEPIPES_H
#define MFD_PAGEPIPES_H

#include <sys/types.h>

/*
 * Have every pipe open, of which process `criu` (it waits at its gate; pidfd is its) has both ends and in which there is something, until
 * this process ends.  A hint: as many as this process may have descriptors for.  Returns how many.
 */
unsigned mfd_pagepipes_keep(pid_t criu, int pidfd);

#endif
