/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The interface of lib/multifd.h done the ordinary way, to compare with: one mutex, a queue of full
 * payloads and a list of empty ones, condition variables to wait on.  As good as that gets: signals
 * go out after the mutex has been released and only when a thread waits, and there are as many
 * payloads as the lockless core has, so that both hold equally much in flight.
 */
#ifndef MFD_BENCH_LOCKED_H
#define MFD_BENCH_LOCKED_H

#include "multifd.h"

struct locked;

int locked_start(struct locked **out, unsigned channels, void *const *channel,
		 const struct mfd_multifd_ops *ops, unsigned max_runs);
struct mfd_payload *locked_payload(struct locked *l);
int locked_send(struct locked *l);
int locked_drain(struct locked *l);
int locked_sync(struct locked *l, uint64_t *number);
void locked_stop(struct locked *l);

#endif
