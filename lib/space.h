/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What is said when a file system is full: which one, how large it is, what is free, how much was
 * needed.  "No space left on device" alone names none of them.
 */
#ifndef MFD_SPACE_H
#define MFD_SPACE_H

#include <stdint.h>

#include "error.h"

#define MFD_SPACE_TEXT 400

/*
 * "/run/x is full: 64.0 MiB in all, 0 B free, 1.0 MiB needed" of the file or folder that fd is;
 * needed: 0 = not known.  "" if `code` is none of -ENOSPC and -EDQUOT.  Returns text.
 */
const char *mfd_space_text(int code, int fd, uint64_t needed, char text[MFD_SPACE_TEXT]);
/* As mfd_error_sys, with that text in place of strerror() if it is full. */
int mfd_space_error(struct mfd_error *err, int code, int fd, uint64_t needed, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));
/* Nonzero: the file system of fd has no room for another page, or for another file. */
int mfd_space_is_full(int fd);

#endif
