/* SPDX-License-Identifier: GPL-2.0-only */
/* PROBE: what a source needs to find here, asked before it freezes anything. */
#ifndef MFD_PROBE_H
#define MFD_PROBE_H

#include "peer.h"
#include "proto/control.pb-c.h"

/* Answer it, and each that follows on this connection, which opens no session. */
void mfd_probe_main(struct mfd_peer *p, const Mfd__Probe *first);
/* 0: a userfaultfd can be had here and now; or -errno. */
int mfd_probe_userfaultfd(void);

#endif
