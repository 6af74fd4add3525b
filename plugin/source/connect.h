/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The stage `connect`: everything that can fail because of the target fails here, at the plugin's
 * START, before any task is frozen.
 */
#ifndef MFD_CONNECT_H
#define MFD_CONNECT_H

struct mfd_worker;

/* As mfd_stage.run: MFD_SEND_EV_JOINED, or -errno with w->err filled. */
int mfd_connect_start(struct mfd_worker *w);

#endif
