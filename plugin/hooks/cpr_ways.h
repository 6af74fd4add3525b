/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How a restore has each descriptor that came along; decided before CRIU makes a task.
 *
 *	kept with the keeper		fetched inside the tasks
 *	offered to the keeper		fetched, or passed to CRIU as if by --inherit-fd
 *	a path				opened again inside the tasks
 *	a terminal			besides: one offered for all terminals, or the restore's own
 *	none of these			the restore fails, and says the descriptor's name
 */
#ifndef MFD_CPR_WAYS_H
#define MFD_CPR_WAYS_H

#include "cpr_loaded.h"
#include "error.h"

enum mfd_way {
	MFD_WAY_NOWHERE,
	MFD_WAY_FETCH,	       /* inside the task, from the keeper */
	MFD_WAY_REOPEN,	       /* inside the task, by its path */
	MFD_WAY_INHERIT,       /* CRIU's --inherit-fd with what the keeper has under its name */
	MFD_WAY_ANY_TERMINAL,  /* the same with the terminal that is offered for all */
	MFD_WAY_OWN_TERMINAL,  /* the same with this restore's standard input */
	MFD_WAY_SAME_TERMINAL, /* /dev/tty: the same with what serves for its terminal */
	MFD_WAY_LEAVE,	       /* to CRIU, which has an image of it or was given one */
};

/* What a restore knows; one for each process of CRIU's. */
struct mfd_restoring {
	struct mfd_loaded loaded;
	int keeper; /* a connection; -1 = none */
	char session[256];
	bool same_boot; /* as when the image was written */
};

/*
 * Find the way of every entry and note it in the entry's record.  0, or -ENOENT with a sentence
 * about the first entry that cannot be had; each of the first 20 is a line in CRIU's log.
 */
int mfd_ways_find(struct mfd_restoring *r, struct mfd_error *err);

static inline enum mfd_way mfd_ways_of(const struct mfd_cpr_entry *e)
{
	return (enum mfd_way)mfd_loaded_record(e)->mark;
}

#endif
