/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Pages give way to CRIU.  If images come before the pages (postcopy, early restore), CRIU's dump
 * here and its restore there are what the downtime consists of, and the bulk of the pages can wait.
 *
 * Channels and the pages' sender run at a low priority meanwhile (lib/gentle.h).  That does not do
 * where there are hardly more processors than CRIU needs, and is no help at all against a CRIU of
 * another session or control group.  There, one payload at a time is on its way, and in postcopy,
 * where the process stands still all that time, with rests in between.  Measured on two processors
 * with both ends on them, 1 GiB: one at a time, 146 ms instead of 272; with rests 92 instead of 151
 * (in another hour), of which the whole takes 3 % longer.
 *
 * The worker's main thread alone uses it; the channels read `gentle`.
 */
#ifndef MFD_GIVE_WAY_H
#define MFD_GIVE_WAY_H

#include <stdatomic.h>
#include <stdint.h>

struct mfd_worker;

struct mfd_give_way {
	/* Bool, no phase: CRIU and all channels at once are too many for this machine. */
	int few_cpus;
	/*
	 * enum mfd_gentle_degree, no phase: pages give way now.  It ends by time, in whatever phase
	 * that is.  Read by the channels, relaxed: a hint.
	 */
	atomic_int gentle;
	uint64_t rest_from_us, rest_until_us; /* the next payload waits so long; 0 = no rest */
	uint64_t rests, rested_us;	      /* so far */
};

/* The channels are open: give way from here on if pages follow the images. */
void mfd_give_way_begin(struct mfd_worker *w);
/* Before each step: is CRIU through on both hosts? */
void mfd_give_way_look(struct mfd_worker *w);
/* Nonzero during a rest. */
int mfd_give_way_rests(const struct mfd_give_way *g);
/*
 * Around the sending of one payload.  begin: nonzero when this one gives way, so the channels must
 * be drained after it; end: take the rest that it has earned.
 */
struct mfd_give_way_work {
	uint64_t wall_us, processor_us;
};
int mfd_give_way_payload_begin(struct mfd_give_way *g, struct mfd_give_way_work *work);
void mfd_give_way_payload_end(struct mfd_worker *w, const struct mfd_give_way_work *work);

#endif
