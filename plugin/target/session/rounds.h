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
 * A session whose images have not come is never loaded again.  So no journal is kept until then:
 * when IMAGES is taken it is written from the page tables, of what the images ask for, and the rest
 * is released: memory that the tasks gave up between two rounds.  From then on receivers append to
 * it, and no copy is replaced any more (places.h).
 *
 * A cut in a round ends the session, as any cut before READY: the source's tasks run, and it has
 * frozen nothing.
 */
#ifndef MFD_ROUNDS_H
#define MFD_ROUNDS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "images/session.pb-c.h"
#include "proto/control.pb-c.h"
#include "rules.h"

struct mfd_session;

struct mfd_rounds {
	/* Of the pages that come now; 0: no precopy.  Written by the session's thread. */
	_Atomic uint32_t now;
	/*
	 * IMAGES was taken.  A boolean beside the phase: receivers look at it, for reading, while
	 * they make a packet known.
	 */
	pthread_rwlock_t gate;
	int imaged;	      /* gate */
	uint64_t sync, pages; /* the session's thread: what had come when the last round ended */
};

/* HELLO was granted: the thread that sets the session up. */
void mfd_rounds_begin(struct mfd_session *s);
/* Pages that have come so far, with and without payload. */
uint64_t mfd_rounds_pages(struct mfd_session *s);
/* ROUND, and its sync is done: 0, or *t. */
int mfd_rounds_end(struct mfd_session *s, const Mfd__Round *m, struct mfd_trouble *t);
/* IMAGES was taken, and the files are there: 0, or -errno with a sentence in text. */
int mfd_rounds_images(struct mfd_session *s, char *text, size_t len);
/* Receivers, around the moment in which a packet's pages become known: was IMAGES taken? */
int mfd_rounds_enter(struct mfd_rounds *r);
void mfd_rounds_leave(struct mfd_rounds *r);
/* The session's thread, or the thread that sets it up: in session.img. */
void mfd_rounds_entry(struct mfd_session *s, Mfd__SessionEntry *e);
void mfd_rounds_load(struct mfd_session *s, const Mfd__SessionEntry *e);

#endif
