// SPDX-License-Identifier: GPL-2.0-only
/* The estimate of the downtime, and what follows from it. */
#include "assert.h"
#include "criterion.h"

#define MIB (1ULL << 20)
#define GIB (1ULL << 30)

/* Measured with CRIU 4.2.1 (lib/KERNEL.md): memory in pages of 4 KiB, nothing sent. */
#define FLOOR_MS	35
#define FLOOR_LISTED	16 /* instead of FLOOR_MS_GIB (test/bench/LOG.md) */
#define FLOOR_MS_GIB	150
#define FLOOR_MS_TASK	3
#define FLOOR_US_THREAD 400
#define VERIFY_MS_GIB	15
#define RESTORE_MS	60
#define SLOWEST		(16 * MIB) /* bytes per second: less is a disturbance */
#define SMALLEST	(16 * MIB) /* a round of less is not worth its synchronisation */
#define GROWING		2	   /* such rounds in a row */

static uint32_t floor_of(const struct mfd_criterion *c)
{
	uint64_t gib = c->listed ? FLOOR_LISTED : FLOOR_MS_GIB;

	return (uint32_t)(FLOOR_MS + c->memory * gib / GIB + c->tasks * FLOOR_MS_TASK +
			  c->threads * FLOOR_US_THREAD / 1000);
}

static uint64_t transfer_ms(const struct mfd_criterion *c, uint64_t bytes)
{
	return bytes * 1000 / c->rate;
}

/* What no round makes shorter. */
static uint64_t fixed_ms(const struct mfd_criterion *c)
{
	return c->floor_ms + c->memory * VERIFY_MS_GIB / GIB + (c->confirm ? RESTORE_MS : 0);
}

static int is_reached(const struct mfd_criterion *c)
{
	uint64_t fixed = fixed_ms(c), rest = c->limit_ms > fixed ? c->limit_ms - fixed : 0,
		 least = transfer_ms(c, SMALLEST);

	return transfer_ms(c, c->left) <= (rest > least ? rest : least);
}

static void note_rate(struct mfd_criterion *c, uint64_t bytes, uint64_t round_us)
{
	uint64_t now = round_us ? bytes * 1000000 / round_us : 0;

	/* Short rounds say little. */
	if (c->rate && bytes < SMALLEST)
		return;
	c->rate = c->rate ? (c->rate + 2 * now) / 3 : now;
	if (c->rate < SLOWEST)
		c->rate = SLOWEST;
}

enum mfd_criterion_end mfd_criterion_round(struct mfd_criterion *c, uint64_t bytes,
					   uint64_t round_us, uint64_t left, uint64_t elapsed_ms)
{
	mfd_assert(c->max_rounds);
	note_rate(c, bytes, round_us);
	mfd_assert(c->rate);
	c->growing = c->round && left > c->left / 10 * 7 ? c->growing + 1 : 0;
	c->round++;
	c->left = left;
	c->written = round_us ? left * 1000000 / round_us : 0;
	c->floor_ms = floor_of(c);
	c->expected_ms = (uint32_t)(fixed_ms(c) + transfer_ms(c, left));
	if (is_reached(c))
		return MFD_CRITERION_REACHED;
	if (c->growing >= GROWING)
		return MFD_CRITERION_UNBOUNDED;
	if (c->round >= c->max_rounds)
		return MFD_CRITERION_ROUNDS;
	return elapsed_ms >= c->timeout_ms ? MFD_CRITERION_TIMEOUT : MFD_CRITERION_GO_ON;
}

const char *mfd_criterion_word(enum mfd_criterion_end end)
{
	static const char *const words[MFD_CRITERION_ENDS] = {
		[MFD_CRITERION_GO_ON] = "under way",
		[MFD_CRITERION_REACHED] = "reached",
		[MFD_CRITERION_ROUNDS] = "max-rounds",
		[MFD_CRITERION_TIMEOUT] = "precopy-timeout",
		[MFD_CRITERION_UNBOUNDED] = "not converging",
	};

	mfd_assert(end < MFD_CRITERION_ENDS);
	return words[end];
}
