/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Which pages of a running process were written since they were last looked at.
 *
 * Its private anonymous mappings are registered with a userfaultfd of its own (inject.h) for
 * asynchronous write protection: the kernel takes the protection of a page away at the first write
 * and says nothing.  PAGEMAP_SCAN finds the pages without it, and protects them, in one step.
 *
 *	round	mfd_track_begin		register what is new; that is *fresh*, taken whole once
 *		mfd_track_next ...	what is fresh or was written; protected as it is found
 *	stop	mfd_track_stopped	what a last look has to take: written, untracked
 *
 * The rule: a page that was found in some round, was read after that, and is found by none of the
 * last look's two searches is as it was when it was read.  Only the scans here set the protection,
 * and it goes with the first write of a processor or of the kernel, with the page, its mapping, or
 * the memory map.  The searches ask for more than "not protected" because a page can carry stale
 * protection to an address that is not tracked (mremap; cleared there by Linux 6.13 and later).
 *
 * What breaks it: memory that a device, or the kernel for one, has pinned before it was protected
 * (an O_DIRECT read under way), and another program, or the process itself, that protects pages of
 * it by PAGEMAP_SCAN.  A process with a userfaultfd of its own is not tracked, and neither is one
 * that another userfaultfd has a mapping of: two that track the same memory, two sessions or a
 * process and its child of vfork(), would take what was written from each other.
 *
 * What cannot be tracked is no error: it is found whole by the last look, and `why` tells.
 *
 * What the process notices: a fault of some microseconds for the first write to each page after
 * each scan; and that mappings of before and after the registration do not merge, over which
 * mremap() fails with EFAULT (realloc copies then).
 */
#ifndef MFD_TRACK_H
#define MFD_TRACK_H

#include <stdint.h>
#include <sys/types.h>

#include "inject.h"
#include "pagescan.h"

struct mfd_track {
	pid_t pid;
	uint64_t start_time; /* of the process: a pid may be used again */
	int fd;		     /* the userfaultfd; -1 = untracked */
	char why[96];	     /* ... and why; empty while it is tracked */
	unsigned rounds;     /* begun */
	unsigned stopped_us; /* for how long a thread stood still to attach, the longest */
	/* the round: mappings by address, and what to look for in each */
	struct mfd_pagescan *scan;
	struct mfd_vmas vmas;
	size_t vma;
	uint64_t pos;
};

/* 0: this kernel (Linux 6.9 or later) can do it; else -errno.  Tries it on this process. */
int mfd_track_supported(void);

/* Attach to a process and register its mappings. */
void mfd_track_attach(struct mfd_track *t, pid_t pid);
/*
 * Take the protection back, in pieces: each holds up faults of the process only for a moment, where
 * the kernel's own clearing of a closed userfaultfd holds them up for 40 ms per GiB.
 */
void mfd_track_detach(struct mfd_track *t);

/*
 * A round that cannot be finished: what it has protected, and not told, would count as sent.  So
 * the process is not tracked any more, whatever it does.
 */
void mfd_track_give_up(struct mfd_track *t, int code, const char *step);

/* Begin a round: read the mappings, attach anew after an exec, register what is new. */
void mfd_track_begin(struct mfd_track *t);
/* Up to `max` runs; 0: that was all, or no more can be had: then it is untracked. */
int mfd_track_next(struct mfd_track *t, struct mfd_run *runs, int max);
/* How many pages another round would find now. */
uint64_t mfd_track_count(const struct mfd_track *t);

/*
 * Of a stopped process: split its mappings into what the last look has to search for, and, with
 * `clean`, what it need not take.  Leaves them as they are, all to be taken, if it is not tracked.
 * 0 or -errno.
 */
int mfd_track_stopped(const struct mfd_track *t, struct mfd_vmas *vmas, int clean);

#endif
