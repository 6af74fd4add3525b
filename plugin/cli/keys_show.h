/* SPDX-License-Identifier: GPL-2.0-only */
/* `criu-multifd keys show`. */
#ifndef MFD_KEYS_SHOW_H
#define MFD_KEYS_SHOW_H

#include "error.h"

/* Print a line for each certificate and identity in `path` and in its folders. */
int mfd_keys_show(const char *path, struct mfd_error *err);

#endif
