/* SPDX-License-Identifier: GPL-2.0-only */
/* What several verbs of this folder take: the flag --dir and the argument SESSION. */
#ifndef MFD_ARGS_H
#define MFD_ARGS_H

#include "command.h"
#include "flags.h"

/* A row of a verb's table of flags; `to` is a const char * that holds MFD_DEFAULT_DIR. */
#define MFD_ARGS_DIR(to)                                                            \
	{                                                                           \
		.name = "dir", .kind = MFD_FLAG_STRING, .dest = (to), .arg = "DIR", \
		.help = "the server's folder (default " MFD_DEFAULT_DIR ")"         \
	}

/* -1 if `name` can be the name of a session, else the exit code after a complaint. */
int mfd_args_session(const struct mfd_flags *table, const char *name);

#endif
