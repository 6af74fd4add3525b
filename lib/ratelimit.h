/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * One limit of bytes per second for all channels of a session, changeable while they run.
 *
 * Each sender reserves its bytes on a common time line with one atomic addition and sleeps until its reservation begins: no
 * lock, no thread that hands out tokens, and idle time is never saved up for longer than BURST.
 */
#ifndef MFD_RATELIMIT_H
#define MFD_RATELIMIT_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

struct mfd_ratelimit {
	_Atomic uint64_t bytes_per_s; /* 0 = no limit; relaxed */
	_Atomic uint64_t next_ns;     /* CLOCK_MONOTONIC: when the next reservation may begin */
};

/* Wait until `bytes` may be sent. */
void mfd_ratelimit_wait(struct mfd_ratelimit *r, size_t bytes);
void mfd_ratelimit_set(struct mfd_ratelimit *r, uint64_t bytes_per_s);

#endif
