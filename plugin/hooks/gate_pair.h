/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The gate, from inside CRIU's process: what CRIU waits for at the end of a lazy dump.
 *
 * CRIU ends `criu dump --lazy-pages` by serving pages to one connection: the end of that connection
 * without a byte is success (the tasks die), anything else is failure (the tasks run on).  Left
 * alone CRIU takes the first connection that reaches a TCP port, which any local user can make. The
 * plugin therefore makes that connection itself, as a pair of unix sockets that no other process
 * can reach.  CRIU gets its end in one of two ways:
 *
 *	--ps-socket 512	CRIU uses the descriptor, and no TCP port is opened at all
 *	without		CRIU listens as ever and calls accept(), which is ours by then (interpose.h)
 *			and returns the same descriptor; what connects to the port is never read
 *
 * lib/gate_end.h says what the other end opens and closes the gate with, lib/pluginlink.h has the
 * numbers, plugin/source/gate.h the sender's side.
 */
#ifndef MFD_HOOKS_GATE_PAIR_H
#define MFD_HOOKS_GATE_PAIR_H

#include "error.h"

/* Make the pair and replace accept(); before the first task is frozen.  0 or -errno. */
int mfd_gate_pair_make(struct mfd_error *err);
/* CRIU's dump shall fail, now or when CRIU comes to the gate.  For signal handlers, too. */
void mfd_gate_pair_fail(void);
/* The dump is over. */
void mfd_gate_pair_close(void);

#endif
