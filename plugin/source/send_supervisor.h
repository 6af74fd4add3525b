/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The sender's supervisor: one small process whose duty is that a dead worker never leaves the
 * source frozen or a session undecided.  What it does depends on the phase in which the worker died
 * (enum mfd_send_heir in send_phase.h).  It holds the link open, so the plugin's own switch
 * (plugin/hooks/deadman.c) stays quiet as long as it lives.
 */
#ifndef MFD_SUPERVISOR_H
#define MFD_SUPERVISOR_H

#include "options.h"
#include "shared.h"

/*
 * Fork the worker and stay until it ends, well or badly.  Returns the exit code of `send`.
 */
int mfd_supervisor_run(struct mfd_options *o, struct mfd_shared *sh, int link, int log_fd);
/*
 * The same where every process of the sender before has died, in the phase that `sh` says.
 * forget: a target that was to hear that the tasks run on here is not told any more.
 */
int mfd_supervisor_again(struct mfd_options *o, struct mfd_shared *sh, int log_fd, int forget);

#endif
