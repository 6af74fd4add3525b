/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a worker that follows a dead one has inherited: the supervisor's holds (sv->inherited),
 * copies of which it has under the same numbers. Main thread only, while the sessions are reloaded.
 */
#ifndef MFD_TAKEOVER_H
#define MFD_TAKEOVER_H

#include "session.h"

/* Nonzero: a task of it is among them. */
int mfd_takeover_has(struct mfd_server *sv, const char *session);
/*
 * The session's holds and everything unclaimed, for mfd_pager_adopt; *list is to be freed.  *own =
 * how many are the session's.
 */
int mfd_takeover_list(struct mfd_server *sv, const char *session, struct mfd_pager_held **list,
		      size_t *n, size_t *own);
/* The pager has taken `list` over: what it does not need is closed, here and at the supervisor. */
void mfd_takeover_done(struct mfd_server *sv, const char *session,
		       const struct mfd_pager_held *list, size_t n);
/* they cannot be: the tasks are killed */
void mfd_takeover_kill(struct mfd_server *sv, const char *session);
/* they lack nothing: its holds are let go */
void mfd_takeover_needless(struct mfd_server *sv, const char *session);
/* whatever is left has no session */
void mfd_takeover_end(struct mfd_server *sv);
void mfd_takeover_free(
	struct mfd_server *
		sv); /* after mfd_guard_ready, which makes the supervisor close what nobody claimed */

#endif
