/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a session's folder says of its restored tasks: which processes they are, and how far their
 * restore was.  The supervisor knows a task only as long as that lacks pages; this file knows it to
 * the end, but for what the task forks later, and is there after a crash of everything.
 *
 * Below a task's line is "space PID-NAMESPACE SID START-TIME" or, in the server's pid namespace,
 * "session SID START-TIME [CGROUP]": what it has left behind is found by that.
 *
 * MFD_NOTES_FILE has a line "BOOT-ID TASK PID START-TIME" for each task that was handed to the
 * pager (TASK 0: the warden, see restore_run.h), and the lines of enum mfd_note.  With any other
 * line it is unreadable.
 */
#ifndef MFD_RESTORED_NOTES_H
#define MFD_RESTORED_NOTES_H

#include <stdint.h>
#include <sys/types.h>

#define MFD_NOTES_FILE ".attached"

enum mfd_note {
	MFD_NOTE_RESTORED, /* the tasks exist; written before a page leaves the store */
	MFD_NOTE_KILLED,   /* not to be taken over: a worker has begun to kill them */
	/* the tasks lack no page and need no pager, though they may be stopped */
	MFD_NOTE_COMPLETE,
};

/*
 * Any thread; written before a page is installed.  This task is `pid` here (0: not known); task 0:
 * the warden, which ends with the tasks.  0 or -errno.
 */
int mfd_notes_mark(int dirfd, uint32_t task, int pid);
/* Any thread. 0 or -errno. */
int mfd_notes_add(int dirfd, enum mfd_note note);

/* How much of a restore there was when the process that served its pages died. */
enum mfd_notes_left {
	MFD_NOTES_NOTHING,    /* none was finished, or its tasks were about to be killed */
	MFD_NOTES_RESTORED,   /* the tasks exist, and pages may have left the store */
	MFD_NOTES_COMPLETE,   /* ... and lack none */
	MFD_NOTES_UNREADABLE, /* nothing may be concluded */
};
enum mfd_notes_left mfd_notes_left(int dirfd);
/* Nonzero: a restore was finished once, so that pages may have left the store; or unreadable. */
int mfd_notes_restored(int dirfd);
/*
 * -errno: they cannot be read, and another try does not help: the disk, or what is written there.
 * 0: they can, or may soon.
 */
int mfd_notes_are_broken(int dirfd);
/*
 * What became of the tasks that are noted, and of what they have left behind: a child that has
 * called exec has no userfaultfd any more.  In the server's pid namespace a child that has begun a
 * session of its own is found by the control group of its task, unless that is the server's own.
 */
enum mfd_notes_fate {
	MFD_NOTES_NONE,	 /* none is noted */
	MFD_NOTES_ALIVE, /* at least one lives, or it cannot be told */
	MFD_NOTES_DEAD,
};
enum mfd_notes_fate mfd_notes_fate(int dirfd);
/* The warden that was noted last, if it is the same process still; 0: none; -errno: unreadable. */
pid_t mfd_notes_warden(int dirfd);

/*
 * Kill those tasks that are still what they were then, their descendants, and the pid namespaces
 * restored for them.  1: a restore had been finished, so that pages may have left the store; 0:
 * none had; -errno: the notes cannot be read, or of a task it cannot be told if it lives, and none
 * was killed; -EBUSY also: one does not die.
 */
int mfd_notes_kill(int dirfd, const char *session);

#endif
