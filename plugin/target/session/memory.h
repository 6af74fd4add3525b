/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * --max-memory: what sessions take of the server's memory, against what the budget (budget.h) has
 * promised them.
 *
 * Counted: page store, its journal and tables, image files, the receivers' buffers.  Only what is
 * memory: a store or a folder on a disk counts nothing.  Not counted: the restored tasks, and what
 * the kernel buffers for connections.
 *
 * A session's promise has a fixed part (buffers) and one that packets draw on.  `taken` is what
 * packets have drawn, added up before they are stored; beyond `granted` nothing is stored:
 *
 *	safe		the promise covers everything the source has announced, or HELLO is not
 *			answered yet.  If more comes, the promise is raised at once, or the session
 *			fails while its source can still go on: no task is frozen in a queue.
 *	postcopy	the promise is a window: HELLO_OK and ROOM tell the source how many pages it
 *			may send; the rest follows when the restore has finished, and goes straight
 *			into the tasks.  Answers to faults are not held up, whatever is promised.
 *
 * Memory is given back when it is: once everything has come (or goes straight into tasks) the
 * promise is what the session really takes, looked at with every tick of its thread.
 */
#ifndef MFD_MEMORY_H
#define MFD_MEMORY_H

#include <stdatomic.h>

#include "budget.h"
#include "conn.h"
#include "error.h"
#include "images/session.pb-c.h"
#include "proto/control.pb-c.h"
#include "wire.h"

struct mfd_owner;
struct mfd_server;
struct mfd_session;

/* A session's part. */
struct mfd_memory {
	struct mfd_budget_claim claim; /* server->budget's lock */
	/*
	 * A boolean beside the phase, constant from HELLO or the reload on: the server counted
	 * memory when the session came.  All that counts asks this, not the server, which may
	 * begin to count later (a file of rights that is read then).
	 */
	int counted;
	uint64_t most;			 /* constant: for all of its owner's, 0: no such limit */
	uint64_t base;			 /* constant: of what is promised, not for packets */
	_Atomic uint64_t granted, taken; /* to packets, by packets */
	_Atomic uint64_t taken_before;	 /* of taken, before the latest RESUME */
	_Atomic uint64_t need;		 /* what the tasks have, says the source; 0 = not known */
	uint64_t told_ms;		 /* when QUEUED was last sent */
	/* A boolean beside the phase: the source understands ROOM, whatever the phase. */
	_Atomic int room_ok;
	/*
	 * Postcopy: everything goes straight into tasks by now.  A boolean beside the phase:
	 * receivers look at it without the lock, and it follows the end of the restore.
	 */
	_Atomic int open;
};

/*
 * Before anything is made of a HELLO: 0, or -E2BIG (never possible here) or -ENOSPC (not now, and
 * the source would not wait).
 */
int mfd_memory_check(struct mfd_server *sv, const struct mfd_owner *o,
		     const struct mfd_wire_limits *lim, const Mfd__Hello *h, struct mfd_error *err);
/*
 * The session's folder and limits are there: 1 = admitted, 0 = s->queued: its thread answers HELLO
 * later; -errno as above.
 */
int mfd_memory_enter(struct mfd_session *s, const Mfd__Hello *h, struct mfd_error *err);
/* A session that is reloaded is in, whatever the limit. */
void mfd_memory_adopt(struct mfd_session *s);
/* What it and the other sessions of its owner may take; 0: no limit. */
uint64_t mfd_memory_limit(const struct mfd_session *s);
/* SIZE. The control connection's thread. */
void mfd_memory_size(struct mfd_session *s, uint64_t bytes);
/*
 * Postcopy: what the source may send on data channels before ROOM says otherwise; UINT64_MAX:
 * everything.
 */
uint64_t mfd_memory_room(struct mfd_session *s);

/* Receivers. Before so many bytes of pages, table words and journal, or of a file, are stored. */
enum mfd_memory_what { MFD_MEMORY_PAGES, MFD_MEMORY_FILE, MFD_MEMORY_URGENT };
/*
 * 0; 1 = do not store them, they can go into the task by now; -errno: the session has failed, or
 * its connection has ended.
 */
int mfd_memory_take(struct mfd_session *s, struct mfd_conn *c, uint32_t task, uint64_t bytes,
		    enum mfd_memory_what what);
/* Precopy: so many of these bytes are free again. */
void mfd_memory_give(struct mfd_session *s, uint64_t bytes);
/* table: bytes by which page tables grow */
uint64_t mfd_memory_cost_pages(const struct mfd_session *s, uint64_t raw, uint64_t table,
			       uint32_t runs);
uint64_t mfd_memory_cost_file(const struct mfd_session *s, uint64_t bytes);

/* The session's thread. */
/* of a queued one: 1 once it is; tells the source now and then */
int mfd_memory_admitted(struct mfd_session *s);
void mfd_memory_tick(struct mfd_session *s);
/* s->lock held: mfd_memory_open has something to do */
int mfd_memory_may_open(const struct mfd_session *s);
void mfd_memory_open(struct mfd_session *s);	/* postcopy: the restore has finished */
void mfd_memory_resumed(struct mfd_session *s); /* what the source sends counts from now on */
void mfd_memory_entry(struct mfd_session *s, Mfd__SessionEntry *e);
void mfd_memory_end(struct mfd_session *s);

#endif
