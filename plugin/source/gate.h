/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The gate: the last thing between a finished dump and the death of its tasks.
 *
 * With --lazy-pages CRIU ends a dump by reading requests for pages from one connection.  The end of
 * that connection without a byte lets the dump succeed (the tasks die); a byte lets it fail (the
 * tasks run on).  Real requests are never sent: their format differs between CRIU releases and
 * nothing negotiates it.
 *
 * The plugin has made that connection in CRIU's process, as a pair of unix sockets that no other
 * process can reach (plugin/hooks/gate_pair.h).  The sender copies its end with pidfd_getfd().
 * Every copy can open or close the gate, by one system call; the first of them decides, and the
 * death of a process that has a copy decides nothing, since CRIU's own process keeps one open.
 *
 * CRIU stands at the gate when /proc/CRIU/syscall shows it in recvfrom() on its end.  Then all
 * images are complete, too (CRIU flushes them before).
 */
#ifndef MFD_GATE_H
#define MFD_GATE_H

#include <stdint.h>
#include <sys/types.h>

#include "error.h"

struct mfd_gate {
	pid_t criu;
	int pidfd; /* of CRIU */
	int end;   /* a copy of the sender's end */
};

#define MFD_GATE_NONE                  \
	{                              \
		.pidfd = -1, .end = -1 \
	}

/* 0; -ESRCH: there is no such process; -EBADF: it has no gate (it is not CRIU with this plugin). */
int mfd_gate_init(struct mfd_gate *g, pid_t criu, struct mfd_error *err);
/*
 * The same by a process that takes over: CRIU may have ended, and its end of the gate is fetched
 * when it is needed.  `start` is CRIU's start time: another process of that number is none of it.
 */
void mfd_gate_find(struct mfd_gate *g, pid_t criu, uint64_t start);
void mfd_gate_fini(struct mfd_gate *g);
/* 1 = CRIU stands at the gate; 0 = not yet; -ESRCH = CRIU has ended. */
int mfd_gate_poll(struct mfd_gate *g, struct mfd_error *err);
/*
 * commit: the dump succeeds; only after poll said 1, since images may still be missing before.
 * abort: it fails, now or when CRIU comes to the gate.  0 or -errno (-EPIPE: CRIU has read the
 * other already, or has ended).
 */
int mfd_gate_commit(struct mfd_gate *g, struct mfd_error *err);
int mfd_gate_abort(struct mfd_gate *g);
/* Nonzero when CRIU's process has ended, or was never found. */
int mfd_gate_criu_ended(struct mfd_gate *g, int timeout_ms);
/*
 * Nonzero when CRIU has left the gate, or has ended: a service of CRIU outlives its dump.  What
 * became of the tasks is another question.
 */
int mfd_gate_left(struct mfd_gate *g, int timeout_ms);

#endif
