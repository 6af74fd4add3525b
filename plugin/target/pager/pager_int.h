/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The parts of the pager among themselves: its objects, and which lock guards what.
 *
 *   pager.c         threads and life
 *   pager_restore.c the conversation with CRIU
 *   pager_task.c    tasks and families: made, forked, ended; accounts
 *   pager_fault.c   what comes from a userfaultfd
 *   pager_fill.c    putting pages in: windows, chunks, what receivers bring
 *   pager_still.c   huge pages for tasks that stand still
 *   pager_book.c    what outlives this process: bits, messages, intervals
 *   pager_adopt.c   taking over from a process that died
 *
 * Lock order: pager->sock_lock, task->lock, pager->lock, family->lock.  None is held while want or
 * done is called, sock_lock alone while started, restored and hold are; hold is called under the
 * parent's task->lock when a task forks.
 *
 * A page of a task is *settled* when its bit in task->settled is set: it was installed, the task
 * has thrown it away, or it is zero and left to the kernel.  Bits are set under task->lock (reading
 * suffices) after the page is in, never before: a settled page may be copied to a forked child's
 * account, and its place in the store may be gone.
 */
#ifndef MFD_PAGER_INT_H
#define MFD_PAGER_INT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "counter.h"
#include "lazysock.h"
#include "pager.h"
#include "ranges.h"
#include "uffd.h"

#define PAGER_PAGE MFD_RANGES_PAGE
/* pages around a fault: 64 KiB, from where UFFDIO_COPY is near its full speed */
#define PAGER_WINDOW 16U
/* pages a thread fills under one hold of a task's lock; a multiple of 64 */
#define PAGER_CHUNK	  64U
#define PAGER_STRIPE	  512U /* pages: what a page table maps */
#define PAGER_MAX_THREADS MFD_PAGER_MAX_THREADS
#define PAGER_BUCKETS	  64U
#define PAGER_BATCH	  32U /* messages read at a time */
/* pause while a task's mappings change: it must get a processor to go on */
#define PAGER_CHANGING_US 20

struct pager_task;

static inline uint64_t mfd_pager_words(uint64_t bits)
{
	return (bits + 63) / 64;
}

/*
 * The tasks that one dumped task has become: itself and what it forked since. They share the image:
 * bits, table, wishes.
 */
struct pager_family {
	struct mfd_pager *p;
	struct pager_family *next;	       /* in the bucket; pager->lock */
	struct pager_task *first, *last;       /* members; only added to, under pager->lock */
	uint32_t id;			       /* pid in the images */
	struct mfd_ranges img;		       /* as dumped; never changes */
	_Atomic(struct mfd_pagetable *) table; /* found when first needed; NULL = none yet */
	atomic_int
		forked; /* set under the parent's task->lock for writing, read under any member's: keep the store's pages */
	pthread_mutex_t lock; /* see pager_family_sync */
	/* one bit per page: a task waits or waited for it. Set under lock. NULL in safe mode */
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

	/* Reading: put pages in. Writing: read from uffd and change ranges, close uffd. */
	pthread_rwlock_t lock;
	int uffd;   /* -1 = closed: the task is not served any more */
	int parked; /* was uffd, in a restore that died; -1 = none */
	struct mfd_ranges ranges;
	int giveback;		   /* settled pages leave the store; lock */
	struct pager_still *still; /* pager_still.c; lock */
	int pid;		   /* the process, as ops->deposit has found it; 0 = not known */
	int linked;		   /* it is in pager->tasks; whoever made it */

	struct pager_book *book; /* shared memory, see pager_book.c */
	uint64_t book_len;
	_Atomic uint64_t *settled; /* one bit per page; in the book */
	/* bits not settled; the one who makes it 0 takes the task off pager->pending */
	_Atomic uint64_t left;

	/* pager->lock: what is still to be looked at in bulk */
	uint64_t cursor;
	/* chunks that met a change of the mappings; at most one per thread */
	struct pager_span redo[PAGER_MAX_THREADS];
	unsigned redos;
};

/* What one thread of the pager has done; written by it alone. */
struct pager_count {
	mfd_counter pages, chunks, faults;
} __attribute__((aligned(64)));

/* The calling thread's; NULL in threads that are not a pager's. */
extern _Thread_local struct pager_count *mfd_pager_mine;

struct mfd_pager {
	struct pager_count count[PAGER_MAX_THREADS];
	int dirfd;
	struct mfd_pagestore *store;
	int postcopy;
	struct mfd_pager_ops ops;
	void *arg;

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
	int held,
		finished; /* sock_lock: mfd_pager_provisional; CRIU has said that it is finished */
	int conn_held;	  /* sock_lock: by ops->deposit */

	pthread_mutex_t lock;
	struct pager_family *families[PAGER_BUCKETS]; /* lock */
	/* lock; only added to until a restore is forgotten */
	struct pager_task *tasks, *last_task;
	struct pager_task *turn; /* lock: whose chunk is next */
	/* lock: of restores that failed, until stop */
	struct pager_task *parked;
	struct pager_family *parked_families; /* lock */
	/* userfaultfds parked by the pager before us, until stop */
	int *inherited;
	size_t n_inherited;
	int sweeping;		/* lock: bulk work may be handed out */
	unsigned forgotten;	/* lock: restores whose tasks were forgotten */
	int work_set;		/* lock: state of `work` */
	struct mfd_error error; /* lock: first failure */

	atomic_int stop;
	/* CRIU said finished: pages may be installed unasked, and released */
	atomic_int running;
	atomic_int complete;	 /* ABSENT is zero; from the start in safe mode */
	atomic_int failed;	 /* error is set */
	atomic_int reported;	 /* done has been called: exchanged by who calls it */
	atomic_int awaits_still; /* no bulk work before mfd_pager_tasks_stopped */
	atomic_int still;	 /* blocks may be unregistered and written: no task runs */
	/* a task has nothing left: its userfaultfd can go (mfd_pager_tidy) */
	atomic_int untidy;
	_Atomic unsigned named_on_call, named_bulk; /* threads that have taken a name */
	_Atomic uint64_t serial;		    /* of the latest task */
	_Atomic uint64_t pending;		    /* tasks with left > 0 */

	/* statistics, relaxed */
	_Atomic uint64_t lazy, installed, zero, faults, remote, ntasks;
	_Atomic uint64_t dropped, direct, blocks;
	/* pages made zero because they were nowhere: not a statistic but a warning */
	_Atomic uint64_t absent;
	_Atomic uint64_t starved; /* times in a row that memory for a page was not to be had */
};

/* pager.c */
/* let the threads for bulk look for work; pager->lock not held */
void mfd_pager_wake(struct mfd_pager *p);
void mfd_pager_fail(struct mfd_pager *p, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
int mfd_pager_watch(struct mfd_pager *p, int fd, void *ptr, int oneshot);

/* pager_restore.c: the listener or the connection is ready. */
void mfd_pager_restore_event(struct mfd_pager *p);
#define PAGER_SOCK(p) ((void *)&(p)->sock) /* epoll's pointer for both; a task's is the task */

/* pager_task.c */
/* takes uffd over */
int mfd_pager_task_add(struct mfd_pager *p, uint32_t id, int uffd, int pid, const char **why);
/*
 * Parent's lock held for writing; `done` messages of its inbox are done with then.  When it fails,
 * uffd stays open on purpose: closed, the child would run on with zeros.
 */
int mfd_pager_task_fork(struct pager_task *parent, int uffd, unsigned done);
/* without ranges and book; NULL: no memory */
struct pager_task *mfd_pager_task_new(struct pager_family *f);
void mfd_pager_task_free(struct pager_task *t);
/* Count the task in before anybody can see it; `settled` of its pages are in already. */
void mfd_pager_task_count(struct pager_task *t, uint64_t settled);
void mfd_pager_task_link(struct pager_task *t,
			 struct pager_family *new); /* new: its family, if nobody knows that yet */
struct pager_family *mfd_pager_family_new(struct mfd_pager *p, uint32_t id, const char **why);
void mfd_pager_family_free(struct pager_family *f);
uint64_t mfd_pager_settled_count(const struct pager_task *t);
/*
 * From here on settled pages leave the store, also those that were settled before. Lock held for
 * writing.
 */
void mfd_pager_giveback(struct pager_task *t);
struct pager_task *mfd_pager_next_task(struct mfd_pager *p,
				       /* NULL: the first; or NULL at the end */
				       struct pager_task *t);
/* no lock held: its memory has ended */
void mfd_pager_task_gone(struct pager_task *t);
/* lock held for writing: it is served no more, nobody holds it */
void mfd_pager_task_let_go(struct pager_task *t);
void mfd_pager_forget(struct mfd_pager *p); /* all tasks of a restore that died */
/* no lock held: close what is not needed any more */
void mfd_pager_tidy(struct mfd_pager *p);
void mfd_pager_free_tasks(struct mfd_pager *p);
struct pager_family *mfd_pager_family(struct mfd_pager *p, uint32_t id); /* or NULL */
/*
 * All families at this moment, to be freed with free(); *n = how many. NULL when there are none or
 * no memory.
 */
struct pager_family **mfd_pager_families(struct mfd_pager *p, size_t *n);
struct pager_task *mfd_pager_sibling(struct pager_family *f,
				     /* NULL: the first; or NULL at the end */
				     struct pager_task *t);
/*
 * The state of the page at bit (= img), and for how many of at most `max` pages it holds, as
 * mfd_pagetable_run.
 */
uint64_t mfd_pager_state(struct pager_family *f, uint64_t img, uint64_t max, uint64_t *word);
int mfd_pager_is_settled(const struct pager_task *t, uint64_t bit);
/*
 * From bit on, below end: the first page that is not settled, and how many of its kind follow; 0
 * when there is none.
 */
uint64_t mfd_pager_unsettled(const struct pager_task *t, uint64_t *bit, uint64_t end);
enum pager_how { PAGER_PUT, PAGER_DROPPED, PAGER_LEFT_ZERO };
/* Settle [bit, bit + n) and release from the store what is not needed any more. task->lock held. */
void mfd_pager_settle(struct pager_task *t, uint64_t bit, uint64_t n, enum pager_how how);
/* Of a task that has ended: whatever is not settled counts as dropped. */
void mfd_pager_drop_rest(struct pager_task *t);
/* Nonzero when a task waits for a page of [bit, bit + n). */
int mfd_pager_is_wanted(const struct pager_family *f, uint64_t bit, uint64_t n);
/*
 * Orders a change of the page table (or of `complete`) made before against a fault that finds a
 * page ABSENT: either the fault sees the change, or whoever looks at `wanted` after this call sees
 * the fault.
 */
void mfd_pager_family_sync(struct pager_family *f);

/*
 * pager_still.c: t->lock held for reading, t->still is not NULL.  Puts up to *n pages at cur, which
 * becomes how many it was asked about: 0, an error, or 1: these go the ordinary way.
 */
int mfd_huge_put(struct pager_task *t, uint64_t bit, uint64_t cur, uint64_t *n, const void *src);
/* May it get huge pages? t->lock held for writing. */
void mfd_huge_look(struct pager_task *t);
/* From number *at on, the next open block; *bit = its first page. 0: there is none. */
int mfd_huge_next_open(const struct pager_still *s, size_t *at, uint64_t *bit);
/* a page is in there, put by UFFDIO_COPY */
void mfd_huge_prime(struct pager_task *t, uint64_t cur);
/* t->lock held for writing, or nobody else has t */
void mfd_huge_free(struct pager_task *t);

/* pager_open.c: the restore is final. sock_lock held. */
void mfd_pager_open(struct mfd_pager *p);

/* pager_fault.c */
void mfd_pager_serve(struct pager_task *t); /* read and handle what its userfaultfd has */
/* Message `done` - 1 of its inbox, which is no fault. Lock held for writing. */
int mfd_pager_follow(struct pager_task *t, const struct uffd_msg *m, unsigned done);

/* pager_book.c; lock held for writing, or nobody else knows the task yet */
enum pager_book_state { PAGER_BOOK_LIVE, PAGER_BOOK_PARKED, PAGER_BOOK_BROKEN };
int mfd_book_make(struct pager_task *t, uint64_t parent, int *fd); /* fd is the caller's */
void mfd_book_close(struct pager_task *t);
struct uffd_msg *mfd_book_inbox(struct pager_task *t);	 /* PAGER_BATCH messages; event 0: none */
void mfd_book_pass(struct pager_task *t, unsigned done); /* so many messages are done with */
/* and the ranges are what they are now */
void mfd_book_commit(struct pager_task *t, unsigned done);
void mfd_book_clear(struct pager_task *t, unsigned n); /* all n messages are done with */
void mfd_book_mark(struct pager_task *t, enum pager_book_state state);
uint64_t mfd_book_serial(const struct pager_task *t);
uint64_t mfd_book_parent(const struct pager_task *t);
int mfd_book_writer(const struct pager_task *t);
unsigned mfd_book_done(const struct pager_task *t);
/* Of a book that a dead process left: nothing in it is believed. */
int mfd_book_peek(int fd, uint32_t *task, enum pager_book_state *state, const char **why);
int mfd_book_open(struct pager_task *t, int fd,
		  const char **why); /* maps it, fills t->ranges; t is to be freed when it fails */

/* pager_adopt.c: before the threads start. Takes the userfaultfds over, also when it fails. */
int mfd_pager_take_over(struct mfd_pager *p, struct mfd_pager_held *held, size_t n, uint64_t *again,
			struct mfd_error *err);

/*
 * pager_fill.c; all of them with task->lock held for reading. 0, -EAGAIN (the mappings are
 * changing), -ESRCH or a failure
 */
/*
 * Put n pages from src (NULL = zeros) at cur; what is not mapped any more counts as put. *done =
 * pages before the error.
 */
int mfd_pager_put(struct pager_task *t, uint64_t bit, uint64_t cur, uint64_t n, const void *src,
		  uint64_t *done);
/*
 * Put everything that is here of pages *bit .. end - 1; *bit moves on to the first that was not
 * looked at.
 */
int mfd_pager_fill(struct pager_task *t, uint64_t *bit, uint64_t end);
/*
 * The following without locks.  Pages [bit, end) of one task as mfd_pager_fill, waiting while its
 * mappings change.
 */
void mfd_pager_fill_wait(struct pager_task *t, uint64_t bit, uint64_t end, int only_due);
/*
 * One chunk of bulk work, from `mine` (zeroed at the start) if there is anything left in it; 0 when
 * there is none.
 */
int mfd_pager_chunk(struct mfd_pager *p, struct pager_stripe *mine);
/*
 * What to do about an error of the calls above: 0 = nothing more (it was none, or the task is
 * gone), -EAGAIN, or the pager has failed.
 */
int mfd_pager_verdict(struct pager_task *t, int ret);

#endif
