/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The gate: CRIU's lazy page server, the last thing between a finished dump and the death of its
 * tasks.
 *
 * With --lazy-pages CRIU ends a dump by waiting in accept().  A connection that ends without a byte
 * lets the dump succeed (the tasks die); an accept() that fails lets it fail (the tasks run on).
 * Sending real commands is avoided: their format differs between CRIU releases and nothing
 * negotiates it.
 *
 * The moment is seen in /proc/CRIU/syscall, which shows the accept() and its descriptor;
 * pidfd_getfd gives us that very socket. It is the moment when all images are complete, too (CRIU
 * flushes them before).  From then on a socket filter on it lets nobody in but the one local port
 * that we connect from.
 */
#ifndef MFD_GATE_H
#define MFD_GATE_H

#include <sys/socket.h>
#include <sys/types.h>

#include "error.h"

struct mfd_gate {
	pid_t criu;
	int pidfd;    /* of CRIU */
	int listener; /* our copy of CRIU's listening socket, -1 = not seen yet */
	int knock;    /* our bound, not yet connected socket */
	struct sockaddr_storage addr;
	socklen_t addr_len;
};

/* 0, or -ESRCH when there is no such process. */
int mfd_gate_init(struct mfd_gate *g, pid_t criu, struct mfd_error *err);
void mfd_gate_fini(struct mfd_gate *g);
/*
 * 1 = CRIU waits at the gate and it is ours; 0 = not yet; -ESRCH = CRIU has ended; other -errno =
 * cannot be taken.
 */
int mfd_gate_poll(struct mfd_gate *g, struct mfd_error *err);
/* Only after poll said 1.  commit: the dump succeeds; abort: it fails.  0 or -errno. */
int mfd_gate_commit(struct mfd_gate *g, struct mfd_error *err);
int mfd_gate_abort(struct mfd_gate *g);
/* Nonzero when CRIU's process has ended. */
int mfd_gate_criu_ended(struct mfd_gate *g, int timeout_ms);

#endif
