/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What keeps restored tasks from running until the source has let go.
 *
 * A frozen control group (lib/held.h), into which the plugin puts them before CRIU lets go of them;
 * what it has not put there is put there when CRIU has ended.  Where no such group can be had
 * CRIU's SIGSTOP must do, which any SIGCONT undoes, of the tasks' own user as well.  Either way
 * they are looked at while they are held, so that a copy that ran all the same is noticed.
 *
 * MFD_HELD_FILE has a line "task PID START TICKS SWITCHES" for each, what it had used of the
 * processor, and "ran PID" for one that has run: the next worker goes on with them.
 */
#ifndef MFD_RESTORE_HOLD_H
#define MFD_RESTORE_HOLD_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum mfd_restore_hold_kind {
	MFD_RESTORE_HOLD_NONE,
	MFD_RESTORE_HOLD_GROUP,
	MFD_RESTORE_HOLD_SIGNAL, /* SIGSTOP */
};

struct mfd_restore_held_task {
	pid_t pid;
	uint64_t start, ticks, switches;
};

/* All zero: nothing is held. */
struct mfd_restore_hold {
	enum mfd_restore_hold_kind kind;
	pid_t ran; /* this task ran while it was held; 0: none was seen */
	struct mfd_restore_held_task *task;
	size_t n;
	char group[512]; /* GROUP */
};

/* A word for MFD_HELD_ENV that no other restore has. */
void mfd_restore_hold_name(char name[17]);
/* Hold these n processes, which CRIU has stopped; `session` is for the log. */
void mfd_restore_hold_take(struct mfd_restore_hold *h, int dirfd, const char *session,
			   const pid_t *pids, size_t n);
/* Hold again what does not hold any more.  Nonzero when a task is first seen to have run. */
int mfd_restore_hold_look(struct mfd_restore_hold *h, int dirfd);
/* They may run; what stops them by a signal is its owner's to undo.  0 or -errno, and they run. */
int mfd_restore_hold_release(struct mfd_restore_hold *h, int dirfd);
/* They are dead. */
void mfd_restore_hold_remove(struct mfd_restore_hold *h, int dirfd);
/* Another process's from now on, as they are. */
void mfd_restore_hold_forget(struct mfd_restore_hold *h);
/* For people: "the frozen control group /a/b", "SIGSTOP, which any SIGCONT undoes". */
const char *mfd_restore_hold_text(const struct mfd_restore_hold *h, char *buf, size_t len);

#endif
