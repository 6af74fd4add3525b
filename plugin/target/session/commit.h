/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The two points of a session behind which there is no return, as far as its disk is concerned.
 * The session's thread only.  0, or -errno and *t, and nothing has changed.
 */
#ifndef MFD_COMMIT_H
#define MFD_COMMIT_H

#include "rules.h"

/* Everything is here and compared: make it durable and enter READY.  way.c tells the source. */
int mfd_commit_ready(struct mfd_session *s, struct mfd_trouble *t);
/* The source's tasks are dead, or a person says so: enter COMMITTED. */
int mfd_commit_store(struct mfd_session *s, struct mfd_trouble *t);
/*
 * Every page is in before the source has let go.  From here on the restored tasks need no process
 * of this server; that is noted, with an early restore before the last copies of their userfaultfds
 * are closed.  In postcopy it is noted from READY on: until then the source has its tasks.
 */
void mfd_commit_stands_alone(struct mfd_session *s);

#endif
