// SPDX-License-Identifier: GPL-2.0-only
/*
 * What sending costs: memory goes through the real multifd core and the real lib/sendchan.c (read,
 * zero test, hash, send) over real TCP to a receiver that discards it inside the kernel (recv with
 * MSG_TRUNC), so that the receiver's copy to user space is not in the picture; its TCP work is, on
 * the same processors.
 *
 * Methods take turns on the same memory:
 *
 *	off		sendmsg copies
 *	on		MSG_ZEROCOPY, whatever the kernel makes of it
 *	auto		MSG_ZEROCOPY until the kernel first says that it copied: what the product
 *			does
 *	uring		IORING_OP_SEND_ZC
 *	uring-fixed	the same from registered buffers
 *	uring-msg	IORING_OP_SENDMSG_ZC
 *
 * send_* is the time in the send calls, header and pages, reap_* that in taking completions (and,
 * by the wall clock, waiting for them). Over the loopback device and veth the receiving side's work
 * on a segment is done inside the sender's call: it is in all of them.  copied/sent are the
 * kernel's own words: where they are equal the path copies, and zero-copy can only lose.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"
#include "multifd.h"
#include "sendchan.h"
#include "sock.h"
#include "uring.h"

#define MAX_CHANNELS 64
#define METHODS	     6

static const struct method {
	const char *name;
	enum mfd_tristate zerocopy;
	int uring; /* enum uring_kind, -1 = the library's own */
} methods[METHODS] = {
	{ "off", MFD_OFF, -1 },
	{ "on", MFD_ON, -1 },
	{ "auto", MFD_AUTO, -1 },
	{ "uring", MFD_ON, URING_SEND },
	{ "uring-fixed", MFD_ON, URING_SEND_FIXED },
	{ "uring-msg", MFD_ON, URING_SENDMSG },
};

static struct {
	unsigned mib, channels, reps;
	struct bench_list packet; /* KiB */
	const char *address, *path, *source_netns, *target_netns;
	char want[METHODS];
} opt = { .mib = 1024, .channels = 2, .reps = 3, .address = "127.0.0.1", .path = "loopback" };

static char *memory;

static void enter(const char *netns)
{
	int fd = netns ? open(netns, O_RDONLY | O_CLOEXEC) : -1;

	if (netns && (fd < 0 || setns(fd, CLONE_NEWNET)))
		bench_die("%s: %s", netns, strerror(errno));
	if (fd >= 0)
		close(fd);
}

/* ---- the receiver: a process, so that its processor time is told apart ---- */

static void *discard(void *arg)
{
	int fd = (int)(intptr_t)arg;

	while (recv(fd, NULL, 8 << 20, MSG_TRUNC) > 0)
		;
	close(fd);
	return NULL;
}

static void __attribute__((noreturn)) receiver(int tell)
{
	char text[64];
	struct mfd_sock_addr at;
	struct mfd_error err;
	pthread_t t[MAX_CHANNELS];
	int listener;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	enter(opt.target_netns);
	snprintf(text, sizeof(text), "%s:0", opt.address);
	if (mfd_sock_parse(text, 1, &at, &err) || (listener = mfd_sock_listen(&at, &err)) < 0)
		bench_die("%s", err.text);
	if (write(tell, &at, sizeof(at)) != sizeof(at))
		bench_die("the sender has gone");
	for (unsigned i = 0; i < opt.channels; i++) {
		int fd = accept(listener, NULL, NULL);

		if (fd < 0 || pthread_create(&t[i], NULL, discard, (void *)(intptr_t)fd))
			bench_die("receiver: %s", strerror(errno));
	}
	for (unsigned i = 0; i < opt.channels; i++)
		pthread_join(t[i], NULL);
	_exit(0);
}

static pid_t start_receiver(struct mfd_sock_addr *at)
{
	int tell[2];
	pid_t pid;

	if (pipe2(tell, O_CLOEXEC) || (pid = fork()) < 0)
		bench_die("fork: %s", strerror(errno));
	if (!pid)
		receiver(tell[1]);
	close(tell[1]);
	if (read(tell[0], at, sizeof(*at)) != sizeof(*at))
		bench_die("the receiver did not start");
	close(tell[0]);
	return pid;
}

/* ---- the sender ---- */

struct sender {
	struct mfd_sendchan chan[MAX_CHANNELS];
	struct mfd_multifd *m;
	struct mfd_pageread reader;
	uint64_t sequence;
};

static void fail_of(struct sender *s, int code)
{
	struct mfd_sendchan *c = &s->chan[mfd_multifd_failed_channel(s->m)];

	bench_die("sending: %s", c->err.code ? c->err.text : strerror(-code));
}

static void open_channels(struct sender *s, const struct method *m, const struct mfd_sock_addr *at,
			  unsigned packet)
{
	struct mfd_wire_limits lim = { .packet_size = packet,
				       .channels = opt.channels,
				       .checksum = 1 };
	struct mfd_multifd_ops ops = { .send = mfd_sendchan_send, .sync = mfd_sendchan_sync };
	void *priv[MAX_CHANNELS];
	struct mfd_error err;

	for (unsigned i = 0; i < opt.channels; i++) {
		int fd = mfd_sock_connect(at, -1, 10000, &err);
		struct mfd_conn conn;

		if (fd < 0 || mfd_sock_tune(fd, 60000))
			bench_die("%s", err.text);
		mfd_conn_plain(&conn, fd);
		if (mfd_sendchan_init(&s->chan[i], i, &conn, &lim, m->zerocopy, 60000))
			bench_die("%s", s->chan[i].err.text);
		if (m->uring >= 0)
			uring_buffers(fd, s->chan[i].memory, s->chan[i].memory_len);
		priv[i] = &s->chan[i];
	}
	if (mfd_multifd_start(&s->m, opt.channels, priv, &ops, MFD_WIRE_MAX_RUNS))
		bench_die("no threads to be had");
}

/* All of the memory `from`..`to`, in whole packets, and a sync. */
static void send_range(struct sender *s, size_t from, size_t to, unsigned packet)
{
	uint64_t number;
	int ret = 0;

	for (size_t at = from; at < to && !ret; at += packet) {
		struct mfd_payload *p = mfd_multifd_payload(s->m);
		uint64_t pages = (to - at < packet ? to - at : packet) / MFD_WIRE_PAGE_SIZE;

		p->type = MFD_PAYLOAD_PAGES;
		p->sequence = s->sequence++;
		p->pages.reader = &s->reader;
		p->pages.task = 1;
		p->pages.runs = p->runs_memory;
		p->pages.nruns = 1;
		p->pages.npages = (uint32_t)pages;
		p->pages.runs[0] =
			(struct mfd_run){ .vaddr = (uintptr_t)memory + at, .pages = pages };
		ret = mfd_multifd_send(s->m);
	}
	if (!ret)
		ret = mfd_multifd_sync(s->m, &number);
	if (ret)
		fail_of(s, ret);
}

struct figures {
	uint64_t wall, cpu, sent, copied, completions, flush_waits;
	const char *fell_back;
};

static void add_counters(struct sender *s, struct figures *f, int sign)
{
	for (unsigned i = 0; i < opt.channels; i++) {
		const struct mfd_zerocopy *z = &s->chan[i].zc;

		f->sent += (uint64_t)sign * z->sends;
		f->copied += (uint64_t)sign * z->copied;
		f->completions += (uint64_t)sign * z->completions;
		f->flush_waits += (uint64_t)sign * z->flush_waits;
		if (z->fell_back)
			f->fell_back = z->fell_back;
	}
}

static double per_gib(uint64_t ns)
{
	return (double)ns / 1e6 / ((double)opt.mib / 1024);
}

static void print(const struct method *m, unsigned packet, unsigned rep, const struct figures *f,
		  double target_cpu_ms)
{
	printf("{\"what\":\"send\",\"path\":\"%s\",\"method\":\"%s\",\"packet\":%u,\"channels\":%u,\"mib\":%u,\"rep\":%u,",
	       opt.path, m->name, packet, opt.channels, opt.mib, rep);
	printf("\"ms\":%.1f,\"source_cpu_ms\":%.1f,\"target_cpu_ms\":%.1f,", per_gib(f->wall),
	       per_gib(f->cpu), target_cpu_ms / ((double)opt.mib / 1024));
	printf("\"send_calls\":%llu,\"send_wall_ms\":%.1f,\"send_cpu_ms\":%.1f,",
	       (unsigned long long)wrap_sending.calls, per_gib(wrap_sending.wall_ns),
	       per_gib(wrap_sending.cpu_ns));
	printf("\"reap_calls\":%llu,\"reap_wall_ms\":%.1f,\"reap_cpu_ms\":%.1f,",
	       (unsigned long long)wrap_reaping.calls, per_gib(wrap_reaping.wall_ns),
	       per_gib(wrap_reaping.cpu_ns));
	printf("\"sent\":%llu,\"completions\":%llu,\"copied\":%llu,\"flush_waits\":%llu,\"fell_back\":",
	       (unsigned long long)f->sent, (unsigned long long)f->completions,
	       (unsigned long long)f->copied, (unsigned long long)f->flush_waits);
	printf(f->fell_back ? "\"%s\"}\n" : "null}\n", f->fell_back);
}

/* The first 64th warms up the connections, the buffers and the rings, and is not measured. */
static void one(const struct method *m, unsigned packet, unsigned rep)
{
	size_t len = (size_t)opt.mib << 20, warm = len / 64 / packet * packet;
	struct sender *s = calloc(1, sizeof(*s));
	struct figures f = { 0 };
	struct mfd_sock_addr at;
	struct rusage u = { 0 };
	struct mfd_error err;
	pid_t pid;
	int status;

	if (!s || mfd_pageread_open(&s->reader, getpid(), &err))
		bench_die("%s", s ? err.text : "no memory");
	pid = start_receiver(&at);
	open_channels(s, m, &at, packet);
	send_range(s, 0, warm, packet);
	add_counters(s, &f, -1);
	wrap_reset();
	f.cpu = bench_process_ns();
	f.wall = bench_ns();
	send_range(s, 0, len, packet);
	f.wall = bench_ns() - f.wall;
	f.cpu = bench_process_ns() - f.cpu;
	add_counters(s, &f, 1);
	mfd_multifd_stop(s->m);
	for (unsigned i = 0; i < opt.channels; i++)
		mfd_sendchan_close(&s->chan[i]);
	uring_close();
	mfd_pageread_close(&s->reader);
	if (wait4(pid, &status, 0, &u) != pid || status)
		bench_die("the receiver failed");
	print(m, packet, rep, &f,
	      (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e3 +
		      (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e3);
	free(s);
}

static void fill(void)
{
	size_t len = (size_t)opt.mib << 20;

	memory = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		bench_die("%u MiB: %s", opt.mib, strerror(errno));
	madvise(memory, len, MADV_NOHUGEPAGE); /* as most processes are */
	for (size_t i = 0; i < len / 8; i++)
		((uint64_t *)memory)[i] = (i + 1) * 0x9e3779b97f4a7c15ULL;
}

static void want(const char *list)
{
	memset(opt.want, 0, sizeof(opt.want));
	while (*list) {
		size_t n = strcspn(list, ","), i;

		for (i = 0;
		     i < METHODS && (strncmp(methods[i].name, list, n) || methods[i].name[n]); i++)
			;
		if (i == METHODS)
			bench_die("no method is called %.*s", (int)n, list);
		opt.want[i] = 1;
		list += n + (list[n] == ',');
	}
}

static void __attribute__((noreturn)) usage(void)
{
	fprintf(stderr,
		"usage: multifd send [--mib N] [--channels N] [--packets KIB,...] [--methods LIST] [--reps N]\n"
		"                    [--path NAME --address IP --source-netns FILE --target-netns FILE]\n");
	exit(2);
}

static void options(int argc, char **argv)
{
	static const struct option known[] = {
		{ "mib", 1, NULL, 'm' },	  { "channels", 1, NULL, 'c' },
		{ "packets", 1, NULL, 'p' },	  { "methods", 1, NULL, 'w' },
		{ "reps", 1, NULL, 'r' },	  { "path", 1, NULL, 'n' },
		{ "address", 1, NULL, 'a' },	  { "source-netns", 1, NULL, 's' },
		{ "target-netns", 1, NULL, 't' }, { 0 },
	};
	int c;

	opt.packet = bench_numbers("64,256,1024", 64, 4096);
	memset(opt.want, 1, sizeof(opt.want));
	while ((c = getopt_long(argc, argv, "", known, NULL)) != -1) {
		switch (c) {
		case 'm':
			opt.mib = bench_numbers(optarg, 1, 1 << 16).v[0];
			break;
		case 'c':
			opt.channels = bench_numbers(optarg, 1, MAX_CHANNELS).v[0];
			break;
		case 'p':
			opt.packet = bench_numbers(optarg, 64, 4096);
			break;
		case 'w':
			want(optarg);
			break;
		case 'r':
			opt.reps = bench_numbers(optarg, 1, 1000).v[0];
			break;
		case 'n':
			opt.path = optarg;
			break;
		case 'a':
			opt.address = optarg;
			break;
		case 's':
			opt.source_netns = optarg;
			break;
		case 't':
			opt.target_netns = optarg;
			break;
		default:
			usage();
		}
	}
	if (optind != argc)
		usage();
}

int bench_send(int argc, char **argv)
{
	options(argc, argv);
	fill();
	enter(opt.source_netns);
	for (unsigned rep = 1; rep <= opt.reps; rep++)
		for (unsigned p = 0; p < opt.packet.n; p++)
			for (unsigned i = 0; i < METHODS; i++) {
				const char *why = NULL;

				if (opt.want[i] && methods[i].uring >= 0)
					why = uring_use((enum uring_kind)methods[i].uring);
				if (why && rep == 1 && !p)
					printf("{\"what\":\"skipped\",\"path\":\"%s\",\"method\":\"%s\",\"why\":\"%s\"}\n",
					       opt.path, methods[i].name, why);
				if (opt.want[i] && !why)
					one(&methods[i], opt.packet.v[p] << 10, rep);
			}
	return 0;
}
