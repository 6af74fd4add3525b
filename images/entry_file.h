/* SPDX-License-Identifier: GPL-2.0-only */
/* One session_entry in a file: session.img, a tombstone, a record of evidence. */
#ifndef MFD_ENTRY_FILE_H
#define MFD_ENTRY_FILE_H

#include "images/session.pb-c.h"

/* The largest that read knows; write takes 1 if an older program stays right. */
#define MFD_ENTRY_FILE_FORMAT 3U

/* Replace dirfd/file by `e`, whose format is set.  sync nonzero: a crash of the host spares it. */
int mfd_entry_file_write(int dirfd, const char *file, Mfd__SessionEntry *e, int sync);
/*
 * *e is to be freed.  -ENOENT: no such file; -EBADMSG: damaged or no entry; -EPROTO: of a newer
 * format; both with *why, which may be NULL.
 */
int mfd_entry_file_read(int dirfd, const char *file, Mfd__SessionEntry **e, const char **why);
/*
 * Nonzero: read has failed because the file is no entry, or one of a newer program.  Every other
 * error may pass, and says nothing about what is in it: -ENOENT apart, it must be kept.
 */
int mfd_entry_file_is_strange(int ret);

#endif
