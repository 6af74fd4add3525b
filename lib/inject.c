// SPDX-License-Identifier: GPL-2.0-only
/* A userfaultfd made by a thread of another process. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "inject.h"
#include "io.h"
#include "maps.h"
#include "procfile.h"

#ifdef __x86_64__

#define STOP_MS	  100  /* for a thread to stop; one in uninterruptible sleep does not */
#define CALL_MS	  1000 /* for a call of it; a frozen one makes none */
#define CODE_64	  0x33 /* cs of 64-bit code */
#define USER_MODE 1    /* UFFD_USER_MODE_ONLY */
#define OPTIONS	  (PTRACE_O_TRACESYSGOOD | PTRACE_O_SUSPEND_SECCOMP)
#define THREAD	  O_EXCL /* PIDFD_THREAD, Linux 6.9 */

#ifndef PTRACE_O_SUSPEND_SECCOMP
#define PTRACE_O_SUSPEND_SECCOMP (1 << 21)
#endif
#define GET_RSEQ 0x420f /* PTRACE_GET_RSEQ_CONFIGURATION, Linux 5.13 */

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
	mfd_inject_fn *meanwhile;
	void *arg;
};

static int failed(struct victim *v, int code, const char *step)
{
	if (!v->out->why[0])
		snprintf(v->out->why, sizeof(v->out->why), "%s", step);
	return code;
}

/* ---- which thread ---- */

/* These return EINTR once a stop is over (signal(7)), though no handler has run. */
static int is_touchy(long call)
{
	static const long calls[] = {
		SYS_epoll_wait,	   SYS_epoll_pwait,    SYS_epoll_pwait2, SYS_rt_sigtimedwait,
		SYS_semop,	   SYS_semtimedop,     SYS_recvfrom,	 SYS_recvmsg,
		SYS_recvmmsg,	   SYS_accept,	       SYS_accept4,	 SYS_connect,
		SYS_sendto,	   SYS_sendmsg,	       SYS_sendmmsg,	 SYS_io_getevents,
		SYS_io_pgetevents, SYS_io_uring_enter, SYS_msgrcv,	 SYS_msgsnd,
		SYS_vfork,	   SYS_rt_sigsuspend,  SYS_pause,
	};

	for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++)
		if (calls[i] == call)
			return 1;
	return 0;
}

enum rank { USELESS, SLEEPS_DEEP, TOUCHY, GOOD };

static enum rank rank_of(pid_t pid, pid_t tid)
{
	struct mfd_procfile_stat st;
	char path[64], *text;
	enum rank rank = GOOD;

	if (mfd_procfile_stat(tid, &st) || mfd_procfile_is_over(&st))
		return USELESS;
	if (st.state == 'D')
		return SLEEPS_DEEP;
	snprintf(path, sizeof(path), "/proc/%d/task/%d/syscall", pid, tid);
	if (mfd_io_read_file(AT_FDCWD, path, 4096, &text, NULL))
		return TOUCHY;
	if (isdigit((unsigned char)*text) && is_touchy(strtol(text, NULL, 10)))
		rank = TOUCHY;
	free(text);
	return rank;
}

static int choose_thread(struct victim *v)
{
	enum rank best = USELESS, rank;
	struct dirent *e;
	char path[40];
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/task", v->pid);
	d = opendir(path);
	while (d && (e = readdir(d))) {
		if (!isdigit((unsigned char)e->d_name[0]))
			continue;
		v->threads++;
		rank = best == GOOD ? USELESS : rank_of(v->pid, atoi(e->d_name));
		if (rank > best) {
			best = rank;
			v->tid = atoi(e->d_name);
		}
	}
	if (d)
		closedir(d);
	return best == USELESS ? failed(v, -ESRCH, "no thread is alive") : 0;
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

static int is_call_stop(int status)
{
	return WIFSTOPPED(status) && WSTOPSIG(status) == (SIGTRAP | 0x80);
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

/* Let it run on with `request` until it stops in the wanted way. */
static int run_until(struct victim *v, int request, int (*wanted)(int status))
{
	int status = 0, ret;

	do {
		ret = (int)trace(request, v, 0, NULL);
		if (!ret)
			ret = await_stop(v, CALL_MS, &status);
		if (!ret && !is_event_stop(status) && WSTOPSIG(status) == SIGSTOP)
			v->again = 1;
	} while (!ret && !wanted(status));
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
	ret = mind_rseq(v);
	/* A call that the stop has ended, and nothing but the stop: it is made again. */
	if (!ret && (long)v->before.orig_rax >= 0 && (long)v->before.rax == -EINTR &&
	    !has_signal(v)) {
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
		ret = run_until(v, PTRACE_SYSCALL, is_call_stop);
	if (!ret)
		ret = run_until(v, PTRACE_SYSCALL, is_call_stop);
	if (!ret)
		ret = (int)trace(PTRACE_GETREGS, v, 0, &r);
	return ret ? ret : (long)r.rax;
}

/*
 * To where a stop can be left as from any: an interrupted call is then made again.  A thread that
 * has not stopped in time has to stop now.
 */
static void put_back(struct victim *v)
{
	int status;

	trace(PTRACE_INTERRUPT, v, 0, NULL);
	if (trace(PTRACE_SETREGS, v, 0, &v->before)) /* it runs */
		while (await_stop(v, CALL_MS, &status) == -ETIMEDOUT)
			;
	else
		run_until(v, PTRACE_CONT, is_event_stop);
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

static int make(struct victim *v)
{
	long fd = call(v, SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | USER_MODE);
	int ret;

	if (fd < 0)
		return failed(v, (int)fd, "userfaultfd");
	ret = copy_fd(v, (int)fd);
	if (call(v, SYS_close, (unsigned long)fd) && !ret)
		ret = failed(v, -EBADF, "closing its copy");
	if (!ret && v->threads == 1 && v->meanwhile)
		v->meanwhile(v->out->fd, v->arg);
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
	int ret = choose_thread(v);

	if (!ret)
		ret = find_instruction(v);
	if (!ret)
		ret = seize(v);
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

/*
 * The kernel ties a tracee to a thread and lets go of it when that ends: of one that did not stop
 * in time, too, which cannot be let go in another way.
 */
static void *tracer(void *victim)
{
	struct victim *v = victim;

	return (void *)(intptr_t)attach(v);
}

int mfd_inject_userfaultfd(pid_t pid, mfd_inject_fn *meanwhile, void *arg, struct mfd_inject *out)
{
	struct victim v = { .pid = pid, .out = out, .meanwhile = meanwhile, .arg = arg };
	sigset_t all, old;
	pthread_t thread;
	void *result;
	int ret;

	*out = (struct mfd_inject){ .fd = -1 };
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	ret = pthread_create(&thread, NULL, tracer, &v);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (ret)
		return failed(&v, -ret, "starting a thread");
	pthread_join(thread, &result);
	ret = (int)(intptr_t)result;
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
