/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * One migration on the target.
 *
 * Who does what: the session's own thread (session.c) is an actor.  Everyone else tells it what has
 * happened - a control message, a connection lost, a channel that has seen a sync, a pager that is
 * done - by setting a field under `lock` and signalling `cond`; it alone decides, changes `state`,
 * writes session.img, starts and stops the pager and ends the session. So nothing in the state
 * machine runs twice or at the same time.
 *
 * The data path (receive.c) takes no lock: the page tables are lock-free, the counters belong to
 * the channel.
 *
 * Life: claimed by name (in server->sessions), set up by HELLO or from disk, thread started, ended
 * by its thread, which shuts down every connection, waits until their threads have let go, and
 * leaves the list.  References: the list's, the thread's, and one per connection thread that has
 * found it.
 */
#ifndef MFD_SESSION_H
#define MFD_SESSION_H

#include "server.h"
#include "budget.h"
#include "figures.h"
#include "filesink.h"
#include "images/session.pb-c.h"
#include "proto/control.pb-c.h"
#include "pager.h"
#include "phase.h"
#include "pagestore.h"
#include "plan.h"
#include "restore_run.h"
#include "rules.h"
#include "tables.h"
#include "wire.h"

#define MFD_SESSION_MAX_MAIL 64
#define MFD_SESSION_MAX_NEED 65536		   /* ranges in one NEED */
#define MFD_SESSION_URGENT   MFD_WIRE_MAX_CHANNELS /* index of the urgent channel */
/* ms that the source has to read our last message */
#define MFD_SESSION_LINGER 1000
struct mfd_channel {
	struct mfd_peer *peer; /* session->lock; NULL: not connected */
	uint64_t sync;	       /* session->lock; last sync seen */
	struct mfd_counts n;
} __attribute__((aligned(64))); /* neighbours do not share a cache line */

struct mfd_mail {
	unsigned type; /* enum mfd_wire_msg */
	uint64_t sync; /* not to be read before every channel has seen this sync */
	ProtobufCMessage *msg;
	struct mfd_mail *next;
};

enum mfd_request_kind { MFD_REQUEST_ABORT, MFD_REQUEST_RUN, MFD_REQUEST_DISCARD, MFD_REQUEST_SET };
/* A request of requests.c, which waits on session->cond for `done`. */
struct mfd_request {
	enum mfd_request_kind kind;
	char *name, *value; /* of SET */
	int done;
	char answer[512];
};

/* See setting.h; everything under session->lock. */
struct mfd_settings {
	int offered;		     /* the source takes SET */
	struct mfd_request *request; /* waits for the answer to SET number `id` */
	uint32_t id;
	uint64_t end_ms;
	int known, news;	/* the limit is; it has changed since session.img was written */
	uint64_t max_bandwidth; /* the source's, bytes per second */
};

enum mfd_leave { MFD_LEAVE_WAIT, MFD_LEAVE_GIVEN, MFD_LEAVE_REFUSED };
enum mfd_outcome { MFD_OUTCOME_NONE, MFD_OUTCOME_CONTINUE, MFD_OUTCOME_COMMIT, MFD_OUTCOME_ABORT };
enum mfd_over {
	MFD_OVER_NO,
	MFD_OVER_DONE,	  /* every page installed, committed */
	MFD_OVER_ABORTED, /* cleaned, tombstone */
	MFD_OVER_BROKEN,  /* committed, but the pager gave up: folder and store stay for a person */
	MFD_OVER_KEPT,	  /* the server ends; a later one reloads the session */
};

struct mfd_session {
	struct mfd_server *server;
	struct mfd_session *next; /* server->lock */
	_Atomic unsigned refs;
	char name[MFD_WIRE_MAX_NAME + 1];

	/* Constant once the session's thread runs. */
	int dirfd;
	uint8_t id[MFD_WIRE_SESSION_ID_LEN], secret[MFD_WIRE_SECRET_LEN];
	struct mfd_wire_limits limits;
	const struct mfd_plan *plan;
	char source[256];
	char **restore_options; /* asked for by the source, checked, without dashes */
	size_t n_restore_options;
	char **move_addresses; /* asked for by the source, checked: ADDR/LEN@DEV */
	size_t n_move_addresses;
	_Atomic int has_addresses; /* enum of address.c */
	uint64_t started_us;
	struct mfd_pagestore *store;

	/* With locks or atomics of their own. */
	struct mfd_tables tables;
	struct mfd_filesink files;
	_Atomic(struct mfd_pager *)
		pager; /* set by the session's thread (release) once it runs; taken back when no channel is left */
	_Atomic uint64_t heard_ms; /* when anything came from the source */
	/* postcopy: the restore is over, receivers need not give way to it; a hint */
	_Atomic int hurry;
	/* packets that are just made known; what they bring counts as here already */
	_Atomic unsigned direct;
	_Atomic int sealed; /* verified: no packet may come any more */
	struct mfd_memory {
		struct mfd_budget_claim claim; /* server->budget's lock */
		/* constant: of what is promised, not for packets */
		uint64_t base;
		_Atomic uint64_t granted, taken; /* to packets, by packets */
		_Atomic uint64_t taken_before;	 /* of taken, before the latest RESUME */
		/* what its tasks have, as the source says; 0 = not known */
		_Atomic uint64_t need;
		_Atomic int hold_ok; /* the source understands ROOM */
		/* postcopy: everything goes straight into tasks by now */
		_Atomic int open;
	} memory; /* memory.h */

	pthread_mutex_t send_lock; /* sending on `control`; taken before `lock` */
	pthread_mutex_t lock;
	pthread_cond_t cond; /* CLOCK_MONOTONIC; any change below */

	/* lock */
	int live;		  /* set up: may be found by id */
	int ending;		  /* no connection may attach any more */
	struct mfd_peer *control; /* lock and send_lock to change, either to read */
	struct mfd_channel channels[MFD_WIRE_MAX_CHANNELS + 1];
	unsigned attached; /* channel threads inside */
	int joining;	   /* channels may attach */
	struct mfd_mail *mail, **mail_end;
	unsigned n_mail;
	int lost;	  /* a connection ended; text in lost_text */
	int lost_control; /* of them, the control connection */
	char lost_text[256];
	struct mfd_error failure; /* the first thing that must not go on */
	enum mfd_outcome resume;  /* `control` is a new one and asks for this */
	struct mfd_request *request;
	struct mfd_settings setting;
	unsigned stopping; /* the server ends: 1 in good order, 2 now */
	int asked;	   /* the pager waits for leave to let a restore run */
	enum mfd_leave leave;
	int pager_done, pager_code;
	char pager_text[256];
	int restored;	     /* CRIU said that all tasks exist */
	unsigned holds;	     /* userfaultfds handed to the supervisor */
	unsigned held_tasks; /* of them, tasks' that were not given up yet */
	int held_conn;	     /* 1 + the restore's connection, likewise */

	/* The session's thread alone. */
	enum mfd_phase phase; /* phase.h; mfd_session_enter() alone writes it */
	int in_doubt;
	char error[512];
	int joined_said, needed, rejoin;
	int resumed; /* the source came back: what it says at the END counts from then on */
	uint64_t missing_before;
	/* pager_done was dealt with; its good end; its bad one */
	int pager_seen, installed, gave_up;
	int huge; /* early: a stopped task gets huge pages */
	/*
	 * READY: the restored tasks are complete and noted as such, nobody holds anything of theirs
	 */
	int alone;
	uint64_t lazy_pages, ready_us, committed_us, done_us;
	uint64_t join_deadline, tick_ms, ping_ms, moved;
	unsigned stop_seen;
	/* of connections before a resume, or before a restart */
	struct mfd_totals past[MFD_WIRE_MAX_CHANNELS + 1];
	struct mfd_times times;
	struct mfd_figures figures;
	struct mfd_pager_stats pager_last;
	enum mfd_over over;
	uint64_t queued_told_ms;
	struct mfd_restore restore; /* confirm; see there for what is under lock */
};

/* ---- session.c: life and the actor ---- */
/*
 * A new object under this name: 0, -EEXIST (the name is in use), -EMFILE (too many).  *s has the
 * caller's reference.
 */
int mfd_session_claim(struct mfd_server *sv, const char *name, struct mfd_session **s);
/* leaves the list and drops the caller's reference */
void mfd_session_unclaim(struct mfd_session *s);
/* with a reference, or NULL */
struct mfd_session *mfd_session_find(struct mfd_server *sv, const char *name);
struct mfd_session *mfd_session_find_id(struct mfd_server *sv, const uint8_t *id,
					const uint8_t *secret);
void mfd_session_put(struct mfd_session *s);
void mfd_session_drop_mail(struct mfd_session *s); /* lock held, or nobody else is left */
/*
 * Start the thread; the caller's reference becomes the thread's.  On failure the caller still has
 * it.
 */
int mfd_session_start(struct mfd_session *s);
void mfd_session_stop_all(struct mfd_server *sv, unsigned level);

/* Any thread. */
int mfd_session_fail(struct mfd_session *s, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
int mfd_session_send(struct mfd_session *s, unsigned type, const ProtobufCMessage *msg);
/* Is it in one of these phases?  Bits: MFD_PHASE_BIT. */
static inline int mfd_session_in(const struct mfd_session *s, unsigned phases)
{
	return !!(phases & MFD_TURN_PHASE(s->phase));
}
static inline void mfd_session_heard(struct mfd_session *s, uint64_t now_ms)
{
	atomic_store_explicit(&s->heard_ms, now_ms, memory_order_relaxed);
}

/* What is in tasks alone does not survive the host. */
static inline int mfd_server_restores_early(const struct mfd_server *sv)
{
	return sv->restore && !sv->durable;
}

/* Connection threads.  0 or -errno / enum mfd_wire_join_status. */
int mfd_session_attach_control(struct mfd_session *s, struct mfd_peer *p, enum mfd_outcome outcome);
void mfd_session_detach_control(struct mfd_session *s, struct mfd_peer *p, const char *why);
/* takes msg over */
int mfd_session_post(struct mfd_session *s, unsigned type, uint64_t sync, ProtobufCMessage *msg);
unsigned mfd_session_join(struct mfd_session *s, struct mfd_peer *p, unsigned channel);
/* why NULL: an ordinary end */
void mfd_session_leave(struct mfd_session *s, unsigned channel, const char *why);
void mfd_session_synced(struct mfd_session *s, unsigned channel, uint64_t sync);
/* Wait until the session's thread has dealt with it (or the session has ended). */
void mfd_session_request(struct mfd_session *s, struct mfd_request *r);

/* The session's thread only. */
/* of the data channels since HELLO or RESUME */
void mfd_session_totals(struct mfd_session *s, struct mfd_totals *t);
void mfd_session_set_error(struct mfd_session *s, const char *text);
/* s->lock held; CLOCK_MONOTONIC; 0 or -ETIMEDOUT */
int mfd_session_wait_until(struct mfd_session *s, uint64_t ms);

/* ---- entry.c: session.img ---- */
void mfd_session_entry(struct mfd_session *s, Mfd__SessionEntry *e); /* borrows strings of s */
int mfd_session_store(struct mfd_session *s, int sync);
/* Write the phase and everything else, durably; only if that succeeds, enter it.  0 or -errno. */
int mfd_session_advance(struct mfd_session *s, enum mfd_phase to);
/* The phase as session.img, status and RESUME_OK call it: "RECEIVING". */
const char *mfd_session_state_text(const struct mfd_session *s);
/* What a session is reloaded as; MFD_PHASE_NONE: not at all. */
enum mfd_phase mfd_session_phase_of(Mfd__SessionState state);
/* with every tick: only when something has moved */
void mfd_session_store_moving(struct mfd_session *s);

/* ---- ending.c ---- */
/* Do what rules.h says about it: the session may be over, in doubt, or go on. */
void mfd_session_trouble(struct mfd_session *s, const struct mfd_trouble *t);
/* Close its connections; the source has `linger_ms` to do so by itself. */
void mfd_session_disconnect(struct mfd_session *s, unsigned linger_ms);
/* Once s->over is set: the last thing done. */
void mfd_session_wind_up(struct mfd_session *s);

/* ---- cpr.c ---- */
int mfd_cpr_in_reach(struct mfd_session *s, char *text,
		     /* every inherited descriptor, or -errno and which is not */
		     size_t len);
void mfd_cpr_ended(struct mfd_session *s); /* done or aborted: the keeper lets go */

/* ---- admit.c ---- */
/* Images that restore a user namespace can be read by its root: 0, or -errno with a sentence. */
int mfd_admit_userns(struct mfd_session *s, char *text, size_t len);

/* ---- clean.c ---- */
int mfd_clean_tree(int dirfd, const char *name); /* rm -r; 0 when absent */
uint64_t mfd_clean_now_us(void);		 /* CLOCK_REALTIME */

#endif
