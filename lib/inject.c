// SPDX-License-Identifier: GPL-2.0-only
/* A userfaultfd made by a thread of another process. */
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "inject.h"
#include "io.h"
#include "maps.h"
#include "procfile.h"
#include "tracethread.h"

#ifdef __x86_64__

#define STOP_MS	  100  /* for a thread to stop; one in uninterruptible sleep does not */
#define CALL_MS	  1000 /* for a call of it; a frozen one makes none */
#define WAIT_MS	  5000 /* for the tracer */
#define LINK	  0    /* the tracer's descriptor */
#define CODE_64	  0x33 /* cs of 64-bit code */
#define USER_MODE 1    /* UFFD_USER_MODE_ONLY */
#define OPTIONS	  (PTRACE_O_TRACESYSGOOD | PTRACE_O_SUSPEND_SECCOMP)
#define THREAD	  O_EXCL /* PIDFD_THREAD, Linux 6.9 */

#ifndef PTRACE_O_SUSPEND_SECCOMP
#define PTRACE_O_SUSPEND_SECCOMP (1 << 21)
#endif
#define GET_RSEQ 0x420f /* PTRACE_GET_RSEQ_CONFIGURATION, Linux 5.13 */

#define GET_DISPATCH 0x4211 /* PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG, Linux 6.4 */

struct dispatch_config {
	uint64_t mode, selector, offset, length;
};

struct rseq_config {
	uint64_t pointer;
	uint32_t size, signature, flags, pad;
};

/* linux/rseq.h */
struct rseq_section {
	uint32_t version, flags;
	uint64_t start, length, abort;
};

struct victim {
	pid_t pid, tid;
	unsigned threads;
	uint64_t syscall; /* address of such an instruction */
	struct user_regs_struct before;
	uint64_t mask; /* its signals */
	int again;     /* a SIGSTOP came meanwhile: to be sent again */
	struct mfd_inject *out;
};

/* By the tracer: the first with the descriptor, if there is one; the last once all is over. */
struct report {
	int ret;
	struct mfd_inject in;
};

static int failed(struct victim *v, int code, const char *step)
{
	if (!v->out->why[0])
		snprintf(v->out->why, sizeof(v->out->why), "%s", step);
	return code;
}

/* ---- the instruction ---- */

static int find_in_vdso(const struct mfd_map *m, void *victim)
{
	struct victim *v = victim;
	char path[40], code[16384];
	ssize_t n;
	int fd;

	if (strcmp(m->name, "[vdso]"))
		return 0;
	snprintf(path, sizeof(path), "/proc/%d/mem", v->pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : pread(fd, code, sizeof(code), (off_t)m->start);
	mfd_io_close(&fd);
	for (ssize_t i = 0; i + 1 < n && !v->syscall; i++)
		if (code[i] == 0x0f && code[i + 1] == 0x05)
			v->syscall = m->start + (uint64_t)i;
	return 1;
}

static int find_instruction(struct victim *v)
{
	int ret = mfd_maps_each(v->pid, MFD_MAPS, find_in_vdso, v);

	if (ret < 0)
		return failed(v, ret, "reading its mappings");
	return v->syscall ? 0 : failed(v, -ENOEXEC, "it has no vdso with a system call");
}

/* ---- stopping ---- */

static long trace(int request, const struct victim *v, unsigned long addr, const void *data)
{
	return ptrace((enum __ptrace_request)request, v->tid, (void *)addr,
		      (void *)(uintptr_t)data) < 0 ?
		       -errno :
		       0;
}

static int is_event_stop(int status)
{
	return status >> 16 == PTRACE_EVENT_STOP;
}

/* Waits by looking: there is no other wait with an end, and none that is shorter. */
static int await_stop(const struct victim *v, unsigned ms, int *status)
{
	uint64_t end = mfd_io_now_us() + ms * 1000ULL;
	pid_t got;

	do {
		got = waitpid(v->tid, status, __WALL | WNOHANG);
		if (got < 0)
			return -errno;
		if (got)
			return WIFSTOPPED(*status) ? 0 : -ESRCH;
		if (mfd_io_now_us() + ms * 1000ULL - end > 200)
			usleep(20);
		else
			sched_yield();
	} while (mfd_io_now_us() < end);
	return -ETIMEDOUT;
}

/*
 * What the thread itself has brought about, where it is: in code that is not meant to be run like
 * this, as it seems.
 */
static int is_fault(int status)
{
	static const int signals[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGSYS, SIGTRAP };

	for (size_t i = 0; i < sizeof(signals) / sizeof(*signals); i++)
		if (!is_event_stop(status) && WSTOPSIG(status) == signals[i])
			return 1;
	return 0;
}

static void note_stop(struct victim *v, int status)
{
	if (!is_event_stop(status) && WSTOPSIG(status) == SIGSTOP)
		v->again = 1;
}

/* Let it run on until it begins, or ends, a system call. */
static int to_call_stop(struct victim *v)
{
	uint64_t now, end = mfd_io_now_ms() + CALL_MS;
	int status = 0, ret;

	do {
		now = mfd_io_now_ms();
		ret = now < end ? (int)trace(PTRACE_SYSCALL, v, 0, NULL) : -ETIMEDOUT;
		if (!ret)
			ret = await_stop(v, (unsigned)(end - now), &status);
		if (!ret)
			note_stop(v, status);
		if (!ret && is_fault(status))
			ret = -EFAULT;
	} while (!ret && WSTOPSIG(status) != (SIGTRAP | 0x80));
	return ret;
}

static int seize(struct victim *v)
{
	int status, ret = (int)trace(PTRACE_SEIZE, v, 0, (void *)OPTIONS);

	if (ret == -EPERM || ret == -EINVAL) /* without CAP_SYS_ADMIN filters stay */
		ret = (int)trace(PTRACE_SEIZE, v, 0, (void *)PTRACE_O_TRACESYSGOOD);
	if (ret)
		return failed(v, ret, "ptrace");
	ret = (int)trace(PTRACE_INTERRUPT, v, 0, NULL);
	if (!ret)
		ret = await_stop(v, STOP_MS, &status);
	while (!ret && !is_event_stop(status)) { /* a signal of its own came first */
		ret = (int)trace(PTRACE_CONT, v, 0, (void *)(uintptr_t)WSTOPSIG(status));
		if (!ret)
			ret = await_stop(v, STOP_MS, &status);
	}
	return ret ? failed(v, ret, "stopping a thread") : 0;
}

/* ---- calls ---- */

static int has_signal(const struct victim *v)
{
	uint64_t own = 0, shared = 0;

	mfd_procfile_number(v->tid, "SigPnd", 16, &own);
	mfd_procfile_number(v->tid, "ShdPnd", 16, &shared);
	return ((own | shared) & ~v->mask) != 0;
}

/*
 * In a section that must not be interrupted (rseq(2)) the kernel would send the thread to where it
 * begins anew, but looks for that only when the thread leaves the kernel, elsewhere by then.
 */
static int mind_rseq(struct victim *v)
{
	struct rseq_config conf = { 0 };
	struct rseq_section section;
	uint64_t at = 0;
	struct iovec to = { &at, sizeof(at) }, from;

	if (ptrace((enum __ptrace_request)GET_RSEQ, v->tid, (void *)sizeof(conf), &conf) < 0 ||
	    !conf.pointer)
		return 0;
	from = (struct iovec){ (void *)(uintptr_t)(conf.pointer + 8), sizeof(at) };
	if (process_vm_readv(v->tid, &to, 1, &from, 1, 0) != sizeof(at))
		return failed(v, -EFAULT, "its rseq area cannot be read");
	if (!at)
		return 0;
	to = (struct iovec){ &section, sizeof(section) };
	from = (struct iovec){ (void *)(uintptr_t)at, sizeof(section) };
	if (process_vm_readv(v->tid, &to, 1, &from, 1, 0) != sizeof(section))
		return failed(v, -EFAULT, "its rseq area cannot be read");
	if (v->before.rip - section.start < section.length)
		v->before.rip = section.abort;
	return 0;
}

/* Such a thread's calls become signals of it, before a tracer sees them. */
static int mind_dispatch(struct victim *v)
{
	struct dispatch_config conf = { 0 };

	if (ptrace((enum __ptrace_request)GET_DISPATCH, v->tid, (void *)sizeof(conf), &conf) < 0 ||
	    !conf.mode)
		return 0;
	return failed(v, -ENOEXEC, "it dispatches its system calls itself");
}

static int take_state(struct victim *v)
{
	uint64_t all = ~0ULL;
	int ret = (int)trace(PTRACE_GETREGS, v, 0, &v->before);

	if (!ret)
		ret = (int)trace(PTRACE_GETSIGMASK, v, sizeof(v->mask), &v->mask);
	if (ret)
		return failed(v, ret, "reading its registers");
	if (v->before.cs != CODE_64)
		return failed(v, -ENOEXEC, "32-bit code");
	ret = mind_dispatch(v);
	if (!ret)
		ret = mind_rseq(v);
	/* A call that the stop has ended, and nothing but the stop: it is made again. */
	if (!ret && (long)v->before.rax == -EINTR &&
	    mfd_tracethread_repeatable((long)v->before.orig_rax) && !has_signal(v)) {
		v->before.rax = v->before.orig_rax;
		v->before.rip -= 2;
		v->before.orig_rax = ~0ULL;
	}
	if (!ret)
		ret = (int)trace(PTRACE_SETSIGMASK, v, sizeof(all), &all);
	return ret;
}

/* One system call in the thread: its result. */
static long call(struct victim *v, long number, unsigned long argument)
{
	struct user_regs_struct r = v->before;
	int ret;

	r.rip = v->syscall;
	r.rax = (unsigned long)number;
	r.orig_rax = ~0ULL; /* no call is under way that would be made again */
	r.rdi = argument;
	ret = (int)trace(PTRACE_SETREGS, v, 0, &r);
	if (!ret)
		ret = to_call_stop(v);
	if (!ret)
		ret = to_call_stop(v);
	if (!ret)
		ret = (int)trace(PTRACE_GETREGS, v, 0, &r);
	return ret ? ret : (long)r.rax;
}

/*
 * To where a stop can be left as from any: an interrupted call is then made again.  A thread that
 * has not stopped in time has to stop now, however long it takes; until it stands where it can be
 * left, no call is under way in its registers, which the kernel could make on the way.
 */
static void put_back(struct victim *v)
{
	struct user_regs_struct way = v->before;
	int status = 0, ret;

	way.orig_rax = ~0ULL;
	trace(PTRACE_INTERRUPT, v, 0, NULL);
	do {
		if (!trace(PTRACE_SETREGS, v, 0, &way)) /* else it runs */
			trace(PTRACE_CONT, v, 0, NULL);
		ret = await_stop(v, CALL_MS, &status);
		if (!ret)
			note_stop(v, status);
	} while (ret == -ETIMEDOUT || (!ret && !is_event_stop(status)));
	trace(PTRACE_SETREGS, v, 0, &v->before);
	trace(PTRACE_SETSIGMASK, v, sizeof(v->mask), &v->mask);
}

static int is_userfaultfd(int fd)
{
	char path[40], name[64] = "";

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return readlink(path, name, sizeof(name) - 1) > 0 &&
	       !strcmp(name, "anon_inode:[userfaultfd]");
}

static int copy_fd(struct victim *v, int number)
{
	int pidfd = (int)syscall(SYS_pidfd_open, v->tid, THREAD);
	int fd = pidfd < 0 ? -1 : (int)syscall(SYS_pidfd_getfd, pidfd, number, 0);
	int ret = fd < 0 ? -errno : 0;

	mfd_io_close(&pidfd);
	if (!ret && !is_userfaultfd(fd)) {
		close(fd);
		ret = -EBADF;
	}
	v->out->fd = ret ? -1 : fd;
	return ret ? failed(v, ret, "pidfd_getfd") : 0;
}

static void report(const struct victim *v, int ret, int fd)
{
	struct report r = { .ret = ret, .in = *v->out };

	mfd_io_send_fds(LINK, &r, sizeof(r), &fd, fd >= 0);
}

/* With the thread standing still if it is the only one, until that has been made use of. */
static void hand_over(struct victim *v)
{
	struct pollfd p = { LINK, POLLIN, 0 };
	char done;

	report(v, 0, v->out->fd);
	if (v->threads == 1 && poll(&p, 1, CALL_MS) > 0)
		recv(LINK, &done, 1, MSG_DONTWAIT);
}

static int make(struct victim *v)
{
	long fd = call(v, SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | USER_MODE);
	int ret;

	if (fd < 0)
		return failed(v, (int)fd, "userfaultfd");
	ret = copy_fd(v, (int)fd);
	if (call(v, SYS_close, (unsigned long)fd) && !ret)
		ret = failed(v, -EBADF, "closing its copy");
	if (!ret)
		hand_over(v);
	return ret;
}

static int at_stop(struct victim *v)
{
	int ret = take_state(v);

	if (ret)
		return ret;
	ret = make(v);
	put_back(v);
	return ret;
}

static int attach(struct victim *v)
{
	uint64_t t0;
	int ret = seize(v);

	if (ret)
		return ret;
	t0 = mfd_io_now_us();
	ret = at_stop(v);
	trace(PTRACE_DETACH, v, 0, NULL);
	v->out->stopped = (unsigned)(mfd_io_now_us() - t0);
	if (v->again)
		kill(v->pid, SIGSTOP);
	return ret;
}

/* ---- the tracer ---- */

static void spare_me(void)
{
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (fd >= 0 && write(fd, "-1000", 5) < 0)
		(void)0; /* without the right to it */
	mfd_io_close(&fd);
	setsid();
	prctl(PR_SET_NAME, "mfd-tracer");
}

/*
 * A process of its own, with all signals blocked: it puts the registers back whatever becomes of
 * the one that wants the userfaultfd, of its group or of its session.  Of that one's descriptors,
 * connections among them, it holds none.
 *
 * The kernel ties a tracee to its tracer and lets go of it when that ends: of one that did not stop
 * in time, too, which cannot be let go in another way.
 */
static void tracer(struct victim *v, int sock)
{
	if (dup2(sock, LINK) == LINK && !close_range(LINK + 1, ~0U, 0)) {
		spare_me();
		report(v, attach(v), -1);
	}
	_exit(0);
}

/* One of its reports; an error: it was killed, or hangs because the thread does. */
static int next_report(int sock, struct report *r, int *fd)
{
	struct pollfd p = { sock, POLLIN, 0 };
	int n = 1;
	ssize_t got;

	*fd = -1;
	if (poll(&p, 1, WAIT_MS) <= 0)
		return -ETIMEDOUT;
	got = mfd_io_recv_fds(sock, r, sizeof(*r), fd, &n);
	if (n < 1)
		*fd = -1;
	return got == sizeof(*r) ? 0 : -ECHILD;
}

static int hear(struct victim *v, int sock, mfd_inject_fn *meanwhile, void *arg)
{
	struct report r;
	int fd, none, ret = next_report(sock, &r, &fd);

	if (!ret && fd >= 0) {
		if (v->threads == 1) {
			if (meanwhile)
				meanwhile(fd, arg);
			send(sock, "", 1, MSG_NOSIGNAL);
		}
		ret = next_report(sock, &r, &none);
	}
	if (!ret) {
		*v->out = r.in;
		ret = r.ret;
	}
	v->out->fd = fd;
	return ret && !v->out->why[0] ? failed(v, ret, "its tracer") : ret;
}

static pid_t start_tracer(struct victim *v, int sock)
{
	sigset_t all, old;
	pid_t pid;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	pid = fork();
	if (!pid)
		tracer(v, sock);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return pid < 0 ? -errno : pid;
}

static int by_tracer(struct victim *v, mfd_inject_fn *meanwhile, void *arg)
{
	int pair[2], ret;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return failed(v, -errno, "socketpair");
	pid = start_tracer(v, pair[1]);
	mfd_io_close(&pair[1]);
	ret = pid < 0 ? failed(v, pid, "fork") : hear(v, pair[0], meanwhile, arg);
	mfd_io_close(&pair[0]);
	if (pid > 0) /* one that hangs ends by itself */
		waitpid(pid, NULL, ret == -ETIMEDOUT ? WNOHANG : 0);
	return ret;
}

int mfd_inject_userfaultfd(pid_t pid, mfd_inject_fn *meanwhile, void *arg, struct mfd_inject *out)
{
	struct victim v = { .pid = pid, .out = out };
	int ret;

	*out = (struct mfd_inject){ .fd = -1 };
	v.tid = mfd_tracethread_choose(pid, &v.threads);
	ret = v.tid ? find_instruction(&v) : failed(&v, -ESRCH, "no thread is alive");
	if (!ret)
		ret = by_tracer(&v, meanwhile, arg);
	if (ret)
		mfd_io_close(&out->fd);
	return ret;
}

#else

int mfd_inject_userfaultfd(pid_t pid, mfd_inject_fn *meanwhile, void *arg, struct mfd_inject *out)
{
	(void)pid;
	(void)meanwhile;
	(void)arg;
	*out = (struct mfd_inject){ .fd = -1, .why = "not on this processor" };
	return -ENOSYS;
}

#endif
