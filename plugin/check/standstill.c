// SPDX-License-Identifier: GPL-2.0-only
/*
 * About how long the tasks will stand still.  Measured on common hosts (lib/KERNEL.md): CRIU's own
 * part of a dump and of a restore, and its tables for what is reserved; what crosses the network
 * meanwhile at the rate that max-bandwidth allows, or as fast as a link of 10 Gbit/s carries.
 */
#include "looks.h"

#define BEGIN_MS   135	 /* dump and restore of a small process */
#define MS_PER_GIB 150	 /* of memory that is in use */
#define MS_PER_TIB 10000 /* of address space that is reserved */
#define LINK	   (10000000000ULL / 8)

static uint64_t sending_ms(uint64_t bytes, uint64_t rate)
{
	return (uint64_t)((double)bytes * 1000.0 / (double)rate);
}

int mfd_look_standstill(struct mfd_check *c)
{
	uint64_t rate = c->max_bandwidth ? c->max_bandwidth : LINK,
		 sent = c->postcopy ? c->shared : c->memory;

	c->still_ms = BEGIN_MS + sending_ms(sent, rate) +
		      (uint64_t)((double)c->memory / (double)(1ULL << 30) * MS_PER_GIB) +
		      (uint64_t)((double)c->reserved / (double)(1ULL << 40) * MS_PER_TIB);
	return 0;
}
