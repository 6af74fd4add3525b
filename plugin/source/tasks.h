/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The frozen tasks and which of their pages are still to be sent.
 *
 * The main thread adds tasks and fills payloads.  The inbox thread looks tasks up to answer faults,
 * hence the lock around the table, and notes what it has answered, which is not sent once more.
 */
#ifndef MFD_TASKS_H
#define MFD_TASKS_H

#include <pthread.h>

#include "error.h"
#include "pagecold.h"
#include "pagelist.h"
#include "pageread.h"
#include "pagetable.h"
#include "pagescan.h"
#include "payload.h"
#include "shared.h"
#include "suspects.h"
#include "tracked.h"

struct mfd_task {
	struct mfd_shared_task *id; /* in shared memory */
	struct mfd_tasks *all;
	struct mfd_pageread reader;
	struct mfd_pagescan *scan; /* NULL once everything has been scanned */
	struct mfd_pagecold cold;  /* as long as scan */
	struct mfd_pagelist list;  /* page-dump = plugin: until the images are on their way */
	/* by length; first the executable ones are scanned, then the others */
	struct mfd_vmas vmas;
	size_t vma;	/* where the scan stands: vmas.v[vma] ... */
	uint64_t pos;	/* ... at this address */
	uint64_t bytes; /* mfd_estimate_task */
	uint64_t peek;	/* where a byte of it can be read; 0: not known */
	/* Scanned but not yet in a payload. */
	struct mfd_run runs[512];
	int nruns, run;
	/*
	 * Pages that went out as answers to faults are MFD_PAGE_DIRECT in it; NULL: none yet.  Made
	 * by the inbox thread (release), read by the main thread (acquire).
	 */
	_Atomic(struct mfd_pagetable *) answered;
	/* precopy, else NULL: what is known of it from the rounds, and what was sent of it */
	struct mfd_tracked_task *tracked;
	struct mfd_pagetable *sent; /* tracked->sent, or its own */
	/*
	 * The late look: 0 = none, or it is over; 1, 2: at data, at executable memory; negative:
	 * this is its search.
	 */
	int old;
	struct mfd_task *late; /* ... and its search */
};

struct mfd_tasks {
	pthread_mutex_t lock; /* guards task[] and n against the inbox thread; entries never move */
	struct mfd_task **task;
	unsigned n, room;
	unsigned current; /* the first that is not done */
	struct mfd_shared *shared;
	uint64_t skipped;		   /* pages that fill has left out, as they were answered */
	const struct mfd_tracked *tracked; /* NULL: the session has no precopy */
	unsigned late;			   /* how many need the late look */
	int overtaken;			   /* bool: images are sent before the pages */
	struct mfd_suspects_count suspects, others; /* clean pages that were compared */
};

void mfd_tasks_init(struct mfd_tasks *t, struct mfd_shared *shared);
void mfd_tasks_fini(struct mfd_tasks *t);
/* Open a frozen task and list its mappings; a zombie has none: 0 with *out NULL. */
int mfd_tasks_add(struct mfd_tasks *t, pid_t pid, struct mfd_task **out, struct mfd_error *err);
/*
 * After a restart of the worker: open a task that is in shared memory already, without anything to
 * send.
 */
int mfd_tasks_reopen(struct mfd_tasks *t, unsigned index, struct mfd_error *err);

/*
 * Fill `p` (empty) with up to max_pages pages: of executable mappings of one task, and of whatever
 * is left of any task. 1 = filled, 0 = nothing left, -errno.
 */
int mfd_tasks_fill_exec(struct mfd_task *task, struct mfd_payload *p, uint32_t max_pages,
			struct mfd_error *err);
int mfd_tasks_fill(struct mfd_tasks *t, struct mfd_payload *p, uint32_t max_pages,
		   struct mfd_error *err);
/*
 * Precopy, once CRIU is through with the tasks: pages that were sent in a round, are not as they
 * were then, and were not sent again: CRIU, too, touches pages.  Where images overtake pages these
 * are all that were written since, and the payload says that their last copy is still to come
 * (MFD_PAYLOAD_STALE).  1, 0 when there are none left, -errno.
 */
int mfd_tasks_fill_late(struct mfd_tasks *t, struct mfd_payload *p, uint32_t max_pages,
			struct mfd_error *err);
/* Nonzero: such a fill has something left to look at. */
int mfd_tasks_has_late(const struct mfd_tasks *t);
/* The round that pages belong to which are sent in the stop; 0 without precopy. */
uint32_t mfd_tasks_round(const struct mfd_tasks *t);
/*
 * By the inbox thread, before it sends these pages as the answer to a fault: fill leaves them out
 * from now on, as far as it can.  Should they be lost on their way, the target asks for them in the
 * end (NEED).
 */
void mfd_tasks_answered(struct mfd_task *k, uint64_t vaddr, uint64_t pages);
/* A copy of its mappings, each once, in whichever order: to be freed.  0 or -ENOMEM. */
int mfd_tasks_mappings(const struct mfd_task *k, struct mfd_vmas *out);
/* Nonzero: a fill would find nothing. */
int mfd_tasks_idle(const struct mfd_tasks *t);
/* A task by the pid of its images, or NULL. */
struct mfd_task *mfd_tasks_find(struct mfd_tasks *t, uint32_t vpid);
uint64_t mfd_tasks_bytes(const struct mfd_tasks *t); /* of all mappings that may hold lazy pages */

#endif
