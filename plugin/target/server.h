/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The restore server as a whole: two processes and their threads.
 *
 *	supervisor	(supervise.c)	owns the listening socket, a second reference to every userfaultfd and the pidfds of the
 *					restored tasks; restarts the worker; single-threaded
 *	worker		(listener.c)	main thread: accepts, watches the clock, joins threads
 *			(listener.c)	one thread per connection, from its greeting to its end; it becomes the session's
 *					control reader (control.c) or the receiver of one channel (receive.c)
 *			(session.c)	one thread per live session; the only one that changes the session's state
 *			(requests.c)	one short thread per request on DIR/.serve.sock
 *			(pager)		threads of its own per session
 *
 * Every thread but the pager's is in struct mfd_threads and joined by the worker's main thread.
 */
#ifndef MFD_SERVER_H
#define MFD_SERVER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "budget.h"
#include "control.h"
#include "error.h"
#include "sock.h"

#define MFD_SERVER_MAX_PENDING	    64	 /* connections that have not said yet who they are */
#define MFD_SERVER_GREETING_TIMEOUT 5000 /* ms they have for it */
#define MFD_SERVER_GREETING_GRACE   250	 /* ms they have even when there are too many */
#define MFD_SERVER_SOCKET	    ".serve.sock"
#define MFD_SERVER_LOCK		    ".lock"
#define MFD_SERVER_MEMORY	    ".memory" /* figures of --max-memory, for status */

struct mfd_session;

struct mfd_thread;
struct mfd_threads {
	pthread_mutex_t lock;
	struct mfd_thread *all; /* lock */
	unsigned count;		/* lock */
	int wake;		/* eventfd: some thread has ended */
};

struct mfd_server {
	/* Constant once the worker runs. */
	const char *dir;
	int dirfd;
	int listen_fd, request_fd;
	int stop_fd;	  /* eventfd: the supervisor asks to end; its counter is how often */
	int lock_fd;	  /* makes us the only server of `dir` */
	uint64_t keep_ms; /* for the keeper */
	char **words;	  /* of our command line, for a new program */
	int guard_fd;	  /* to the supervisor; end of file when it died */
	int standby_fd;	  /* to the standby, for when the supervisor is dead; -1 */
	unsigned threads, max_sessions, stall_ms;
	uint64_t max_memory; /* bytes, 0: no limit */
	int durable, once, huge_pages;
	int restore;			    /* sources may ask for it: confirm = restore */
	const char *criu, *plugins;	    /* ... with this criu; plugins may be NULL */
	const char *netns;		    /* of what is restored, NULL = the server's own */
	int host_pids;			    /* restored tasks live in the server's pid namespace */
	const char *const *restore_options; /* for criu, always */
	size_t n_restore_options;
	/* rules (netaddr.h) for addresses that sources may move here */
	const char *const *allow_address;
	size_t n_allow_address;
	int reborn; /* the worker before this one died */
	/* and the server: only sessions with something in `inherited` have living tasks */
	int orphaned;
	/* what it left (takeover.h); main thread, until the sessions are reloaded */
	struct mfd_holder *inherited;

	pthread_mutex_t guard_lock; /* one request at a time on guard_fd */

	struct mfd_threads pool;
	struct mfd_budget budget;	    /* has a lock of its own */
	int dir_in_memory, store_in_memory; /* constant, of the worker: what lies there is memory */
	_Atomic uint64_t swept_ms;	    /* when ended sessions were last looked at (memory.c) */
	uint64_t published_ms;		    /* main thread, and what was published then */
	char published[320];

	pthread_mutex_t lock;	      /* guards the rest */
	struct mfd_session *sessions; /* live ones and claimed names, linked by `next` */
	unsigned n_sessions;
	struct mfd_peer *peers;
	unsigned pending;
	unsigned stopping; /* how often we were asked */
	int ended;	   /* sessions that have ended; --once looks at it */
	int result;	   /* exit code that the first of them means */
};

/*
 * One connection.  Belongs to its thread; others may only shut it down, under server->lock or the
 * session's.
 */
struct mfd_peer {
	struct mfd_server *server;
	struct mfd_control control; /* control.conn is the connection whatever its role */
	char text[80];		    /* address, for the log */
	/* server->lock */
	uint64_t deadline; /* ms; 0: no longer pending */
	struct mfd_peer *next;
};

/* threads.c: start, notice the end of, join */
int mfd_threads_init(struct mfd_threads *t);
int mfd_threads_start(struct mfd_threads *t, void (*fn)(void *), void *arg);
void mfd_threads_reap(struct mfd_threads *t); /* joins those that have ended; main thread only */
void mfd_threads_join(struct mfd_threads *t); /* all; main thread only */

/* listener.c */
int mfd_listener_run(struct mfd_server *sv); /* the worker; returns its exit code */
void mfd_listener_wake(struct mfd_server *sv);
/* The connection has shown that it is wanted: no deadline, not counted any more. */
void mfd_listener_settled(struct mfd_peer *p);

/* supervise.c */
int mfd_supervise_run(struct mfd_server *sv, const char *address);
/* in a new program: `state` is what the old one left */
int mfd_supervise_resume(struct mfd_server *sv, int state);

/* guard.c: the worker's side of the supervisor. 0 or -errno. */
int mfd_guard_ready(struct mfd_server *sv);
/*
 * The supervisor holds copies of these (-1: none) for whoever follows us.  task 0: uffd is a
 * restore's connection, pidfd CRIU.  unhold: it closes what it holds under this number of ours,
 * which is still open.
 */
int mfd_guard_hold(struct mfd_server *sv, const char *session, uint32_t task, int uffd, int book,
		   int pidfd, int forked);
int mfd_guard_unhold(struct mfd_server *sv, const char *session, int uffd);
/* all installed: close the copies */
int mfd_guard_release(struct mfd_server *sv, const char *session);
/* Kill the tasks, wait, close the copies.  An unfinished restore is ended, too (unfinished.c). */
int mfd_guard_kill(struct mfd_server *sv, const char *session);
/* go on in a new program as soon as the worker has ended; -EBUSY ... */
int mfd_guard_exec(struct mfd_server *sv);

enum mfd_guard_kind {
	MFD_GUARD_READY = 1,
	MFD_GUARD_HOLD,
	MFD_GUARD_UNHOLD,
	MFD_GUARD_FOUND, /* from the heir (heir.h) */
	MFD_GUARD_RELEASE,
	MFD_GUARD_KILL,
	MFD_GUARD_EXEC,
	MFD_GUARD_ACK,
};
enum { MFD_GUARD_BOOK = 1, MFD_GUARD_PIDFD = 2, MFD_GUARD_FORKED = 4 };
struct mfd_guard_msg {
	uint32_t kind;
	int32_t code; /* ACK: result */
	uint32_t task;
	uint32_t flags; /* HOLD: what comes behind the userfaultfd */
	int32_t number; /* HOLD, UNHOLD, FOUND: of the descriptor in the worker */
	int32_t writer; /* to the standby: the worker, whose numbers these are */
	char session[256];
};

#define MFD_HOLDER_UNKNOWN UINT32_MAX
/*
 * holder.c: which process lives in the memory a userfaultfd serves; how to be sure that it is gone
 */
struct mfd_holder {
	uint64_t id;   /* the supervisor's, for the standby */
	uint32_t task; /* MFD_HOLDER_UNKNOWN */
	/* -1: none; of task 0: the restore's connection until it is finished, and pidfd is CRIU */
	int uffd;
	int book;  /* -1: none (pager_book.c) */
	int pidfd; /* -1: not known */
	int forked;
	/* the worker that had it first, and as what; later ones have the supervisor's number */
	int writer, number;
	int there;	   /* in the standby: the supervisor's number */
	char session[256]; /* "": found by the heir; "/": of nobody any more, but must not be closed */
	struct mfd_holder *next;
};
int mfd_holder_pid(int pidfd);	/* 0: it has ended */
int mfd_holder_parent(int pid); /* 0, -1: none */
/*
 * The process that has `uffd` open, best one that is `task` in its own pid namespace; its pid here,
 * or 0. *sure: it is that task.
 */
int mfd_holder_find(uint32_t task, int uffd, int sender, int *sure);
uint64_t mfd_holder_start_time(int pid); /* clock ticks since boot, 0: no such process */
int mfd_holder_kill(const struct mfd_holder *list, const char *session);

/* control.c, receive.c: the rest of a connection's life after its greeting (in host order) */
struct mfd_wire_greeting;
void mfd_control_main(struct mfd_peer *p, const struct mfd_wire_greeting *g);
void mfd_receive_main(struct mfd_peer *p, const struct mfd_wire_greeting *g);
/* answers with an enum mfd_wire_join_status */
void mfd_receive_answer(struct mfd_peer *p, unsigned status);

/* requests.c */
int mfd_requests_listen(struct mfd_server *sv, struct mfd_error *err);
void mfd_requests_accept(struct mfd_server *sv);

/* reload.c */
void mfd_reload_all(struct mfd_server *sv);

#endif
