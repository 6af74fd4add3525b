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
/* Bytes of the debt that a waiting sender pays for each of its own: a quarter is left to it. */
#define REPAID 3

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
	if (!bytes_per_s)
		atomic_store_explicit(&r->owed, 0, memory_order_relaxed);
	return old;
}

static uint64_t cost_of(size_t bytes, uint64_t rate)
{
	double ticks = (double)bytes * (double)SECOND / (double)rate + 0.5;

	return ticks < (double)MAX_COST ? (uint64_t)ticks : MAX_COST;
}

/* Up to `most` bytes of the debt, which is that much smaller then. */
static uint64_t repay(struct mfd_ratelimit *r, uint64_t most)
{
	uint64_t owed = atomic_load_explicit(&r->owed, memory_order_relaxed), part;

	do
		part = owed < most ? owed : most;
	while (part &&
	       !atomic_compare_exchange_weak_explicit(&r->owed, &owed, owed - part,
						      memory_order_relaxed, memory_order_relaxed));
	return part;
}

/*
 * Bring the line up to now.  Time that no sender has used pays the debt before it is lost; on a new
 * line (0) none has passed.
 */
static void catch_up(struct mfd_ratelimit *r, uint64_t now)
{
	uint64_t line = atomic_load_explicit(&r->line, memory_order_acquire), rate, begin;
	double idle;

	do {
		rate = atomic_load_explicit(&r->bytes_per_s, memory_order_relaxed);
		begin = line & TIME_MASK;
		if (!rate || begin >= now - BURST)
			return;
	} while (!atomic_compare_exchange_weak_explicit(
		&r->line, &line, (line & ~TIME_MASK) | ((now - BURST) & TIME_MASK),
		memory_order_acquire, memory_order_acquire));
	idle = begin ? (double)(now - BURST - begin) / (double)SECOND * (double)rate : 0;
	repay(r, idle < 1e18 ? (uint64_t)idle : UINT64_MAX);
}

/*
 * Reserve time for a piece, behind what it pays of the debt.  Return its beginning on the time
 * line, 0 without a limit; *number is the line's.
 */
static uint64_t reserve(struct mfd_ratelimit *r, size_t bytes, uint64_t paid, uint64_t now,
			uint64_t *number)
{
	uint64_t line = atomic_load_explicit(&r->line, memory_order_acquire), rate, begin;

	do {
		rate = atomic_load_explicit(&r->bytes_per_s, memory_order_relaxed);
		begin = line & TIME_MASK;
		if (!rate)
			return 0;
		if (begin < now - BURST)
			begin = now - BURST;
		begin += paid ? cost_of(paid, rate) : 0;
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
	uint64_t start, begin, paid, number = 0;

	if (!atomic_load_explicit(&r->bytes_per_s, memory_order_relaxed))
		return 0;
	start = now_ticks();
	catch_up(r, start);
	paid = repay(r, (uint64_t)bytes * REPAID);
	begin = reserve(r, bytes, paid, start, &number);
	if (begin <= start)
		return 0;
	while (sleep_until(r, begin, number)) {
		paid += repay(r, (uint64_t)bytes * REPAID - paid);
		begin = reserve(r, bytes, paid, now_ticks(), &number);
	}
	return (now_ticks() - start) * TICK_NS / 1000 + 1;
}

void mfd_ratelimit_charge(struct mfd_ratelimit *r, size_t bytes)
{
	if (!atomic_load_explicit(&r->bytes_per_s, memory_order_relaxed))
		return;
	catch_up(r, now_ticks()); /* what was idle before does not pay for it */
	atomic_fetch_add_explicit(&r->owed, bytes, memory_order_relaxed);
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
