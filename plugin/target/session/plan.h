/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The five plans of a session: what the two ends have agreed on in HELLO and HELLO_OK, and what
 * follows from it.  A session has one plan from its first moment to its last; every question of the
 * kind "and if it is postcopy" is a column here.
 *
 *	plan			sent before READY	restored by	the tasks run after
 *	safe			everything		an operator	COMMIT
 *	safe+confirm		everything		the server	COMMIT
 *	early			everything		the server	COMMIT
 *	postcopy		everything		an operator	STARTED_OK
 *	postcopy+confirm	everything		the server	STARTED_OK
 *
 * Which end holds a complete copy, in every plan: until READY the source alone; in READY and
 * RESTORED both, and only the source or a person knows which of them is to go on; from COMMITTED on
 * the target alone.  What the target's copy consists of differs:
 *
 *	safe, safe+confirm	the page store, until a restore begins to empty it after COMMITTED:
 *				what was restored before may be killed and restored again
 *	early, postcopy		what is in the store and, for pages that came after the restore,
 *				the tasks alone: from READY on these tasks must not be lost
 *	early with precopy	the page store, as in safe+confirm: few pages are left when the
 *				tasks stop, so the restore is provisional, and nothing is filled
 *				into its tasks, beside their faults, before COMMIT
 *
 * Before READY a session is thrown away when anything goes wrong, since the source can go on by
 * itself.  Two exceptions: after STARTED_OK (RUNNING) it cannot, and after an early plan's READY it
 * can as long as RESTORED has not been said.
 */
#ifndef MFD_PLAN_H
#define MFD_PLAN_H

#include "images/session.pb-c.h"
#include "proto/control.pb-c.h"
#include "turns.h"

struct mfd_plan {
	enum mfd_plan_id id;
	const char *name;
	int postcopy; /* the tasks run on STARTED_OK, while pages still come */
	int confirm;  /* the server restores by itself, and says RESTORED or STARTED */
	int early;    /* the restore begins with IMAGES, and its tasks stay stopped until COMMIT */
	/*
	 * Pages follow the images: a restore may begin before every page is here.  Faults are asked
	 * of the source, which has an urgent connection for the answers, and once the restore has
	 * finished pages go straight into the tasks.
	 */
	int follow;
	/*
	 * Until COMMIT the store has every page, whatever is in tasks: what was restored may be
	 * killed, and restored again.
	 */
	int whole;
	/* Bits of phases (MFD_TURN_PHASE). */
	unsigned abortable;    /* the source can go on by itself */
	unsigned unconfirmed;  /* likewise, as long as the server's restore has not succeeded */
	unsigned precious;     /* the restored tasks may be the only copy */
	unsigned restore_from; /* a restore may begin, or go on */
};

const struct mfd_plan *mfd_plan(enum mfd_plan_id id);

/*
 * HELLO asks, the server grants: an early restore only with confirm, without postcopy, and if the
 * server restores early at all (`may_early`); otherwise the source gets what is left of its wish.
 * Precopy is granted whenever it is asked for.
 */
const struct mfd_plan *mfd_plan_granted(const Mfd__Hello *h, int may_early);

/* session.img has a flag for each; NULL: they are no plan's, the file was not written by us. */
const struct mfd_plan *mfd_plan_loaded(const Mfd__SessionEntry *e);
void mfd_plan_entry(const struct mfd_plan *plan, Mfd__SessionEntry *e);

#endif
