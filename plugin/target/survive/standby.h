/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The standby: a process that holds what the supervisor holds, and does nothing else.
 *
 * Worker and supervisor can be killed at the same moment (the host's memory runs out, somebody
 * kills by name).  Then it is the last that has the restored tasks' userfaultfds and books.  It
 * waits, and the tasks with it, until a server starts on the same folder, which takes everything
 * over and goes on as after the death of a worker; or until the tasks have ended.
 *
 * The supervisor sends each change of its list in one message, and never waits for an answer: what
 * lies in a socket that has a reader is held, too.  When the supervisor alone is dead its worker
 * goes on until the tasks lack nothing, and tells the standby what it would have told the
 * supervisor (guard.c); so does the heir of a worker that dies then.  The socket for the next
 * server, DIR/.standby.sock, listens from the start but is answered only once all of them are gone.
 */
#ifndef MFD_TARGET_STANDBY_H
#define MFD_TARGET_STANDBY_H

#include <stdint.h>
#include <sys/types.h>

struct mfd_deposit;

struct mfd_standby {
	int link;    /* -1: there is none */
	int orphans; /* the same for workers, and by inheritance their heirs */
	pid_t pid;
};

/* Fork it. The child closes all descriptors but those it needs. 0 or -errno. */
int mfd_standby_start(struct mfd_standby *s, int dirfd);
/*
 * New, or changed: h->id tells. Without a standby, and when it is gone, nothing happens (it is told
 * to the log once).
 */
void mfd_standby_add(struct mfd_standby *s, const struct mfd_deposit *h);
void mfd_standby_drop(struct mfd_standby *s, uint64_t id);
/* The server ends in good order, or goes on in a new program: nothing is to be held any more. */
void mfd_standby_end(struct mfd_standby *s);

/*
 * What a standby of an earlier server holds: appended to *list; how many, 0 when there is no such
 * process, -errno.  It keeps its copies until *conn, then the caller's, has been answered with
 * mfd_standby_relieve.
 */
int mfd_standby_inherit(int dirfd, struct mfd_deposit **list, int *conn);
void mfd_standby_relieve(int *conn);

#endif
