/* SPDX-License-Identifier: GPL-2.0-only */
/* io_uring's zero-copy sends as an engine in the place of lib/zerocopy.c. */
#ifndef MFD_BENCH_URING_H
#define MFD_BENCH_URING_H

#include "wrap.h"

enum uring_kind {
	URING_SEND, /* IORING_OP_SEND_ZC */
	/* the same from a registered buffer: its pages are pinned once, not at every send */
	URING_SEND_FIXED,
	URING_SENDMSG, /* IORING_OP_SENDMSG_ZC */
};

/*
 * Make it the engine for the channels that are opened next; a sentence when it cannot be had here,
 * else NULL.
 */
const char *uring_use(enum uring_kind kind);
/*
 * Where the buffers are that will be sent on fd, for URING_SEND_FIXED: after mfd_sendchan_init,
 * before the first send.
 */
void uring_buffers(int fd, void *memory, size_t len);
void uring_close(void); /* when the channels' threads have ended */

#endif
