/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * CRIU's side of lazy-pages.socket: `criu restore --lazy-pages` connects once and says for every
 * task its pid (int) and userfaultfd (one byte with SCM_RIGHTS), -pid alone for a zombie, and at
 * last that the restore is finished.  It is never answered.
 *
 * One object is used by one thread at a time; nothing here blocks.
 */
#ifndef MFD_LAZYSOCK_H
#define MFD_LAZYSOCK_H

#include <stdint.h>
#include <sys/types.h>

#include "error.h"

#define MFD_LAZYSOCK_NAME "lazy-pages.socket"
/* CRIU's LAZY_PAGES_RESTORE_FINISHED, larger than any pid */
#define MFD_LAZYSOCK_FINISHED 0x52535446

struct mfd_lazysock {
	int dirfd;			    /* the caller's; the socket is made there */
	int listen, conn;		    /* -1 = closed */
	pid_t peer;			    /* process that connected */
	struct mfd_lazysock_tracer *tracer; /* stopped by ptrace; NULL: by SIGSTOP, or not at all */
	int peer_pidfd;			    /* -1: none */
	uint8_t word[4];		    /* of a pid that has not come whole */
	unsigned have;			    /* bytes of it */
	uint32_t task;			    /* whose userfaultfd comes next; 0 = a pid does */
};

enum mfd_lazysock_kind { MFD_LAZYSOCK_TASK, MFD_LAZYSOCK_ZOMBIE, MFD_LAZYSOCK_DONE };

struct mfd_lazysock_msg {
	enum mfd_lazysock_kind kind;
	uint32_t task;
	int uffd; /* TASK: the receiver's, close-on-exec and non-blocking */
	/* TASK: the process that sent it, which is the restored task itself; 0 = not known */
	pid_t pid;
};

/* Make the listener, mode 0600; one that was left behind is replaced. */
int mfd_lazysock_open(struct mfd_lazysock *s, int dirfd, struct mfd_error *err);
/*
 * Accept a connection: 0 and s->conn; -EAGAIN: there is none; -EPERM: the process is not root's,
 * and its connection is closed again.
 */
int mfd_lazysock_accept(struct mfd_lazysock *s);
/* Read a message: 1 and *msg; 0: no more for now; -ECONNRESET: closed; -EPROTO: not CRIU. */
int mfd_lazysock_read(struct mfd_lazysock *s, struct mfd_lazysock_msg *msg);
/*
 * Read the next userfaultfd from a connection that a dead process had read from, maybe up to the
 * middle of a message: 1 and *msg, whose task is 0 when that was lost; 0: nothing is left.  *task
 * is for the next call, 0 in the first.
 */
int mfd_lazysock_salvage(int conn, uint32_t *task, struct mfd_lazysock_msg *msg);
/*
 * Return a pidfd of the process that connected, or -errno.  Before Linux 6.5 it is found by its
 * number, so call this while the process is known to be alive.
 */
int mfd_lazysock_peer(int conn);
/* Stop the process that connected; let it go on, even after its connection was closed. */
void mfd_lazysock_stop(struct mfd_lazysock *s);
void mfd_lazysock_continue(struct mfd_lazysock *s);
void mfd_lazysock_hangup(struct mfd_lazysock *s); /* close the connection */
/* close the listener and remove the socket; the connection stays */
void mfd_lazysock_unlisten(struct mfd_lazysock *s);
void mfd_lazysock_close(struct mfd_lazysock *s); /* all of it */

#endif
