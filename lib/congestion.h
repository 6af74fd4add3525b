/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Which congestion control the connections that carry memory use.
 *
 * BBR, which many distributions and clouds set, paces: a timer per connection sends a little at a
 * time.  Over a path without latency that costs a third of the rate and of the processor (measured
 * over loopback, 1 GiB, two connections: 475 ms against 285 ms with CUBIC), and its advantage, a
 * queue kept short over a long path with losses, does not exist there.
 */
#ifndef MFD_CONGESTION_H
#define MFD_CONGESTION_H

#include "error.h"

#define MFD_CONGESTION_NAME  16	  /* the kernel's limit, with the NUL */
#define MFD_CONGESTION_SHORT 1000 /* us of round trip: below that a path is short */

/*
 * Set the congestion control of fd, which is connected and has received something.  want: "auto"
 * (or NULL): CUBIC instead of BBR on a short path, else the system's; "system"; or a name that the
 * kernel must have.  0 and what is used in name, or -errno with err filled.
 */
int mfd_congestion_set(int fd, const char *want, char name[MFD_CONGESTION_NAME],
		       struct mfd_error *err);

/*
 * Before fd is connected to the peer of `like`: set what mfd_congestion_set would choose for it.  A
 * connection that has begun with BBR goes on to pace whatever it is set to later (sk_pacing_status
 * in the kernel is never reset), so this is half of the gain.  Errors are left to
 * mfd_congestion_set.
 */
void mfd_congestion_prepare(int fd, int like, const char *want);

/* Nonzero if it can be the name of one: letters, digits, '_' and '-'. */
int mfd_congestion_name_ok(const char *name);

#endif
