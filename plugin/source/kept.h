/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What outlives every process of a sender: .multifd-send.img in CRIU's work directory, from which
 * another sender goes on (`send --again`, started by `criu-multifd resolve --source`).
 *
 * send_phase.c says what each phase leaves to be done (its column `left`), and saves it before the
 * phase is entered; hold.c saves what it is about to hold before it does.  Whatever dies, and in
 * which order, the file says at least as much as has happened.
 *
 * One sender at a time: each holds the folder's lock for as long as any of its processes lives.
 */
#ifndef MFD_KEPT_H
#define MFD_KEPT_H

#include "error.h"
#include "images/source.pb-c.h"
#include "options.h"
#include "shared.h"

#define MFD_KEPT_NOTHING 0 /* no state of enum source_state: a sender that dies leaves nothing */

/*
 * Take the lock of the current directory, for this process and those that it forks.  0; -EBUSY:
 * another sender is at work, or one has left what is to be settled first; -errno.
 */
int mfd_kept_begin(struct mfd_shared *sh, struct mfd_error *err);
/*
 * The same for a sender that goes on: fills `sh` (but for the phase: mfd_send_phase_again) and `o`
 * from the file, with the address that the target had.
 */
int mfd_kept_again(struct mfd_shared *sh, struct mfd_options *o, struct mfd_error *err);
/*
 * Save what is left to be done, if that has changed.  0 or -errno with err, which may be NULL: the
 * file is as it was.  MFD_KEPT_NOTHING removes it.
 */
int mfd_kept_save(struct mfd_shared *sh, const struct mfd_options *o, int left,
		  struct mfd_error *err);
/*
 * What an abort has left: a hold or a frozen group that could not be undone, or a target that has
 * not heard of it.
 * Nothing says so if it cannot be saved: the file says more then.
 */
void mfd_kept_aborted(struct mfd_shared *sh, const struct mfd_options *o, int told);
/* The last process of the sender ends: the lock's file goes, if nothing is left to be done. */
void mfd_kept_end(struct mfd_shared *sh);

#endif
