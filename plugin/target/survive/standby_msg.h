/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Messages of the standby, on SOCK_SEQPACKET sockets: from the supervisor, to and from the next
 * server.  That may be another version, so they must not change.
 */
#ifndef MFD_STANDBY_MSG_H
#define MFD_STANDBY_MSG_H

#include <stdint.h>

#include "deposit.h"

#define MFD_STANDBY_MAX_FDS 3

enum mfd_standby_op {
	MFD_STANDBY_ADD = 1, /* a deposit, or a change of it */
	MFD_STANDBY_DROP,    /* it is not needed any more */
	MFD_STANDBY_END,     /* to the standby: end; from it: that was all */
	MFD_STANDBY_RELIEVE, /* to the standby: the next server has it all */
};
/* Descriptors that come along, in this order. */
enum { MFD_STANDBY_UFFD = 1, MFD_STANDBY_BOOK = 2, MFD_STANDBY_PIDFD = 4 };

struct mfd_standby_msg {
	uint32_t op, with;
	uint64_t id;
	uint32_t task;
	int32_t forked, writer, number, there;
	char label[256]; /* mfd_deposit_label */
};

int mfd_standby_msg_send(int sock, const struct mfd_deposit *d); /* ADD; 0 or -errno */
void mfd_standby_msg_op(int sock, enum mfd_standby_op op, uint64_t id);
/* One message, applied to *list: its op, 0 at the end of the connection, -errno. */
int mfd_standby_msg_receive(int sock, struct mfd_deposit **list);
/*
 * What ADD does, with descriptors of the caller's that become -1.  The deposit of that id, if there
 * is one, is closed only after the new copies are in the list.
 */
int mfd_standby_msg_add(struct mfd_deposit **list, const struct mfd_standby_msg *m, int *fds,
			int nfds);

#endif
