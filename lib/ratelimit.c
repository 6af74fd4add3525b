// SPDX-License-Identifier: GPL-2.0-only
/* Bytes per second over all channels. */
#include <time.h>

#include "ratelimit.h"

/*
 * Times on the line are CLOCK_MONOTONIC in ticks of 64 ns: 54 bits of them are 36 years, and the
 * smallest packet at 10 GB/s is a hundred. The bits above number the line; they come round after
 * 1024 changes, and no thread sleeps that long.
 */
#define TICK_NS	  64ULL
#define TIME_BITS 54
#define TIME_MASK ((1ULL << TIME_BITS) - 1)
#define SECOND	  (1000000000ULL / TICK_NS)
/* Sleeping is not exact: what one reservation has lost, the next may use. */
#define BURST	    (SECOND / 50)
#define MAX_COST    (3600 * SECOND) /* of one piece */
#define SLICE_NS    50000000ULL	    /* longest sleep before the limit is looked at again */
#define PIECES	    100		    /* per second */
#define PIECE_LEAST 4096

static uint64_t now_ticks(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return ((uint64_t)t.tv_sec * 1000000000ULL + (uint64_t)t.tv_nsec) / TICK_NS;
}

uint64_t mfd_ratelimit_set(struct mfd_ratelimit *r, uint64_t bytes_per_s)
{
	uint64_t old = atomic_exchange_explicit(&r->bytes_per_s, bytes_per_s, memory_order_relaxed);
	uint64_t line = atomic_load_explicit(&r->line, memory_order_relaxed);

	/*
	 * What was reserved at the old rate is forgotten. Partner: reserve, which reads the rate
	 * behind the line.
	 */
	while (!atomic_compare_exchange_weak_explicit(&r->line, &line,
						      ((line >> TIME_BITS) + 1) << TIME_BITS,
						      memory_order_release, memory_order_relaxed))
		;
	return old;
}

static uint64_t cost_of(size_t bytes, uint64_t rate)
{
	double ticks = (double)bytes * (double)SECOND / (double)rate + 0.5;

	return ticks < (double)MAX_COST ? (uint64_t)ticks : MAX_COST;
}

/*
 * Reserve time for a piece.  Return its beginning on the time line, 0 without a limit or if it
 * would be later than `latest`; *number is the line's.
 */
static uint64_t reserve(struct mfd_ratelimit *r, size_t bytes, uint64_t now, uint64_t latest,
			uint64_t *number)
{
	uint64_t line = atomic_load_explicit(&r->line, memory_order_acquire), rate, begin;

	do {
		rate = atomic_load_explicit(&r->bytes_per_s, memory_order_relaxed);
		begin = line & TIME_MASK;
		if (!rate || begin > latest)
			return 0;
		if (begin < now - BURST)
			begin = now - BURST;
		*number = line >> TIME_BITS;
	} while (!atomic_compare_exchange_weak_explicit(
		&r->line, &line,
		*number << TIME_BITS | ((begin + cost_of(bytes, rate)) & TIME_MASK),
		memory_order_acquire, memory_order_acquire));
	return begin;
}

static int is_line(struct mfd_ratelimit *r, uint64_t number)
{
	return atomic_load_explicit(&r->line, memory_order_relaxed) >> TIME_BITS == number;
}

/* 0 = the reservation has begun, 1 = the limit has changed meanwhile. */
static int sleep_until(struct mfd_ratelimit *r, uint64_t begin, uint64_t number)
{
	uint64_t now;

	while ((now = now_ticks()) < begin) {
		uint64_t left = (begin - now) * TICK_NS;
		struct timespec t = { .tv_sec = 0,
				      .tv_nsec = (long)(left < SLICE_NS ? left : SLICE_NS) };

		if (!is_line(r, number))
			return 1;
		clock_nanosleep(CLOCK_MONOTONIC, 0, &t, NULL);
	}
	return 0;
}

uint64_t mfd_ratelimit_wait(struct mfd_ratelimit *r, size_t bytes)
{
	uint64_t start, begin, number = 0;

	if (!atomic_load_explicit(&r->bytes_per_s, memory_order_relaxed))
		return 0;
	start = now_ticks();
	begin = reserve(r, bytes, start, UINT64_MAX, &number);
	if (begin <= start)
		return 0;
	while (sleep_until(r, begin, number))
		begin = reserve(r, bytes, now_ticks(), UINT64_MAX, &number);
	return (now_ticks() - start) * TICK_NS / 1000 + 1;
}

void mfd_ratelimit_charge(struct mfd_ratelimit *r, size_t bytes)
{
	uint64_t now, number;

	if (!atomic_load_explicit(&r->bytes_per_s, memory_order_relaxed))
		return;
	now = now_ticks();
	reserve(r, bytes, now, now + SECOND, &number);
}

size_t mfd_ratelimit_piece(struct mfd_ratelimit *r, size_t left)
{
	uint64_t rate = atomic_load_explicit(&r->bytes_per_s, memory_order_relaxed),
		 piece = rate / PIECES;

	if (!rate)
		return left;
	if (piece < PIECE_LEAST)
		piece = PIECE_LEAST;
	return left < piece ? left : (size_t)piece;
}
