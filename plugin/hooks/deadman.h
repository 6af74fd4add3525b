/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The dead man's switch: the source must never stay frozen because every process of the sender has
 * died.
 *
 * CRIU ends a lazy dump by waiting at the gate (gate_pair.h) for ever.  The sender's supervisor
 * closes the gate when the sender dies; the switch is for the case that the supervisor dies, too.
 * The link's socket raises a signal when anything happens on it.  The handler looks at the queue: a
 * commit verdict, or nothing, is fine; on an abort verdict or a closed link it closes the gate, so
 * that the dump fails, at once or when CRIU comes there, and the tasks run on.  After LEAVE
 * (postcopy: the restored tasks may run) it never does.
 *
 * The handler uses system calls only and is installed with SA_RESTART, so CRIU does not notice it.
 */
#ifndef MFD_DEADMAN_H
#define MFD_DEADMAN_H

/* Watch `link`, a SOCK_SEQPACKET socket of struct mfd_link_msg. 0 or -errno. */
int mfd_deadman_arm(int link);
void mfd_deadman_disarm(void);

#endif
