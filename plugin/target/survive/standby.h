/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The standby: a process that holds what the supervisor holds, and does nothing else.
 *
 * Worker and supervisor can be killed at the same moment (the host's memory runs out, a person
 * kills by name).  Then the standby is the last that has the restored tasks' userfaultfds and
 * books.  It waits, and the tasks with it, until a server starts on the same folder, which takes
 * everything over and goes on as after the death of a worker; or until the tasks have ended.
 *
 *	FOLLOWING	the supervisor lives: it sends each change of its list in one message and
 *			never waits for an answer; what lies in a socket that has a reader is
 *			held, too
 *	ORPHANS		the supervisor is dead: its worker goes on until the tasks lack nothing, and
 *			sends the standby what it would have sent to the supervisor (guard.c);
 *			so does the heir of a worker that dies then
 *	WAITING		they are dead, too: DIR/.standby.sock, which listens from the start, is
 *			answered now
 *
 *	FOLLOWING -> ORPHANS	end of file from the supervisor
 *	ORPHANS -> WAITING	end of file from all workers and heirs
 *	FOLLOWING -> end	the supervisor says so: it ends in good order, or goes on in a new
 *				program
 *	WAITING -> end		a server has it all and says so, or no task is left
 *
 * Should an assertion fail here, a standby that is FOLLOWING ends, and the supervisor starts
 * another.  Later it may have the last copies: it stops working, but ends only with the tasks.
 *
 *	standby.c	the process
 *	standby_msg.c	its messages
 *	standby_link.c	the supervisor's side, and a new server's
 */
#ifndef MFD_STANDBY_H
#define MFD_STANDBY_H

#include <stdint.h>
#include <sys/types.h>

#include "deposit.h"

struct mfd_standby {
	int link;    /* -1: there is none */
	int orphans; /* the same for workers, and by inheritance their heirs */
	/*
	 * The standby's end of `orphans`.  Workers and heirs have the other one for life, so a
	 * standby that follows a dead one must have the same; they use it only when the supervisor,
	 * and with it this copy, is gone.
	 */
	int orphans_end;
	pid_t pid; /* 0: there is none */
};

/* The process that the supervisor forks.  It closes all descriptors but those it needs. */
struct mfd_standby_ends {
	int link, orphans; /* the other ends of those above */
	int listener;	   /* DIR/.standby.sock */
};
void mfd_standby_run(const struct mfd_standby_ends *ends) __attribute__((noreturn));

/* ---- the supervisor's side ---- */

/* Fork it. 0 or -errno. */
int mfd_standby_start(struct mfd_standby *s, int dirfd);
/*
 * A deposit that is new, or has changed: d->id tells.  Nothing happens if there is no standby; when
 * it has died that is logged once.
 */
void mfd_standby_add(struct mfd_standby *s, const struct mfd_deposit *d);
void mfd_standby_drop(struct mfd_standby *s, uint64_t id);
/* Nonzero: it has died since (SIGCHLD). */
int mfd_standby_died(struct mfd_standby *s);
/* The server ends in good order, or goes on in a new program: let go of everything, and end. */
void mfd_standby_end(struct mfd_standby *s);

/* ---- a new server's side ---- */

/*
 * What a standby of an earlier server holds: appended to *list; how many, 0 when there is no such
 * process, -errno.  It keeps its copies until *conn, then the caller's, has been answered with
 * mfd_standby_relieve.
 */
int mfd_standby_inherit(int dirfd, struct mfd_deposit **list, int *conn);
void mfd_standby_relieve(int *conn);

#endif
