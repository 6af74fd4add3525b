/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a session's folder says of its restored tasks (MFD_SESSION_ATTACHED): who they are, and how
 * far their restore was.  The supervisor knows a task only as long as it lacks pages; this file
 * knows it to the end, but for what it forks later, and is there after a crash of everything.
 */
#ifndef MFD_ATTACHED_H
#define MFD_ATTACHED_H

#include <stdint.h>

/*
 * Any thread.  Before a page is installed: this task is `pid` here (0: not known); task 0: who has
 * restored them, and ends with them. 0 or -errno.
 */
int mfd_attached_mark(int dirfd, uint32_t task, int pid);
/*
 * One of the lines in session.h, with its end.  "restored" before a page leaves the store. 0 or
 * -errno.
 */
int mfd_attached_note(int dirfd, const char *line);

/* How much of a restore there was when nobody looked after it any more. */
enum mfd_attached {
	MFD_ATTACHED_NOTHING,  /* none was finished, or what it made was about to be killed */
	MFD_ATTACHED_RESTORED, /* the tasks exist, and pages may have left the store */
	MFD_ATTACHED_COMPLETE, /* ... and lack none */
};
enum mfd_attached mfd_attached_left(int dirfd);

/*
 * Kill those tasks that are still what they were then, their descendants and the pid namespaces
 * restored for them.  Nonzero when a restore had been finished, so that pages may have left the
 * store.
 */
int mfd_attached_kill(int dirfd, const char *session);

#endif
