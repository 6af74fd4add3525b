/* SPDX-License-Identifier: GPL-2.0-only */
/* A connection to the target's server that opens no session: PROBE and PROBED in turn. */
#ifndef MFD_MIGRATE_TALK_H
#define MFD_MIGRATE_TALK_H

#include "control.h"
#include "migrate.h"
#include "proto/control.pb-c.h"

struct mfd_migrate_talk {
	const struct mfd_migrate *m;
	struct mfd_control control;
	unsigned ms;		   /* for each step */
	struct mfd_tcppath before; /* the latest question; all zero: not known */
	int awaits_full;	   /* bool: its answer has many packets' worth */
};

/* 0 or -errno; close it in either case. */
int mfd_migrate_talk_open(struct mfd_migrate_talk *t, const struct mfd_migrate *m, unsigned ms,
			  struct mfd_error *err);
int mfd_migrate_talk_ask(struct mfd_migrate_talk *t, const Mfd__Probe *p);
/*
 * 0 and *r, which mfd_migrate_talk_free frees; or -errno and NULL: -ETIMEDOUT, -EINTR: a signal
 * that asks for an abort is pending, -EPROTONOSUPPORT: the target is too old to answer.
 */
int mfd_migrate_talk_hear(struct mfd_migrate_talk *t, Mfd__Probed **r, struct mfd_error *err);
void mfd_migrate_talk_free(Mfd__Probed **r);
void mfd_migrate_talk_close(struct mfd_migrate_talk *t);

#endif
