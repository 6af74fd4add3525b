/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Precopy on the target: pages come in rounds while the source's tasks run, and a later copy of a
 * page replaces the one before.
 *
 * A page's round is the number of ROUNDs that had ended when its copy came, plus one, so what comes
 * after the last ROUND, from frozen tasks, is of the round behind it.  Receivers put it into the
 * page's word (pagetable.h).  They may read it without the lock: the source sends no page between
 * the SYNC that ends a round and ROUND_OK.
 *
 * A cut in a round ends the session, as any cut before READY: the source's tasks run, and it has
 * frozen nothing.
 */
#ifndef MFD_ROUNDS_H
#define MFD_ROUNDS_H

#include <stdatomic.h>
#include <stdint.h>

#include "proto/control.pb-c.h"
#include "rules.h"

struct mfd_session;

struct mfd_rounds {
	/* Of the pages that come now; 0: no precopy.  Written by the session's thread. */
	_Atomic uint32_t now;
	uint64_t sync, pages; /* the session's thread: what had come when the last round ended */
};

/* HELLO was granted: the thread that sets the session up. */
void mfd_rounds_begin(struct mfd_session *s);
/* ROUND, and its sync is done: 0, or *t. */
int mfd_rounds_end(struct mfd_session *s, const Mfd__Round *m, struct mfd_trouble *t);
/* How many rounds have ended. */
uint32_t mfd_rounds_ended(const struct mfd_session *s);

#endif
