// SPDX-License-Identifier: GPL-2.0-only
/*
 * cprfd: a process with descriptors that CRIU cannot restore by itself, and the outside party at
 * their other end.
 *
 *	cprfd start DIR KIND[*COUNT]...		opens them, forks the victim (its pid in
 *						DIR/victim.pid), stays as the outside party
 *	cprfd start DIR KIND... -- COMMAND	the same with COMMAND as the victim's start:
 *						descriptors from 3 on, in order
 *	cprfd victim DIR KIND...		the victim inside COMMAND's container
 *	cprfd offer KIND COMMAND		runs COMMAND with a new one as its descriptor 0
 *	cprfd kcmp PID FD PID FD		exit 0: the same open file description
 *
 * The outside party keeps a copy of each of the victim's descriptors at its own number + 1000, for
 * kcmp.  The victim's are 3, 4, ... in the order of the KINDs.  SIGUSR1 makes the victim try each
 * of them: a line "check FD KIND ok|why" each in DIR/victim.log, "checked" at the end.  What the
 * outside party receives is in DIR/outside.log.
 */
#include <errno.h>
#include <fcntl.h>
#include <arpa/inet.h>
#include <linux/bpf.h>
#include <linux/io_uring.h>
#include <linux/kcmp.h>
#include <linux/perf_event.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define FIRST 3
/* far above what is opened while starting; with many descriptors behind them */
#define COPIES	 1000
#define MAX_KIND 16384
#define QUEUED	 "queued before the dump"

struct kind {
	const char *name;
	int (*open)(int *peer);	      /* the victim's end; *peer: ours, or -1 */
	const char *(*check)(int fd); /* NULL: ok */
	int echo;		      /* the outside party answers on *peer */
};

static const char *dir;
static int log_fd = -1;

static void say(const char *fmt, ...)
{
	char line[600];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	if (write(log_fd, line, (size_t)n) != n)
		_exit(3);
}

static int open_log(const char *name)
{
	char path[300];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
}

static void __attribute__((noreturn)) die(const char *what)
{
	fprintf(stderr, "cprfd: %s: %s\n", what, strerror(errno));
	exit(2);
}

/* ---- devices and anonymous inodes ---- */

static int open_fuse(int *peer)
{
	(void)peer;
	return open("/dev/fuse", O_RDWR | O_NONBLOCK);
}

/* Not mounted: reading says so, and a broken descriptor would say something else. */
static const char *check_fuse(int fd)
{
	char b[65536];

	return read(fd, b, sizeof(b)) < 0 && errno == EPERM ? NULL : "not an unmounted /dev/fuse";
}

static int open_uffddev(int *peer)
{
	(void)peer;
	return open("/dev/userfaultfd", O_RDWR);
}

static const char *check_uffddev(int fd)
{
	int uffd = ioctl(fd, USERFAULTFD_IOC_NEW, O_CLOEXEC);

	if (uffd < 0)
		return "no new userfaultfd";
	close(uffd);
	return NULL;
}

static int open_bpf(int *peer)
{
	union bpf_attr a = {
		.map_type = BPF_MAP_TYPE_HASH, .key_size = 4, .value_size = 8, .max_entries = 4
	};
	int fd, key = 7;
	long value = 4242;

	(void)peer;
	fd = (int)syscall(SYS_bpf, BPF_MAP_CREATE, &a, sizeof(a));
	memset(&a, 0, sizeof(a));
	a.map_fd = (unsigned)fd;
	a.key = (unsigned long)&key;
	a.value = (unsigned long)&value;
	return syscall(SYS_bpf, BPF_MAP_UPDATE_ELEM, &a, sizeof(a)) ? -1 : fd;
}

static const char *check_bpf(int fd)
{
	union bpf_attr a = { .map_fd = (unsigned)fd };
	int key = 7;
	long value = 0;

	a.key = (unsigned long)&key;
	a.value = (unsigned long)&value;
	if (syscall(SYS_bpf, BPF_MAP_LOOKUP_ELEM, &a, sizeof(a)))
		return "no such element";
	return value == 4242 ? NULL : "another value";
}

static int open_perf(int *peer)
{
	struct perf_event_attr a = { .type = PERF_TYPE_SOFTWARE,
				     .size = sizeof(a),
				     .config = PERF_COUNT_SW_TASK_CLOCK };

	(void)peer;
	return (int)syscall(SYS_perf_event_open, &a, 0, -1, -1, 0);
}

static const char *check_perf(int fd)
{
	long count;

	return read(fd, &count, sizeof(count)) == sizeof(count) ? NULL : "cannot be read";
}

/* ---- what CRIU would make anew ---- */

static int dup_peer(int fd, int *peer)
{
	*peer = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 0);
	return fd;
}

static int open_eventfd(int *peer)
{
	return dup_peer(eventfd(0, EFD_NONBLOCK), peer);
}

/* We add 5, the outside party takes it and adds 7. */
static const char *check_eventfd(int fd)
{
	uint64_t n = 5;

	if (write(fd, &n, sizeof(n)) != sizeof(n))
		return "cannot be written";
	usleep(400000);
	return read(fd, &n, sizeof(n)) == sizeof(n) && n == 7 ? NULL : "no answer comes";
}

static int open_memfd(int *peer)
{
	int fd = memfd_create("shared", 0);

	return fd < 0 || ftruncate(fd, 4096) ? -1 : dup_peer(fd, peer);
}

static const char *check_memfd(int fd)
{
	unsigned char b[2];

	if (pread(fd, b, 2, 0) != 2)
		return "cannot be read";
	b[0]++;
	if (pwrite(fd, b, 1, 0) != 1)
		return "cannot be written";
	usleep(400000);
	return pread(fd, b, 2, 0) == 2 && b[0] == b[1] ? NULL : "no answer comes";
}

/* ---- pipes and sockets ---- */

static int open_pipe(int *peer)
{
	int p[2];

	if (pipe2(p, O_CLOEXEC))
		return -1;
	*peer = p[0];
	if (write(p[1], QUEUED, sizeof(QUEUED)) < 0)
		return -1;
	return p[1];
}

static const char *check_pipe(int fd)
{
	signal(SIGPIPE, SIG_IGN);
	return write(fd, "ping", 5) == 5 ? NULL : "no process reads";
}

static int wait_read(int fd, char *b, size_t len)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	if (poll(&p, 1, 3000) <= 0)
		return -1;
	return (int)read(fd, b, len);
}

/* What was queued comes first, and only at the first check; then an echo. */
static const char *check_socket(int fd)
{
	static unsigned char checked[65536];
	char b[200];
	int n;

	signal(SIGPIPE, SIG_IGN);
	if (!checked[fd]++) {
		n = wait_read(fd, b, sizeof(QUEUED));
		if (n != sizeof(QUEUED) || strcmp(b, QUEUED))
			return "what was queued is lost";
	}
	if (write(fd, "ping", 5) != 5)
		return "no process reads";
	n = wait_read(fd, b, sizeof(b));
	return n == 5 && !strcmp(b, "ping") ? NULL : "no answer comes";
}

static int open_pair(int type, int *peer)
{
	int p[2];

	if (socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, p) ||
	    write(p[1], QUEUED, sizeof(QUEUED)) < 0)
		return -1;
	*peer = p[1];
	return p[0];
}

static int open_pair_stream(int *peer)
{
	return open_pair(SOCK_STREAM, peer);
}

static int open_pair_dgram(int *peer)
{
	return open_pair(SOCK_DGRAM, peer);
}

static int open_pair_seqpacket(int *peer)
{
	return open_pair(SOCK_SEQPACKET, peer);
}

static void name_socket(struct sockaddr_un *a, const char *what)
{
	static int counter;

	memset(a, 0, sizeof(*a));
	a->sun_family = AF_UNIX;
	snprintf(a->sun_path, sizeof(a->sun_path), "%s/%s.%d", dir, what, counter++);
}

/* A socket of ours with a path, the victim's connected to it. */
static int open_named(int type, int *peer)
{
	int listener = socket(AF_UNIX, type | SOCK_CLOEXEC, 0),
	    fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
	struct sockaddr_un a;

	name_socket(&a, "outside");
	if (bind(listener, (struct sockaddr *)&a, sizeof(a)) || listen(listener, 1) ||
	    connect(fd, (struct sockaddr *)&a, sizeof(a)))
		return -1;
	*peer = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	close(listener);
	return *peer < 0 || write(*peer, QUEUED, sizeof(QUEUED)) < 0 ? -1 : fd;
}

static int open_stream(int *peer)
{
	return open_named(SOCK_STREAM, peer);
}

static int open_seqpacket(int *peer)
{
	return open_named(SOCK_SEQPACKET, peer);
}

/* Both have paths, and each is connected to the other. */
static int open_dgram(int *peer)
{
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un a, b;

	*peer = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	name_socket(&a, "outside");
	name_socket(&b, "victim");
	if (bind(*peer, (struct sockaddr *)&a, sizeof(a)) ||
	    bind(fd, (struct sockaddr *)&b, sizeof(b)) ||
	    connect(fd, (struct sockaddr *)&a, sizeof(a)) ||
	    connect(*peer, (struct sockaddr *)&b, sizeof(b)))
		return -1;
	return write(*peer, QUEUED, sizeof(QUEUED)) < 0 ? -1 : fd;
}

/* As systemd's LISTEN_FDS: listening, and another process has it open, too. */
static int open_listener(int family)
{
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in in = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct sockaddr_un un;

	name_socket(&un, "listen");
	if (family == AF_UNIX ? bind(fd, (struct sockaddr *)&un, sizeof(un)) :
				bind(fd, (struct sockaddr *)&in, sizeof(in)))
		return -1;
	return listen(fd, 8) ? -1 : fd;
}

static int open_listen_unix(int *peer)
{
	return dup_peer(open_listener(AF_UNIX), peer);
}

static int open_listen_tcp(int *peer)
{
	return dup_peer(open_listener(AF_INET), peer);
}

static const char *check_listener(int fd)
{
	struct sockaddr_storage a;
	socklen_t len = sizeof(a);
	int client, got;

	if (getsockname(fd, (struct sockaddr *)&a, &len))
		return "no address";
	client = socket(a.ss_family, SOCK_STREAM, 0);
	if (connect(client, (struct sockaddr *)&a, len)) {
		close(client);
		return "no process listens";
	}
	got = accept(fd, NULL, NULL);
	close(client);
	close(got);
	return got < 0 ? "no connection" : NULL;
}

/* ---- what no process can keep ---- */

static int open_uring(int *peer)
{
	struct io_uring_params p = { 0 };

	(void)peer;
	return (int)syscall(SYS_io_uring_setup, 8, &p);
}

static int open_vsock(int *peer)
{
	(void)peer;
	return socket(AF_VSOCK, SOCK_STREAM, 0);
}

static int open_secret(int *peer)
{
	(void)peer;
	return (int)syscall(SYS_memfd_secret, 0);
}

static int open_null(int *peer)
{
	(void)peer;
	return open("/dev/null", O_RDWR);
}

static int open_file(int *peer)
{
	char path[300];

	(void)peer;
	snprintf(path, sizeof(path), "%s/file", dir);
	return open(path, O_RDWR | O_CREAT | O_APPEND, 0644);
}

static const char *check_file(int fd)
{
	return write(fd, "ping", 5) == 5 ? NULL : "cannot be written";
}

static const char *check_open(int fd)
{
	return fcntl(fd, F_GETFL) < 0 ? "not open" : NULL;
}

static const struct kind kinds[] = {
	{ "fuse", open_fuse, check_fuse, 0 },
	{ "uffddev", open_uffddev, check_uffddev, 0 },
	{ "bpf", open_bpf, check_bpf, 0 },
	{ "perf", open_perf, check_perf, 0 },
	{ "eventfd", open_eventfd, check_eventfd, 1 },
	{ "memfd", open_memfd, check_memfd, 1 },
	{ "pipe", open_pipe, check_pipe, 1 },
	{ "stream", open_stream, check_socket, 1 },
	{ "dgram", open_dgram, check_socket, 1 },
	{ "seqpacket", open_seqpacket, check_socket, 1 },
	{ "pair-stream", open_pair_stream, check_socket, 1 },
	{ "pair-dgram", open_pair_dgram, check_socket, 1 },
	{ "pair-seqpacket", open_pair_seqpacket, check_socket, 1 },
	{ "listen-unix", open_listen_unix, check_listener, 0 },
	{ "listen-tcp", open_listen_tcp, check_listener, 0 },
	{ "uring", open_uring, check_open, 0 },
	{ "vsock", open_vsock, check_open, 0 },
	{ "secret", open_secret, check_open, 0 },
	{ "file", open_file, check_file, 0 },
	{ "null", open_null, check_open, 0 },
};

/* ---- both sides ---- */

static const struct kind *list[MAX_KIND];
static int ends[MAX_KIND], peers[MAX_KIND];
static int n_list;

static void parse_kinds(char **words)
{
	for (; *words && strcmp(*words, "--"); words++) {
		int len = (int)strcspn(*words, "*"),
		    count = (*words)[len] ? atoi(*words + len + 1) : 1;
		size_t i;

		for (i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
			if (!strncmp(kinds[i].name, *words, (size_t)len) && !kinds[i].name[len])
				break;
		}
		if (i == sizeof(kinds) / sizeof(*kinds) || n_list + count > MAX_KIND) {
			errno = EINVAL;
			die(*words);
		}
		while (count--)
			list[n_list++] = &kinds[i];
	}
}

static volatile sig_atomic_t asked;

static void on_usr1(int sig)
{
	(void)sig;
	asked = 1;
}

static void check_all(void)
{
	int bad = 0;

	for (int i = 0; i < n_list; i++) {
		const char *why = list[i]->check(FIRST + i);

		bad += why != NULL;
		if (why || n_list <= 64)
			say("check %d %s %s\n", FIRST + i, list[i]->name, why ? why : "ok");
	}
	say("checked %d bad %d\n", n_list, bad);
}

static void __attribute__((noreturn)) be_victim(void)
{
	sigset_t usr1, none;

	log_fd = fcntl(open_log("victim.log"), F_DUPFD, FIRST + n_list);
	sigemptyset(&none);
	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	sigprocmask(SIG_BLOCK, &usr1, NULL);
	signal(SIGUSR1, on_usr1);
	say("ready\n");
	for (;;) {
		while (!asked)
			sigsuspend(&none);
		asked = 0;
		check_all();
	}
}

/*
 * Ends to 3, 4, ...; whatever else is open is closed.  They were opened in this order, so none is
 * overwritten before its turn.
 */
static void place_ends(void)
{
	int null = open("/dev/null", O_RDWR);

	for (int i = 0; i < 3; i++)
		dup2(null, i);
	for (int i = 0; i < n_list; i++)
		if (ends[i] < FIRST + i || dup2(ends[i], FIRST + i) < 0)
			_exit(4);
	close_range((unsigned)(FIRST + n_list), ~0U, 0);
}

static void start_victim(char **command)
{
	char path[300], new[310];
	FILE *f;
	pid_t pid = fork();

	if (!pid) {
		setsid();
		place_ends();
		if (command) {
			execvp(command[0], command);
			_exit(5);
		}
		be_victim();
	}
	snprintf(path, sizeof(path), "%s/victim.pid", dir);
	snprintf(new, sizeof(new), "%s.new", path);
	f = fopen(new, "w");
	if (!f || fprintf(f, "%d\n", pid) < 0 || fclose(f) || rename(new, path))
		die(path);
}

/* ---- the outside party ---- */

/* The victim reads 400 ms after it wrote; the outside party must not take its own answer. */
static void answer_eventfd(int fd)
{
	static struct timespec last;
	struct timespec now;
	uint64_t n;

	clock_gettime(CLOCK_MONOTONIC, &now);
	if ((now.tv_sec - last.tv_sec) * 1000 + (now.tv_nsec - last.tv_nsec) / 1000000 < 800) {
		usleep(10000);
		return;
	}
	if (read(fd, &n, sizeof(n)) != sizeof(n))
		return;
	last = now;
	say("eventfd %llu\n", (unsigned long long)n);
	n = 7;
	if (write(fd, &n, sizeof(n)) < 0)
		say("eventfd: %s\n", strerror(errno));
}

static void answer(int i)
{
	char b[256];
	ssize_t n;

	if (list[i]->open == open_eventfd) {
		answer_eventfd(peers[i]);
		return;
	}
	n = read(peers[i], b, sizeof(b) - 1);
	if (n <= 0) {
		say("%s: end\n", list[i]->name);
		close(peers[i]);
		peers[i] = -1;
		return;
	}
	b[n] = 0;
	say("%s: %s\n", list[i]->name, b);
	if (list[i]->open != open_pipe && write(peers[i], b, (size_t)n) < 0)
		say("%s: %s\n", list[i]->name, strerror(errno));
}

static void answer_memfd(int fd)
{
	unsigned char b[2];

	if (pread(fd, b, 2, 0) == 2 && b[0] != b[1] && pwrite(fd, b, 1, 1) == 1)
		say("memfd %u\n", b[0]);
}

static void __attribute__((noreturn)) be_outside(void)
{
	static struct pollfd p[MAX_KIND];

	signal(SIGCHLD, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	for (;;) {
		for (int i = 0; i < n_list; i++)
			p[i] = (struct pollfd){ .fd = list[i]->echo && list[i]->open != open_memfd ?
							      peers[i] :
							      -1,
						.events = POLLIN };
		poll(p, (nfds_t)n_list, 50);
		for (int i = 0; i < n_list; i++) {
			if (p[i].fd >= 0 && p[i].revents)
				answer(i);
			else if (list[i]->open == open_memfd)
				answer_memfd(peers[i]);
		}
	}
}

static void __attribute__((noreturn)) start(char **words)
{
	char **command = words;
	struct rlimit r;

	getrlimit(RLIMIT_NOFILE, &r);
	r.rlim_cur = r.rlim_max;
	setrlimit(RLIMIT_NOFILE, &r);
	parse_kinds(words);
	while (*command && strcmp(*command, "--"))
		command++;
	log_fd = open_log("outside.log");
	for (int i = 0; i < n_list; i++) {
		peers[i] = -1;
		ends[i] = list[i]->open(&peers[i]);
		if (ends[i] < 0)
			die(list[i]->name);
	}
	start_victim(*command ? command + 1 : NULL);
	for (int i = 0; i < n_list && n_list <= 64; i++) {
		if (dup3(ends[i], FIRST + i + COPIES, O_CLOEXEC) >= 0)
			close(ends[i]);
	}
	be_outside();
}

int main(int argc, char **argv)
{
	if (argc == 6 && !strcmp(argv[1], "kcmp"))
		return syscall(SYS_kcmp, atoi(argv[2]), atoi(argv[4]), KCMP_FILE, atoi(argv[3]),
			       atoi(argv[5])) != 0;
	if (argc >= 4 && !strcmp(argv[1], "offer")) {
		int peer, fd;

		parse_kinds((char *[]){ argv[2], NULL });
		fd = list[0]->open(&peer);
		if (fd < 0 || dup2(fd, 0))
			die(argv[2]);
		execvp(argv[3], argv + 3);
		die(argv[3]);
	}
	if (argc < 4) {
		fprintf(stderr,
			"usage: cprfd start|victim DIR KIND... [-- COMMAND] | kcmp PID FD PID FD\n");
		return 2;
	}
	dir = argv[2];
	if (!strcmp(argv[1], "start"))
		start(argv + 3);
	parse_kinds(argv + 3);
	be_victim();
}
