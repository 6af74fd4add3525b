// SPDX-License-Identifier: GPL-2.0-only
/*
 * multifd: what the multifd core and its sends cost by themselves, apart from any migration.
 *
 *	multifd dispatch	handing payloads to channels: lib/multifd.c beside a mutex and
 *				condition variables
 *	multifd send		lib/sendchan.c over real TCP: copying, MSG_ZEROCOPY, and io_uring's
 *				zero-copy as a candidate
 *
 * test/bench/multifd/run calls it, makes the network namespaces and draws the tables.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench.h"

void bench_die(const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "multifd: ");
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(1);
}

struct bench_list bench_numbers(const char *text, unsigned least, unsigned most)
{
	struct bench_list l = { 0 };
	const char *at = text;
	char *end;

	do {
		unsigned long v = strtoul(at, &end, 10);

		if (end == at || (*end && *end != ',') || v < least || v > most ||
		    l.n == BENCH_LIST)
			bench_die("\"%s\" is not a list of numbers from %u to %u", text, least,
				  most);
		l.v[l.n++] = (unsigned)v;
		at = end + 1;
	} while (*end);
	return l;
}

static uint64_t read_clock(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

uint64_t bench_ns(void)
{
	return read_clock(CLOCK_MONOTONIC);
}

uint64_t bench_thread_ns(void)
{
	return read_clock(CLOCK_THREAD_CPUTIME_ID);
}

uint64_t bench_process_ns(void)
{
	return read_clock(CLOCK_PROCESS_CPUTIME_ID);
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc > 1 && !strcmp(argv[1], "dispatch"))
		return bench_dispatch(argc - 1, argv + 1);
	if (argc > 1 && !strcmp(argv[1], "send"))
		return bench_send(argc - 1, argv + 1);
	fprintf(stderr, "usage: multifd dispatch|send [OPTIONS]\n");
	return 2;
}
