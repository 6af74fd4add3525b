// SPDX-License-Identifier: GPL-2.0-only
/* The standby's life: it follows the supervisor, then its orphans, then waits for a new server. */
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "assert.h"
#include "guard.h"
#include "io.h"
#include "standby.h"
#include "standby_msg.h"
#include "uffd.h"

#define LOOK_MS	   1000		/* how often it looks whether its tasks still live */
#define ANSWER_SEC 5		/* that a server which takes over has, for each message */
#define ORPHAN_ID  (1ULL << 63) /* from here on: of deposits that the supervisor did not number */

enum phase { FOLLOWING, ORPHANS, WAITING };

static struct standby {
	enum phase phase;
	struct mfd_deposit *list;
	uint64_t next_id;
} me; /* one in its process, and the signal handler must find it */

/* ---- the last copies ---- */

/* Nonzero: a task lives behind it. */
static int is_needed(const struct mfd_deposit *d)
{
	return !mfd_deposit_is_connection(d) && d->uffd >= 0 && !mfd_uffd_ended(d->uffd);
}

/*
 * SIGABRT: an assertion has failed.  The list is not touched any more, and this process lives until
 * the last task has ended: they wait for pages instead of reading zeros.
 */
static void freeze(int sig)
{
	const struct mfd_deposit *d;

	(void)sig;
	do {
		poll(NULL, 0, LOOK_MS);
		for (d = me.list; d && !is_needed(d);)
			d = d->next;
	} while (d);
	_exit(1);
}

static void enter(enum phase phase)
{
	mfd_assert(phase == me.phase + 1);
	if (phase == ORPHANS)
		signal(SIGABRT, freeze);
	me.phase = phase;
}

/*
 * Deposits of ended tasks go; a restore's connection only matters beside tasks.  Nonzero while
 * there is a task.
 */
static int tasks_left(void)
{
	struct mfd_deposit **p = &me.list;
	int left = 0;

	mfd_assert(me.phase == WAITING);
	while (*p) {
		if (!mfd_deposit_is_connection(*p) && (*p)->uffd >= 0 &&
		    mfd_uffd_ended((*p)->uffd)) {
			mfd_deposit_drop(p);
			continue;
		}
		left += !mfd_deposit_is_connection(*p);
		p = &(*p)->next;
	}
	return left;
}

/* ---- workers without a supervisor, and their heirs ---- */

static struct mfd_deposit **find(const struct mfd_guard_msg *m)
{
	return mfd_deposit_find_number(&me.list, m->writer, m->number, 1);
}

static int add(const struct mfd_guard_msg *g, int *fds, int nfds)
{
	struct mfd_standby_msg m = { .op = MFD_STANDBY_ADD,
				     .with = MFD_STANDBY_UFFD,
				     .task = g->task,
				     .forked = !!(g->flags & MFD_GUARD_FORKED),
				     .writer = g->writer,
				     .number = g->number,
				     .there = -1 };
	const struct mfd_deposit *known = *find(g);

	mfd_assert(me.phase == ORPHANS && me.next_id >= ORPHAN_ID);
	m.with |= g->flags & MFD_GUARD_BOOK ? MFD_STANDBY_BOOK : 0;
	m.with |= g->flags & MFD_GUARD_PIDFD ? MFD_STANDBY_PIDFD : 0;
	m.id = known && known->owner == MFD_DEPOSIT_UNCLAIMED ? known->id : me.next_id++;
	memcpy(m.label, g->session, sizeof(m.label));
	return mfd_standby_msg_add(&me.list, &m, fds, nfds);
}

static int found(const struct mfd_guard_msg *g, int *fds, int nfds)
{
	struct mfd_guard_msg m = *g;

	m.session[0] = 0; /* UNCLAIMED */
	return *find(g) ? 0 : add(&m, fds, nfds);
}

static int withdraw(const struct mfd_guard_msg *g, int *fds, int nfds)
{
	struct mfd_deposit **p = find(g);

	(void)fds;
	(void)nfds;
	if (*p && mfd_deposit_is_of(*p, g->session))
		mfd_deposit_drop(p);
	return 0;
}

static int withdraw_all(const struct mfd_guard_msg *g, int *fds, int nfds)
{
	struct mfd_deposit **p = &me.list;

	(void)fds;
	(void)nfds;
	while (*p) {
		if (mfd_deposit_is_of(*p, g->session))
			mfd_deposit_drop(p);
		else
			p = &(*p)->next;
	}
	return 0;
}

/* Others are not for a standby. */
static const struct {
	int (*act)(const struct mfd_guard_msg *g, int *fds, int nfds);
	int answer; /* an heir waits for it; a worker has what it deposits itself */
} kinds[] = {
	[MFD_GUARD_DEPOSIT] = { add, 0 },
	[MFD_GUARD_FOUND] = { found, 1 },
	[MFD_GUARD_WITHDRAW] = { withdraw, 0 },
	[MFD_GUARD_WITHDRAW_ALL] = { withdraw_all, 0 },
};

static void act(int sock, struct mfd_guard_msg *m, int *fds, int nfds)
{
	const struct mfd_guard_msg ack = { .kind = MFD_GUARD_ACK };

	m->session[sizeof(m->session) - 1] = 0;
	if (m->kind >= sizeof(kinds) / sizeof(*kinds) || !kinds[m->kind].act)
		return;
	if (!kinds[m->kind].act(m, fds, nfds) && kinds[m->kind].answer)
		(void)!mfd_io_send_fds(sock, &ack, sizeof(ack), NULL, 0);
}

/* One message; zero when no worker and no heir is left. */
static int follow_orphan(int sock)
{
	int fds[MFD_GUARD_MAX_FDS] = { -1, -1, -1 }, nfds = MFD_GUARD_MAX_FDS;
	struct mfd_guard_msg m;
	ssize_t n = mfd_io_recv_fds(sock, &m, sizeof(m), fds, &nfds);

	if (n == (ssize_t)sizeof(m))
		act(sock, &m, fds, nfds);
	for (int i = 0; i < MFD_GUARD_MAX_FDS; i++)
		mfd_io_close(&fds[i]);
	return n > 0 || n == -EMSGSIZE;
}

/* ---- the next server ---- */

static int is_root(int fd)
{
	struct ucred u;
	socklen_t len = sizeof(u);

	return !getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &u, &len) &&
	       (u.uid == 0 || u.uid == geteuid());
}

/* Nonzero when the next server has it all: nothing is let go before it says so. */
static int hand_over(int sock)
{
	struct timeval t = { .tv_sec = ANSWER_SEC };
	const struct mfd_deposit *d = me.list;
	struct mfd_deposit *none = NULL;

	mfd_assert(me.phase == WAITING);
	if (!is_root(sock) || setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t)) ||
	    setsockopt(sock, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t)))
		return 0;
	while (d && !mfd_standby_msg_send(sock, d))
		d = d->next;
	if (d)
		return 0;
	mfd_standby_msg_op(sock, MFD_STANDBY_END, 0);
	return mfd_standby_msg_receive(sock, &none) == MFD_STANDBY_RELIEVE;
}

static void wait_for_server(int listener)
{
	struct pollfd p = { .fd = listener, .events = POLLIN };

	while (tasks_left()) {
		int sock, done;

		if (poll(&p, 1, LOOK_MS) != 1)
			continue;
		sock = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		if (sock < 0)
			continue;
		done = hand_over(sock);
		close(sock);
		if (done)
			return;
	}
}

/* ---- the process ---- */

enum { LINK = 3, ORPHAN_LINK, LISTENER, N_KEPT };

static void live(void)
{
	int op;

	prctl(PR_SET_NAME, "mfd-standby");
	me = (struct standby){ .phase = FOLLOWING, .next_id = ORPHAN_ID };
	while ((op = mfd_standby_msg_receive(LINK, &me.list)) > 0)
		if (op == MFD_STANDBY_END) /* no task needs what is still held */
			return;
	close(LINK);
	enter(ORPHANS);
	while (follow_orphan(ORPHAN_LINK))
		;
	enter(WAITING);
	wait_for_server(LISTENER);
	/* What it still holds ends with it: a server has it, or there are no tasks. */
}

/* Nothing else: locks, sockets and descriptors of the server must not live on in it. */
static void keep_only(const struct mfd_standby_ends *ends)
{
	const int fds[] = { ends->link, ends->orphans, ends->listener };
	int high[N_KEPT], null = open("/dev/null", O_RDWR);

	for (int fd = LINK; fd < N_KEPT; fd++)
		high[fd] = fcntl(fds[fd - LINK], F_DUPFD, 16);
	for (int fd = 0; fd < LINK; fd++)
		dup2(null, fd);
	for (int fd = LINK; fd < N_KEPT; fd++)
		dup2(high[fd], fd);
	close_range(N_KEPT, ~0U, 0);
	(void)!chdir("/");
}

/*
 * A signal to the server's process group is not for this process, which ends when it has nothing to
 * hold.
 */
void mfd_standby_run(const struct mfd_standby_ends *ends)
{
	sigset_t all;

	setsid();
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	keep_only(ends);
	live();
	_exit(0);
}
