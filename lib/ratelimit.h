/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * One limit of bytes per second for all channels of a session, changeable while they run.
 *
 * Each sender reserves its bytes on a common time line with one compare-and-swap and sleeps until
 * its reservation begins: no lock, no thread that hands out tokens, and idle time is never saved up
 * for longer than BURST.
 *
 * A change begins a new time line.  Its number is part of the word that reservations are made on,
 * so a sender that has computed with the old limit cannot change the new line; one that sleeps
 * looks at the line at least every SLICE and reserves anew.
 *
 * Bytes that were sent at once (urgent pages) are a debt.  Senders that wait pay it: each of them
 * waits for up to three bytes of it for one of its own, so that the limit holds as long as the
 * urgent ones take no more than three quarters of it, and the others go on at a quarter of it
 * otherwise.  The debt is paid to the end, however large it is, by them and by idle time; a change
 * of the limit forgives none of it, unless there is no limit any more.
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
	/* bytes that were sent at once, and not made up for yet */
	_Atomic uint64_t owed;
} __attribute__((aligned(64))); /* every sender writes it */

/* Wait until `bytes` may be sent.  Return the microseconds that took, 0 if there was no wait. */
uint64_t mfd_ratelimit_wait(struct mfd_ratelimit *r, size_t bytes);
/*
 * Count `bytes` that are sent at once: the senders that wait make up for all of them, and go on at
 * a quarter of the limit meanwhile.
 */
void mfd_ratelimit_charge(struct mfd_ratelimit *r, size_t bytes);
/*
 * Return how much of `left` bytes may be sent at once if every second is to hold the limit: what
 * takes a hundredth of one.  Not less than a page, so limits below 100 pages a second are held over
 * longer times only.
 */
size_t mfd_ratelimit_piece(struct mfd_ratelimit *r, size_t left);
/* Change the limit for all senders at once and return the one before.  Any thread. */
uint64_t mfd_ratelimit_set(struct mfd_ratelimit *r, uint64_t bytes_per_s);

#endif
