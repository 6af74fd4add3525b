/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A session's connections: one control connection and the channels.  Their threads attach and let
 * go under the session's lock; whether they may is the session's thread's business.
 *
 *	NONE	   no channel may join: HELLO waits for memory, or the connections were closed
 *	JOINING	   they may, until each is in or deadline_ms is over
 *	JOINED	   each is in, and JOINED was said
 */
#ifndef MFD_SESSION_LINK_H
#define MFD_SESSION_LINK_H

#include "figures.h"
#include "wire.h"

#define MFD_SESSION_URGENT MFD_WIRE_MAX_CHANNELS /* index of the urgent channel */

struct mfd_peer;

enum mfd_link_state { MFD_LINK_NONE, MFD_LINK_JOINING, MFD_LINK_JOINED };

struct mfd_channel {
	struct mfd_peer *peer; /* lock; NULL: not connected */
	uint64_t sync;	       /* lock; last sync seen */
	struct mfd_counts n;
} __attribute__((aligned(64))); /* neighbours do not share a cache line */

struct mfd_link {
	enum mfd_link_state state; /* written by the session's thread, under the lock */
	unsigned rounds; /* how often the source has come back; what it counts begins anew then */
	uint64_t deadline_ms;	  /* of JOINING */
	struct mfd_peer *control; /* lock and send_lock to change, either to read */
	struct mfd_channel channels[MFD_WIRE_MAX_CHANNELS + 1];
	unsigned attached; /* lock; channel threads inside */
};

#endif
