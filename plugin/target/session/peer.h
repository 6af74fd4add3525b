/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Connections of the worker, and how many of them there may be of which peer.
 *
 *	waiting		accepted, has not sent its greeting: no thread, one descriptor
 *	pending		has sent it: a thread, until a session has taken it or was opened by it
 *	admitted	a session's
 *
 * The first two have a deadline, which is for what the peer does and not for what the server
 * does, and a limit, so that connections that say nothing keep out none that does.  Where one has
 * to go it is one of the address that has most of them, and the oldest of those: a peer that makes
 * many takes the place of its own.  Once a peer has proved an identity, that takes the place of
 * the address.
 */
#ifndef MFD_PEER_H
#define MFD_PEER_H

#include <poll.h>
#include <pthread.h>
#include <stdint.h>

#include "control.h"

#define MFD_PEER_MAX_WAITING	  512
#define MFD_PEER_MAX_PENDING	  64
#define MFD_PEER_GREETING_TIMEOUT 5000 /* ms until a session must have it */
#define MFD_PEER_GREETING_GRACE	  250  /* ms that a pending one has even when there are too many */
/* No message of a source is longer: 64 KiB, for thousands of options and addresses. */
#define MFD_PEER_MAX_BODY 65536U

struct mfd_server;

struct mfd_peers {
	pthread_mutex_t lock;
	struct mfd_peer *all;	   /* lock; the newest is first */
	unsigned waiting, pending; /* lock */
	unsigned max_waiting;	   /* constant */
	unsigned turned_away;	   /* main thread: since the log said so */
	uint64_t told_ms;	   /* main thread: when that was */
};

enum mfd_peer_state { MFD_PEER_WAITING, MFD_PEER_PENDING, MFD_PEER_ADMITTED };

/*
 * One connection.  Belongs to its thread, or to the main thread while it has none; other threads
 * may only shut it down, under peers.lock or the session's lock.
 */
struct mfd_peer {
	struct mfd_server *server;
	struct mfd_control control; /* control.conn is the connection whatever its role */
	char where[80];		    /* ADDR:PORT */
	/* the same, and its identity once that is proved: for the log */
	char text[80 + MFD_CONN_IDENTITY];
	/* peers.lock */
	unsigned share; /* a number for the address without the port, later for the identity */
	enum mfd_peer_state state;
	int expired;	   /* its deadline was over */
	int served;	   /* pending: the server is at work on what it asked, no deadline runs */
	uint64_t deadline; /* ms; while not admitted */
	struct mfd_peer *next;
};

void mfd_peers_init(struct mfd_peers *l, unsigned max_waiting);
/* Main thread: a waiting connection, which takes `conn` over; NULL: no memory, conn is closed. */
struct mfd_peer *mfd_peer_open(struct mfd_server *sv, struct mfd_conn *conn);
/* Its thread, or the main thread if it has none: off the list, closed, freed. */
void mfd_peer_close(struct mfd_peer *p);
/* Its thread: the handshake is over, and from now on it counts by its identity. */
void mfd_peer_identified(struct mfd_peer *p);
/*
 * Its thread: the server is at work on its HELLO or RESUME, for as long as that takes; or has
 * answered, and the peer has a deadline again.
 */
void mfd_peer_serve(struct mfd_peer *p);
void mfd_peer_answered(struct mfd_peer *p);
void mfd_peer_admit(struct mfd_peer *p);	       /* its thread: a session has it */
size_t mfd_peer_address_len(const struct mfd_peer *p); /* bytes of p->where without the port */
/* Its thread, when receiving has failed: was it because its time was over? */
int mfd_peer_has_expired(struct mfd_peer *p);

/* The main thread's looks at all of them. */
/* What to poll for, of the waiting ones: how many, at most `max`. */
unsigned mfd_peers_watch(struct mfd_peers *l, struct pollfd *fds, struct mfd_peer **of,
			 unsigned max);
/* Nonzero: it is pending now, and gets a thread; 0: too many are, it goes on waiting. */
int mfd_peers_begin(struct mfd_peer *p);
/* End what has had its time; and one waiting connection if there are too many. */
void mfd_peers_expire(struct mfd_peers *l);
void mfd_peers_make_room(struct mfd_peers *l);
void mfd_peers_shutdown(struct mfd_peers *l); /* all; those that have no thread are closed */

#endif
