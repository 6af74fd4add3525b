/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A deposit: the copies that are held for one userfaultfd, and what must be known to use them.  The
 * supervisor has a list of them, its standby the same list, and a worker inherits it at its start.
 */
#ifndef MFD_DEPOSIT_H
#define MFD_DEPOSIT_H

#include <stdint.h>

#define MFD_DEPOSIT_UNKNOWN UINT32_MAX /* a task whose number is not known */

struct mfd_deposit {
	uint64_t id; /* the supervisor's, for the standby */
	/* 0: uffd is the connection of a restore that is not finished, and pidfd is CRIU */
	uint32_t task;
	int uffd;   /* -1: none */
	int book;   /* the pager's book of that task; -1: none */
	int pidfd;  /* the task; -1: not known */
	int forked; /* the kernel made it, for a child */
	int writer,
		number; /* the worker that had it first, and its number there; later ones have the supervisor's number */
	int there;	   /* in the standby: the supervisor's number */
	char session[256]; /* "": found by the heir; "/": of nobody any more, but must not be closed */
	struct mfd_deposit *next;
};

#endif
