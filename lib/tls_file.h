/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Reading the files that TLS needs.  They say which peer is believed, so they must be root's (or
 * of the user that this process runs as) and writable by that user alone; what holds a key must
 * not be readable by others either.  Symbolic links are not followed.
 */
#ifndef MFD_TLS_FILE_H
#define MFD_TLS_FILE_H

#include <stddef.h>

#include "error.h"

/* The content of a file, in pages that are not in core files; overwritten when it is dropped. */
struct mfd_tls_file {
	char *data; /* with a NUL behind it; NULL: the file is not there */
	size_t len, mapped;
};

enum mfd_tls_secrecy { MFD_TLS_PUBLIC, MFD_TLS_SECRET };

/* Open a folder, which must be root's: the descriptor, or -errno with err filled. */
int mfd_tls_file_folder(const char *path, struct mfd_error *err);
/*
 * Read `name` in the folder `dirfd` (AT_FDCWD); `path` is for messages.  0, or -errno with err
 * filled; -ENOENT without err if it is not there.
 */
int mfd_tls_file_read(struct mfd_tls_file *f, int dirfd, const char *name, const char *path,
		      enum mfd_tls_secrecy secrecy, struct mfd_error *err);
void mfd_tls_file_drop(struct mfd_tls_file *f); /* fine on a zeroed one */

/* Zeroed pages that are not in core files, or NULL. */
void *mfd_tls_file_pages(size_t len);
void mfd_tls_file_pages_free(void *pages, size_t len); /* overwrites them */

#endif
