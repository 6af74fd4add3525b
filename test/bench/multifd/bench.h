/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the parts of this benchmark share: clocks, lists of numbers, and a bad end.  Every part
 * prints one JSON object per run.
 */
#ifndef MFD_BENCH_H
#define MFD_BENCH_H

#include <stdint.h>

#define BENCH_LIST 16

struct bench_list {
	unsigned n;
	unsigned v[BENCH_LIST];
};

void __attribute__((noreturn, format(printf, 1, 2))) bench_die(const char *fmt, ...);
/* "1,2,4"; dies of anything else. */
struct bench_list bench_numbers(const char *text, unsigned least, unsigned most);
uint64_t bench_ns(void);	 /* CLOCK_MONOTONIC */
uint64_t bench_thread_ns(void);	 /* processor time of this thread */
uint64_t bench_process_ns(void); /* processor time of this process */

int bench_dispatch(int argc, char **argv);
int bench_send(int argc, char **argv);

#endif
