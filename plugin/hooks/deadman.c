// SPDX-License-Identifier: GPL-2.0-only
/*
 * The dead man's switch: when the sender is gone, CRIU's accept() must fail. Theory in deadman.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "deadman.h"
#include "pluginlink.h"

#define PERIOD_NS 20000000L

/*
 * The one place with file-scope state: a signal handler has nothing else to look at, and a process
 * dumps one tree. Written before the signal can come (arm) and after it cannot (disarm).
 */
static int watched = -1;
static timer_t timer;
static int have_timer;
static struct sigaction old_action;

/*
 * Not SIGIO: a real-time signal of our own cannot collide with a host that uses SIGIO for
 * something.
 */
static int signal_number(void)
{
	return SIGRTMIN + 7;
}

/*
 * The descriptor of the accept() that the signal has interrupted, or -1.  Not just any listening
 * socket: while CRIU dumps its tasks' files it holds *their* listeners, too, and shutdown() would
 * reach the tasks.  A call that SA_RESTART is going to restart shows its number and its arguments
 * in the registers again.
 */
static int accepting_fd(const ucontext_t *uc)
{
#if defined(__x86_64__)
	long number = uc->uc_mcontext.gregs[REG_RAX], arg = uc->uc_mcontext.gregs[REG_RDI];
#elif defined(__aarch64__)
	long number = (long)uc->uc_mcontext.regs[8], arg = (long)uc->uc_mcontext.regs[0];
#else
	long number = -1, arg = -1; /* the sender and its supervisor remain */

	(void)uc;
#endif
	return number == SYS_accept || number == SYS_accept4 ? (int)arg : -1;
}

/* Nonzero when CRIU stood at its lazy page server and its accept() is going to fail. */
static int close_gate(const ucontext_t *uc)
{
	int fd = accepting_fd(uc), listening = 0, domain = 0;
	socklen_t len = sizeof(int);

	if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) || !listening)
		return 0;
	len = sizeof(int);
	if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) ||
	    (domain != AF_INET && domain != AF_INET6))
		return 0;
	return !shutdown(fd, SHUT_RDWR);
}

enum verdict { GO_ON, STOP };

/*
 * The queue tells what the sender wanted, POLLHUP that nobody is left who could do it.  A commit
 * verdict counts only while somebody is: whether it came to pass is decided by accept() alone, and
 * the target runs nothing before it has heard that the tasks are dead.
 */
static enum verdict look(void)
{
	struct pollfd p = { .fd = watched };
	struct mfd_link_msg m;
	ssize_t n = recv(watched, &m, sizeof(m), MSG_PEEK | MSG_DONTWAIT);

	if (n < 0 && errno == ECONNRESET) /* reported before what lies in the queue, and once */
		n = recv(watched, &m, sizeof(m), MSG_PEEK | MSG_DONTWAIT);
	if (n == (ssize_t)sizeof(m) && m.type == MFD_LINK_HOLD)
		return GO_ON;
	if (poll(&p, 1, 0) > 0 && p.revents & (POLLHUP | POLLERR))
		return STOP;
	if (n == (ssize_t)sizeof(m))
		return m.type == MFD_LINK_ABORT ? STOP : GO_ON;
	/* STOP: something that is not the sender */
	return n < 0 && (errno == EAGAIN || errno == EINTR) ? GO_ON : STOP;
}

static void again(void)
{
	struct itimerspec t = { .it_value = { .tv_nsec = PERIOD_NS } };

	if (have_timer)
		timer_settime(timer, 0, &t, NULL);
}

static void handler(int sig, siginfo_t *si, void *uc)
{
	int saved = errno;

	(void)sig;
	(void)si;
	if (watched >= 0 && look() == STOP && !close_gate(uc))
		again();
	errno = saved;
}

int mfd_deadman_arm(int link)
{
	struct sigaction sa = { .sa_sigaction = handler, .sa_flags = SA_RESTART | SA_SIGINFO };
	struct f_owner_ex owner = { .type = F_OWNER_PID, .pid = getpid() };
	struct sigevent ev = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = signal_number() };
	sigset_t set;

	sigemptyset(&sa.sa_mask);
	if (sigaction(signal_number(), &sa, &old_action))
		return -errno;
	have_timer = !timer_create(CLOCK_MONOTONIC, &ev, &timer);
	watched = link;
	sigemptyset(&set);
	sigaddset(&set, signal_number());
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	if (fcntl(link, F_SETSIG, signal_number()) || fcntl(link, F_SETOWN_EX, &owner) ||
	    fcntl(link, F_SETFL, fcntl(link, F_GETFL) | O_ASYNC)) {
		int ret = -errno;

		mfd_deadman_disarm();
		return ret;
	}
	return 0;
}

void mfd_deadman_disarm(void)
{
	if (watched < 0)
		return;
	fcntl(watched, F_SETFL, fcntl(watched, F_GETFL) & ~O_ASYNC);
	if (have_timer)
		timer_delete(timer);
	have_timer = 0;
	watched = -1;
	sigaction(signal_number(), &old_action, NULL);
}
