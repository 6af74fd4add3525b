/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The dead man's switch: the source must never stay frozen because nobody is left to answer CRIU's
 * accept().
 *
 * CRIU ends a lazy dump by waiting in accept() for ever.  The sender's supervisor aborts that wait
 * when the sender dies; this is for the case that the supervisor dies, too.  The link's socket
 * raises a signal when anything happens on it.  The handler looks at the queue: a commit verdict,
 * or nothing, is fine; an abort verdict or a closed link makes it shut down the socket that CRIU
 * waits at, so that accept() fails, the dump fails and the tasks run on.  If CRIU does not wait yet
 * (it is still dumping) a timer calls the handler again.  After HOLD (postcopy: the restored tasks
 * may run) it never does.
 *
 * The handler uses system calls only and is installed with SA_RESTART, so CRIU does not notice it.
 */
#ifndef MFD_DEADMAN_H
#define MFD_DEADMAN_H

/* Watch `link`, a SOCK_SEQPACKET socket of struct mfd_link_msg. 0 or -errno. */
int mfd_deadman_arm(int link);
void mfd_deadman_disarm(void);

#endif
