// SPDX-License-Identifier: GPL-2.0-only
/* Processes that hold one thing each which matters to a move. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <mqueue.h>
#include <netinet/in.h>
#include <pty.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "holds.h"

#define MIB (1UL << 20)
#define GIB (1UL << 30)

#ifndef F_OFD_SETLK
#define F_OFD_SETLK 37
#endif

static int nothing(int given)
{
	return 0;
}

/* ---- what CRIU dumps without more ado ---- */

static int usual(int given)
{
	int p[2], fd = epoll_create1(0);
	struct epoll_event e = { .events = EPOLLIN };
	struct sockaddr_un a = { .sun_family = AF_UNIX, .sun_path = "own" };
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000001) };
	sigset_t none;

	sigemptyset(&none);
	if (epoll_ctl(fd, EPOLL_CTL_ADD, eventfd(1, 0), &e) || pipe(p) ||
	    signalfd(-1, &none, 0) < 0 || timerfd_create(CLOCK_MONOTONIC, 0) < 0 ||
	    inotify_add_watch(inotify_init1(0), ".", IN_CREATE) < 0 ||
	    socketpair(AF_UNIX, SOCK_STREAM, 0, p) || memfd_create("m", 0) < 0)
		return -1;
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	if (bind(fd, (void *)&a, sizeof(a)) || listen(fd, 1))
		return -1;
	fd = socket(AF_INET, SOCK_DGRAM, 0);
	if (bind(fd, (void *)&in, sizeof(in)))
		return -1;
	return open("log", O_WRONLY | O_CREAT | O_APPEND, 0600) < 0;
}

static int own_terminal(int given)
{
	int master, slave;

	return openpty(&master, &slave, NULL, NULL, NULL);
}

static int listener(struct sockaddr_in *a)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	socklen_t len = sizeof(*a);

	*a = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000001) };
	return bind(fd, (void *)a, len) || listen(fd, 5) || getsockname(fd, (void *)a, &len) ? -1 :
											       fd;
}

static int listening(int given)
{
	struct sockaddr_in a;

	return listener(&a) < 0;
}

/* ---- connections ---- */

static int in_flight(int given)
{
	struct sockaddr_in a;
	int l = listener(&a), c = socket(AF_INET, SOCK_STREAM, 0);

	return l < 0 || connect(c, (void *)&a, sizeof(a));
}

/* *ends: of one connection. */
static int connection(int ends[2])
{
	struct sockaddr_in a;
	int l = listener(&a);

	ends[0] = socket(AF_INET, SOCK_STREAM, 0);
	if (l < 0 || connect(ends[0], (void *)&a, sizeof(a)))
		return -1;
	ends[1] = accept(l, NULL, NULL);
	return ends[1] < 0;
}

static int connected(int given)
{
	int ends[2];

	return connection(ends);
}

static int half_open(int given)
{
	int ends[2];

	return connection(ends) || shutdown(ends[0], SHUT_WR);
}

static int named_outside(const char *dir)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0), s = socket(AF_UNIX, SOCK_DGRAM, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "%s/journal", dir);
	unlink(a.sun_path);
	return bind(fd, (void *)&a, sizeof(a)) || connect(s, (void *)&a, sizeof(a)) ? -1 : s;
}

static int pair_outside(const char *dir)
{
	int p[2];

	return socketpair(AF_UNIX, SOCK_STREAM, 0, p) ? -1 : p[0];
}

static int pipe_outside(const char *dir)
{
	int p[2];

	return pipe(p) ? -1 : p[1];
}

static int terminal_outside(const char *dir)
{
	int master, slave;

	return openpty(&master, &slave, NULL, NULL, NULL) ? -1 : slave;
}

static int other_kind(int given)
{
	int fd = socket(AF_INET, SOCK_STREAM, 262 /* IPPROTO_MPTCP */);

	return fd < 0 && socket(38 /* AF_ALG */, SOCK_SEQPACKET, 0) < 0;
}

/* ---- files ---- */

static int file(const char *name, size_t size)
{
	char *bytes = calloc(1, size + 1);
	int fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);

	memset(bytes, 7, size);
	if (write(fd, bytes, size) != (ssize_t)size)
		fd = -1;
	free(bytes);
	return fd;
}

static int ghost(int given)
{
	return file("ghost", 2 * MIB) < 0 || unlink("ghost");
}

static int small_ghost(int given)
{
	return file("ghost", 4096) < 0 || unlink("ghost");
}

static int mapped_ghost(int given)
{
	int fd = file("ghost", 2 * MIB);
	void *p = mmap(NULL, 2 * MIB, PROT_READ, MAP_SHARED, fd, 0);

	return p == MAP_FAILED || unlink("ghost") || close(fd);
}

static int other_name(int given)
{
	unlink("other");
	return file("name", 10) < 0 || link("name", "other") || unlink("name");
}

static int flocked(int given)
{
	return flock(file("lock", 10), LOCK_EX);
}

static int posix_lock(int given)
{
	struct flock l = { .l_type = F_WRLCK };

	return fcntl(file("lock", 10), F_SETLK, &l);
}

static int ofd_lock(int given)
{
	struct flock l = { .l_type = F_WRLCK };

	return fcntl(file("lock", 10), F_OFD_SETLK, &l);
}

static int lease(int given)
{
	close(file("lease", 10));
	return fcntl(open("lease", O_RDONLY), F_SETLEASE, F_RDLCK);
}

static int queue(int given)
{
	return mq_open("/criu-multifd-test", O_RDWR | O_CREAT, 0600, NULL) < 0 ||
	       mq_unlink("/criu-multifd-test");
}

/* ---- the kernel's ---- */

static int ring(int given)
{
	struct io_uring_params p = { 0 };

	return syscall(SYS_io_uring_setup, 4, &p) < 0;
}

static int secret(int given)
{
	return syscall(447 /* memfd_secret */, 0) < 0;
}

static int faults(int given)
{
	return syscall(SYS_userfaultfd, O_CLOEXEC) < 0;
}

static int sysv(int given)
{
	int id = shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600);
	void *p = shmat(id, NULL, 0);

	shmctl(id, IPC_RMID, NULL);
	return p == (void *)-1;
}

static int own_sysv(int given)
{
	return unshare(CLONE_NEWIPC) || sysv(given);
}

static int high_number(int given)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) || r.rlim_max > (1 << 20))
		return -1;
	r.rlim_cur = r.rlim_max;
	return setrlimit(RLIMIT_NOFILE, &r) || dup2(0, (int)r.rlim_max - 3) < 0;
}

static int nested(int given)
{
	pid_t pid = fork();

	if (pid)
		return pid < 0;
	if (unshare(CLONE_NEWUTS))
		_exit(1);
	for (;;)
		pause();
}

/* ---- memory ---- */

static int reserved(int given)
{
	return mmap(NULL, 200 * GIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
		    0) == MAP_FAILED;
}

static int forked(int given)
{
	char *p = mmap(NULL, 80 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return -1;
	memset(p, 7, 80 * MIB);
	if (fork())
		return 0;
	for (;;)
		pause();
}

static int shared(int given)
{
	return mmap(NULL, 260 * MIB, PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0) == MAP_FAILED;
}

/* ---- the list ---- */

const struct hold holds[] = {
	{ "nothing", "", NULL, nothing, 0 },
	{ "usual", "", NULL, usual, 0 },
	{ "own-terminal", "", NULL, own_terminal, 0 },
	{ "listening", "", NULL, listening, 0 },
	{ "small-ghost", "", NULL, small_ghost, 0 },
	{ "own-sysv", "", NULL, own_sysv, 0 },
	{ "connected", "tcp-established", NULL, connected, 0 },
	{ "half-open", "tcp-established", NULL, half_open, 0 },
	{ "in-flight", "tcp-established,in-flight", NULL, in_flight, 0 },
	{ "journal", "ext-unix-sk", named_outside, nothing, 0 },
	{ "flock", "file-locks", NULL, flocked, 0 },
	{ "posix-lock", "file-locks", NULL, posix_lock, 0 },
	{ "ofd-lock", "file-locks", NULL, ofd_lock, 0 },
	{ "lease", "file-locks", NULL, lease, 0 },
	{ "job", "shell-job", NULL, nothing, 1 },
	{ "ghost", "ghost-limit", NULL, ghost, 0 },
	{ "mapped-ghost", "ghost-limit", NULL, mapped_ghost, 0 },
	{ "other-name", "link-remap", NULL, other_name, 0 },
	{ "unix-outside", "unix-outside", pair_outside, nothing, 0 },
	{ "pipe-outside", "pipe-outside", pipe_outside, nothing, 0 },
	{ "terminal", "terminal", terminal_outside, nothing, 0 },
	{ "socket-kind", "socket-kind", NULL, other_kind, 0 },
	{ "queue", "mount-outside", NULL, queue, 0 },
	{ "ring", "unmovable", NULL, ring, 0 },
	{ "secret", "unmovable", NULL, secret, 0 },
	{ "faults", "kernel-object", NULL, faults, 0 },
	{ "sysv", "sysv-ipc", NULL, sysv, 0 },
	{ "high-number", "descriptor-number", NULL, high_number, 0 },
	{ "nested", "nested-namespace", NULL, nested, 0 },
	{ "reserved", "reserved", NULL, reserved, 0 },
	{ "forked", "copy-on-write", NULL, forked, 0 },
	{ "shared", "shared-memory", NULL, shared, 0 },
};
const unsigned n_holds = sizeof(holds) / sizeof(*holds);

const struct hold *hold_named(const char *name)
{
	for (unsigned i = 0; i < n_holds; i++)
		if (!strcmp(holds[i].name, name))
			return &holds[i];
	return NULL;
}

/* Of its parent it has nothing but `given`, as 3, and a pipe. */
static void be(const struct hold *h, const char *dir, int given, int told)
{
	int null = open("/dev/null", O_RDWR);

	signal(SIGPIPE, SIG_IGN);
	if (!h->same_session)
		setsid();
	for (int fd = 0; fd < 3; fd++)
		dup2(null, fd);
	told = fcntl(told, F_DUPFD, 1000);
	given = given >= 0 ? fcntl(given, F_DUPFD, 1000) : -1;
	close_range(3, 999, 0);
	if (given >= 0)
		dup2(given, 3);
	close(given);
	if (chdir(dir) || h->open(given >= 0 ? 3 : -1))
		_exit(1);
	(void)!write(told, "x", 1);
	close(told);
	for (;;)
		pause();
}

pid_t hold_start(const struct hold *h, const char *dir)
{
	int given = h->outside ? h->outside(dir) : -1, told[2];
	pid_t pid;
	char c;

	if ((h->outside && given < 0) || pipe(told))
		return -errno;
	pid = fork();
	if (!pid)
		be(h, dir, given, told[1]);
	close(told[1]);
	if (given >= 0)
		close(given);
	if (pid > 0 && read(told[0], &c, 1) != 1) {
		waitpid(pid, NULL, 0);
		pid = 0;
	}
	close(told[0]);
	return pid < 0 ? -errno : pid;
}
