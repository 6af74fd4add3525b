/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Named files in memory with huge pages: each in a folder of its own,
 * /dev/shm/criu-multifd/XXXXXX, on which a tmpfs with huge=always is mounted.  Only that mount
 * option gives a named file huge pages, and they make filling it 4 times as fast (numbers in
 * pagestore.c).
 *
 * /dev/shm is for every user of the host; /dev/shm/criu-multifd is root's own (ours.h), and so is
 * everything in it.  If another user has taken that name, the folder is
 * /dev/shm/criu-multifd-XXXXXX, as the folder of each file was in earlier versions.  Whatever of
 * those names is not ours is not looked into.
 *
 * A file must outlive this process, so the mount must not be made in a mount namespace that ends
 * with it, as `ip netns exec` makes one.  The mount goes into the mount namespace of our outermost
 * ancestor, and a short-lived child that has entered that namespace opens the file for us: whether
 * the mount propagates to our own namespace does not matter.
 *
 * Beside the file lies "owner", which names the mount namespace, file system and folder that it was
 * made for, so that what a killed server left behind can be told from what a process needs.
 */
#ifndef MFD_MEMFS_H
#define MFD_MEMFS_H

#include <stddef.h>

#define MFD_MEMFS_BASE "criu-multifd" /* in /dev/shm */

/*
 * Make folder, mount and file (0600): a descriptor, with its path in `path` (>= 64 bytes), or
 * -errno.  `owner`: the folder that will link to it.  Where mounting is refused: with need_huge
 * -errno and nothing is left behind, else a file in /dev/shm as it is.
 */
int mfd_memfs_create(const char *owner, const char *name, int need_huge, char *path, size_t len);
/* Open read-write what create has made; -errno; -EINVAL for a path that create cannot have made. */
int mfd_memfs_open(const char *path);
/* Remove file, mount and folder; 0 when there is nothing any more. */
int mfd_memfs_remove(const char *path);
/*
 * Remove every file whose owner's folder is gone or does not link to it any more, if it was made in
 * our own mount namespace and no process has it open; and what was left half made.  A folder that
 * is gone together with its file system counts as there.  Return how many.  `everywhere`: also
 * those that are not in /dev/shm/criu-multifd; this looks at every name in /dev/shm.
 */
int mfd_memfs_tidy(const char *name, int everywhere);

#endif
