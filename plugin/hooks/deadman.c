// SPDX-License-Identifier: GPL-2.0-only
/* The dead man's switch: when the sender is gone, CRIU's dump must fail. Theory in deadman.h. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "deadman.h"
#include "gate_pair.h"
#include "pluginlink.h"

/*
 * File-scope state, since a signal handler has nothing else to look at and a process dumps one
 * tree. Written before the signal can come (arm) and after it cannot (disarm).
 */
static int watched = -1;
static struct sigaction old_action;

/*
 * Not SIGIO: a real-time signal of our own cannot collide with a host that uses SIGIO for
 * something.
 */
static int signal_number(void)
{
	return SIGRTMIN + 7;
}

enum verdict { GO_ON, STOP };

/*
 * The queue tells what the sender wanted, POLLHUP that every process of the sender has ended.  A
 * commit verdict counts only while one lives: a sender that has opened the gate before it died has
 * decided already, and a byte behind the end of the stream changes nothing.
 */
static enum verdict look(void)
{
	struct pollfd p = { .fd = watched };
	struct mfd_link_msg m;
	ssize_t n = recv(watched, &m, sizeof(m), MSG_PEEK | MSG_DONTWAIT);

	if (n < 0 && errno == ECONNRESET) /* reported before what lies in the queue, and once */
		n = recv(watched, &m, sizeof(m), MSG_PEEK | MSG_DONTWAIT);
	if (n == (ssize_t)sizeof(m) && m.type == MFD_LINK_LEAVE)
		return GO_ON;
	if (poll(&p, 1, 0) > 0 && p.revents & (POLLHUP | POLLERR))
		return STOP;
	if (n == (ssize_t)sizeof(m))
		return m.type == MFD_LINK_ABORT ? STOP : GO_ON;
	/* STOP: something that is not the sender */
	return n < 0 && (errno == EAGAIN || errno == EINTR) ? GO_ON : STOP;
}

static void handler(int sig)
{
	int saved = errno;

	(void)sig;
	if (watched >= 0 && look() == STOP)
		mfd_gate_pair_fail();
	errno = saved;
}

int mfd_deadman_arm(int link)
{
	struct sigaction sa = { .sa_handler = handler, .sa_flags = SA_RESTART };
	struct f_owner_ex owner = { .type = F_OWNER_PID, .pid = getpid() };
	sigset_t set;

	sigemptyset(&sa.sa_mask);
	if (sigaction(signal_number(), &sa, &old_action))
		return -errno;
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
	watched = -1;
	sigaction(signal_number(), &old_action, NULL);
}
