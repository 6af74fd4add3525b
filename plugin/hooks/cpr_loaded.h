/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * cpr-fds.img of a restore, loaded into a CPR table once; everything that follows asks the table.
 *
 *	table	(name, id) -> record		what the image says
 *	index	("ext-file" or "unix-sk", CRIU's id) -> entry	what CRIU asks its plugins for
 *		("terminal", id) -> entry	the terminal that a /dev/tty of the same id is
 *	list	all entries in the order of the image, for what is done to each of them
 *
 * The index is a CPR table as well, so no look-up depends on the number of entries.  The restored
 * tasks and CRIU's daemon for user namespaces inherit all of it with CRIU's memory.
 *
 * A record's `mark` is the way the restore has found for it (cpr_ways.h).
 */
#ifndef MFD_CPR_LOADED_H
#define MFD_CPR_LOADED_H

#include <stdbool.h>

#include "cpr_store.h"

struct mfd_loaded {
	struct mfd_cpr *table, *index;
	struct mfd_cpr_entry *list;
	size_t n;
	struct mfd_cpr_image_header header;
};

/*
 * Load the image of that folder; without one everything is empty.  0 or -errno with a sentence in
 * *why (NULL: only the number says something).
 */
int mfd_loaded_read(struct mfd_loaded *l, int dirfd, const char **why);
void mfd_loaded_free(struct mfd_loaded *l);

static inline struct mfd_cpr_record *mfd_loaded_record(const struct mfd_cpr_entry *e)
{
	return e->record;
}

/* The entry that CRIU asks for by that id through RESTORE_UNIX_SK or RESTORE_EXT_FILE, or NULL. */
const struct mfd_cpr_entry *mfd_loaded_asked(const struct mfd_loaded *l, bool is_unix,
					     uint32_t criu_id);
/*
 * CRIU is going to ask for `e`, one of l->list, through RESTORE_EXT_FILE: its images were changed
 * to say so.  0 or -ENOMEM.
 */
int mfd_loaded_will_ask(struct mfd_loaded *l, const struct mfd_cpr_entry *e, uint32_t criu_id);
/* The terminal that `e` is if `e` is /dev/tty, else NULL. */
const struct mfd_cpr_entry *mfd_loaded_terminal(const struct mfd_loaded *l,
						const struct mfd_cpr_entry *e);

#endif
