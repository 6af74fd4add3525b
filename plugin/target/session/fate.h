/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What became of the restored tasks before COMMIT.
 *
 * A copy that has run and died here is not the source's to go on with by itself, and not to be
 * committed: the session ends, its tombstone says that it ran, and the source stays frozen until a
 * person decides.  A copy that died stopped has lost nothing that ran: if the store is whole it is
 * restored once more.
 *
 *	RUNNING			all restored tasks are dead, while pages were missing
 *	READY (postcopy)	all restored tasks are dead, and the source asks where it stands
 *	RESTORED, and COMMIT	a stopped task is dead
 *
 * With a restore of the server's own the warden tells: it lives as long as a task.  Without, an
 * operator's tasks are dead if each of them ended before it had its pages.  A program that ends by
 * itself in that time cannot be told from one that was killed.
 */
#ifndef MFD_FATE_H
#define MFD_FATE_H

#include "rules.h"

struct mfd_session;

/* The session's thread.  0, or trouble: what was restored has died, and cannot be had again. */
int mfd_fate_look(const struct mfd_session *s, struct mfd_trouble *t);
/* COMMIT is there: nonzero if a stopped task has died that can be restored once more. */
int mfd_fate_restore_again(const struct mfd_session *s);
/* ... or trouble, if it cannot. */
int mfd_fate_before_commit(const struct mfd_session *s, struct mfd_trouble *t);

#endif
