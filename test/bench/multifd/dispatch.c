// SPDX-License-Identifier: GPL-2.0-only
/*
 * What handing a payload to a channel costs: the lockless swap of lib/multifd.c and the queue of
 * locked.c, one after the other in every round.  The channels do nothing, or hash a fixed amount
 * that stays in the cache.
 *
 *	ns		wall time of a payload, from the first handed over to the last done: 1e9 /
 *			ns is payloads per second
 *	producer_ns	the producer's processor time of a payload: what dispatch takes from the
 *			thread that scans the page tables
 *	cpu_ns		processor time of all threads
 *	sleeps		voluntary context switches of all threads: times that a thread went to sleep
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "bench.h"
#include "locked.h"
#include "wire.h"

#define WORK_MAX (1U << 20)

static struct {
	unsigned payloads, reps;
	struct bench_list channels, work; /* work: bytes hashed for a payload */
} opt = { .payloads = 200000, .reps = 5 };

struct lane {
	unsigned work;
	uint64_t seen, sum, hash; /* the channel thread's, read after a sync */
	uint8_t *bytes;
} __attribute__((aligned(64)));

static int lane_send(void *arg, struct mfd_payload *p)
{
	struct lane *a = arg;

	a->seen++;
	a->sum += p->sequence;
	if (a->work)
		a->hash ^= mfd_wire_hash(p, 0, a->bytes, a->work);
	return 0;
}

static int lane_sync(void *arg, uint64_t number)
{
	return 0;
}

/* Both cores behind the same pointers: an indirect call costs both the same. */
struct core {
	const char *name;
	void *(*start)(unsigned n, void *const *lane, const struct mfd_multifd_ops *ops);
	struct mfd_payload *(*payload)(void *m);
	int (*send)(void *m);
	int (*sync)(void *m, uint64_t *number);
	void (*stop)(void *m);
};

#define CORE(prefix, type)                                                                        \
	static void *prefix##_s(unsigned n, void *const *lane, const struct mfd_multifd_ops *ops) \
	{                                                                                         \
		struct type *m = NULL;                                                            \
                                                                                                  \
		return prefix##_start(&m, n, lane, ops, 1) ? NULL : m;                            \
	}                                                                                         \
	static struct mfd_payload *prefix##_p(void *m)                                            \
	{                                                                                         \
		return prefix##_payload(m);                                                       \
	}                                                                                         \
	static int prefix##_d(void *m)                                                            \
	{                                                                                         \
		return prefix##_send(m);                                                          \
	}                                                                                         \
	static int prefix##_y(void *m, uint64_t *number)                                          \
	{                                                                                         \
		return prefix##_sync(m, number);                                                  \
	}                                                                                         \
	static void prefix##_e(void *m)                                                           \
	{                                                                                         \
		prefix##_stop(m);                                                                 \
	}
CORE(mfd_multifd, mfd_multifd)
CORE(locked, locked)

static const struct core cores[] = {
	{ "lockless", mfd_multifd_s, mfd_multifd_p, mfd_multifd_d, mfd_multifd_y, mfd_multifd_e },
	{ "mutex", locked_s, locked_p, locked_d, locked_y, locked_e },
};

static void produce(const struct core *c, void *m, uint64_t from, uint64_t n)
{
	uint64_t number;

	for (uint64_t i = from; i < from + n; i++) {
		struct mfd_payload *p = c->payload(m);

		p->type = MFD_PAYLOAD_FILE;
		p->sequence = i;
		if (c->send(m))
			bench_die("dispatch: sending failed");
	}
	if (c->sync(m, &number))
		bench_die("dispatch: sync failed");
}

static void check(struct lane *lane, unsigned n, uint64_t payloads)
{
	uint64_t seen = 0, sum = 0;

	for (unsigned i = 0; i < n; i++) {
		seen += lane[i].seen;
		sum += lane[i].sum;
	}
	if (seen != payloads || sum != payloads * (payloads - 1) / 2)
		bench_die("dispatch: %llu payloads came of %llu", (unsigned long long)seen,
			  (unsigned long long)payloads);
}

static long sleeps(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return u.ru_nvcsw;
}

/* As the sender does, the producer looks up now and then while it waits. */
static int look_up(void *arg)
{
	return 0;
}

static void one(const struct core *c, unsigned channels, unsigned work, unsigned rep)
{
	/* A payload that takes longer is measured on fewer. */
	uint64_t n = opt.payloads / (1 + work / 16384), warm = n / 10, wall, own, all;
	struct mfd_multifd_ops ops = { .send = lane_send, .sync = lane_sync, .waiting = look_up };
	struct lane *lane = aligned_alloc(64, channels * sizeof(*lane));
	void *priv[64], *m;
	long slept;

	for (unsigned i = 0; i < channels; i++) {
		lane[i] = (struct lane){ .work = work, .bytes = malloc(work + 1) };
		memset(lane[i].bytes, (int)i + 1, work + 1);
		priv[i] = &lane[i];
	}
	m = c->start(channels, priv, &ops);
	if (!m)
		bench_die("dispatch: no threads to be had");
	produce(c, m, 0, warm);
	slept = sleeps();
	all = bench_process_ns();
	own = bench_thread_ns();
	wall = bench_ns();
	produce(c, m, warm, n);
	wall = bench_ns() - wall;
	own = bench_thread_ns() - own;
	all = bench_process_ns() - all;
	slept = sleeps() - slept;
	c->stop(m);
	check(lane, channels, warm + n);
	printf("{\"what\":\"dispatch\",\"core\":\"%s\",\"channels\":%u,\"work\":%u,\"rep\":%u,\"payloads\":%llu,\"ns\":%.1f,"
	       "\"producer_ns\":%.1f,\"cpu_ns\":%.1f,\"sleeps\":%.4f}\n",
	       c->name, channels, work, rep, (unsigned long long)n, (double)wall / (double)n,
	       (double)own / (double)n, (double)all / (double)n, (double)slept / (double)n);
	for (unsigned i = 0; i < channels; i++)
		free(lane[i].bytes);
	free(lane);
}

static void __attribute__((noreturn)) usage(void)
{
	fprintf(stderr,
		"usage: multifd dispatch [--channels LIST] [--work LIST] [--payloads N] [--reps N]\n");
	exit(2);
}

int bench_dispatch(int argc, char **argv)
{
	static const struct option known[] = {
		{ "channels", 1, NULL, 'c' },
		{ "work", 1, NULL, 'w' },
		{ "payloads", 1, NULL, 'p' },
		{ "reps", 1, NULL, 'r' },
		{ 0 },
	};
	int c;

	opt.channels = bench_numbers("1,2,4,8,16", 1, 64);
	opt.work = bench_numbers("0,16384", 0, WORK_MAX);
	while ((c = getopt_long(argc, argv, "", known, NULL)) != -1) {
		if (c == 'c')
			opt.channels = bench_numbers(optarg, 1, 64);
		else if (c == 'w')
			opt.work = bench_numbers(optarg, 0, WORK_MAX);
		else if (c == 'p')
			opt.payloads = bench_numbers(optarg, 1000, 100000000).v[0];
		else if (c == 'r')
			opt.reps = bench_numbers(optarg, 1, 1000).v[0];
		else
			usage();
	}
	if (optind != argc)
		usage();
	for (unsigned rep = 1; rep <= opt.reps; rep++)
		for (unsigned w = 0; w < opt.work.n; w++)
			for (unsigned n = 0; n < opt.channels.n; n++)
				for (unsigned i = 0; i < 2; i++)
					one(&cores[i], opt.channels.v[n], opt.work.v[w], rep);
	return 0;
}
