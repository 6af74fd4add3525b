/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a worker asks of its supervisor.
 *
 * The worker deposits a copy of each userfaultfd with the supervisor before it uses it, and
 * withdraws the copy when nothing depends on it any more.  What is deposited is what the next
 * worker inherits (takeover.h) should this one die.
 *
 * One request at a time on a SOCK_SEQPACKET socket, each answered with ACK.  When the supervisor is
 * dead, requests go to its standby (standby.h), which does not answer a worker.  A worker's heir
 * (heir.h) sends FOUND on the same sockets after the worker's death.
 */
#ifndef MFD_GUARD_H
#define MFD_GUARD_H

#include <pthread.h>
#include <stdint.h>

#include "warden_link.h"

enum mfd_guard_kind {
	MFD_GUARD_READY = 1, /* the sessions are reloaded: what no session claimed is not needed */
	MFD_GUARD_DEPOSIT,   /* hold copies of the descriptors that come along */
	MFD_GUARD_WITHDRAW,  /* close those that are held for one userfaultfd */
	MFD_GUARD_FOUND,     /* from the heir: one userfaultfd of the dead worker */
	MFD_GUARD_WITHDRAW_ALL, /* close those of a session */
	MFD_GUARD_KILL,		/* kill the tasks of a session, then close its copies */
	MFD_GUARD_EXEC,		/* go on in a new program once the worker has ended */
	MFD_GUARD_ACK,
};
enum { MFD_GUARD_BOOK = 1, MFD_GUARD_PIDFD = 2, MFD_GUARD_FORKED = 4 };
#define MFD_GUARD_MAX_FDS 3
struct mfd_guard_msg {
	uint32_t kind;
	int32_t code; /* ACK: result */
	uint32_t task;
	uint32_t flags; /* DEPOSIT: what comes behind the userfaultfd */
	int32_t number; /* DEPOSIT, WITHDRAW, FOUND: of the descriptor in the worker */
	int32_t writer; /* to the standby: the worker, whose numbers these are */
	char session[256];
};

struct mfd_guard {
	int fd;		      /* to the supervisor; end of file when that is dead */
	int standby_fd;	      /* to the standby, for then; -1 */
	pthread_mutex_t lock; /* one request at a time */
};

void mfd_guard_init(struct mfd_guard *g, int fd, int standby_fd);

/* All of these: 0 or -errno. */
int mfd_guard_ready(struct mfd_guard *g);
/*
 * Deposit copies of these (-1: none).  task 0: uffd is the connection of a restore, pidfd is CRIU's
 * process.
 *
 * The warden, if there is one (else `w` is linked to none), holds a copy of each userfaultfd that
 * is deposited: it gets it before the supervisor does, and closes it before that.  So whichever
 * process dies in between, a later worker knows of all that the warden holds.
 */
int mfd_guard_deposit(struct mfd_guard *g, struct mfd_warden_link *w, const char *session,
		      uint32_t task, int uffd, int book, int pidfd, int forked);
/* `uffd` is our number of it, and still open. */
int mfd_guard_withdraw(struct mfd_guard *g, struct mfd_warden_link *w, const char *session,
		       int uffd);
/* Of the connection of a restore, which no warden holds. */
int mfd_guard_withdraw_conn(struct mfd_guard *g, const char *session, int conn);
/* Every page is installed: withdraw all that the session has deposited. */
int mfd_guard_withdraw_all(struct mfd_guard *g, struct mfd_warden_link *w, const char *session);
/* Kill the tasks, wait, withdraw all.  A restore that is not finished is ended (unfinished.h). */
int mfd_guard_kill(struct mfd_guard *g, const char *session);
/* Go on in a new program as soon as the worker has ended; -EALREADY, ... */
int mfd_guard_exec(struct mfd_guard *g);

#endif
