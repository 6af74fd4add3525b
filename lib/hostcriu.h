/* SPDX-License-Identifier: GPL-2.0-only */
/* Which criu `migrate` and `restore` run. */
#ifndef MFD_HOSTCRIU_H
#define MFD_HOSTCRIU_H

#include <stddef.h>

#include "error.h"

struct mfd_hostcriu {
	char path[4096];
	int major, minor, patch;
};

/*
 * $CRIU if set (and then nothing else); the criu in PATH if it is 4.1.1 or later; one that contrib/setup has
 * fetched.  -ENOENT with what was looked at and why it will not do.
 */
int mfd_hostcriu_find(struct mfd_hostcriu *c, struct mfd_error *err);

#endif
