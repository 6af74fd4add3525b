// SPDX-License-Identifier: GPL-2.0-only
/* How much of the server's memory a session needs; see promise.h. */
#include <errno.h>

#include "promise.h"
#include "server.h"
#include "size.h"

#define MIB	 (1ULL << 20)
#define RECEIVER (128ULL << 10) /* of a channel, beside its buffers: thread, tables */
/* images of a small process; session, page tables' roots, journal */
#define SMALL MIB
/* postcopy: pages that may come before the restore, at least */
#define WINDOW (16 * MIB)

uint64_t mfd_promise_base(const struct mfd_wire_limits *lim, int urgent)
{
	uint64_t packets = lim->compress ? 2 : 1;
	uint64_t channels = lim->channels + (urgent ? 1U : 0U);

	return channels * (packets * lim->packet_size + RECEIVER) + MFD_PROMISE_BLOCK;
}

/*
 * Pages, and for each 16 bytes of journal and tables on an average; a session whose pages lie all
 * apart takes twice that.
 */
static uint64_t content_of(const struct mfd_server *sv, uint64_t need)
{
	return (sv->store_in_memory ? need : 0) + need / 64 + SMALL;
}

struct mfd_promise mfd_promise_for(const struct mfd_server *sv, const struct mfd_wire_limits *lim,
				   const struct mfd_plan *plan, int room_ok, uint64_t need)
{
	struct mfd_promise p = { .base = mfd_promise_base(lim, plan->follow) };
	uint64_t urgent = plan->postcopy ? MFD_PROMISE_URGENT : 0;

	p.want = p.base + urgent + content_of(sv, need);
	p.least = p.want;
	if (plan->postcopy && !lim->precopy && room_ok && sv->store_in_memory) {
		p.least = p.base + urgent + WINDOW;
		if (need && p.want < p.least)
			p.least = p.want;
		if (p.want < p.least)
			p.want = p.least;
	}
	return p;
}

int mfd_promise_too_much(struct mfd_server *sv, const char *name, uint64_t least,
			 struct mfd_error *err)
{
	char need[MFD_SIZE_TEXT], limit[MFD_SIZE_TEXT];

	return mfd_error_set(
		err, -E2BIG,
		"session %.255s needs %s of memory here, more than the limit of %s for all sessions "
		"(criu-multifd serve --max-memory)",
		name, mfd_size_text(least, need), mfd_size_text(sv->max_memory, limit));
}

int mfd_promise_not_now(struct mfd_server *sv, const char *name, uint64_t least,
			struct mfd_error *err)
{
	char need[MFD_SIZE_TEXT], room[MFD_SIZE_TEXT], limit[MFD_SIZE_TEXT], left[MFD_SIZE_TEXT];
	struct mfd_budget_figures f;

	mfd_budget_look(&sv->budget, NULL, &f);
	return mfd_error_set(
		err, -ENOSPC,
		"session %.255s needs %s of memory here, %s of the limit of %s are free (criu-multifd serve "
		"--max-memory; images of ended sessions hold %s)",
		name, mfd_size_text(least, need), mfd_size_text(f.free, room),
		mfd_size_text(sv->max_memory, limit), mfd_size_text(f.left, left));
}
