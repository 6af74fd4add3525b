// SPDX-License-Identifier: GPL-2.0-only
/* The argument SESSION of the verbs. */
#include <limits.h>
#include <string.h>

#include "args.h"

int mfd_args_session(const struct mfd_flags *table, const char *name)
{
	if (*name && *name != '.' && !strchr(name, '/') && strlen(name) <= NAME_MAX)
		return -1;
	return mfd_flags_misuse(table, "'%s' is not the name of a session", name);
}
