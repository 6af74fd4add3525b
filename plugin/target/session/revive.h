/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A session that an earlier worker or server has left in its folder, once more alive: its object,
 * its store, its pager, its thread.  Which sessions may be, reload.c decides.
 */
#ifndef MFD_REVIVE_H
#define MFD_REVIVE_H

#include "error.h"
#include "images/session.pb-c.h"
#include "restored_notes.h"

struct mfd_server;

/*
 * take_over: what there is of restored tasks, whose userfaultfds are taken over, or which are only
 * awaited.  0: its thread has it; -errno with a sentence: nothing is changed, but that a child that
 * was just being forked may have been taken over (-ECANCELED: there is no second try).
 */
int mfd_revive(struct mfd_server *sv, int dirfd, const char *name, const Mfd__SessionEntry *e,
	       enum mfd_notes_left take_over, struct mfd_error *err);

#endif
