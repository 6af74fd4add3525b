/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The one place where what happened changes the phase of a session that goes on.  Stages, messages
 * and requests return an event; this function enters the phase that the table of transitions
 * (send_phase.c) names and does what follows from the event.  Only the verdict (verdict.c) and the
 * end of the worker (worker.c) have events of their own.
 */
#ifndef MFD_DECIDE_H
#define MFD_DECIDE_H

struct mfd_worker;

/*
 * `ret`: what a handler has returned, enum mfd_send_event or -errno.  0, or -errno with w->err
 * filled: that `ret`, or a failure of what follows.
 */
int mfd_decide(struct mfd_worker *w, int ret);

#endif
