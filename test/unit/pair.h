/* SPDX-License-Identifier: GPL-2.0-only */
/* Connected sockets and children for unit tests. */
#ifndef MFD_TEST_PAIR_H
#define MFD_TEST_PAIR_H

#include <stdint.h>
#include <sys/types.h>

/*
 * A connected TCP pair over the loopback device; small_window: the receiving end (fd[1]) takes
 * little at a time.
 */
void pair_tcp(int fd[2], int small_window);
/* The same bytes for the same seed; never a zero byte. */
void pair_pattern(void *buf, size_t len, uint64_t seed);
/*
 * Forks a child that stops itself at once, and waits until it stands.  It is a copy of the caller.
 */
pid_t pair_frozen_child(void);
pid_t pair_frozen_after(void (*first)(void *), void *arg); /* the same, after it has done that */
/* A child that counts, 1,000 times a second, in memory that both share; it dies with its parent. */
pid_t pair_counting_child(volatile uint64_t *count);
/* How many of n such children run, by what they count in 150 ms. */
unsigned pair_counting(const volatile uint64_t *count, unsigned n);
void pair_reap(pid_t pid); /* kill and wait */
/*
 * KiB that smaps has under `field` ("AnonHugePages:") for the mapping at `at`; NULL: for all of
 * them.
 */
unsigned long pair_smaps_kib(pid_t pid, const char *field, const void *at);
/* Exit status of pid, or -1 when it has not ended within the time (it is killed then). */
int pair_status(pid_t pid, unsigned timeout_ms);
/* What fn returns in a process that ends with it, and its locks too; -1: a signal ended that. */
int pair_in_child(int (*fn)(void));
/* A test that hangs must not hold up the others: the program is killed by SIGALRM. */
void pair_time_limit(unsigned seconds);

#endif
