/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Postcopy, the connections are lost after the restored tasks were given leave to run: the tasks
 * here stay frozen, those there block on what they lack, and the worker tries to get back for as
 * long as it takes, or until a person decides.
 *
 *	running, running_all, rejoined, running_complete -> lost -> rejoined
 *							      |--> running_complete: discard
 */
#ifndef MFD_RECONNECT_H
#define MFD_RECONNECT_H

struct mfd_worker;

/*
 * w->err says why the connections are lost.  0: the phase is rejoined, or a person has discarded
 * the tasks here.  -errno with w->err filled: nothing runs on the target (it says so, or a person
 * does), or CRIU has ended.
 */
int mfd_reconnect(struct mfd_worker *w);

#endif
