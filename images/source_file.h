/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a sender leaves in the folder that criu dump works in, for the sender that may have to come
 * after it: .multifd-send.img (source.proto), and the lock by which every other process knows
 * whether a sender is at work there.
 *
 * The lock belongs to an open file that all processes of one sender share: it is held as long as
 * any of them lives, and ends with the last one, however that dies.
 */
#ifndef MFD_SOURCE_FILE_H
#define MFD_SOURCE_FILE_H

#include "images/source.pb-c.h"

#define MFD_SOURCE_FILE_NAME   ".multifd-send.img"
#define MFD_SOURCE_FILE_LOCK   ".multifd-send.lock"
#define MFD_SOURCE_FILE_FORMAT 1U

/* Replace the file by `e`, whose format is set here; readers see the old one or the new one. */
int mfd_source_file_store(int dirfd, Mfd__SourceEntry *e);
/*
 * *e is to be freed with mfd_source_file_free.  -ENOENT, -EBADMSG, -EPROTO with *why: a newer
 * program wrote it.
 */
int mfd_source_file_load(int dirfd, Mfd__SourceEntry **e, const char **why);
void mfd_source_file_free(Mfd__SourceEntry *e); /* NULL is fine */

/* Lock an open file of that name: 0, -EAGAIN: a sender is at work, -errno. */
int mfd_source_file_lock(int lock);
/* Nonzero: a sender is at work in the folder, or it cannot be known.  Takes nothing. */
int mfd_source_file_is_locked(int dirfd);

#endif
