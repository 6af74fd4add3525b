/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The parts of the pager among themselves: its phases, its objects, and which lock guards what.
 *
 * Files, each of which uses only those above it:
 *
 *	ranges		the lazy pages of a task as intervals
 *	lazysock	CRIU's side of lazy-pages.socket
 *	pager_phase	the phase: transitions and invariants
 *	pager_core	wake the threads, watch a descriptor, fail
 *	pager_book	what outlives this process: bits, messages, intervals of a task
 *	pager_wait	for which pages tasks wait, and since when
 *	pager_account	which pages are settled, which are waited for, which leave the store
 *	pager_huge	blocks of 2 MiB that are written as a whole while no task runs
 *	pager_task	tasks and families: made, forked, ended
 *	pager_fill	put pages in, from the store or from a receiver's buffer
 *	pager_fault	what comes from a userfaultfd: faults, changes of the mappings
 *	pager_bulk	which chunk of which task is next
 *	pager_open	from CRIU's last word to bulk work
 *	pager_criu	the conversation with CRIU; provisional restores
 *	pager_adopt	take over from a process that died
 *	pager		threads and life
 *
 *
 * Phases
 * ------
 *
 *	             mfd_pager_start
 *	       NEW -------------------> LISTENING <----------------------------+
 *	        |                         |   ^                                |
 *	        |           CRIU connects |   | refused, or the restore died   |
 *	        |                         v   |                                |
 *	        |                       RESTORING ------------> PROVISIONAL ---+ mfd_pager_undo
 *	        |                         |        CRIU has       |
 *	        |  CRIU has finished,     |        finished,      |
 *	        |  the restore is final   |        provisional    | mfd_pager_keep
 *	        |                         v                       |
 *	        |                       OPENING <-----------------+
 *	        |                         |  |
 *	        |                         |  | tasks will be stopped, and one may get huge pages
 *	        |                         |  v
 *	        |                         | AWAIT_STOP --------+ mfd_pager_tasks_stopped
 *	        |                         |  |                 v
 *	        |                         |  | make_whole    STOPPED
 *	        |                         v  v                 | mfd_pager_make_whole
 *	        +---------------------> FILLING <--------------+
 *	         mfd_pager_adopt          |
 *	                                  | nothing is pending; also from AWAIT_STOP and STOPPED
 *	                                  v
 *	                                DONE
 *
 * What holds in each phase (mfd_pager_check asserts what is marked with *):
 *
 *	NEW		* no thread has started.  Adoption fills in tasks in this phase.
 *	LISTENING	* there are no tasks; nothing is pending.
 *	RESTORING	CRIU is connected; the tasks that it has named are served.  Only what a task
 *			waits for is put in, and nothing leaves the store: * no bulk work was handed
 *			out.
 *	PROVISIONAL	as RESTORING; all tasks exist, CRIU may have closed its connection.
 *	OPENING		the restore is final: the listener is closed, no connection is deposited.
 *			Pages are put in as they arrive, and * none in bulk: first each task's lock
 *			is taken once for writing (see mfd_pager_open), and gives back to the store
 *			what is in.
 *	AWAIT_STOP	as OPENING, but all tasks give back; * none in bulk, for a block in which
 *			pages are cannot become a huge page.
 *	STOPPED		no task can run; everything is put in, blocks of 2 MiB as a whole.
 *	FILLING		tasks may run; everything is put in, page by page.
 *	DONE		* nothing is pending, * the pager is sound; ops->done has been or is being
 *			called with 0, after which no userfaultfd of a task is open.
 *
 * The phases from OPENING on are called open (mfd_pager_is_open): the order of the enum matters.
 *
 * mfd_pager_enter is the only writer, under pager->lock.  All phases but DONE are entered with
 * sock_lock held, too, or before there are threads; so a thread that has sock_lock sees the phase
 * change only to DONE.
 * Any thread reads the phase without a lock (mfd_pager_phase).
 *
 * Two things are orthogonal to the phase and have enums of their own: whether more pages can come
 * (enum pager_pages: the source may be done in any phase), and whether the pager has failed (enum
 * pager_health: the conversation with CRIU goes on after a failure until the session ends it).
 *
 *
 * Locks
 * -----
 *
 * Order: pager->sock_lock, task->lock, pager->lock, family->lock, waits.lock.  No lock is held
 * while want or done is called, sock_lock alone while started, restored and deposit are; deposit is
 * called under the parent's task->lock when a task forks.
 *
 * A page of a task is *settled* when its bit in task->settled is set: it was put in, the task has
 * thrown it away, or it is zero and left to the kernel.  Bits are set under task->lock (reading
 * suffices) after the page is in, never before: a settled page may be copied to a forked child's
 * account, and its place in the store may be gone.
 */
#ifndef MFD_PAGER_INT_H
#define MFD_PAGER_INT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "assert.h"
#include "counter.h"
#include "latency.h"
#include "lazysock.h"
#include "pager.h"
#include "ranges.h"
#include "uffd.h"

#define PAGER_PAGE MFD_RANGES_PAGE
/* pages around a fault: 64 KiB, from where UFFDIO_COPY is near its full speed */
#define PAGER_WINDOW 16U
/* pages that a thread puts in before it lets go of a task's lock; a multiple of 64 */
#define PAGER_CHUNK	  64U
#define PAGER_STRIPE	  512U /* pages: what a page table maps */
#define PAGER_MAX_THREADS MFD_PAGER_MAX_THREADS
#define PAGER_BUCKETS	  64U
#define PAGER_BATCH	  32U /* messages read at a time */
/* pause while a task's mappings change: the task must get a processor to go on */
#define PAGER_CHANGING_US 20

enum pager_phase {
	PAGER_NEW,
	PAGER_LISTENING,
	PAGER_RESTORING,
	PAGER_PROVISIONAL,
	PAGER_OPENING, /* from here on the pager is open */
	PAGER_AWAIT_STOP,
	PAGER_STOPPED,
	PAGER_FILLING,
	PAGER_DONE,
	PAGER_PHASES
};

/* What follows CRIU's last word.  The session says it before the restore begins. */
enum pager_expect {
	PAGER_EXPECT_RUN,      /* the restore is final; its tasks may run at once */
	PAGER_EXPECT_DECISION, /* mfd_pager_keep or mfd_pager_undo */
	PAGER_EXPECT_STOP,     /* the restore is final; its tasks stay stopped for a while */
};

enum pager_pages {
	PAGER_PAGES_COME, /* ABSENT: not here yet */
	PAGER_PAGES_ALL,  /* ABSENT: zero; safe mode: from the start */
};

enum pager_health {
	PAGER_SOUND,
	PAGER_FAILED,	    /* pager->error is set; no page is put in unasked, no event is read */
	PAGER_FAILURE_TOLD, /* the same; ops->done has been or is being called */
};

struct pager_task;

/*
 * The tasks that one dumped task has become: itself and what it has forked since.  They share the
 * image: bits, table, wishes.
 */
struct pager_family {
	struct mfd_pager *p;
	struct pager_family *next;	 /* in the bucket; pager->lock */
	struct pager_task *first, *last; /* members; only added to, under pager->lock */
	uint32_t id;			 /* pid in the images */
	struct mfd_ranges img;		 /* as dumped; never changes */
	/*
	 * Found when first needed; NULL = none yet.  Stored with release and loaded with acquire by
	 * table_of() alone: several threads may find it, and store the same.
	 */
	_Atomic(struct mfd_pagetable *) table;
	/*
	 * Keep the store's pages: a child needs them.  Set under the parent's task->lock for
	 * writing, read under any member's lock.  No phase: each family for itself, for good.
	 */
	atomic_int forked;
	pthread_mutex_t lock; /* see mfd_pager_family_sync */
	/*
	 * One bit for each page: a task waits or waited for it.  NULL in safe mode.  Set under lock
	 * with release (make_wish), loaded with acquire (mfd_pager_is_wanted).
	 */
	_Atomic uint64_t *wanted;
};

struct pager_span {
	uint64_t bit, end;
};

/*
 * Bulk work that one thread has taken: pages that share a page table (2 MiB), of which it fills a
 * chunk at a time.  Two threads that take turns at one table wait for its lock, an eighth of their
 * time.
 */
struct pager_stripe {
	struct pager_task *t; /* NULL: none */
	struct pager_span left;
	unsigned restore; /* pager->forgotten when it was taken */
};

struct pager_task {
	struct mfd_pager *p;
	struct pager_family *fam;
	struct pager_task *next;    /* in pager->tasks; pager->lock */
	struct pager_task *sibling; /* next member of the family; pager->lock */

	/* Reading: put pages in.  Writing: read from uffd, change ranges, close uffd. */
	pthread_rwlock_t lock;
	int uffd;   /* -1 = closed: the task is not served any more */
	int parked; /* was uffd, in a restore that died; -1 = none */
	struct mfd_ranges ranges;
	/*
	 * Settled pages leave the store; lock.  No phase: mfd_pager_open sets it in one task after
	 * the other, and a child is born with it.
	 */
	int giveback;
	struct pager_huge *huge; /* pager_huge.c; lock; NULL: ordinary pages only */
	int pid;		 /* the process, as ops->deposit has found it; 0 = not known */
	/*
	 * It is in pager->tasks.  Written and read by the thread that made the task.  No phase: it
	 * tells adoption which tasks the pager frees.
	 */
	int linked;

	struct pager_book *book; /* shared memory, see pager_book.c */
	uint64_t book_len;
	_Atomic uint64_t *settled; /* one bit for each page; in the book */
	/*
	 * Bits not settled.  Every change is acq_rel: the thread that makes it 0 comes after all
	 * pages that others have put in, and takes the task off pager->pending.
	 */
	_Atomic uint64_t left;

	/* pager->lock: what is still to be looked at in bulk */
	uint64_t cursor;
	/* chunks that met a change of the mappings; at most one for each thread */
	struct pager_span redo[PAGER_MAX_THREADS];
	unsigned redos;
};

/* What one thread of the pager has done; written by it alone. */
struct pager_count {
	mfd_counter pages, chunks, faults;
	struct mfd_latency waited, network; /* pager_wait.c */
} __attribute__((aligned(64)));

/* The calling thread's; NULL in threads that are not a pager's. */
extern _Thread_local struct pager_count *mfd_pager_mine;

/* A page that a task waits for.  CLOCK_MONOTONIC, 0: has not happened. */
struct pager_wait {
	const struct pager_task *t;
	uint64_t bit, img;
	uint64_t read_us;	    /* the first message about it was read */
	uint64_t asked_us, came_us; /* of the source; it arrived */
};

#define PAGER_WAITS 256U /* what comes beyond is not measured */

struct pager_waits {
	pthread_mutex_t lock;
	_Atomic unsigned n; /* written under lock; without it 0 is a hint, see mfd_wait_over */
	struct pager_wait wait[PAGER_WAITS]; /* lock; the first n */
	/* lock: by threads that are not the pager's, receivers above all */
	struct mfd_latency waited, network;
};

struct mfd_pager {
	struct pager_count count[PAGER_MAX_THREADS];
	struct pager_waits waits;
	int dirfd;
	struct mfd_pagestore *store;
	int postcopy; /* as configured; never changes */
	struct mfd_pager_ops ops;
	void *arg;

	/*
	 * Written under lock by mfd_pager_enter, read by any thread.  Partner: task->lock, which
	 * mfd_pager_open takes between OPENING and bulk work; pages of a receiver that had seen an
	 * earlier phase are in the page table by then.
	 */
	_Atomic(enum pager_phase) phase;
	/*
	 * Stored by mfd_pager_complete after the last change of the page table; so a reader loads
	 * it before the table, and a word that is ABSENT then stays so.
	 */
	_Atomic(enum pager_pages) pages;
	/*
	 * Written under lock, after `error`: a thread that needs the error takes the lock, others
	 * read this alone.
	 */
	_Atomic(enum pager_health) health;

	/* ctl: readable from stop on; work: readable while there may be something to do */
	int epfd, ctl, work;
	pthread_t threads[PAGER_MAX_THREADS];
	unsigned nthreads;
	/* the first so many wait for faults and for CRIU, the others fill in bulk */
	unsigned on_call;

	/*
	 * One thread at a time has it, since its descriptors are in the epoll set with
	 * EPOLLONESHOT; the lock, never waited for long, makes what that thread did visible to the
	 * next.  Outermost; `started` is called with it held.
	 */
	struct mfd_lazysock sock;
	pthread_mutex_t sock_lock;
	enum pager_expect expect; /* sock_lock */
	/*
	 * sock_lock: ops->deposit has sock.conn.  No phase: the connection may close before or
	 * after the restore is final, and without ops->deposit it never has it.
	 */
	int conn_deposited;

	pthread_mutex_t gate; /* held while it is adopted, before any thread begins */
	pthread_mutex_t lock;
	struct pager_family *families[PAGER_BUCKETS]; /* lock */
	/* lock; only added to until a restore is forgotten */
	struct pager_task *tasks, *last_task;
	struct pager_task *turn; /* lock: whose chunk is next */
	/* lock: of restores that failed, until stop */
	struct pager_task *parked;
	struct pager_family *parked_families; /* lock */
	/* userfaultfds parked by the pager of a process that died, until stop */
	int *inherited;
	size_t n_inherited;
	unsigned forgotten; /* lock: restores whose tasks were forgotten */
	/* lock: `work` is readable.  No phase: set and taken back all the time in bulk work. */
	int work_set;
	struct mfd_error error; /* lock: first failure */

	/*
	 * The threads end; stored before ctl becomes readable, loaded in every loop of theirs.  No
	 * phase: a pager is stopped in any phase, and callbacks may still run in it.
	 */
	atomic_int stop;
	/*
	 * A task has nothing left, so its userfaultfd can go: exchanged by the thread that does so
	 * (mfd_pager_tidy).  No phase: a hint that comes once for each task.
	 */
	atomic_int untidy;
	_Atomic unsigned named_on_call, named_bulk; /* threads that have taken a name */
	_Atomic uint64_t serial;		    /* of the latest task */
	/*
	 * Tasks with left > 0.  Changed with acq_rel, after task->left; the thread that finds 0 in
	 * an open phase comes after every page of every task.
	 */
	_Atomic uint64_t pending;

	/* statistics, relaxed */
	_Atomic uint64_t lazy, installed, zero, faults, remote, ntasks, gone;
	_Atomic uint64_t dropped, direct, blocks;
	/* pages made zero because they were nowhere: not a statistic but a warning */
	_Atomic uint64_t absent;
	_Atomic uint64_t starved; /* relaxed: times in a row that there was no memory for a page */
};

static inline enum pager_phase mfd_pager_phase(const struct mfd_pager *p)
{
	return atomic_load(&p->phase);
}

/* The restore is final: pages may be put in unasked. */
static inline int mfd_pager_is_open(const struct mfd_pager *p)
{
	return mfd_pager_phase(p) >= PAGER_OPENING;
}

/* To be loaded before the page table. */
static inline int mfd_pager_all_here(const struct mfd_pager *p)
{
	return atomic_load(&p->pages) == PAGER_PAGES_ALL;
}

static inline int mfd_pager_has_failed(const struct mfd_pager *p)
{
	return atomic_load(&p->health) != PAGER_SOUND;
}

/* Words of a bitmap. */
static inline uint64_t mfd_pager_words(uint64_t bits)
{
	return (bits + 63) / 64;
}

/* ---- pager_phase.c ---- */

const char *mfd_pager_phase_name(enum pager_phase phase);
/* The call or event that makes this transition; NULL: there is none. */
const char *mfd_pager_transition(enum pager_phase from, enum pager_phase to);
/* Enter a phase and check it.  lock held. */
void mfd_pager_enter(struct mfd_pager *p, enum pager_phase to);
/* The same without lock. */
void mfd_pager_enter_locked(struct mfd_pager *p, enum pager_phase to);
/* Assert the invariants of the phase.  lock held. */
void mfd_pager_check(const struct mfd_pager *p);
/* Assert what the phase says of the conversation with CRIU.  sock_lock held. */
void mfd_pager_check_sock(const struct mfd_pager *p);

/* ---- pager_core.c ---- */

/* Let the threads for bulk look for work.  lock not held. */
void mfd_pager_wake(struct mfd_pager *p);
/* The first failure counts, and none once everything is in.  lock not held. */
void mfd_pager_fail(struct mfd_pager *p, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
int mfd_pager_watch(struct mfd_pager *p, int fd, void *ptr, int oneshot);

/* ---- pager_book.c; task->lock held for writing, or no other thread knows the task yet ---- */

enum pager_book_state { PAGER_BOOK_LIVE, PAGER_BOOK_PARKED, PAGER_BOOK_BROKEN };
int mfd_book_make(struct pager_task *t, uint64_t parent, int *fd); /* fd is the caller's */
void mfd_book_close(struct pager_task *t);
struct uffd_msg *mfd_book_inbox(struct pager_task *t);	 /* PAGER_BATCH messages; event 0: none */
void mfd_book_pass(struct pager_task *t, unsigned done); /* so many messages are done with */
/* The same, and the ranges are what they are now. */
void mfd_book_commit(struct pager_task *t, unsigned done);
void mfd_book_clear(struct pager_task *t, unsigned n); /* all n messages are done with */
void mfd_book_mark(struct pager_task *t, enum pager_book_state state);
uint64_t mfd_book_serial(const struct pager_task *t);
uint64_t mfd_book_parent(const struct pager_task *t);
int mfd_book_writer(const struct pager_task *t);
unsigned mfd_book_done(const struct pager_task *t);
/* Of a book that a dead process left: nothing in it is believed. */
int mfd_book_peek(int fd, uint32_t *task, enum pager_book_state *state, const char **why);
/* Map it and fill t->ranges; t is to be freed when this fails. */
int mfd_book_open(struct pager_task *t, int fd, const char **why);

/* ---- pager_wait.c ---- */

/* A fault on page `bit` was read at that time; it waits already if it was read before. */
void mfd_wait_begin(struct pager_task *t, uint64_t bit, uint64_t img, uint64_t read_us);
/* The source is asked for it, or has been. */
void mfd_wait_asked(struct pager_task *t, uint64_t bit);
/* Pages have come, and the page table says so. */
void mfd_wait_came(struct pager_family *f, const struct mfd_wire_run *runs, unsigned n);
/*
 * No thread waits for these pages any more: they are in (`put`), which is noted, or it is no more
 * known how long it took.  By a thread that comes after mfd_wait_begin of them: one that has found
 * the page wanted, or the one that answers.
 */
void mfd_wait_over(struct pager_task *t, uint64_t bit, uint64_t n, int put);
void mfd_wait_forget(struct pager_task *t); /* it is served no more */
void mfd_wait_stats(struct mfd_pager *p, struct mfd_pager_stats *st);

/* ---- pager_account.c ---- */

/*
 * The state of the page at image address `img`, and for how many of at most `max` pages it holds,
 * as mfd_pagetable_run.
 */
uint64_t mfd_pager_state(struct pager_family *f, uint64_t img, uint64_t max, uint64_t *word);
int mfd_pager_is_settled(const struct pager_task *t, uint64_t bit);
/*
 * From *bit on, below end: the first page that is not settled, and how many of its kind follow; 0
 * when there is none.
 */
uint64_t mfd_pager_unsettled(const struct pager_task *t, uint64_t *bit, uint64_t end);
uint64_t mfd_pager_settled_count(const struct pager_task *t);
enum pager_how { PAGER_PUT, PAGER_DROPPED, PAGER_LEFT_ZERO };
/* Settle [bit, bit + n), release from the store what is not needed any more.  task->lock held. */
void mfd_pager_settle(struct pager_task *t, uint64_t bit, uint64_t n, enum pager_how how);
/* Of a task that has ended: what is not settled counts as dropped.  task->lock held for writing. */
void mfd_pager_drop_rest(struct pager_task *t);
/*
 * From here on settled pages leave the store, also those that were settled before.  task->lock held
 * for writing.
 */
void mfd_pager_giveback(struct pager_task *t);
/* Nonzero when a task waits for a page of [bit, bit + n). */
int mfd_pager_is_wanted(const struct pager_family *f, uint64_t bit, uint64_t n);
/*
 * Order a change of the page table (or of pager->pages) made before against a fault that finds a
 * page ABSENT: either the fault sees the change, or the caller sees the fault when it looks at
 * `wanted` after this call.
 */
void mfd_pager_family_sync(struct pager_family *f);

/* ---- pager_huge.c ---- */

/* All tasks exist: may this task get huge pages?  Sets t->huge.  t->lock held for writing. */
void mfd_huge_look(struct pager_task *t);
/*
 * Put up to *n pages at cur, where *n becomes how many the answer is about.  0: they are in; an
 * error; 1: they go the ordinary way.  t->lock held for reading, t->huge is not NULL.
 */
int mfd_huge_put(struct pager_task *t, uint64_t bit, uint64_t cur, uint64_t *n, const void *src);
/* UFFDIO_COPY has put a page in at cur.  t->lock held for reading. */
void mfd_huge_prime(struct pager_task *t, uint64_t cur);
/* The next open block from number *at on, which moves on; *bit = its first page.  0: none. */
int mfd_huge_next_open(const struct pager_huge *h, size_t *at, uint64_t *bit);
/* t->lock held for writing, or no other thread has t. */
void mfd_huge_free(struct pager_task *t);

/* ---- pager_task.c ---- */

/* *f is NULL when this fails. */
int mfd_pager_family_new(struct mfd_pager *p, uint32_t id, struct pager_family **f,
			 const char **why);
void mfd_pager_family_free(struct pager_family *f);
struct pager_family *mfd_pager_family(struct mfd_pager *p, uint32_t id); /* or NULL */
/*
 * All families at this moment, to be freed with free(); *n = how many.  NULL: no memory.
 */
struct pager_family **mfd_pager_families(struct mfd_pager *p, size_t *n);
/* The member after t, NULL: the first; NULL at the end. */
struct pager_task *mfd_pager_sibling(struct pager_family *f, struct pager_task *t);
/* The same among all tasks. */
struct pager_task *mfd_pager_next_task(struct mfd_pager *p, struct pager_task *t);

/* Takes uffd over. */
int mfd_pager_task_add(struct mfd_pager *p, uint32_t id, int uffd, int pid, const char **why);
/*
 * Make the child of a task; `done` messages of the parent's inbox are done with then.  When this
 * fails, uffd stays open on purpose: closed, the child would run on with zeros.  The parent's lock
 * is held for writing.
 */
int mfd_pager_task_fork(struct pager_task *parent, int uffd, unsigned done);
/* Without ranges and book; NULL: no memory. */
struct pager_task *mfd_pager_task_new(struct pager_family *f);
void mfd_pager_task_free(struct pager_task *t);
/* Count the task in before any other thread can see it; `settled` of its pages are in already. */
void mfd_pager_task_count(struct pager_task *t, uint64_t settled);
/* Make the task, and its family if that is `new`, known to all threads. */
void mfd_pager_task_link(struct pager_task *t, struct pager_family *new);
/* Its memory has ended.  No lock held. */
void mfd_pager_task_gone(struct pager_task *t);
/* Serve it no more: withdraw and close its userfaultfd.  lock held for writing. */
void mfd_pager_task_let_go(struct pager_task *t);
/* Let go of every task that lacks no page.  No lock held. */
void mfd_pager_tidy(struct mfd_pager *p);
/* Put aside all tasks of a restore that died.  sock_lock held; LISTENING follows. */
void mfd_pager_forget(struct mfd_pager *p);
void mfd_pager_free_tasks(struct mfd_pager *p);

/* ---- pager_fill.c ---- */

/*
 * Put n pages from src (NULL = zeros) at cur; what is not mapped any more counts as put.  *done =
 * pages before the error.  These two with task->lock held for reading; they return 0, -EAGAIN (the
 * mappings are changing), -ESRCH or a failure.
 */
int mfd_pager_put(struct pager_task *t, uint64_t bit, uint64_t cur, uint64_t n, const void *src,
		  uint64_t *done);
/*
 * Put everything that is here of pages *bit .. end - 1; *bit moves on to the first that was not
 * looked at.
 */
int mfd_pager_fill(struct pager_task *t, uint64_t *bit, uint64_t end);
/*
 * What to do about an error of the calls above: 0 = nothing more (it was none, or the task is
 * gone), -EAGAIN, or the pager has failed.  No lock held.
 */
int mfd_pager_verdict(struct pager_task *t, int ret);
/*
 * Fill pages [bit, end) of one task, and wait while its mappings change.  `only_due`: if the pager
 * is open, or a task waits for one of them.  No lock held.
 */
void mfd_pager_fill_wait(struct pager_task *t, uint64_t bit, uint64_t end, int only_due);

/* ---- pager_fault.c ---- */

/* Read and handle what its userfaultfd has.  No lock held. */
void mfd_pager_serve(struct pager_task *t);
/* Follow message `done` - 1 of its inbox, which is no fault.  task->lock held for writing. */
int mfd_pager_follow(struct pager_task *t, const struct uffd_msg *m, unsigned done);

/* ---- pager_bulk.c ---- */

/*
 * Put in one chunk, from `mine` (zeroed at the start) if there is anything left in it; 0 when there
 * is no work.  No lock held.
 */
int mfd_pager_chunk(struct mfd_pager *p, struct pager_stripe *mine);

/* ---- pager_open.c ---- */

/* The restore is final: from RESTORING, PROVISIONAL to bulk work.  sock_lock held. */
void mfd_pager_open(struct mfd_pager *p);

/* ---- pager_criu.c ---- */

/* The listener or the connection is ready. */
void mfd_pager_restore_event(struct mfd_pager *p);
#define PAGER_SOCK(p) ((void *)&(p)->sock) /* epoll's pointer for both; a task's is the task */

/* ---- pager_adopt.c ---- */

/* Before a thread passes the gate.  Takes the userfaultfds over, also when it fails. */
/* After that, or before: no thread is past the gate.  The deposits stay open. */
void mfd_pager_hand_back(struct mfd_pager *p, const struct mfd_pager_deposit *deposits, size_t n);
int mfd_pager_take_over(struct mfd_pager *p, struct mfd_pager_deposit *deposits, size_t n,
			uint64_t *again, struct mfd_error *err);

#endif
