/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Pages that the tracker calls clean and that have changed all the same: what was pinned before it
 * was protected is written through another way (lib/track.h).  Of what CRIU can dump that is a read
 * by O_DIRECT, by AIO, or of a file system that reads straight into the caller's pages (FUSE,
 * virtiofs, 9p).
 *
 * So a process that had such a descriptor, or a ring of AIO, in any round is a suspect, and so is
 * one that sees a mount of such a file system: in the stop its clean pages are read and compared
 * with the hashes of what was sent: 0.1 s per GiB.  precopy-check = always does that with each
 * process: a difference in one that is no suspect is a fault of this program or of the kernel, and
 * is counted and sent all the same.
 *
 * Limits: a descriptor with O_DIRECT that is opened and closed within a round while a read is under
 * way; such a file system that is seen only through another one (overlay).
 */
#ifndef MFD_SUSPECTS_H
#define MFD_SUSPECTS_H

#include <stdint.h>

#include "pageread.h"
#include "pagetable.h"

/* Nonzero: memory of the process may be pinned for a read. */
int mfd_suspects_is_one(pid_t pid);

/* The same of what is mounted, by the text of its mountinfo. */
int mfd_suspects_sees_such(const char *mountinfo);

/* In pages. */
struct mfd_suspects_count {
	uint64_t compared, different;
};

/*
 * Compare the pages of runs[0..n-1], of one mapping, with what was sent; those that differ, or are
 * not known, stay in runs[], which has room for `max`.  Returns how many runs these are, or -errno.
 */
int mfd_suspects_differ(const struct mfd_pageread *r, const struct mfd_pagetable *sent,
			struct mfd_run *runs, int n, int max, struct mfd_suspects_count *count);

#endif
