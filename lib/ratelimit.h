/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * One limit of bytes per second for all channels of a session, changeable while they run.
 *
 * Each sender reserves its bytes on a common time line with one compare-and-swap and sleeps until
 * its reservation begins: no lock, no thread that hands out tokens, and idle time is never saved up
 * for longer than BURST.
 *
 * A change begins a new time line.  Its number is part of the word that reservations are made on,
 * so a sender that has reckoned with the old limit cannot leave its mark on the new line; one that
 * sleeps looks up at least every SLICE and reserves anew.
 */
#ifndef MFD_RATELIMIT_H
#define MFD_RATELIMIT_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

struct mfd_ratelimit {
	_Atomic uint64_t bytes_per_s; /* 0 = no limit; published by `line` */
	/* number of the line, and when its next reservation may begin; see ratelimit.c */
	_Atomic uint64_t line;
} __attribute__((aligned(64))); /* every sender writes it */

/* Wait until `bytes` may be sent; how many microseconds that took, 0 when it was at once. */
uint64_t mfd_ratelimit_wait(struct mfd_ratelimit *r, size_t bytes);
/* `bytes` go now: those who wait make up for it, though not for more than a second of it. */
void mfd_ratelimit_charge(struct mfd_ratelimit *r, size_t bytes);
/*
 * How much of `left` bytes may be sent at once if any second is to hold the limit: what takes a
 * hundredth of one.  Not less than a page, so limits below 100 pages a second are held over longer
 * times only.
 */
size_t mfd_ratelimit_piece(struct mfd_ratelimit *r, size_t left);
/* Any thread; holds for all senders at once. The limit that was. */
uint64_t mfd_ratelimit_set(struct mfd_ratelimit *r, uint64_t bytes_per_s);

#endif
