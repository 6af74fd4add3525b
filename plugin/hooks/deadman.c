// SPDX-License-Identifier: GPL-2.0-only
/* The dead man's switch: when the sender is gone, CRIU's accept() must fail. Theory in deadman.h. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "deadman.h"
#include "pluginlink.h"

#define PERIOD_NS 20000000L

/*
 * The one place with file-scope state: a signal handler has nothing else to look at, and a process dumps one tree.
 * Written before the signal can come (arm) and after it cannot (disarm).
 */
static int watched = -1;
static timer_t timer;
static int have_timer;
static struct sigaction old_action;

/* Not SIGIO: a real-time signal of our own cannot collide with a host that uses SIGIO for something. */
static int signal_number(void)
{
	return SIGRTMIN + 7;
}

/* Any listening TCP socket of CRIU's process is its lazy page server; it has no other. */
static int close_gate(void)
{
	struct rlimit lim;
	int max, found = 0;

	max = getrlimit(RLIMIT_NOFILE, &lim) || lim.rlim_cur > 1 << 20 ? 1 << 20 : (int)lim.rlim_cur;
	for (int fd = 3; fd < max && !found; fd++) {
		int listening = 0, domain = 0;
		socklen_t len = sizeof(int);

		if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) || !listening)
			continue;
		len = sizeof(int);
		if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) || (domain != AF_INET && domain != AF_INET6))
			continue;
		shutdown(fd, SHUT_RDWR);
		found = 1;
	}
	return found;
}

enum verdict { GO_ON, STOP };

static enum verdict look(void)
{
	struct mfd_link_msg m;
	ssize_t n = recv(watched, &m, sizeof(m), MSG_PEEK | MSG_DONTWAIT);

	if (n == (ssize_t)sizeof(m))
		return m.type == MFD_LINK_ABORT ? STOP : GO_ON;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return GO_ON;
	return STOP; /* closed, or something that is not the sender */
}

static void again(void)
{
	struct itimerspec t = { .it_value = { .tv_nsec = PERIOD_NS } };

	if (have_timer)
		timer_settime(timer, 0, &t, NULL);
}

static void handler(int sig)
{
	int saved = errno;

	(void)sig;
	if (watched >= 0 && look() == STOP && !close_gate())
		again();
	errno = saved;
}

int mfd_deadman_arm(int link)
{
	struct sigaction sa = { .sa_handler = handler, .sa_flags = SA_RESTART };
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
