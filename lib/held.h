/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Restored tasks that may not run yet, in a frozen control group (frozen.h) of their session.
 *
 *	/where/they/were/criu-multifd.held.NAME		frozen
 *		0, 1, ...				one for each group they come from
 *
 * CRIU has put them into their own groups by then, and has stopped them by SIGSTOP, which stays
 * pending in what is frozen.  The plugin moves them at the end of a restore, while CRIU traces them
 * still: from there on no signal lets them run.  The server moves those that the plugin has not,
 * and all of them back.
 *
 * MFD_HELD_FILE in the session's folder is written before a task is moved, so that any process
 * that is left, or starts later, can undo it.  Lines:
 *
 *	group PATH		the frozen one
 *	origin PATH		what the tasks in PATH/0, PATH/1 ... go back to
 *	TEXT			of the owner, mfd_held_note()
 */
#ifndef MFD_HELD_H
#define MFD_HELD_H

#include <stddef.h>

#include "frozen.h"

#define MFD_HELD_FILE  ".held"
#define MFD_HELD_GROUP "criu-multifd.held"
/* In the environment of a CRIU whose restored tasks are to be held: what makes the group's name. */
#define MFD_HELD_ENV "MFD_HELD_NAME"

struct mfd_held {
	int dirfd, root;
	char group[MFD_FROZEN_PATH]; /* "": none yet */
	char (*origin)[MFD_FROZEN_PATH];
	size_t n;
};

/* What the file in dirfd says, if it is there.  0 or -errno; close it in either case. */
int mfd_held_open(struct mfd_held *h, int dirfd);
void mfd_held_close(struct mfd_held *h);
/*
 * Hold this process; `name` makes the group's.  0: it is held, or has died; -errno: it is where it
 * was.
 */
int mfd_held_add(struct mfd_held *h, const char *name, pid_t pid);
/* Add a line to the file. 0 or -errno. */
int mfd_held_note(int dirfd, const char *line);
/*
 * Whatever is held goes back and runs, if nothing else stops it; the groups and the file go.  0, or
 * -errno: it runs in the group that held it.
 */
int mfd_held_release(int dirfd);
/* What was held is dead: the groups and the file go.  0, also if there are none; or -errno. */
int mfd_held_remove(int dirfd, unsigned wait_ms);

#endif
