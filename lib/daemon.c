// SPDX-License-Identifier: GPL-2.0-only
/* Flags that `serve` and `keeper` have in common. */
#include "daemon.h"

static const char *const levels[] = { "error", "warn", "info", "debug", NULL };

struct mfd_flag mfd_daemon_dir(struct mfd_daemon_options *o, const char *help)
{
	return (struct mfd_flag){
		.name = "dir", .kind = MFD_FLAG_STRING, .dest = &o->dir, .arg = "DIR", .help = help
	};
}

struct mfd_flag mfd_daemon_keep_for(struct mfd_daemon_options *o, const char *help)
{
	return (struct mfd_flag){ .name = "keep-for",
				  .kind = MFD_FLAG_UINT,
				  .dest = &o->keep_for,
				  .arg = "SECONDS",
				  .max = 31536000,
				  .help = help };
}

struct mfd_flag mfd_daemon_state_fd(struct mfd_daemon_options *o)
{
	return (struct mfd_flag){
		.name = "state-fd",
		.kind = MFD_FLAG_UINT,
		.dest = &o->state,
		.arg = "N",
		.max = 1 << 20,
		.help = "go on where the program before left off; for 'cpr exec' alone"
	};
}

struct mfd_flag mfd_daemon_log_level(struct mfd_daemon_options *o)
{
	return (struct mfd_flag){ .name = "log-level",
				  .kind = MFD_FLAG_CHOICE,
				  .dest = &o->level,
				  .arg = "L",
				  .choices = levels,
				  .help = "error, warn, info or debug (info)" };
}
