/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The pager of one session: puts the pages of the store into the restored tasks through
 * userfaultfd, from several threads, faults first.
 *
 * Life: created when the session is restorable (images complete; in safe mode everything
 * verified).  It listens on lazy-pages.socket as `criu lazy-pages` does, takes the tasks'
 * userfaultfds, answers faults, and once CRIU says that the restore is finished installs everything
 * else.  When every lazy page of every task is in (or its task is gone) the userfaultfds are
 * closed, which tells the kernel that what was never touched is zero, and `done` is called.
 *
 * Work that threads share:
 *   - one epoll set with all userfaultfds, for the threads on call: they do nothing but answer faults, read events and speak with CRIU,
 *     and go ahead of all others, so a fault waits at most for the chunk (256 KiB) that another thread puts into its task;
 *   - per task, a writer-preferring rwlock: readers copy pages, the writer reads events from the userfaultfd and changes the
 *     task's ranges.  The lock is taken for writing *before* read(), since the kernel lets the task go on as soon as
 *     the event has been read, and a page copied after that into memory the task has just discarded would be corruption;
 *   - a chunk cursor per task, under the pager's own lock (taken once per chunk; an atomic could not also hand out chunks that must be
 *     tried again).
 *
 * Pages that a task inherits by fork after the restore are installed for the child too; the store
 * keeps the pages of a forked task's family until all of it is done.
 */
#ifndef MFD_PAGER_H
#define MFD_PAGER_H

#include <stdint.h>

#include "error.h"
#include "pagestore.h"
#include "pagetable.h"
#include "wire.h"

struct mfd_pager;

/*
 * What somebody else must hold for the pager, so that another process can go on (mfd_pager_adopt)
 * should this one die. A restore's connection is held, too, as task 0, until the restore is
 * finished: should we die before we have read it, it holds userfaultfds, and it says whom to end.
 */
struct mfd_pager_held {
	uint32_t task;
	int uffd, book; /* book -1: none */
	/*
	 * deposit: the process that the userfaultfd came from, 0 = not known; ops->deposit sets it
	 * to the task's, as far as that is known
	 */
	int pid;
	int forked; /* deposit: the kernel made it, for a child */
	int writer; /* adopt: the process that had this userfaultfd ... */
	int number; /* ... under this number */
	int taken;  /* set by adopt: this one, which nobody knew, is a child's */
};

/*
 * What the session gives the pager.  Callbacks are called from pager threads and must not block for
 * long; none of them may call mfd_pager_stop.  A lock that a callback takes must not be held while
 * a function of the pager is called.
 */
struct mfd_pager_ops {
	/* The page table of a task, NULL if the session has none. Lives as long as the pager. */
	struct mfd_pagetable *(*table)(void *arg, uint32_t task);
	/*
	 * A restore connected; safe mode: return 0 at once.  Postcopy: the pager has stopped the
	 * restoring CRIU; ask the source for leave and wait; 0 = go on, else the restore is refused
	 * (its connection is closed so that it fails).
	 */
	int (*started)(void *arg);
	/*
	 * Postcopy: pages not here yet; ask the source.  Called at most once per range and
	 * connection.
	 */
	int (*want)(void *arg, uint32_t task, uint64_t vaddr, uint64_t pages);
	/*
	 * Copies of these descriptors must be held by somebody else before they are used (the
	 * supervisor); 0 or -errno.
	 */
	int (*deposit)(void *arg, struct mfd_pager_held *h);
	/*
	 * Nothing depends on this one any more: the other holder closes its copies.  Ours is open
	 * until this has returned.
	 */
	void (*withdraw)(void *arg, int uffd);
	/*
	 * The restore has failed, or is refused: whatever is left of it must die, for its tasks get
	 * no pages.  Its connection is still open and held; afterwards nothing of it is held.
	 */
	void (*abandon)(void *arg);
	/* CRIU said that the restore is finished (all tasks exist). */
	void (*restored)(void *arg);
	/*
	 * Everything is installed (code 0), or the pager gave up (-errno, text): the restored tasks
	 * must then be killed.  Called once. When everything is installed the pager has closed its
	 * userfaultfds, after `withdraw` of each: while a copy is open anywhere, a task that touches
	 * a page that is zero, forks or unmaps waits for nobody.  When it gave up, both keep them.
	 * In postcopy this may come before mfd_pager_complete: what had not arrived by then belongs
	 * to no lazy page of a living task.
	 */
	void (*done)(void *arg, int code, const char *text);
};

#define MFD_PAGER_MAX_THREADS 64U

struct mfd_pager_stats {
	uint64_t lazy_pages; /* total over all tasks */
	/* copied by any way, zero pages that were only left to the kernel included once done */
	uint64_t installed_pages;
	uint64_t faults, remote_faults;
	uint64_t tasks;
	/*
	 * What installed_pages is made of, but for what a pager before this one (mfd_pager_adopt)
	 * had installed.
	 */
	uint64_t zero_pages;	/* left to the kernel */
	uint64_t dropped_pages; /* the tasks did not want them any more */
	/* put in by threads that are not the pager's: receivers, straight from their buffers */
	uint64_t direct_pages;
	unsigned threads;
	struct mfd_pager_thread_stats {
		uint64_t pages;	 /* put in */
		uint64_t chunks; /* of bulk work */
		uint64_t faults; /* answered */
	} thread[MFD_PAGER_MAX_THREADS];
};

struct mfd_pager_config {
	int dirfd; /* the session's folder: images; lazy-pages.socket is made here; duplicated */
	struct mfd_pagestore *store;
	int postcopy;	  /* pages may be ABSENT for now */
	unsigned threads; /* for bulk work, 0 = number of processors; those on call come on top */
	const struct mfd_pager_ops *ops;
	void *arg; /* of ops */
	/*
	 * mfd_pager_adopt only: what ops->deposit was told and ops->withdraw was not, and
	 * userfaultfds of the dead process whose task is not known (book -1).
	 */
	struct mfd_pager_held *held;
	size_t n_held;
};

/* Start the pager's threads at once.  A pager that is freed before ops->done kills no task. */
int mfd_pager_start(const struct mfd_pager_config *c, struct mfd_pager **p, struct mfd_error *err);
/*
 * The same for a restore that is finished and whose pager died with its process.  The store and the
 * tables are as its journal says.
 *
 * Takes over the userfaultfds (of those without a book, the ones that it needs), not the books.
 * Pages that the table has as DIRECT and that are not in become ABSENT, *again = how many; each
 * must come again or the tasks must be killed.  When it fails nothing can be said about the tasks'
 * pages, and they must be killed before the last copies of their userfaultfds are closed.
 */
int mfd_pager_adopt(const struct mfd_pager_config *c, struct mfd_pager **p, uint64_t *again,
		    struct mfd_error *err);
void mfd_pager_stop(struct mfd_pager *p); /* joins the threads, closes the userfaultfds, frees */

/*
 * Postcopy, called by receiver threads: mfd_pager_direct: may pages of `task` be installed straight
 * from a buffer now (restore finished)? mfd_pager_arrived: the n runs of a packet, at image
 * addresses in host order, are here and in the page table.  `pages` holds those that are not zero
 * one after another (they are DIRECT in the table) or is NULL: they are in the store.  They are
 * installed if the restore is finished, and who waits for them is woken.  What cannot be installed
 * because the task unmapped or discarded it counts as done.
 */
int mfd_pager_direct(struct mfd_pager *p, uint32_t task);
int mfd_pager_arrived(struct mfd_pager *p, uint32_t task, const struct mfd_wire_run *runs,
		      unsigned n, const void *pages);
/*
 * Postcopy: nothing more will arrive: what is still ABSENT in a range is zero (verification has
 * made sure that none is lazy).
 */
void mfd_pager_complete(struct mfd_pager *p);

/*
 * A provisional restore may still be killed and repeated: its tasks are stopped until the source
 * has decided.  From mfd_pager_provisional, called before CRIU can connect, until
 * mfd_pager_keep or mfd_pager_undo, faults are answered but nothing else is installed, nothing
 * leaves the store, and ops->restored is not called.
 *
 *	keep	the tasks run now; CRIU has finished, though the pager may not have read that yet
 *	undo	the tasks were killed; wait for another restore
 *
 * A restore that is not provisional is final when CRIU says that it is finished, whether its tasks
 * run or are stopped; keep and undo then change nothing.
 */
void mfd_pager_provisional(struct mfd_pager *p);
void mfd_pager_keep(struct mfd_pager *p);
void mfd_pager_undo(struct mfd_pager *p);
int mfd_pager_finished(struct mfd_pager *p); /* nonzero once CRIU's last word has been read */

/*
 * An early restore: pages still come when it is finished, its tasks stay stopped meanwhile, and its
 * failure ends the session.  Only while the tasks are stopped can they get huge pages.
 *
 *	expect_stop	before the restore begins; huge 0: no huge pages, nothing changes
 *	tasks_stopped	CRIU has ended, none of its tasks can run; nonzero when one of them gets
 *			huge pages
 *	make_whole	before anything depends on the tasks, and before they may run; nonzero: the
 *			pager has failed
 */
void mfd_pager_expect_stop(struct mfd_pager *p, int huge);
int mfd_pager_tasks_stopped(struct mfd_pager *p);
int mfd_pager_make_whole(struct mfd_pager *p);

/* Postcopy after a reconnect: ask again (ops->want) for every page a task waits for. */
void mfd_pager_want_again(struct mfd_pager *p);

void mfd_pager_get_stats(struct mfd_pager *p, struct mfd_pager_stats *st);

#endif
