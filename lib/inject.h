/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A userfaultfd of another process, made while it runs: the kernel binds one to the caller's
 * memory, so a thread of the process has to make the call.
 *
 * One thread is stopped by ptrace for some 100 us, makes the call with a `syscall` instruction that
 * the vdso has anyway (nothing is written to the process's memory), and goes on where it was.  The
 * descriptor is copied by pidfd_getfd() and closed there.  All other threads run on.
 *
 * What the thread notices: nothing.  A call that it waits in is made again, as after any stop; the
 * few that would return EINTR instead (epoll_wait and its kind, signal(7)) are avoided by taking
 * another thread, and are repeated otherwise.  Filters by seccomp are suspended meanwhile.
 *
 * The tracer is a process of its own, made for this one time, that blocks all signals, is in a
 * session of its own and is spared by the OOM killer: the thread's registers are put back however
 * the caller ends.
 *
 * Limits: x86-64, 64-bit code, no dispatch of system calls by the process itself (prctl(2)).
 * Should exactly the tracer be killed by SIGKILL in these 100 us, or all processes of its cgroup,
 * the thread goes on in the vdso instead of where it was.  A process that is forked in these 100 us
 * inherits the descriptor, and so does the thread's own process if its close() does not come about:
 * CRIU dumps neither.
 */
#ifndef MFD_INJECT_H
#define MFD_INJECT_H

#include <stdint.h>
#include <sys/types.h>

/* Called while the thread is stopped if it is the process's only one; fd is the userfaultfd. */
typedef void mfd_inject_fn(int fd, void *arg);

struct mfd_inject {
	int fd;		  /* the userfaultfd, O_CLOEXEC; -1 = none */
	unsigned stopped; /* for how many microseconds the thread stood still */
	char why[64];	  /* on an error: which of the steps failed */
};

/* 0, or -errno with `why`; the process runs as before either way. */
int mfd_inject_userfaultfd(pid_t pid, mfd_inject_fn *meanwhile, void *arg, struct mfd_inject *out);

#endif
