/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Meters around the calls of the library under test (ld --wrap): what lib/conn.c and lib/zerocopy.c
 * ask of the kernel is timed, and its zero-copy engine can be replaced by another one, without a
 * change in either.
 */
#ifndef MFD_BENCH_WRAP_H
#define MFD_BENCH_WRAP_H

#include <stdatomic.h>
#include <stdint.h>

#include "zerocopy.h"

/* All threads add; read when they stand still. Relaxed: only sums. */
struct wrap_meter {
	_Atomic uint64_t calls, wall_ns, cpu_ns;
};

/* sendmsg, send, or what the other engine does in their place */
extern struct wrap_meter wrap_sending;
/* completions: recvmsg(MSG_ERRQUEUE), poll, or the other engine's */
extern struct wrap_meter wrap_reaping;

struct wrap_lap {
	uint64_t wall, cpu;
};

struct wrap_lap wrap_begin(void);
void wrap_end(struct wrap_meter *m, struct wrap_lap l);
void wrap_reset(void);

/* An engine in the place of lib/zerocopy.c, as that header has it; z->mode is never `off`. */
struct wrap_engine {
	int (*init)(struct mfd_zerocopy *z, int fd);
	int (*send)(struct mfd_zerocopy *z, const void *buf, size_t len, uint32_t *ticket);
	int (*wait)(struct mfd_zerocopy *z, uint32_t ticket, unsigned timeout_ms);
};

/* NULL = the library's own; set while no channel is open */
extern const struct wrap_engine *wrap_engine;

#endif
