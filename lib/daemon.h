/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What `serve` and `keeper` are told in the same words: where they work, how long they keep what no
 * session claims, how much they log, and that they go on for a program before them.
 *
 *	struct mfd_daemon_options o = MFD_DAEMON_DEFAULTS;
 *	const struct mfd_flag flags[] = {
 *		mfd_daemon_dir(&o, "where sessions live (" MFD_DEFAULT_DIR ")"),
 *		...
 */
#ifndef MFD_DAEMON_H
#define MFD_DAEMON_H

#include "command.h"
#include "flags.h"
#include "log.h"

struct mfd_daemon_options {
	const char *dir;
	uint32_t keep_for; /* s; 0 = for ever */
	uint32_t state;	   /* descriptor with the state of the program before; 0 = none */
	int level;	   /* enum mfd_log_level */
};

#define MFD_DAEMON_DEFAULTS                                                      \
	{                                                                        \
		.dir = MFD_DEFAULT_DIR, .keep_for = 86400, .level = MFD_LOG_INFO \
	}

/* Rows of a table of flags; `help` says what the folder and the time mean to this program. */
struct mfd_flag mfd_daemon_dir(struct mfd_daemon_options *o, const char *help);
struct mfd_flag mfd_daemon_keep_for(struct mfd_daemon_options *o, const char *help);
struct mfd_flag mfd_daemon_state_fd(struct mfd_daemon_options *o);
struct mfd_flag mfd_daemon_log_level(struct mfd_daemon_options *o);

#endif
