/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Assertions: what must be true whatever a peer, the kernel or another process does.
 *
 * A process that goes on with a broken invariant can lose or double the tasks in its care.  The
 * supervisors are built for the sudden death of a worker: the target's starts another worker, which
 * takes over the restored tasks, and the sender's aborts the dump or goes on in doubt.  So the
 * process says what it found in the log, in one write(), and ends by SIGABRT, without a core dump:
 * that would hold the pages of a task.
 *
 * Only an invariant of this program may be asserted.  What a peer, a person or the machine can
 * cause (a bad packet, a full disk, no memory) is an error and is returned.
 *
 * Not in the plugin: it lives in CRIU's process, and CRIU must not end while its tasks are frozen.
 * Hooks return errors instead, and so does each lib file that is linked into the plugin.
 */
#ifndef MFD_ASSERT_H
#define MFD_ASSERT_H

#include <stddef.h>

/* The expression has no side effects: it is evaluated once, in every build. */
#define mfd_assert(expr)                           \
	(__builtin_expect(!!(expr), 1) ? (void)0 : \
					 mfd_assert_failed(#expr, __FILE__, __LINE__, __func__))

/*
 * What the calling thread works on, for the line in the log: `say` writes, as snprintf() would, a
 * text like "session web, phase ready, plan safe" into buf.  Each thread has a context of its own,
 * at first none; NULL takes it away.  `say` must not lock: its caller is about to end.
 */
typedef void mfd_assert_say(const void *arg, char *buf, size_t len);
void mfd_assert_context(mfd_assert_say *say, const void *arg);

/* Log and end the process. */
void mfd_assert_failed(const char *expr, const char *file, int line, const char *function)
	__attribute__((noreturn, cold));

#endif
