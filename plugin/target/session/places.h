/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Precopy: where the pages of a packet are received, and how they become known.
 *
 * Until IMAGES is taken a page that the store has is received in its own place, so a later round
 * costs no memory and the pages stay in the order of their addresses; a connection that breaks in
 * the middle of it ends the session, whose source runs on.  Other pages get a place that is free,
 * or a new one.  A page that becomes zero gives its place back.
 *
 * From IMAGES on a restore may read the store: a page that is here is not replaced, since what the
 * source may still change was STALE before that; a copy that comes all the same is dropped.
 *
 * Words change by exchange or compare-and-swap: what takes a place out of a word owns that place.
 */
#ifndef MFD_PLACES_H
#define MFD_PLACES_H

#include <stdint.h>
#include <sys/uio.h>

#include "pagestore.h"
#include "pagetable.h"
#include "wire.h"

enum mfd_spot_kind {
	MFD_SPOT_OWN,	/* in the place that the page has */
	MFD_SPOT_FRESH, /* in a place that was taken for it */
	MFD_SPOT_DROP,	/* nowhere: the copy that is here stays */
};

/* Pages that lie beside each other in the task and in the store. */
struct mfd_spot {
	enum mfd_spot_kind kind;
	uint32_t pages;
	uint64_t page;	/* number in the task's address space */
	uint64_t index; /* in the store; DROP: none */
};

/* Pages that have become known, for the journal. */
struct mfd_places_news {
	uint64_t page, pages, word; /* of the first */
};

/* What a packet's pages are put into; belongs to one receiver. */
struct mfd_places {
	struct mfd_pagestore *store;
	struct mfd_pagetable *table;
	uint32_t task, round; /* round: of the copies that come */
	int imaged;	      /* IMAGES was taken */
	const struct mfd_wire_run *runs;
	unsigned n_runs;

	struct mfd_spot spot[MFD_WIRE_MAX_RUNS];
	struct iovec piece[MFD_WIRE_MAX_RUNS]; /* of the payload, in its order, one of each spot */
	unsigned n;
	struct mfd_places_news news[MFD_WIRE_MAX_RUNS]; /* imaged alone */
	unsigned n_news;
	uint64_t freed; /* pages whose places were given back */
};

/* How many pages of the packet need a place that they do not have. */
uint64_t mfd_places_missing(const struct mfd_places *p);
/*
 * Find a place for each page of the payload; `scratch` takes what is dropped, at its offset in the
 * payload.  0, or -errno of the store, and nothing is taken.
 */
int mfd_places_find(struct mfd_places *p, void *scratch);
/* The payload will not come. */
void mfd_places_give_up(struct mfd_places *p);
/*
 * The payload is in its places, as `state` STORED, or, DIRECT, goes into the task: make the words
 * of all runs, and the news.  0 or -ENOMEM.
 */
int mfd_places_publish(struct mfd_places *p, enum mfd_page_state state);

/*
 * The session's thread, while no receiver replaces anything: forget n pages, and release their
 * places.
 */
void mfd_places_forget(struct mfd_pagestore *store, struct mfd_pagetable *t, uint64_t page,
		       uint64_t n);

#endif
