/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The worker of a restore server, as its sessions see it.
 *
 *	main	listener.c	accepts connections and requests, watches the clock, joins threads
 *	one	listener.c	per connection, from its greeting to its end: it becomes the control
 *				reader (control_reader.c) or the receiver of one channel (receive.c)
 *				of a session
 *	one	actor.c		per live session, the only one that changes the session's phase
 *	one	requests.c	per request on DIR/.serve.sock, short
 *	one	restore_run.c	per criu restore that the server runs itself
 *	some	pager/		of each session's pager, which joins them
 *
 * All but the pager's are in `pool` and are joined by the main thread.  The other processes of a
 * server are described in survive/README.md.
 */
#ifndef MFD_SERVER_H
#define MFD_SERVER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "budget.h"
#include "guard.h"
#include "peer.h"
#include "restore_run.h"
#include "rights_now.h"
#include "takeover.h"
#include "threads.h"

#define MFD_SERVER_MEMORY ".memory" /* figures of --max-memory, for status */

struct mfd_pace;
struct mfd_session;
struct mfd_tls;

/* Sessions that could not be loaded. */
struct mfd_reload {
	pthread_mutex_t lock;	   /* one thread loads at a time */
	_Atomic int waits;	   /* bool: there is one */
	_Atomic int spares;	   /* bool: takeover has deposits of one, whose tasks wait */
	uint64_t due_ms, pause_ms; /* of the next try for all; main thread */
};

struct mfd_server {
	/* Constant once the worker runs. */
	const char *dir;
	int dirfd;
	unsigned threads, max_sessions, stall_ms;
	/*
	 * Bytes, 0: no limit, and nothing is counted.  Not constant: from 0 to MFD_MEMORY_COUNTED,
	 * once, when a file of rights is read later.
	 */
	_Atomic uint64_t max_memory;
	uint32_t keep_ended; /* seconds that a tombstone stays, 0: for ever */
	int durable, once, huge_pages;
	const struct mfd_conn_security *security; /* NULL: plain connections */
	struct mfd_tls *tls;			  /* what is behind it, to be read again, or NULL */
	int restore;				  /* sources may ask for it: confirm = restore */
	struct mfd_restore_host criu;		  /* ... and this is how */
	const char *const *allow_address; /* rules (netaddr.h): what sources may move here */
	size_t n_allow_address;

	/* With locks or atomics of their own. */
	struct mfd_rights_now rights; /* what peers may do */
	struct mfd_guard guard;
	struct mfd_takeover takeover; /* main thread at the start, later under reload.lock */
	struct mfd_threads pool;
	struct mfd_peers peers;
	struct mfd_reload reload;
	struct mfd_budget budget;
	int dir_in_memory, store_in_memory; /* constant, of the worker: what lies there is memory */
	_Atomic uint64_t expired_ms;	    /* when old tombstones were last removed (clean.c) */
	_Atomic unsigned unexpired;	    /* sessions that have ended since */
	_Atomic uint64_t swept_ms;	    /* when ended sessions were last looked at */
	uint64_t published_ms;		    /* main thread, and what was published then */
	char published[320];

	pthread_mutex_t lock;	      /* guards the rest */
	struct mfd_session *sessions; /* live ones and claimed names, linked by `next` */
	unsigned n_sessions, n_doubt; /* of them, in doubt: they do not count as sessions */
	unsigned descriptors;	      /* set aside for them (nofile.h) */
	struct mfd_pace *paces;	      /* of peers whose bandwidth is limited (pace.c) */
	int ending;		      /* bool: no session begins or is loaded any more */
	int ended;		      /* sessions that have ended; --once looks at it */
	int result;		      /* exit code that the first of them means */
};

/* reload.c: what an earlier worker or server has left in `dir`; main thread */
void mfd_reload_all(struct mfd_server *sv);
/*
 * Any thread, later: try once more to load what could not be loaded, the session of this name or,
 * NULL, all of them.  Sessions that are alive, or of which nothing is left to load, stay as they
 * are.
 */
void mfd_reload_again(struct mfd_server *sv, const char *name);
/* Any thread: it is given up, and with it what takeover.h has spared of it. */
void mfd_reload_give_up(struct mfd_server *sv, const char *name);
/* The main thread, often: the same for all, now and then, in a thread of its own. */
void mfd_reload_tick(struct mfd_server *sv);

/* The rest of a connection's life after its greeting (in host order). */
struct mfd_wire_greeting;
void mfd_control_main(struct mfd_peer *p, const struct mfd_wire_greeting *g); /* control_reader.c */
void mfd_receive_main(struct mfd_peer *p, const struct mfd_wire_greeting *g); /* receive_join.c */
/* receive.c: its packets, until it ends */
void mfd_receive_all(struct mfd_session *s, struct mfd_peer *p, unsigned channel);
/* answers with an enum mfd_wire_join_status */
void mfd_receive_answer(struct mfd_peer *p, unsigned status);

#endif
