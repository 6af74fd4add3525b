/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The supervisor's deposits, and its standby, which is told of each change.
 *
 * A deposit of a task that lives and lacks pages is never closed, whatever happens: closing the
 * last copy of its userfaultfd makes the kernel fill its missing pages with zeros.  What cannot be
 * closed has no owner any more (LOST), and its task waits.
 */
#ifndef MFD_DEPOSITS_H
#define MFD_DEPOSITS_H

#include "deposit.h"
#include "guard.h"
#include "standby.h"

struct mfd_deposits {
	struct mfd_deposit *all;
	uint64_t last_id;
	pid_t worker; /* the present one, or the one that died last: messages have its numbers */
	struct mfd_standby standby;
};

/* Messages of the worker (guard.h); descriptors that are taken over become -1. 0 or -errno. */
int mfd_deposits_add(struct mfd_deposits *l, const struct mfd_guard_msg *m, int *fds, int nfds);
int mfd_deposits_found(struct mfd_deposits *l, const struct mfd_guard_msg *m, int *fds, int nfds);
int mfd_deposits_withdraw(struct mfd_deposits *l, const char *session, int number);
void mfd_deposits_withdraw_all(struct mfd_deposits *l, const char *session);
/* The worker is ready: it has looked at what was UNCLAIMED, and has what it needs of it. */
void mfd_deposits_end_unclaimed(struct mfd_deposits *l);
/*
 * Kill the tasks of the session and close its deposits.  -EBUSY: a task does not die, and keeps its
 * deposit: a leak is better than pages of zeros.
 */
int mfd_deposits_kill(struct mfd_deposits *l, const char *session);
/* No worker will serve any task again. */
void mfd_deposits_kill_all(struct mfd_deposits *l);

/* Close what is LOST and whose tasks have ended. */
void mfd_deposits_drop_ended(struct mfd_deposits *l);
/* A new one at the head of the list, numbered; the caller fills it in.  NULL: no memory. */
struct mfd_deposit *mfd_deposits_new(struct mfd_deposits *l);
/* In a child that has nothing to do with them. */
void mfd_deposits_close(struct mfd_deposits *l);

/* Start the standby, and deposit everything with it, too. */
void mfd_deposits_start_standby(struct mfd_deposits *l, int dirfd);
/* The server ends. */
void mfd_deposits_end_standby(struct mfd_deposits *l);
/*
 * At the start: take over what the standby of an earlier server holds, then start ours.  Returns
 * how many it had.
 */
int mfd_deposits_inherit(struct mfd_deposits *l, int dirfd);

#endif
