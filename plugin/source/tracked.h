/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The processes of the tree while precopy's rounds are sent, and what is known of each when it is
 * frozen: the main thread's alone, but for the words of `sent` (lib/sentpages.h).
 */
#ifndef MFD_TRACKED_H
#define MFD_TRACKED_H

#include "pageread.h"
#include "pagetable.h"
#include "track.h"

struct mfd_tracked_task {
	struct mfd_track track;
	struct mfd_pageread reader; /* opened anew in each round, after its begin */
	uint32_t vpid;
	struct mfd_pagetable *sent;
	_Atomic int unread; /* bool: in this round a page of it could not be read (channels) */
	int suspect;	    /* bool: memory of it may have been pinned (suspects.h) */
	int met;	    /* bool: it was there when the round before began */
	int tried;	    /* bool: attached, or found to be untracked */
	uint64_t left;	    /* bytes: written since the latest round */
};

struct mfd_tracked {
	struct mfd_tracked_task **task;
	unsigned n, room;
	uint32_t rounds; /* that have ended: the stop's pages are of the next one */
	int check; /* bool: compare the clean pages of each task in the stop, suspect or not */
};

/* Bring the table up to date with the tree; attach what lives long enough.  0 or -errno. */
int mfd_tracked_meet(struct mfd_tracked *t, pid_t root);
/* The frozen process of that pid; NULL: it was not tracked. */
struct mfd_tracked_task *mfd_tracked_find(const struct mfd_tracked *t, pid_t pid);
/* Nonzero: pages were sent in rounds under that number, be it of a process that has ended. */
int mfd_tracked_has_sent(const struct mfd_tracked *t, uint32_t vpid);
/* The same of one page, by another process than the one that `own` is about. */
int mfd_tracked_sent_by_another(const struct mfd_tracked *t, uint32_t vpid,
				const struct mfd_pagetable *own, uint64_t vaddr);
/* Channels have sent all of the round: what could not be read in it is not tracked any more. */
void mfd_tracked_end_round(struct mfd_tracked *t);
/* How many are tracked, and how many are not. */
void mfd_tracked_count(const struct mfd_tracked *t, unsigned *tracked, unsigned *untracked);
/* Take every protection back. */
void mfd_tracked_fini(struct mfd_tracked *t);

#endif
