/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The pager of one session puts its pages into the restored tasks through userfaultfd, from several
 * threads, pages that a task waits for first.
 *
 * The life of a pager:
 *
 *	start		The session starts a pager when it is restorable: its images are complete
 *			and, in safe mode, every page is verified.  The pager listens on
 *			lazy-pages.socket as `criu lazy-pages` does.
 *	restore		`criu restore --lazy-pages` connects and sends the userfaultfd of each task.
 *			Until it says that it is finished, the pager answers faults and does nothing
 *			else: if the restore dies, all pages are still in the store and another
 *			restore can begin.
 *	open		CRIU has finished and the restore is final.  Everything is put in: pages
 *			from the store in bulk, pages that still come as they arrive.
 *	done		Every lazy page of every task is in, or its task does not need it any more.
 *			The pager closes the userfaultfds, which tells the kernel that memory which
 *			was never touched is zero, and calls ops->done.
 *
 * pager_int.h has the phases of this life with all transitions, and says which file does what.
 *
 * The way of a page:
 *
 *	receiver	puts the page into the store, or (postcopy, mfd_pager_direct) keeps it in
 *			its own buffer; sets the page table's word to STORED, ZERO or DIRECT; calls
 *			mfd_pager_arrived
 *	store, fault	a thread on call reads the fault from the userfaultfd, looks the page up in
 *			the page table and copies it with its neighbours.  A page that is ABSENT is
 *			requested from the source (ops->want) and put in when it arrives
 *	store, bulk	the other threads copy all pages, 256 KiB at a time
 *	buffer		the receiver itself copies the page, inside mfd_pager_arrived
 *	task		all three ways end in mfd_pager_put(): UFFDIO_COPY, or UFFDIO_ZEROPAGE, or
 *			process_vm_writev for huge pages; then the page counts as settled and its
 *			place in the store is given back
 *
 * Work that threads share:
 *   - one epoll set with all userfaultfds, for the threads on call: they answer faults, read events
 *     and speak with CRIU.  They have precedence over all other threads, so a fault waits at most
 *     for the chunk (256 KiB) that another thread puts into its task;
 *   - a rwlock for each task that prefers writers: readers copy pages, the writer reads events from
 *     the userfaultfd and changes the task's intervals.  The lock is taken for writing *before*
 *     read(): the kernel lets the task go on as soon as the event has been read, and a page that is
 *     copied after that into memory which the task has just discarded would be corruption;
 *   - a cursor for each task, under the pager's own lock, that is taken once for each chunk.  An
 *     atomic cursor could not also hand out chunks that must be tried again.
 *
 * Pages that a task inherits by fork after the restore are put into the child too.  The store keeps
 * the pages of a forked task's family until all of it is done.
 */
#ifndef MFD_PAGER_H
#define MFD_PAGER_H

#include <stddef.h>
#include <stdint.h>

#include "error.h"
#include "latency.h"
#include "pagestore.h"
#include "pagetable.h"
#include "wire.h"

struct mfd_pager;

/*
 * Descriptors of which another process keeps a copy, so that a pager of a later process can go on
 * (mfd_pager_adopt) if this process dies: a task's userfaultfd with the book of its pages, or the
 * connection of a restore, as task 0, until the restore is finished.  A connection may hold
 * userfaultfds that have not been read yet, and it says which process to end.
 */
struct mfd_pager_deposit {
	uint32_t task;
	int uffd, book; /* book -1: none */
	/*
	 * deposit: the process that the userfaultfd came from, 0 = not known; ops->deposit sets it
	 * to the task's, as far as that is known
	 */
	int pid;
	int forked; /* deposit: the kernel made the userfaultfd, for a child */
	int writer; /* adopt: the process that had this userfaultfd ... */
	int number; /* ... under this number */
	/* set by adopt: this userfaultfd, whose task was not known, is a child's */
	int taken;
};

/*
 * What the session gives the pager.  Callbacks are called from pager threads and must not block for
 * long; none of them may call mfd_pager_stop.  A lock that a callback takes must not be held while
 * a function of the pager is called.
 */
struct mfd_pager_ops {
	/*
	 * Return the page table of a task, NULL if the session has none.  The table lives as long
	 * as the pager.
	 */
	struct mfd_pagetable *(*table)(void *arg, uint32_t task);
	/*
	 * A restore has connected.  Safe mode: return 0 at once.  Postcopy: the pager has stopped
	 * the restoring CRIU; ask the source for leave and wait.  0: go on; else the restore is
	 * refused: its connection is closed, so that it fails.
	 */
	int (*started)(void *arg);
	/*
	 * Postcopy: request from the source pages that are not here yet.  Called at most once for
	 * each range and connection.
	 */
	int (*want)(void *arg, uint32_t task, uint64_t vaddr, uint64_t pages);
	/*
	 * Give another process (the supervisor) copies of these descriptors, before the pager uses
	 * them; 0 or -errno.
	 */
	int (*deposit)(void *arg, struct mfd_pager_deposit *h);
	/*
	 * Make the other process close its copies: nothing depends on them any more.  The pager's
	 * own descriptor is open until this has returned.
	 */
	void (*withdraw)(void *arg, int uffd);
	/*
	 * The restore has failed or is refused: end what is left of it, for its tasks get no pages.
	 * Its connection is still open and deposited; afterwards nothing of it is deposited.
	 */
	void (*abandon)(void *arg);
	/* CRIU has finished, all tasks exist, and the restore is final. */
	void (*restored)(void *arg);
	/*
	 * Called once.  Code 0: every page is in, and the pager has closed its userfaultfds after
	 * `withdraw` of each: a copy that is still open anywhere would make a task wait for ever
	 * when it touches a page that is zero, forks or unmaps.  Code -errno with a text: the pager
	 * has failed, the restored tasks must be killed, and both processes keep their userfaultfds
	 * until then.
	 *
	 * In postcopy this may come before mfd_pager_complete: what had not arrived by then belongs
	 * to no lazy page of a living task.
	 */
	void (*done)(void *arg, int code, const char *text);
};

#define MFD_PAGER_MAX_THREADS 64U

struct mfd_pager_stats {
	uint64_t lazy_pages; /* total over all tasks */
	/* copied by any way; once done, also the zero pages that were left to the kernel */
	uint64_t installed_pages;
	uint64_t faults, remote_faults;
	uint64_t tasks;
	uint64_t gone; /* of them, that ended before they had all their pages */
	/*
	 * What installed_pages is made of, except for what the pager of a process that died
	 * (mfd_pager_adopt) had put in.
	 */
	uint64_t zero_pages;	/* left to the kernel */
	uint64_t dropped_pages; /* the tasks did not need them any more */
	uint64_t direct_pages;	/* put in by receivers, straight from their buffers */
	/*
	 * Lazy pages that a task waited for: from the moment that the fault was read to the page
	 * put in; and of that, where the source was asked, from the request to the page's coming.
	 * Times that a fault must be tried again are in it; several threads that wait for one page
	 * count as one.
	 */
	struct mfd_latency_sum waited, network;
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
	struct mfd_pager_deposit *deposits;
	size_t n_deposits;
	int all_came; /* adopt: a page that must come again cannot, and it fails */
};

/* Start the pager's threads at once.  A pager that is stopped before ops->done kills no task. */
int mfd_pager_start(const struct mfd_pager_config *c, struct mfd_pager **p, struct mfd_error *err);
/*
 * The same for a restore that is finished and whose pager died with its process.  The store and the
 * tables are as its journal says.
 *
 * Takes over the userfaultfds (of those without a book, the ones that it needs), not the books.
 * Pages that the table has as DIRECT and that are not in become ABSENT, *again = how many; each
 * must come again or the tasks must be killed.  When this fails, the descriptors in `deposits` are
 * the caller's still, and nothing is known about the tasks' pages: it may be tried again, unless a
 * deposit is `taken`, or the tasks must be killed before the last copies of their userfaultfds are
 * closed.
 */
int mfd_pager_adopt(const struct mfd_pager_config *c, struct mfd_pager **p, uint64_t *again,
		    struct mfd_error *err);
/* Join the threads, close the userfaultfds, free.  NULL is fine. */
void mfd_pager_stop(struct mfd_pager *p);

/*
 * Return nonzero if pages of `task` may go straight from a receiver's buffer into the task now
 * (postcopy; the restore is finished and final).
 */
int mfd_pager_direct(struct mfd_pager *p, uint32_t task);
/*
 * The n runs of a packet, at image addresses in host order, are here and in the page table; called
 * by receivers.  `pages` holds those that are not zero one after another (the table has them as
 * DIRECT), or is NULL: they are in the store.  Put them in if the restore is final, and wake the
 * threads that wait for them.  Pages that the task has unmapped or discarded count as done.
 */
int mfd_pager_arrived(struct mfd_pager *p, uint32_t task, const struct mfd_wire_run *runs,
		      unsigned n, const void *pages);
/*
 * Postcopy: nothing more will arrive: what is still ABSENT in a range is zero (the session has
 * verified that no such page is lazy).
 */
void mfd_pager_complete(struct mfd_pager *p);
/* Postcopy, after a reconnect: ask again (ops->want) for every page that a task waits for. */
void mfd_pager_want_again(struct mfd_pager *p);

/*
 * A provisional restore may still be killed and repeated: its tasks are stopped until the source
 * has decided.  From mfd_pager_provisional, called before CRIU can connect, until mfd_pager_keep or
 * mfd_pager_undo, faults are answered but nothing else is put in, nothing leaves the store, and
 * ops->restored is not called.
 *
 *	keep	the tasks run now; CRIU has finished, though the pager may not have read that yet
 *	undo	CRIU and the tasks were killed; wait for another restore
 *
 * A restore that is not provisional is final when CRIU says that it is finished, whether its tasks
 * run or are stopped.  On a restore that is final none of these calls has an effect.
 */
void mfd_pager_provisional(struct mfd_pager *p);
void mfd_pager_keep(struct mfd_pager *p);
void mfd_pager_undo(struct mfd_pager *p);
int mfd_pager_finished(struct mfd_pager *p); /* nonzero once CRIU's last word has been read */

/*
 * An early restore: pages still come when it is finished, its tasks stay stopped meanwhile, and its
 * failure ends the session.  Only while its tasks are stopped can they get huge pages.
 *
 *	expect_stop	before the restore begins; huge 0: no huge pages, nothing changes
 *	tasks_stopped	CRIU has ended, none of its tasks can run; nonzero when one of them gets
 *			huge pages
 *	make_whole	before anything depends on the tasks, and before they may run; -EIO: the
 *			pager has failed
 */
void mfd_pager_expect_stop(struct mfd_pager *p, int huge);
int mfd_pager_tasks_stopped(struct mfd_pager *p);
int mfd_pager_make_whole(struct mfd_pager *p);

void mfd_pager_get_stats(struct mfd_pager *p, struct mfd_pager_stats *st);

#endif
