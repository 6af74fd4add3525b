// SPDX-License-Identifier: GPL-2.0-only
/* CRIU's side of lazy-pages.socket. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io.h"
#include "lazysock.h"

#define TRACE_WAIT_MS 100

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

/* its name until it listens: a process that sees the other name can connect */
#define UNHEARD "." MFD_LAZYSOCK_NAME

static int bind_here(int fd, int dirfd)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int one = 1; /* accepted sockets inherit it */

	/* The folder's own path may be longer than an address can be. */
	snprintf(a.sun_path, sizeof(a.sun_path), "/proc/self/fd/%d/%s", dirfd, UNHEARD);
	if (unlinkat(dirfd, UNHEARD, 0) && errno != ENOENT)
		return -errno;
	/*
	 * Linux makes the file with the socket's mode, so there is no moment at which other users
	 * could connect.
	 */
	if (fchmod(fd, 0600) || setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &one, sizeof(one)) ||
	    bind(fd, (struct sockaddr *)&a, sizeof(a)) || listen(fd, 8) ||
	    renameat(dirfd, UNHEARD, dirfd, MFD_LAZYSOCK_NAME))
		return -errno;
	return 0;
}

int mfd_lazysock_open(struct mfd_lazysock *s, int dirfd, struct mfd_error *err)
{
	int ret;

	memset(s, 0, sizeof(*s));
	s->dirfd = dirfd;
	s->conn = s->peer_pidfd = -1;
	s->listen = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s->listen < 0)
		return mfd_error_sys(err, -errno, "cannot make %s", MFD_LAZYSOCK_NAME);
	ret = bind_here(s->listen, dirfd);
	if (!ret)
		return 0;
	mfd_io_close(&s->listen);
	return mfd_error_sys(err, ret, "cannot make %s", MFD_LAZYSOCK_NAME);
}

int mfd_lazysock_peer(int conn)
{
	struct ucred peer;
	socklen_t len = sizeof(int);
	int fd;

	if (!getsockopt(conn, SOL_SOCKET, SO_PEERPIDFD, &fd, &len))
		return fd;
	if (errno != ENOPROTOOPT) /* before Linux 6.5 */
		return -errno;
	len = sizeof(peer);
	if (getsockopt(conn, SOL_SOCKET, SO_PEERCRED, &peer, &len) || peer.pid <= 0)
		return -ESRCH;
	fd = pidfd_open(peer.pid, 0);
	return fd < 0 ? -errno : fd;
}

int mfd_lazysock_accept(struct mfd_lazysock *s)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	s->conn = accept4(s->listen, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (s->conn < 0)
		return errno == EAGAIN || errno == EINTR || errno == ECONNABORTED ? -EAGAIN :
										    -errno;
	s->have = s->task = 0;
	/* Only root runs criu restore; its process decides what a task's memory is. */
	if (getsockopt(s->conn, SOL_SOCKET, SO_PEERCRED, &peer, &len) || peer.uid) {
		mfd_io_close(&s->conn);
		return -EPERM;
	}
	s->peer = peer.pid;
	mfd_io_close(&s->peer_pidfd);
	s->peer_pidfd = mfd_lazysock_peer(s->conn);
	return 0;
}

/* Read a pid into *value: 1; 0: it has not come whole yet. */
static int read_word(struct mfd_lazysock *s, int32_t *value)
{
	while (s->have < sizeof(s->word)) {
		ssize_t n = recv(s->conn, s->word + s->have, sizeof(s->word) - s->have, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? 0 : -ECONNRESET;
		if (!n)
			return -ECONNRESET;
		s->have += (unsigned)n;
	}
	s->have = 0;
	memcpy(value, s->word, sizeof(*value));
	return 1;
}

static int is_uffd(int fd)
{
	char path[64], name[64];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	n = readlink(path, name, sizeof(name) - 1);
	if (n < 0)
		return 0;
	name[n] = 0;
	return !strcmp(name, "anon_inode:[userfaultfd]");
}

/*
 * Receive some bytes, the descriptors that came with them, and the process that sent them
 * (SO_PASSCRED): later the task may have closed its own descriptor.
 */
static ssize_t recv_some(int conn, void *buf, size_t size, int *fds, int *n, pid_t *pid)
{
	union {
		char buf[CMSG_SPACE(sizeof(struct ucred)) +
			 CMSG_SPACE(MFD_IO_MAX_FDS * sizeof(int))];
		struct cmsghdr align;
	} u;
	struct iovec iov = { buf, size };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = u.buf,
			      .msg_controllen = sizeof(u.buf) };
	ssize_t len = recvmsg(conn, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	struct ucred cred;

	*n = 0;
	*pid = 0;
	if (len < 0)
		return -errno;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
			*n = (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
			memcpy(fds, CMSG_DATA(c), (size_t)*n * sizeof(int));
		} else if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_CREDENTIALS) {
			memcpy(&cred, CMSG_DATA(c), sizeof(cred));
			*pid = cred.pid;
		}
	}
	return len;
}

static int read_uffd(struct mfd_lazysock *s, struct mfd_lazysock_msg *msg)
{
	int fds[MFD_IO_MAX_FDS], n, flags;
	char dummy;
	ssize_t len = recv_some(s->conn, &dummy, 1, fds, &n, &msg->pid);

	if (len <= 0)
		return len == -EAGAIN || len == -EINTR ? 0 : -ECONNRESET;
	flags = n == 1 && is_uffd(fds[0]) ? fcntl(fds[0], F_GETFL) : -1;
	/* Non-blocking is a must: poll() never reports a blocking userfaultfd. */
	if (flags < 0 || fcntl(fds[0], F_SETFL, flags | O_NONBLOCK)) {
		while (n > 0)
			close(fds[--n]);
		return -EPROTO;
	}
	msg->kind = MFD_LAZYSOCK_TASK;
	msg->task = s->task;
	msg->uffd = fds[0];
	s->task = 0;
	return 1;
}

int mfd_lazysock_read(struct mfd_lazysock *s, struct mfd_lazysock_msg *msg)
{
	int32_t value;
	int ret;

	if (s->task)
		return read_uffd(s, msg);
	ret = read_word(s, &value);
	if (ret <= 0)
		return ret;
	msg->uffd = -1;
	msg->task = 0;
	if (value == MFD_LAZYSOCK_FINISHED) {
		msg->kind = MFD_LAZYSOCK_DONE;
		return 1;
	}
	if (!value || value == INT32_MIN)
		return -EPROTO;
	if (value < 0) {
		msg->kind = MFD_LAZYSOCK_ZOMBIE;
		msg->task = (uint32_t)-value;
		return 1;
	}
	s->task = (uint32_t)value;
	return read_uffd(s, msg);
}

/*
 * Linux ends a read behind a byte that descriptors came with, and CRIU sends each pid whole: so no
 * word is torn here.
 */
int mfd_lazysock_salvage(int conn, uint32_t *task, struct mfd_lazysock_msg *msg)
{
	int fds[MFD_IO_MAX_FDS], n;
	int32_t word;
	ssize_t len;

	while ((len = recv_some(conn, &word, sizeof(word), fds, &n, &msg->pid)) > 0 ||
	       len == -EINTR) {
		if (n == 1 && is_uffd(fds[0])) {
			msg->kind = MFD_LAZYSOCK_TASK;
			msg->task = *task;
			msg->uffd = fds[0];
			*task = 0;
			return 1;
		}
		while (n > 0)
			close(fds[--n]);
		*task = len == sizeof(word) && word > 0 ? (uint32_t)word : 0;
	}
	return 0;
}

static void send_signal(struct mfd_lazysock *s, int sig)
{
	if (s->peer_pidfd >= 0)
		syscall(SYS_pidfd_send_signal, s->peer_pidfd, sig, NULL, 0);
	else if (s->peer > 0)
		kill(s->peer, sig);
}

/*
 * The thread that traces CRIU's process.  When a tracer ends, the kernel lets the traced process go
 * on, so the process cannot stay behind stopped.
 */
struct mfd_lazysock_tracer {
	pthread_t thread;
	pid_t pid;
	int seized;
	/* posted when the process has stopped, will not stop in time, or cannot be traced */
	sem_t decided;
	sem_t let_go; /* posted to end */
};

static void *trace(void *arg)
{
	struct mfd_lazysock_tracer *t = arg;
	int status;

	t->seized = !ptrace(PTRACE_SEIZE, t->pid, NULL, NULL) &&
		    !ptrace(PTRACE_INTERRUPT, t->pid, NULL, NULL);
	/* A process in uninterruptible sleep stops when it wakes, before it runs. */
	for (int i = 0;
	     t->seized && i < TRACE_WAIT_MS && !waitpid(t->pid, &status, __WALL | WNOHANG); i++)
		usleep(1000);
	sem_post(&t->decided);
	while (sem_wait(&t->let_go) && errno == EINTR)
		;
	return NULL;
}

static void end_tracer(struct mfd_lazysock *s)
{
	struct mfd_lazysock_tracer *t = s->tracer;

	sem_post(&t->let_go);
	pthread_join(t->thread, NULL);
	sem_destroy(&t->decided);
	sem_destroy(&t->let_go);
	free(t);
	s->tracer = NULL;
}

/*
 * By SIGSTOP only if the process cannot be traced: its parent would see it stopped, and nsenter or
 * a shell would stop, too.
 */
void mfd_lazysock_stop(struct mfd_lazysock *s)
{
	struct mfd_lazysock_tracer *t = s->peer > 0 ? calloc(1, sizeof(*t)) : NULL;

	if (t) {
		t->pid = s->peer;
		sem_init(&t->decided, 0, 0);
		sem_init(&t->let_go, 0, 0);
		if (!pthread_create(&t->thread, NULL, trace, t)) {
			while (sem_wait(&t->decided) && errno == EINTR)
				;
			s->tracer = t;
			if (t->seized)
				return;
			end_tracer(s);
		} else {
			free(t);
		}
	}
	send_signal(s, SIGSTOP);
}

void mfd_lazysock_continue(struct mfd_lazysock *s)
{
	if (s->tracer)
		end_tracer(s);
	else
		send_signal(s, SIGCONT);
}

void mfd_lazysock_hangup(struct mfd_lazysock *s)
{
	mfd_io_close(&s->conn);
	s->have = s->task = 0;
}

void mfd_lazysock_unlisten(struct mfd_lazysock *s)
{
	if (s->listen >= 0)
		unlinkat(s->dirfd, MFD_LAZYSOCK_NAME, 0);
	mfd_io_close(&s->listen);
}

void mfd_lazysock_close(struct mfd_lazysock *s)
{
	mfd_lazysock_unlisten(s);
	mfd_io_close(&s->conn);
	mfd_io_close(&s->peer_pidfd);
}
