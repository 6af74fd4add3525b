/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Connections of the worker.  Each has a thread of its own.  Until a session has taken it,
 * or was opened by it, it is pending: it has a deadline, and only so many
 * of them are kept at a time.
 */
#ifndef MFD_PEER_H
#define MFD_PEER_H

#include <pthread.h>
#include <stdint.h>

#include "control.h"

#define MFD_PEER_MAX_PENDING	  64
#define MFD_PEER_GREETING_TIMEOUT 5000 /* ms that a pending connection has */
#define MFD_PEER_GREETING_GRACE	  250  /* ms that it has even when there are too many */

struct mfd_server;

struct mfd_peers {
	pthread_mutex_t lock;
	struct mfd_peer *all; /* lock; the newest is first */
	unsigned pending;     /* lock */
};

/*
 * One connection.  Belongs to its thread; other threads may only shut it down, under peers.lock or
 * the session's lock.
 */
struct mfd_peer {
	struct mfd_server *server;
	struct mfd_control control; /* control.conn is the connection whatever its role */
	char text[80];		    /* address, for the log */
	/* peers.lock */
	uint64_t deadline; /* ms; 0: not pending */
	struct mfd_peer *next;
};

void mfd_peers_init(struct mfd_peers *l);
/* Main thread: a pending connection, which takes `conn` over; NULL: no memory, conn is closed. */
struct mfd_peer *mfd_peer_open(struct mfd_server *sv, struct mfd_conn *conn);
void mfd_peer_close(struct mfd_peer *p); /* its thread: off the list, closed, freed */
/* Its thread: no longer pending. */
void mfd_peer_admit(struct mfd_peer *p);

/* The main thread's looks at all of them. */
void mfd_peers_expire(struct mfd_peers *l);    /* shut down those whose deadline is over */
int mfd_peers_have_room(struct mfd_peers *l);  /* nonzero: one more may come */
void mfd_peers_make_room(struct mfd_peers *l); /* shut down the oldest one, if it is needed */
void mfd_peers_shutdown(struct mfd_peers *l);  /* all */

#endif
