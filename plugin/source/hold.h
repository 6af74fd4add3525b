/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Holding the frozen tasks by more than CRIU.
 *
 * Once the restored tasks may run, the tasks here must not, whichever process dies: a task whose
 * tracer dies runs on, and one that is stopped by SIGSTOP runs on after any SIGCONT.  So before
 * leave to run is given they are moved into a control group of their own (version 2), which is
 * frozen.
 * That outlives every process of ours and CRIU's, and a SIGKILL still ends a task in it.  CRIU is
 * not disturbed: its tasks are traced and stop anyway, and it has dumped their groups by then.
 *
 * The group lies below that of the tree's root, so limits and whatever counts or ends that group
 * keep their effect.  The hierarchy needs no mount point: this process mounts it for itself.
 *
 * Where that is impossible (no CONFIG_CGROUPS, tasks outside of this process's cgroup namespace),
 * SIGSTOP must do.  Either way the tasks are looked at while they are held, so that a copy that ran
 * all the same is noticed.
 *
 * Everything lies in shared memory: whichever process of the sender is left can undo it.
 */
#ifndef MFD_HOLD_H
#define MFD_HOLD_H

#include <sys/types.h>

#include "cgroup.h"
#include "error.h"

struct mfd_shared;

#define MFD_HOLD_ORIGINS 16
#define MFD_HOLD_THREADS 1024
#define MFD_HOLD_PATH	 MFD_CGROUP_PATH

enum mfd_hold_kind {
	MFD_HOLD_NONE,
	MFD_HOLD_GROUP,
	MFD_HOLD_SIGNAL, /* SIGSTOP, which any SIGCONT undoes */
};

/* A thread that is in another group than its process. */
struct mfd_hold_thread {
	pid_t tid;
	unsigned origin;
};

/* In mfd_shared; all zero: nothing is held.  Paths are those of /proc/PID/cgroup. */
struct mfd_hold {
	enum mfd_hold_kind kind;
	char group[MFD_HOLD_PATH];
	unsigned norigins;
	char origin[MFD_HOLD_ORIGINS][MFD_HOLD_PATH]; /* where the tasks come from */
	unsigned nthreads;
	struct mfd_hold_thread thread[MFD_HOLD_THREADS];
	pid_t ran; /* this task ran while it was held; 0: none was seen */
};

/*
 * Hold all tasks, which CRIU has stopped; may be repeated.  `keep`, if any, is called when it is
 * known what will hold them, before anything holds: it keeps that for a process that may have to
 * undo it.  0; -errno with err: they cannot be held at all, or it cannot be kept, and nothing has
 * changed.
 */
int mfd_hold_begin(struct mfd_shared *sh, int (*keep)(void *arg), void *arg, struct mfd_error *err);
/*
 * The tasks go back to where they were, and run unless something else keeps them from it.  -errno:
 * the hold stays noted, since some may be in the group still (mfd_kept_aborted keeps that).
 */
int mfd_hold_release(struct mfd_shared *sh);
/* The tasks are dead: remove what is left of the group. */
void mfd_hold_remove(struct mfd_shared *sh);
/*
 * Hold again what does not hold any more, and note in `ran` a task that has run.  Nonzero the first
 * time that one is found.
 */
int mfd_hold_look(struct mfd_shared *sh);
/* For people: "the frozen control group /a/b", "SIGSTOP". */
const char *mfd_hold_text(const struct mfd_shared *sh, char *buf, size_t len);

#endif
