// SPDX-License-Identifier: GPL-2.0-only
/* The standby: its life, and how a server finds the one that an earlier server has left. */
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "deposit.h"
#include "guard.h"
#include "io.h"
#include "log.h"
#include "standby.h"
#include "uffd.h"

#define STANDBY_SOCKET ".standby.sock"
#define LOOK_MS	       1000 /* how often it looks whether its tasks still live */
#define ANSWER_MS      5000 /* a server that takes over has, for each message */
#define MAX_FDS	       3

enum op { OP_ADD = 1, OP_DROP, OP_END, OP_RELIEVE };
enum { WITH_UFFD = 1, WITH_BOOK = 2, WITH_PIDFD = 4 };

struct message {
	uint32_t op, with; /* descriptors that come along, in this order */
	uint64_t id;
	uint32_t task;
	int32_t forked, writer, number, there;
	char session[256];
};

/* ---- messages ---- */

static int send_hold(int sock, const struct mfd_deposit *h)
{
	struct message m = { .op = OP_ADD,
			     .id = h->id,
			     .task = h->task,
			     .forked = h->forked,
			     .writer = h->writer,
			     .number = h->number,
			     .there = h->uffd };
	int fds[MAX_FDS], n = 0;

	memcpy(m.session, h->session, sizeof(m.session));
	if (h->uffd >= 0) {
		m.with |= WITH_UFFD;
		fds[n++] = h->uffd;
	}
	if (h->book >= 0) {
		m.with |= WITH_BOOK;
		fds[n++] = h->book;
	}
	if (h->pidfd >= 0) {
		m.with |= WITH_PIDFD;
		fds[n++] = h->pidfd;
	}
	return mfd_io_send_fds(sock, &m, sizeof(m), fds, n) < 0 ? -errno : 0;
}

static void send_op(int sock, enum op op, uint64_t id)
{
	struct message m = { .op = op, .id = id };

	(void)!mfd_io_send_fds(sock, &m, sizeof(m), NULL, 0);
}

static void close_hold(struct mfd_deposit *h)
{
	mfd_io_close(&h->uffd);
	mfd_io_close(&h->book);
	mfd_io_close(&h->pidfd);
}

static struct mfd_deposit **find(struct mfd_deposit **list, uint64_t id)
{
	while (*list && (*list)->id != id)
		list = &(*list)->next;
	return list;
}

static void drop(struct mfd_deposit **list, uint64_t id)
{
	struct mfd_deposit **p = find(list, id), *h = *p;

	if (!h)
		return;
	*p = h->next;
	close_hold(h);
	free(h);
}

/*
 * Takes the descriptors over. What was held under that id is closed only after the new copies are
 * in the list.
 */
static int add(struct mfd_deposit **list, const struct message *m, int *fds, int nfds)
{
	struct mfd_deposit *h = calloc(1, sizeof(*h)), **old = find(list, m->id);
	int n = 0;

	if (!h || nfds != __builtin_popcount(m->with)) {
		free(h);
		return -EPROTO;
	}
	h->id = m->id;
	h->task = m->task;
	h->forked = m->forked;
	h->writer = m->writer;
	h->number = m->number;
	h->there = m->there;
	memcpy(h->session, m->session, sizeof(h->session) - 1);
	h->uffd = m->with & WITH_UFFD ? fds[n++] : -1;
	h->book = m->with & WITH_BOOK ? fds[n++] : -1;
	h->pidfd = m->with & WITH_PIDFD ? fds[n++] : -1;
	for (int i = 0; i < nfds; i++)
		fds[i] = -1;
	h->next = *old ? (*old)->next : NULL;
	if (*old) {
		close_hold(*old);
		free(*old);
	}
	*old = h;
	return 0;
}

/* One message: its op, 0 at the end of the connection, -errno. */
static int receive(int sock, struct mfd_deposit **list)
{
	int fds[MAX_FDS] = { -1, -1, -1 }, nfds = MAX_FDS, ret;
	struct message m;
	ssize_t n = mfd_io_recv_fds(sock, &m, sizeof(m), fds, &nfds);

	if (n == 0 || n == -ECONNRESET)
		return 0;
	if (n != (ssize_t)sizeof(m))
		return n < 0 ? (int)n : -EPROTO;
	ret = m.op == OP_ADD ? add(list, &m, fds, nfds) : 0;
	if (m.op == OP_DROP)
		drop(list, m.id);
	for (int i = 0; i < MAX_FDS; i++)
		mfd_io_close(&fds[i]);
	return ret ? ret : (int)m.op;
}

/* ---- the process ---- */

/*
 * Entries of ended tasks go; others, like a restore's connection, only matter beside tasks. Nonzero
 * while there is a task.
 */
static int tasks_left(struct mfd_deposit **list)
{
	struct mfd_deposit **p = list;
	int left = 0;

	while (*p) {
		struct mfd_deposit *h = *p;

		if ((h->task || !h->session[0]) && h->uffd >= 0 && mfd_uffd_ended(h->uffd)) {
			*p = h->next;
			close_hold(h);
			free(h);
			continue;
		}
		/*
		 * What an heir has found may be of a task; the rest is a restore's connection, and
		 * nobody's.
		 */
		left += h->task != 0 || !h->session[0];
		p = &h->next;
	}
	return left;
}

static int is_root(int fd)
{
	struct ucred u;
	socklen_t len = sizeof(u);

	return !getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &u, &len) &&
	       (u.uid == 0 || u.uid == geteuid());
}

/* Nonzero when the next server has it all: not before it says so is anything let go. */
static int hand_over(int sock, struct mfd_deposit *list)
{
	struct timeval t = { .tv_sec = ANSWER_MS / 1000 };
	struct mfd_deposit *none = NULL;
	int done = 0;

	if (is_root(sock) && !setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t)) &&
	    !setsockopt(sock, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t))) {
		while (list && !send_hold(sock, list))
			list = list->next;
		if (!list) {
			send_op(sock, OP_END, 0);
			done = receive(sock, &none) == OP_RELIEVE;
		}
	}
	close(sock);
	return done;
}

/* ---- workers without a supervisor, and their heirs ---- */

static struct mfd_deposit **find_number(struct mfd_deposit **list, const struct mfd_guard_msg *m)
{
	while (*list &&
	       ((*list)->writer == m->writer ? (*list)->number : (*list)->there) != m->number)
		list = &(*list)->next;
	return list;
}

static int add_orphan(struct mfd_deposit **list, const struct mfd_guard_msg *g, int *fds, int nfds)
{
	static uint64_t id = 1ULL << 63; /* the supervisor's are smaller */
	struct message m = { .op = OP_ADD,
			     .with = WITH_UFFD,
			     .task = g->task,
			     .forked = !!(g->flags & MFD_GUARD_FORKED),
			     .writer = g->writer,
			     .number = g->number,
			     .there = -1 };
	struct mfd_deposit *known = *find_number(list, g);

	if (known && g->kind == MFD_GUARD_FOUND)
		return 0;
	m.with |= g->flags & MFD_GUARD_BOOK ? WITH_BOOK : 0;
	m.with |= g->flags & MFD_GUARD_PIDFD ? WITH_PIDFD : 0;
	m.id = known && !known->session[0] ? known->id : id++;
	if (g->kind == MFD_GUARD_DEPOSIT)
		memcpy(m.session, g->session, sizeof(m.session));
	return add(list, &m, fds, nfds);
}

static void release(struct mfd_deposit **list, const char *session)
{
	struct mfd_deposit *h = *list, *next;

	for (; h; h = next) {
		next = h->next;
		if (!strcmp(h->session, session))
			drop(list, h->id);
	}
}

/* Zero when all of them are gone. */
static int follow_orphan(int sock, struct mfd_deposit **list)
{
	struct mfd_guard_msg m, ack = { .kind = MFD_GUARD_ACK };
	int fds[MAX_FDS] = { -1, -1, -1 }, nfds = MAX_FDS;
	struct mfd_deposit *h;
	ssize_t n = mfd_io_recv_fds(sock, &m, sizeof(m), fds, &nfds);

	if (n != (ssize_t)sizeof(m))
		return n > 0 || n == -EMSGSIZE;
	m.session[sizeof(m.session) - 1] = 0;
	if (m.kind == MFD_GUARD_DEPOSIT || m.kind == MFD_GUARD_FOUND)
		ack.code = add_orphan(list, &m, fds, nfds);
	/* An heir lets go then; a worker has what it tells us of itself. */
	if (m.kind == MFD_GUARD_FOUND && !ack.code)
		(void)!mfd_io_send_fds(sock, &ack, sizeof(ack), NULL, 0);
	h = m.kind == MFD_GUARD_WITHDRAW ? *find_number(list, &m) : NULL;
	if (h && !strcmp(h->session, m.session))
		drop(list, h->id);
	if (m.kind == MFD_GUARD_WITHDRAW_ALL)
		release(list, m.session);
	for (int i = 0; i < MAX_FDS; i++)
		mfd_io_close(&fds[i]);
	return 1;
}

/* ---- the next server ---- */

static void wait_for_server(int listener, struct mfd_deposit **list)
{
	struct pollfd p = { .fd = listener, .events = POLLIN };

	while (tasks_left(list)) {
		int sock;

		if (poll(&p, 1, LOOK_MS) != 1)
			continue;
		sock = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		if (sock >= 0 && hand_over(sock, *list))
			return;
	}
}

enum { LINK = 3, ORPHANS, LISTENER, N_KEPT };

static int stand_by(void)
{
	struct mfd_deposit *list = NULL;
	int op;

	prctl(PR_SET_NAME, "mfd-standby");
	while ((op = receive(LINK, &list)) > 0)
		if (op == OP_END) /* in good order: what is still held is nobody's */
			return 0;
	close(LINK); /* the supervisor is dead */
	while (follow_orphan(ORPHANS, &list))
		;
	wait_for_server(LISTENER, &list);
	return 0; /* what it still holds ends with it: a server has it, or there are no tasks */
}

/* Nothing else: locks, sockets and descriptors of the server must not live on in it. */
static void keep_only(const int *fds)
{
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

static int listen_in(int dirfd)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), ret;

	if (fd < 0)
		return -errno;
	unlinkat(dirfd, STANDBY_SOCKET, 0);
	snprintf(a.sun_path, sizeof(a.sun_path), "/proc/self/fd/%d/" STANDBY_SOCKET, dirfd);
	if (!bind(fd, (struct sockaddr *)&a, sizeof(a)) && !listen(fd, 4))
		return fd;
	ret = -errno;
	close(fd);
	return ret;
}

static void be_standby(const int *fds)
{
	sigset_t all;

	/*
	 * Whoever ends the server by its process group means the server; this ends when there is
	 * nothing to hold.
	 */
	setsid();
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	keep_only(fds);
	_exit(stand_by());
}

int mfd_standby_start(struct mfd_standby *s, int dirfd)
{
	int link[2] = { -1, -1 }, orphans[2] = { -1, -1 }, listener, ret;

	listener = listen_in(dirfd);
	if (listener < 0)
		return listener;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, link) ||
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, orphans)) {
		ret = -errno;
	} else {
		s->pid = fork();
		if (!s->pid)
			be_standby((int[]){ link[1], orphans[1], listener });
		ret = s->pid < 0 ? -errno : 0;
	}
	mfd_io_close(&s->orphans); /* of an earlier one */
	s->link = ret ? -1 : link[0];
	s->orphans = ret ? -1 : orphans[0];
	close(listener);
	mfd_io_close(&link[1]);
	mfd_io_close(&orphans[1]);
	if (ret) {
		mfd_io_close(&link[0]);
		mfd_io_close(&orphans[0]);
	}
	return ret;
}

/* ---- the supervisor's side ---- */

void mfd_standby_add(struct mfd_standby *s, const struct mfd_deposit *h)
{
	int ret = s->link >= 0 ? send_hold(s->link, h) : 0;

	if (!ret)
		return;
	mfd_log_warn(
		"the standby is gone (%s): should the whole server be killed, restored tasks that lack pages are lost",
		strerror(-ret));
	mfd_io_close(&s->link);
}

void mfd_standby_drop(struct mfd_standby *s, uint64_t id)
{
	if (s->link >= 0)
		send_op(s->link, OP_DROP, id);
}

void mfd_standby_end(struct mfd_standby *s)
{
	int status;

	if (s->link < 0)
		return;
	send_op(s->link, OP_END, 0);
	mfd_io_close(&s->link);
	mfd_io_close(&s->orphans);
	while (waitpid(s->pid, &status, 0) < 0 && errno == EINTR)
		;
}

static int connect_in(int dirfd)
{
	struct timeval t = { .tv_sec = ANSWER_MS / 1000 };
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), ret;

	if (fd < 0)
		return -errno;
	snprintf(a.sun_path, sizeof(a.sun_path), "/proc/self/fd/%d/" STANDBY_SOCKET, dirfd);
	if (!setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t)) &&
	    !connect(fd, (struct sockaddr *)&a, sizeof(a)))
		return fd;
	ret = -errno;
	close(fd);
	return ret;
}

int mfd_standby_inherit(int dirfd, struct mfd_deposit **list, int *conn)
{
	int n = 0, ret;

	*conn = connect_in(dirfd);
	if (*conn < 0)
		return *conn == -ENOENT || *conn == -ECONNREFUSED ? 0 : *conn;
	while ((ret = receive(*conn, list)) == OP_ADD)
		n++;
	if (ret == OP_END)
		return n;
	/* It had nothing to hold and ended while we were asking. */
	mfd_io_close(conn);
	return ret == 0 && !n ? 0 : -EPROTO;
}

void mfd_standby_relieve(int *conn)
{
	if (*conn < 0)
		return;
	send_op(*conn, OP_RELIEVE, 0);
	mfd_io_close(conn);
}
