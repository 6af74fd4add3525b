/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * MSG_ZEROCOPY on one TCP socket: sending, and the accounting that says when a buffer may be used
 * again.  lib/conn_plain.c alone starts it: other code asks the connection (mfd_conn_zerocopy).
 *
 * The kernel numbers the zero-copy sends of a socket from 0 and reports ranges of completed numbers
 * on the error queue (Documentation/networking/msg_zerocopy.rst).  TCP completes in order on one
 * path but the ranges may arrive out of order after retransmission, so completions are kept in a
 * bitmap window and `done` is the first number that has not completed.
 *
 * One thread owns the object.
 */
#ifndef MFD_ZEROCOPY_H
#define MFD_ZEROCOPY_H

#include <stdint.h>
#include <stddef.h>

#include "counter.h"
#include "options.h"

#define MFD_ZEROCOPY_WINDOW 4096 /* sends in flight at most */

struct mfd_zerocopy {
	int fd;
	/* off: sends copy; auto may turn itself off, on never does */
	enum mfd_tristate mode;
	uint32_t next; /* number the next zero-copy send gets */
	uint32_t done; /* all numbers before have completed */
	/* completed out of order, by number modulo the window */
	uint8_t seen[MFD_ZEROCOPY_WINDOW / 8];
	/* for the summary; any thread may read them */
	mfd_counter sends, completions, copied, flush_waits;
	/* why auto turned itself off; NULL = it did not */
	const char *fell_back;
};

/*
 * Return 0, or with mode `on` the kernel's refusal (-EOPNOTSUPP, -EPERM ...).  With `auto` a
 * refusal turns the object off and sets fell_back.
 */
int mfd_zerocopy_init(struct mfd_zerocopy *z, int fd, enum mfd_tristate mode);
/* The object of a connection whose transport has no zero-copy: off, and with `auto` it says why. */
void mfd_zerocopy_none(struct mfd_zerocopy *z, enum mfd_tristate mode);
/*
 * Send all of buf.  With zero-copy, *ticket is what mfd_zerocopy_wait takes before the buffer may
 * be written again; without, the buffer is free on return.  -ENOBUFS in mode `on` if the memory
 * cannot be locked.
 */
int mfd_zerocopy_send(struct mfd_zerocopy *z, const void *buf, size_t len, uint32_t *ticket);
/*
 * Wait until every send up to `ticket` has completed.  -ETIMEDOUT if nothing was acknowledged for
 * timeout_ms (0 = no limit), or the socket's error.
 */
int mfd_zerocopy_wait(struct mfd_zerocopy *z, uint32_t ticket, unsigned timeout_ms);
int mfd_zerocopy_flush(struct mfd_zerocopy *z, unsigned timeout_ms); /* likewise for all sends */

/* Note that the sends lo to hi have completed; for zerocopy.c and its test. */
void mfd_zerocopy_complete(struct mfd_zerocopy *z, uint32_t lo, uint32_t hi, int copied);

#endif
