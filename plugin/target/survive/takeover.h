/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a worker has inherited: the supervisor's deposits, of which it has copies under the same
 * numbers.  Main thread only, while the sessions are reloaded.
 *
 * A session that cannot be looked at is spared: its tasks may be the only copy, and wait.  Its
 * deposits stay here, and with the supervisor and its standby, until the session can be loaded or
 * is given up.  After the start, whichever thread has mfd_reload's lock uses them.
 */
#ifndef MFD_TAKEOVER_H
#define MFD_TAKEOVER_H

#include <stddef.h>

#include "deposit.h"
#include "guard.h"
#include "pager.h"

enum mfd_takeover_after {
	MFD_TAKEOVER_START,  /* a server starts, and no standby of an earlier one has a deposit */
	MFD_TAKEOVER_WORKER, /* the worker before this one died */
	/* a whole server died: only tasks of deposits may live and lack pages */
	MFD_TAKEOVER_SERVER,
};

struct mfd_takeover {
	enum mfd_takeover_after after;
	struct mfd_deposit *inherited;
	struct mfd_guard *guard;
};

/* Nonzero: restored tasks of this session may live and lack pages. */
int mfd_takeover_expected(const struct mfd_takeover *t, const char *session);
/*
 * The session's deposits and everything unclaimed, for mfd_pager_adopt; *list is to be freed.  *own
 * = how many are the session's.
 */
int mfd_takeover_list(const struct mfd_takeover *t, const char *session,
		      struct mfd_pager_deposit **list, size_t *n, size_t *own);
/* The pager has taken `list` over: what it does not need is closed, here and at the supervisor. */
void mfd_takeover_done(struct mfd_takeover *t, const char *session,
		       const struct mfd_pager_deposit *list, size_t n);
/* It cannot: the tasks are killed. */
void mfd_takeover_kill(struct mfd_takeover *t, const char *session);
/* The tasks lack nothing: the session's deposits are withdrawn.  dirfd: of its folder. */
void mfd_takeover_needless(struct mfd_takeover *t, int dirfd, const char *session);
/* It could not be looked at; NULL: none could. */
void mfd_takeover_spare(struct mfd_takeover *t, const char *session);
/* Nonzero: it was spared, and is looked at now. */
int mfd_takeover_again(struct mfd_takeover *t, const char *session);
/* Nonzero: deposits of this session, NULL: of any, are spared. */
int mfd_takeover_spares(const struct mfd_takeover *t, const char *session);
/* Kill the tasks of all sessions that are left, and not spared. */
void mfd_takeover_end(struct mfd_takeover *t);
/*
 * After mfd_guard_ready, by which the supervisor closes what no session has claimed.  As long as a
 * session is spared, what is unclaimed may be a child's of its tasks, and stays open here.
 */
void mfd_takeover_free(struct mfd_takeover *t);

#endif
