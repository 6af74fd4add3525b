// SPDX-License-Identifier: GPL-2.0-only
/*
 * pipeline: the least that any lazy migration over TCP has to do, as fast as this machine does it.
 * What a migration needs beyond this is its own cost.
 *
 *	holder			sender			     receiver
 *	memory  --process_vm_readv-->  buffer  ==N x TCP==>  buffer  --UFFDIO_COPY-->  memory
 *
 * Three processes over loopback: one holds memory and sleeps, as a frozen task does; one sends; one
 * receives and installs. Threads share nothing but the counter that hands out the next packet. No
 * checksum, no zero page test, no page table, no dump. The clock runs from the first read to the
 * last page installed; with --verify the content is compared afterwards.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/userfaultfd.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "congestion.h"

#define MAX_CHANNELS 64

struct header {
	uint64_t offset;
	uint64_t len;
};

static struct {
	size_t mib, packet;
	int channels, json, verify, cold;
} opt = { .mib = 1024, .packet = 512 << 10, .channels = 2 };

static uint8_t *source, *target; /* same length; each process uses its own */
static size_t length;
static pid_t holder;
static int sock[MAX_CHANNELS], uffd;
static _Atomic size_t
	next; /* first byte that no thread has taken; relaxed: only the number matters */

static void __attribute__((noreturn)) die(const char *what)
{
	fprintf(stderr, "pipeline: %s: %s\n", what, strerror(errno));
	exit(1);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double cpu_of(int whose)
{
	struct rusage u;

	getrusage(whose, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void *map(void)
{
	void *p = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		die("mmap");
	madvise(p, length, MADV_NOHUGEPAGE);
	return p;
}

static uint64_t word(size_t i)
{
	return (i + 1) * 0x9e3779b97f4a7c15ULL;
}

static pid_t start(void (*run)(void))
{
	pid_t pid = fork();

	if (pid < 0)
		die("fork");
	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	run();
	exit(0);
}

static void threads(void *(*run)(void *))
{
	pthread_t t[MAX_CHANNELS];

	for (long i = 0; i < opt.channels; i++)
		if ((errno = pthread_create(&t[i], NULL, run, (void *)i)))
			die("pthread_create");
	for (int i = 0; i < opt.channels; i++)
		pthread_join(t[i], NULL);
}

/* ---- holder ---- */

static int filled[2];

static void hold(void)
{
	for (size_t i = 0; i < length / 8; i++)
		((uint64_t *)source)[i] = word(i);
	if (write(filled[1], "", 1) != 1)
		die("write");
	for (;;)
		pause();
}

/* ---- sender ---- */

static void send_all(int fd, const void *buf, size_t len, int flags)
{
	ssize_t n;

	for (; len; len -= (size_t)n, buf = (const char *)buf + n)
		if ((n = send(fd, buf, len, flags | MSG_NOSIGNAL)) <= 0)
			die("send");
}

static void *send_channel(void *arg)
{
	int fd = sock[(long)arg];
	char *buf = malloc(opt.packet);
	struct header h;

	while (buf && (h.offset = atomic_fetch_add_explicit(&next, opt.packet,
							    memory_order_relaxed)) < length) {
		h.len = length - h.offset < opt.packet ? length - h.offset : opt.packet;

		struct iovec local = { buf, h.len }, remote = { source + h.offset, h.len };

		if (process_vm_readv(holder, &local, 1, &remote, 1, 0) != (ssize_t)h.len)
			die("process_vm_readv");
		send_all(fd, &h, sizeof(h), MSG_MORE);
		send_all(fd, buf, h.len, 0);
	}
	free(buf);
	close(fd);
	return NULL;
}

static struct sockaddr_in addr = { .sin_family = AF_INET };

static void sender(void)
{
	char name[MFD_CONGESTION_NAME];
	struct mfd_error err = { 0 };
	int one = 1;

	for (int i = 0; i < opt.channels; i++) {
		sock[i] = socket(AF_INET, SOCK_STREAM, 0);
		/*
		 * As the product does it over loopback; where there is no CUBIC it is the system's.
		 */
		setsockopt(sock[i], IPPROTO_TCP, TCP_CONGESTION, "cubic", 5);
		if (connect(sock[i], (struct sockaddr *)&addr, sizeof(addr)))
			die("connect");
		setsockopt(sock[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		/*
		 * As the product chooses it: the reference shall not be slowed down by the system's
		 * BBR.
		 */
		if (mfd_congestion_set(sock[i], "auto", name, &err))
			die("congestion control");
	}
	threads(send_channel);
}

/* ---- receiver ---- */

static int recv_all(int fd, void *buf, size_t len)
{
	ssize_t n;

	for (size_t got = 0; got < len; got += (size_t)n)
		if ((n = recv(fd, (char *)buf + got, len - got, MSG_WAITALL)) <= 0)
			return n < 0 || got ? -1 : 0;
	return 1;
}

static void install(const struct header *h, void *buf)
{
	struct uffdio_copy c = { .dst = (uintptr_t)target + h->offset,
				 .src = (uintptr_t)buf,
				 .len = h->len };

	/* EAGAIN tells how far it came. */
	while (ioctl(uffd, UFFDIO_COPY, &c)) {
		if (errno != EAGAIN || c.copy <= 0)
			die("UFFDIO_COPY");
		c.dst += (uint64_t)c.copy;
		c.src += (uint64_t)c.copy;
		c.len -= (uint64_t)c.copy;
	}
}

static void *receive_channel(void *arg)
{
	int fd = sock[(long)arg], ret;
	char *buf = NULL;
	struct header h;

	if (posix_memalign((void **)&buf, 4096, opt.packet))
		die("posix_memalign");
	while ((ret = recv_all(fd, &h, sizeof(h))) > 0) {
		if (h.len > opt.packet || h.offset > length - h.len ||
		    recv_all(fd, buf, h.len) <= 0)
			die("receive");
		install(&h, buf);
	}
	if (ret < 0)
		die("receive");
	free(buf);
	return NULL;
}

static void open_uffd(void)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };

	target = map();
	uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
	reg.range.start = (uintptr_t)target;
	reg.range.len = length;
	if (uffd < 0 || ioctl(uffd, UFFDIO_API, &api) || ioctl(uffd, UFFDIO_REGISTER, &reg))
		die("userfaultfd");
}

static int listen_any(void)
{
	socklen_t len = sizeof(addr);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) ||
	    listen(fd, MAX_CHANNELS) || getsockname(fd, (struct sockaddr *)&addr, &len))
		die("listen");
	return fd;
}

static int verify(void)
{
	for (size_t i = 0; i < length / 8; i++)
		if (((uint64_t *)target)[i] != word(i))
			return -1;
	return 0;
}

static void report(double seconds, double cpu_source, double cpu_target)
{
	double gib = (double)length / (1 << 30);

	if (opt.json)
		printf("{\"mib\":%zu,\"channels\":%d,\"packet\":%zu,\"ms\":%.1f,\"cpu_source_s\":%.3f,\"cpu_target_s\":%.3f}\n",
		       opt.mib, opt.channels, opt.packet, seconds * 1e3, cpu_source, cpu_target);
	else
		printf("%zu MiB, %d channels, packets of %zu KiB: %.0f ms, %.2f GB/s; CPU s per GiB: source %.2f, target %.2f\n",
		       opt.mib, opt.channels, opt.packet >> 10, seconds * 1e3,
		       (double)length / seconds / 1e9, cpu_source / gib, cpu_target / gib);
}

/* The host backs as much memory as the receiver is going to need; see warm.c. */
static void touch(void)
{
	volatile uint8_t *p = map();

	for (size_t i = 0; i < length; i += 4096)
		p[i] = 1;
}

static void warm(void)
{
	if (waitpid(start(touch), NULL, 0) < 0)
		die("waitpid");
}

/*
 * The receiver is this process: its CPU time is the difference, the sender's is what wait() adds to
 * the children.
 */
static void measure(void)
{
	double begin, cpu, cpu_before;
	int status, listener = listen_any();
	pid_t pid;

	open_uffd();
	if (!opt.cold)
		warm();
	cpu_before = cpu_of(RUSAGE_CHILDREN);
	cpu = cpu_of(RUSAGE_SELF);
	begin = now();
	pid = start(sender);
	for (int i = 0; i < opt.channels; i++)
		if ((sock[i] = accept(listener, NULL, NULL)) < 0)
			die("accept");
	threads(receive_channel);
	begin = now() - begin;
	cpu = cpu_of(RUSAGE_SELF) - cpu;
	if (waitpid(pid, &status, 0) != pid || status) {
		fprintf(stderr, "pipeline: the sender failed\n");
		exit(1);
	}
	report(begin, cpu_of(RUSAGE_CHILDREN) - cpu_before, cpu);
}

static void __attribute__((noreturn)) usage(void)
{
	fprintf(stderr,
		"usage: pipeline [--size MIB] [--channels N] [--packet KIB] [--cold] [--verify] [--json]\n");
	exit(2);
}

static void options(int argc, char **argv)
{
	static const struct option known[] = {
		{ "size", 1, NULL, 's' },
		{ "channels", 1, NULL, 'c' },
		{ "packet", 1, NULL, 'p' },
		{ "json", 0, NULL, 'j' },
		{ "verify", 0, NULL, 'v' },
		{ "cold", 0, NULL, 'o' },
		{ 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "", known, NULL)) != -1) {
		if (c == 's')
			opt.mib = strtoul(optarg, NULL, 10);
		else if (c == 'c')
			opt.channels = atoi(optarg);
		else if (c == 'p')
			opt.packet = strtoul(optarg, NULL, 10) << 10;
		else if (c == 'j')
			opt.json = 1;
		else if (c == 'o')
			opt.cold = 1;
		else if (c == 'v')
			opt.verify = 1;
		else
			usage();
	}
	if (optind != argc || !opt.mib || opt.packet < 4096 || opt.packet % 4096 ||
	    opt.channels < 1 || opt.channels > MAX_CHANNELS)
		usage();
}

int main(int argc, char **argv)
{
	char c;

	options(argc, argv);
	length = opt.mib << 20;
	source = map();
	if (pipe2(filled, O_CLOEXEC))
		die("pipe");
	holder = start(hold);
	if (read(filled[0], &c, 1) != 1)
		die("the holder failed");
	measure();
	if (opt.verify && verify()) {
		fprintf(stderr, "pipeline: wrong content\n");
		return 1;
	}
	kill(holder, SIGKILL);
	return 0;
}
