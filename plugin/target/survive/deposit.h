/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A deposit: copies of one userfaultfd and of what belongs to it, held by another process than the
 * one that uses them.  The supervisor has a list of deposits (deposits.h), its standby the same
 * list, and each worker inherits it at its start (takeover.h).
 *
 * A descriptor has a number of its own in each process.  A worker names a userfaultfd by its own
 * number, which is `number` for the worker that had it first; a worker that inherited it has it
 * under the supervisor's number, `uffd`.
 */
#ifndef MFD_DEPOSIT_H
#define MFD_DEPOSIT_H

#include <stdint.h>
#include <sys/types.h>

#define MFD_DEPOSIT_UNKNOWN UINT32_MAX /* a task whose number is not known */

enum mfd_deposit_owner {
	MFD_DEPOSIT_UNCLAIMED, /* found in a dead worker by its heir: the session is not known */
	MFD_DEPOSIT_SESSION,   /* of `session` */
	MFD_DEPOSIT_LOST, /* of no session any more, but closing it may feed a task with zeros */
};

struct mfd_deposit {
	uint64_t id; /* the supervisor's, for the standby */
	enum mfd_deposit_owner owner;
	char session[256]; /* "" unless owner is SESSION */
	/* 0: uffd is the connection of a restore that is not finished, and pidfd is CRIU */
	uint32_t task;
	int uffd;   /* -1: closed */
	int book;   /* of the pager, for that task (pager_book.c); -1: none */
	int pidfd;  /* the task; -1: not known */
	int forked; /* the kernel made it when a task forked: of a child */
	int writer; /* pid of the worker that had it first ... */
	int number; /* ... under this number */
	int there;  /* in the standby: the supervisor's number of `uffd` */
	int spared; /* bool, in a worker: its session could not be looked at yet (takeover.h) */
	struct mfd_deposit *next;
};

/* Nonzero: of this session. */
int mfd_deposit_is_of(const struct mfd_deposit *d, const char *session);
void mfd_deposit_give(struct mfd_deposit *d, const char *session);	      /* owner SESSION */
void mfd_deposit_disown(struct mfd_deposit *d, enum mfd_deposit_owner owner); /* the others */
/* Nonzero: the connection of a restore that is not finished; everything else is a userfaultfd. */
int mfd_deposit_is_connection(const struct mfd_deposit *d);

/*
 * The owner as one word, "" for UNCLAIMED and "/" (no session's name) for LOST.  A standby's
 * messages and the state for a new program have it in this form, so it must not change: the reader
 * may be another version.
 */
const char *mfd_deposit_label(const struct mfd_deposit *d);
void mfd_deposit_set_label(struct mfd_deposit *d, const char *label);

void mfd_deposit_close(struct mfd_deposit *d); /* all of its descriptors */
/* Take the first one off the list, close it and free it; -> the next. */
void mfd_deposit_drop(struct mfd_deposit **p);
/* Where the one with this id is, or the list's end. */
struct mfd_deposit **mfd_deposit_find(struct mfd_deposit **list, uint64_t id);
/*
 * Where the one is that the process `worker` knows under `number`, or the list's end.  In the
 * standby, whose own numbers no worker knows, `there` is looked at in place of `uffd`.
 */
struct mfd_deposit **mfd_deposit_find_number(struct mfd_deposit **list, pid_t worker, int number,
					     int in_standby);

#endif
