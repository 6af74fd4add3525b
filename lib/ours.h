/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Files and folders of our own, opened so that no other user of the host can stand in the way: what
 * another user may have put under a name that we would use is refused (-EPERM), never followed,
 * never waited for (a FIFO) and never changed.
 *
 * "Ours" is what this process's user owns and only that user (or a group of its own) can change.  A
 * name is one component, looked up in a folder that is open already; where that folder is ours,
 * too, nothing can happen between two calls.
 */
#ifndef MFD_OURS_H
#define MFD_OURS_H

#include <sys/stat.h>
#include <sys/types.h>

#include "error.h"

/*
 * Can another user change it: is it another user's (root is none), or writable for all, or for a
 * group that is not root's nor our own?
 */
int mfd_ours_others_change(const struct stat *st);
/* A folder below `at`: a descriptor or -errno. */
int mfd_ours_dir(int at, const char *name);
/* The same; it is made (0700) if there is nothing of that name. */
int mfd_ours_make_dir(int at, const char *name);
/*
 * A regular file below `at`, opened with these flags (O_RDONLY, O_RDWR | O_APPEND, O_CREAT | O_EXCL
 * ...); mode for O_CREAT.  A descriptor or -errno; -EPERM also for a file with a second name.
 */
int mfd_ours_file(int at, const char *name, int flags, mode_t mode);
/*
 * A folder by its path, which a person has named: links in it may be followed, but each folder on
 * the way must be one in which no other user can replace the next.  A descriptor, or -errno with a
 * sentence that names the folder.
 */
int mfd_ours_path(const char *path, struct mfd_error *err);
/*
 * The same for a folder that this program works in.  If it is ours but others may write to it, as
 * the root of a tmpfs that was mounted without a mode, that is ended, if every file in it is ours
 * and either there is none or `mark`, a file that this program makes, is one of them.
 */
int mfd_ours_claim(const char *path, const char *mark, struct mfd_error *err);
/*
 * An open folder that all users may write to, where none can remove what is not its own
 * (/dev/shm): 1 if it is such a one, or ours.
 */
int mfd_ours_is_safe(int fd);

#endif
