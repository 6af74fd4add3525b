/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The tasks are to go on here, and CRIU's dump is over or CRIU is dead: everything that outlives
 * the process that has done it, and that keeps the tasks from running as before, is undone.
 *
 *	by CRIU		the network's lock (unlock.h)
 *			a frozen control group (--freeze-cgroup, which runc asks for)
 *	by the sender	the hold (hold.h)
 *
 * Of a CRIU that is killed nothing else keeps them: the kernel lets go of traced tasks, and those
 * that a signal has stopped stay so.  What else it leaves is said in the log: tasks that have died
 * with it, since its code was in them, and its code that stays mapped in the others.
 *
 * What CRIU has begun CRIU undoes itself, unless it is killed: then nothing else would.  Every way
 * on which the tasks go on here leads through mfd_run_on, whichever process is left to do it.
 *
 * CRIU freezes the group, seizes what is in it, and thaws it, all before the first TASK of the
 * plugin; so it is noted for that time alone, and only if it is not frozen before.
 */
#ifndef MFD_RUN_ON_H
#define MFD_RUN_ON_H

#include "error.h"
#include "options.h"

struct mfd_shared;

/*
 * CRIU is about to freeze this group: note it for the supervisor, and for another sender.  0; or
 * -errno with err: how the group is now cannot be seen, so that nothing could undo it.
 */
int mfd_run_on_freezes(struct mfd_shared *sh, const struct mfd_options *o, const char *group,
		       struct mfd_error *err);
/* CRIU has thawed it. */
void mfd_run_on_thawed(struct mfd_shared *sh, const struct mfd_options *o);
/* Undo all.  What could not be undone stays noted (mfd_kept_aborted keeps it), and is said. */
void mfd_run_on(struct mfd_shared *sh);

#endif
