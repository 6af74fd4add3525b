/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How much of the server's memory a session needs, by its plan, its limits and what its source has
 * announced, and the two sentences that refuse it.  Arithmetic: it knows no session.
 */
#ifndef MFD_PROMISE_H
#define MFD_PROMISE_H

#include <stdint.h>

#include "error.h"
#include "plan.h"
#include "wire.h"

#define MFD_PROMISE_BLOCK (2ULL << 20) /* the store grows by huge pages */
/* postcopy: answers to faults and images, beside the window */
#define MFD_PROMISE_URGENT (8ULL << 20)

struct mfd_server;

struct mfd_promise {
	uint64_t base;	/* buffers: not for packets */
	uint64_t least; /* with it, what cannot be done without */
	uint64_t want;	/* with it, everything */
};

/* Bytes of buffers and tables; urgent: the session has an urgent channel. */
uint64_t mfd_promise_base(const struct mfd_wire_limits *lim, int urgent);
/* need: bytes that the tasks have, 0 = not known; room_ok: the source understands ROOM. */
struct mfd_promise mfd_promise_for(const struct mfd_server *sv, const struct mfd_wire_limits *lim,
				   const struct mfd_plan *plan, int room_ok, uint64_t need);

/* The session `name` needs more than the limit: -E2BIG.  More than is free: -ENOSPC. */
int mfd_promise_too_much(struct mfd_server *sv, const char *name, uint64_t least,
			 struct mfd_error *err);
int mfd_promise_not_now(struct mfd_server *sv, const char *name, uint64_t least,
			struct mfd_error *err);

#endif
