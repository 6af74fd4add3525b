/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How much of the server's memory each session may take: --max-memory as arithmetic, without
 * sessions, sockets or time.
 *
 * Every session has a claim.  A claim is promised an amount, and what its session takes never
 * exceeds that; the promises together never exceed the limit, so the memory does not either.
 *
 * There is no deadlock, since no claim holds one thing while it waits for another: one that waits
 * is promised nothing, and one that has been promised something never waits for more: a raise
 * is granted at once or refused.  There is no starvation, since those that wait are admitted in the
 * order in which they came: one that would fit does not overtake.
 *
 * A claim is `least` (it cannot do with less) and `want`.  Where these differ (postcopy: the rest
 * can stay where it is for the time being) it is admitted with what can be had: all it wants, else
 * half of what is free above its least, so that something is left for others.
 *
 * An owner of claims may have a limit of its own.  A claim that waits for that alone keeps out no
 * other.
 *
 * Not asked are claims of sessions that were there before the limit (mfd_budget_finish after a
 * restart), and what ended sessions have left on disk: with these the promises may exceed the
 * limit, and then no claim is admitted.
 */
#ifndef MFD_BUDGET_H
#define MFD_BUDGET_H

#include <pthread.h>
#include <stdint.h>

/* The owner's, zeroed before it enters; every field is guarded by the budget's lock. */
struct mfd_budget_claim {
	struct mfd_budget_claim *next; /* in the order of their coming */
	uint64_t least, want;	       /* want: while it waits */
	uint64_t promised;	       /* 0 while it waits */
	/* what it was last seen to take; a figure, decides nothing */
	uint64_t used;
	int in, waiting;
	/*
	 * Set before it enters: whose it is, a text that outlives the claim, or NULL; and what all
	 * claims of that owner may be promised together, 0: no limit of its own.
	 */
	const char *owner;
	uint64_t most;
};

struct mfd_budget {
	pthread_mutex_t lock;
	uint64_t limit; /* constant; 0: none, everything is granted */
	/* lock */
	struct mfd_budget_claim *claims;
	uint64_t left;	    /* of sessions that have ended */
	unsigned left_seen; /* counts changes of `left` */
};

struct mfd_budget_figures {
	uint64_t limit, promised, used, left, free;
	unsigned claims, waiting;
	unsigned ahead; /* that wait before the claim asked for */
	uint64_t room;	/* what the claim asked for, and its owner, may still be promised */
};

void mfd_budget_init(struct mfd_budget *b, uint64_t limit);
void mfd_budget_fini(struct mfd_budget *b);
/*
 * 1: admitted; 0: it waits, see mfd_budget_admit; -E2BIG: least exceeds the limit, it is not in.
 * Then as below.
 */
int mfd_budget_enter(struct mfd_budget *b, struct mfd_budget_claim *c, uint64_t least,
		     uint64_t want);
/* Of one that waits: 1 once it is admitted. */
int mfd_budget_admit(struct mfd_budget *b, struct mfd_budget_claim *c);
/*
 * One that waits wants something else now: 0, -E2BIG (and it leaves), -EALREADY: it does not wait.
 */
int mfd_budget_change(struct mfd_budget *b, struct mfd_budget_claim *c, uint64_t least,
		      uint64_t want);
/* Of one that is admitted: at least so much from now on; 0, or -ENOSPC and nothing has changed. */
int mfd_budget_raise(struct mfd_budget *b, struct mfd_budget_claim *c, uint64_t bytes);
/* What it would be promised of `want` if it came now, if that is more; what is promised then. */
uint64_t mfd_budget_more(struct mfd_budget *b, struct mfd_budget_claim *c, uint64_t want);
/* This is what it takes and all it will take; of one that is not in: it enters and is not asked. */
void mfd_budget_finish(struct mfd_budget *b, struct mfd_budget_claim *c, uint64_t bytes);
void mfd_budget_note(struct mfd_budget *b, struct mfd_budget_claim *c, uint64_t used);
uint64_t mfd_budget_promised(struct mfd_budget *b, const struct mfd_budget_claim *c);
/* It ends, leaving so many bytes behind.  Fine for one that is not in. */
void mfd_budget_leave(struct mfd_budget *b, struct mfd_budget_claim *c, uint64_t left);
/*
 * What ended sessions have left is counted anew: begin, look, then set, which does nothing if
 * a session has left something meanwhile.
 */
unsigned mfd_budget_left_begin(struct mfd_budget *b);
void mfd_budget_left_set(struct mfd_budget *b, unsigned seen, uint64_t bytes);
void mfd_budget_look(struct mfd_budget *b, const struct mfd_budget_claim *c,
		     struct mfd_budget_figures *f);

#endif
