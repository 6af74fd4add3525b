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
 * $CRIU if set (and then nothing else); the criu in PATH if it is 4.1.1 or later; one that
 * contrib/setup has fetched.  -ENOENT with what was looked at and why it will not do.
 */
int mfd_hostcriu_find(struct mfd_hostcriu *c, struct mfd_error *err);

/*
 * The folder of multifd_plugin.so: plugins/ beside this program (a build),
 * ../lib/criu-multifd/plugins (an installation), or what CRIU_LIBS_DIR names.  -ENOENT.
 */
int mfd_hostcriu_plugins(char *path, size_t len, struct mfd_error *err);
/*
 * What CRIU complained about: the plugin's reason if it stands first, and the first errors of CRIU
 * in `log`, without time and place in the source; when there is none, the last line of `errors`,
 * its standard error (may be NULL).  0, or -ENOENT.
 */
int mfd_hostcriu_complaint(int dirfd, const char *log, const char *errors, char *text, size_t len);

#endif
