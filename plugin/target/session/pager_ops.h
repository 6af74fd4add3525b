/* SPDX-License-Identifier: GPL-2.0-only */
/* A session and its pager: start, take over, leave to run, no more pages.  For the actor. */
#ifndef MFD_PAGER_OPS_H
#define MFD_PAGER_OPS_H

#include "error.h"

struct mfd_session;

/* Start it, unless it was started: a restore may begin.  0 or -errno, and s->error says why. */
int mfd_pager_ops_start(struct mfd_session *s);
/*
 * While sessions are reloaded: the pager of tasks whose worker has died.  If that fails they must
 * be killed.
 */
int mfd_pager_ops_take_over(struct mfd_session *s, struct mfd_error *err);
/* No page will come any more: what is absent is zero. */
void mfd_pager_ops_complete(struct mfd_session *s);
/* A restore may run: those that wait go on, later ones do not wait. */
void mfd_pager_ops_leave(struct mfd_session *s);

#endif
