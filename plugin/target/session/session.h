/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * One migration on the target.
 *
 * Its way from HELLO to DONE: phase.h (where it is), way.h (what leads on), rules.h (what goes
 * wrong), plan.h (what the two ends have agreed on), turns.h (which message may come when).
 *
 * The session's own thread (actor.c) is an actor.  Every other thread tells it what has happened (a
 * control message, a connection lost, a sync seen on a channel, a pager at its end) by leaving it
 * in `inbox` or `link` under `lock` and signalling `cond`.  The session's thread alone decides,
 * enters phases, writes session.img, starts and stops the pager and ends the session: nothing in
 * the state machine runs twice or at the same time.
 *
 * The data path (receive.c) takes no lock: the page tables are lock-free, the counters belong to
 * the channel.
 *
 * Life: claimed by name (in server->sessions), set up by HELLO or from disk, thread started, ended
 * by its thread, which shuts down every connection, waits until their threads have let go, and
 * leaves the list.  References: the list's, the thread's, and one for each connection thread that
 * has found it.
 */
#ifndef MFD_SESSION_H
#define MFD_SESSION_H

#include "ask_setting.h"
#include "figures.h"
#include "filesink.h"
#include "images/session.pb-c.h"
#include "session_inbox.h"
#include "session_link.h"
#include "memory.h"
#include "owner.h"
#include "pager.h"
#include "pagestore.h"
#include "phase.h"
#include "plan.h"
#include "proto/control.pb-c.h"
#include "restore_run.h"
#include "rounds.h"
#include "rules.h"
#include "server.h"
#include "space.h"
#include "tables.h"
#include "wire.h"

#define MFD_SESSION_MAX_NEED 65536 /* ranges in one NEED */
/* ms that the source has to read the session's last message */
#define MFD_SESSION_LINGER 1000

/* What the source asks for beside its plan; checked, constant once the session's thread runs. */
struct mfd_asked {
	char **restore_options; /* without dashes */
	size_t n_restore_options;
	char **move_addresses; /* ADDR/LEN@DEV */
	size_t n_move_addresses;
};

/* May restored tasks run?  GIVEN by STARTED_OK or COMMIT, REFUSED when the session ends without. */
enum mfd_leave { MFD_LEAVE_WAIT, MFD_LEAVE_GIVEN, MFD_LEAVE_REFUSED };

/* What the pager has reached. */
enum mfd_copy {
	MFD_COPY_COMING,    /* pages are missing, or there is no pager */
	MFD_COPY_INSTALLED, /* every page is in the restored tasks */
	MFD_COPY_ALONE,	    /* ... and that is noted: they need no process of this server */
	MFD_COPY_FAILED,    /* it has given up */
};

/* How far the session can be found. */
enum mfd_presence {
	MFD_PRESENCE_CLAIMED, /* its name is taken */
	MFD_PRESENCE_LIVE,    /* set up: found by id and secret */
	MFD_PRESENCE_ENDING,  /* no connection may attach any more */
};

/* Was the source asked for missing pages? */
enum mfd_need_state {
	MFD_NEED_NONE,
	MFD_NEED_ASKED,
	MFD_NEED_CUT, /* NEED did not hold every range */
};
struct mfd_need {
	enum mfd_need_state state;
	uint64_t missing; /* pages, when NEED was sent */
};

/* Copies of userfaultfds that the supervisor holds for this session's tasks. */
struct mfd_deposits {
	unsigned all;
	unsigned tasks; /* of them, of tasks, not withdrawn yet */
	int conn;	/* 1 + the descriptor of the restore's connection, likewise */
};

/* What its tombstone says, once it is written: evidence for the source. */
struct mfd_end {
	int by_person;	 /* bool: a person has discarded it */
	int source_gone; /* bool: the source has said that its tasks are dead */
	int both_run;	 /* bool: it runs, and so do the source's tasks, as the source says */
	int told;	 /* bool: its source has ended it, and needs no evidence */
	int answers;	 /* bool: ... by RESUME, which is answered once that is on disk */
	int dead;	 /* bool: nothing of what was restored lives */
	int buried;	 /* bool: the tombstone is on disk, and what was restored is dead */
};

/* How the session's thread ends. */
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
	/* The session's thread, set by itself; 0: not started, one thread has the session. */
	_Atomic(pthread_t) thread;
	char name[MFD_WIRE_MAX_NAME + 1];
	/* server->lock: that are set aside for it, share.h counts them */
	unsigned descriptors, channels;
	/* server->lock; constant while it is in the list: of its owner, or NULL */
	struct mfd_pace *pace;
	struct mfd_owner owner; /* constant while it is in the list; released with the session */

	/* Constant once the session's thread runs. */
	int dirfd;
	uint8_t id[MFD_WIRE_SESSION_ID_LEN], secret[MFD_WIRE_SECRET_LEN];
	struct mfd_wire_limits limits;
	const struct mfd_plan *plan;
	char source[256];
	struct mfd_asked asked;
	struct mfd_pagestore *store;

	/* With locks or atomics of their own. */
	struct mfd_tables tables;
	struct mfd_filesink files;
	/* Set by the session's thread (release), taken back when no channel is left. */
	_Atomic(struct mfd_pager *) pager;
	_Atomic uint64_t heard_ms; /* when anything came from the source */
	_Atomic int addresses;	   /* the enum of take_address.c */
	_Atomic unsigned arriving; /* packets just being made known; they count as here already */
	/*
	 * No packet may be made known any more.  A boolean beside the phase: receivers look at it
	 * without the lock, and it is set before READY (and SETTLING) is entered.
	 */
	_Atomic int sealed;
	/*
	 * CRIU said that all tasks exist.  A boolean beside the phase: a restore may end in five of
	 * the phases.  For receivers a hint that they need not give way to it any more.
	 */
	_Atomic int restored;
	struct mfd_memory memory;
	struct mfd_rounds rounds;

	pthread_mutex_t send_lock; /* sending on link.control; taken before `lock` */
	pthread_mutex_t lock;
	pthread_cond_t cond; /* CLOCK_MONOTONIC; any change of what `lock` guards */

	/* lock */
	enum mfd_presence presence;
	struct mfd_link link;
	struct mfd_inbox inbox;
	struct mfd_settings setting;
	enum mfd_leave leave; /* written by the session's thread */
	struct mfd_deposits deposits;

	/* The session's thread alone. */
	enum mfd_phase phase; /* phase.h; mfd_session_enter() alone writes it */
	/*
	 * The source or a person must decide.  A boolean beside the phase: RUNNING, READY and
	 * RESTORED may be in doubt, and what decides returns the session to the same phase.
	 * mfd_session_doubt() alone writes it.
	 */
	int in_doubt;
	enum mfd_copy copy;
	/*
	 * Early: stopped tasks get huge pages.  A boolean beside the phase: what the pager has
	 * found when the restore ended, needed when END and READY come.
	 */
	int huge;
	enum mfd_over over;
	int has_name;	   /* bool: what its name stood for before has gone, record.h */
	char held_by[560]; /* what holds restored tasks, for people; "": nothing does */
	struct mfd_end end;
	char error[512];
	struct mfd_need need;
	uint64_t lazy_pages;	   /* that the images ask for */
	uint64_t tick_ms, ping_ms; /* when they are due */
	unsigned stop_seen;	   /* of inbox.stopping */
	struct mfd_times times;
	struct mfd_figures figures;
	struct mfd_restore restore; /* confirm; it has a phase of its own (restore_phase.h) */
};

/* The caller may do what only the session's thread may. */
static inline int mfd_session_is_mine(const struct mfd_session *s)
{
	pthread_t thread = atomic_load_explicit(&s->thread, memory_order_relaxed);

	return !thread || pthread_equal(thread, pthread_self());
}

/* The supervisor has userfaultfds of this session's tasks. */
int mfd_session_has_deposits(struct mfd_session *s);
/* The restored tasks lack no page. */
static inline int mfd_session_installed(const struct mfd_session *s)
{
	return s->copy == MFD_COPY_INSTALLED || s->copy == MFD_COPY_ALONE;
}

/* ---- session.c: life and the actor ---- */
enum mfd_claim {
	MFD_CLAIM_NEW, /* of a source: --max-sessions counts */
	MFD_CLAIM_OLD, /* what is on disk already */
};
/*
 * A new object under this name: 0, -EEXIST (the name is in use), -EMFILE or -EDQUOT (too many; err
 * is filled), -ESHUTDOWN.  *s has the caller's reference, and has taken `owner` over; OLD: it may
 * be NULL.
 */
int mfd_session_claim(struct mfd_server *sv, const char *name, enum mfd_claim why,
		      struct mfd_owner *owner, struct mfd_session **s, struct mfd_error *err);
/*
 * Set channels and descriptors aside for it.  MFD_CLAIM_NEW: it may get fewer channels than are in
 * s->limits, which says how many; 0, or -EMFILE, -EDQUOT with err filled.
 */
int mfd_session_set_aside(struct mfd_session *s, enum mfd_claim why, struct mfd_error *err);
/* leaves the list and drops the caller's reference */
void mfd_session_unclaim(struct mfd_session *s);
/* with a reference, or NULL */
struct mfd_session *mfd_session_find(struct mfd_server *sv, const char *name);
/* The session that this greeting of `p` proves to be its own. */
struct mfd_session *mfd_session_find_id(struct mfd_peer *p, const struct mfd_wire_greeting *g);
void mfd_session_put(struct mfd_session *s);
void mfd_session_drop_mail(struct mfd_session *s); /* lock held, or the last reference */
/* In a reserved thread (threads.h); the caller's reference becomes the thread's. */
void mfd_session_start(struct mfd_session *s, struct mfd_thread *thread);
void mfd_session_stop_all(struct mfd_server *sv, unsigned level);

/* Any thread. */
int mfd_session_fail(struct mfd_session *s, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/*
 * The source has so long to read it (send: stall_ms), else its connection is shut down: neither the
 * session's thread nor the reader of the connection waits for a source that does not read.
 */
int mfd_session_send(struct mfd_session *s, unsigned type, const ProtobufCMessage *msg);
int mfd_session_send_within(struct mfd_session *s, unsigned type, const ProtobufCMessage *msg,
			    unsigned ms);
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

/* The session's thread, or the thread that sets it up; without the session's lock. */
void mfd_session_doubt(struct mfd_session *s, int in_doubt);
/* The session's thread only. */
/* of the data channels since HELLO or RESUME */
void mfd_session_totals(struct mfd_session *s, struct mfd_totals *t);
void mfd_session_set_error(struct mfd_session *s, const char *text);
/* s->lock held; CLOCK_MONOTONIC; 0 or -ETIMEDOUT */
int mfd_session_wait_until(struct mfd_session *s, uint64_t ms);

/* ---- session_img.c: session.img ---- */
void mfd_session_entry(struct mfd_session *s, Mfd__SessionEntry *e); /* borrows strings of s */
int mfd_session_store(struct mfd_session *s, int sync);
/* Write the phase and everything else, durably; only if that succeeds, enter it.  0 or -errno. */
int mfd_session_advance(struct mfd_session *s, enum mfd_phase to);
/* Room for the commit on a disk that is full: there from READY until COMMITTED is stored. */
#define MFD_SESSION_ROOM_FILE ".commit"
/* After one of them has failed: the sentence, with the folder if that is full.  Returns text. */
const char *mfd_session_unwritten(const struct mfd_session *s, char text[MFD_SPACE_TEXT + 64]);
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

/* ---- userns.c ---- */
/* Images that restore a user namespace can be read by its root: 0, or -errno with a sentence. */
int mfd_userns_admit(struct mfd_session *s, char *text, size_t len);

/* ---- userns_own.c ---- */
/* 1: the images in this folder restore a user namespace whose root is not this host's; or 0. */
int mfd_userns_is_own(int dir);

/* ---- clean.c ---- */
/*
 * Remove a session's folder below `parentfd`, with its page store; 0 when absent.  -EEXIST: there
 * is something of that name that is no session, and it is left alone.  What is done leaves evidence
 * below `rootfd`, the server's folder.  Outside record.c use mfd_record_remove.
 */
int mfd_clean_folder(int rootfd, int parentfd, const char *name);
/* It is done: remove from its folder what a takeover or a commit would have needed. */
void mfd_clean_done(int dirfd);
/* Remove old tombstones, if that was not done a moment ago. */
void mfd_clean_ended(struct mfd_server *sv);
uint64_t mfd_clean_now_us(void); /* CLOCK_REALTIME */

#endif
