/* SPDX-License-Identifier: GPL-2.0-only */
/* Does a criu take these words for a restore?  It is asked before anything depends on it. */
#ifndef MFD_CRIUWORDS_H
#define MFD_CRIUWORDS_H

#include <stddef.h>

#include "error.h"

/* 0, or -EINVAL with what criu says about them; -errno if it cannot be run. */
int mfd_criuwords_check(const char *criu, const char *const *words, size_t n,
			struct mfd_error *err);

#endif
