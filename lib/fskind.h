/* SPDX-License-Identifier: GPL-2.0-only */
/* Which kind of file system a file is on: those that the kernel makes up hold no files to move. */
#ifndef MFD_FSKIND_H
#define MFD_FSKIND_H

#include <stddef.h>

/* Nonzero: it is on one of the kinds (statfs's f_type, linux/magic.h), or that cannot be told. */
int mfd_fskind_may_be(int fd, const unsigned long *kinds, size_t n);

#endif
