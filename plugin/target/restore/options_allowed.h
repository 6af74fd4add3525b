/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a source may ask of the target's criu restore: a short list of options that change how the
 * tasks are restored and nothing else on this host.  Everything else is the server's own business
 * (serve --restore-option).
 */
#ifndef MFD_OPTIONS_ALLOWED_H
#define MFD_OPTIONS_ALLOWED_H

#include <stddef.h>

#include "error.h"

#define MFD_OPTIONS_ALLOWED_MAX 32 /* options of one session */

/*
 * Are these all on the list, "NAME" or "NAME=VALUE" without dashes? 0, or -EPERM with the one that
 * is not.
 */
int mfd_options_allowed_check(char *const *options, size_t n, struct mfd_error *err);

#endif
