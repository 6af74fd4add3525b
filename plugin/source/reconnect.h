/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Postcopy, the connections are lost after the restored tasks were given leave to run: the tasks
 * here stay frozen, those there block on what they lack, and the worker tries to get back for as
 * long as it takes, or until a person decides.
 *
 *	running, running_all, rejoined, running_complete -> lost -> rejoined
 *							      |--> running_complete: discard
 *							      `--> undone: nothing runs there
 *
 * Only an error that passes is worth a try: the link's, or a want of this host's.  A task here that
 * has died (what it had is nowhere else) leaves the session to a person at once, and so do
 * connections that are lost MFD_RETRY_SHORTS times in a row as soon as they are there.  `status
 * --source` shows when the next try is, if any; a person renews them (`resolve --source --retry`).
 */
#ifndef MFD_RECONNECT_H
#define MFD_RECONNECT_H

struct mfd_worker;

/*
 * w->err says why the connections are lost.  0: the phase is rejoined, or a person has discarded
 * the tasks here.  -errno with w->err filled: in phase undone nothing runs on the target (it says
 * so, or a person does); in phase lost a person has ended the sender.
 */
int mfd_reconnect(struct mfd_worker *w);

#endif
