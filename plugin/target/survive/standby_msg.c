// SPDX-License-Identifier: GPL-2.0-only
/* Deposits in messages. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "io.h"
#include "standby_msg.h"

int mfd_standby_msg_send(int sock, const struct mfd_deposit *d)
{
	struct mfd_standby_msg m = { .op = MFD_STANDBY_ADD,
				     .id = d->id,
				     .task = d->task,
				     .forked = d->forked,
				     .writer = d->writer,
				     .number = d->number,
				     .there = d->uffd };
	int fds[MFD_STANDBY_MAX_FDS], n = 0;
	ssize_t ret;

	snprintf(m.label, sizeof(m.label), "%s", mfd_deposit_label(d));
	if (d->uffd >= 0) {
		m.with |= MFD_STANDBY_UFFD;
		fds[n++] = d->uffd;
	}
	if (d->book >= 0) {
		m.with |= MFD_STANDBY_BOOK;
		fds[n++] = d->book;
	}
	if (d->pidfd >= 0) {
		m.with |= MFD_STANDBY_PIDFD;
		fds[n++] = d->pidfd;
	}
	ret = mfd_io_send_fds(sock, &m, sizeof(m), fds, n);
	return ret < 0 ? (int)ret : 0;
}

void mfd_standby_msg_op(int sock, enum mfd_standby_op op, uint64_t id)
{
	struct mfd_standby_msg m = { .op = op, .id = id };

	(void)!mfd_io_send_fds(sock, &m, sizeof(m), NULL, 0);
}

static struct mfd_deposit *from_message(const struct mfd_standby_msg *m, int *fds)
{
	struct mfd_deposit *d = calloc(1, sizeof(*d));
	int n = 0;

	if (!d)
		return NULL;
	d->id = m->id;
	d->task = m->task;
	d->forked = m->forked;
	d->writer = m->writer;
	d->number = m->number;
	d->there = m->there;
	mfd_deposit_set_label(d, m->label);
	d->uffd = m->with & MFD_STANDBY_UFFD ? fds[n++] : -1;
	d->book = m->with & MFD_STANDBY_BOOK ? fds[n++] : -1;
	d->pidfd = m->with & MFD_STANDBY_PIDFD ? fds[n++] : -1;
	return d;
}

int mfd_standby_msg_add(struct mfd_deposit **list, const struct mfd_standby_msg *m, int *fds,
			int nfds)
{
	struct mfd_deposit **old = mfd_deposit_find(list, m->id), *d;

	d = nfds == __builtin_popcount(m->with) ? from_message(m, fds) : NULL;
	if (!d)
		return -EPROTO;
	for (int i = 0; i < nfds; i++)
		fds[i] = -1;
	d->next = *old;
	*old = d;
	if (d->next && d->next->id == d->id)
		mfd_deposit_drop(&d->next);
	return 0;
}

static int apply(struct mfd_deposit **list, struct mfd_standby_msg *m, int *fds, int nfds)
{
	struct mfd_deposit **d;

	m->label[sizeof(m->label) - 1] = 0;
	if (m->op == MFD_STANDBY_ADD)
		return mfd_standby_msg_add(list, m, fds, nfds);
	d = mfd_deposit_find(list, m->id);
	if (m->op == MFD_STANDBY_DROP && *d)
		mfd_deposit_drop(d);
	return 0;
}

int mfd_standby_msg_receive(int sock, struct mfd_deposit **list)
{
	int fds[MFD_STANDBY_MAX_FDS] = { -1, -1, -1 }, nfds = MFD_STANDBY_MAX_FDS, ret;
	struct mfd_standby_msg m;
	ssize_t n = mfd_io_recv_fds(sock, &m, sizeof(m), fds, &nfds);

	if (n == 0 || n == -ECONNRESET)
		return 0;
	if (n != (ssize_t)sizeof(m))
		return n < 0 ? (int)n : -EPROTO;
	ret = apply(list, &m, fds, nfds);
	for (int i = 0; i < MFD_STANDBY_MAX_FDS; i++)
		mfd_io_close(&fds[i]);
	return ret ? ret : (int)m.op;
}
