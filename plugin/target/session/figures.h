/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a session has counted and when it got how far.  Included by session.h, whose objects hold
 * these.
 */
#ifndef MFD_FIGURES_H
#define MFD_FIGURES_H

#include "counter.h"
#include "images/session.pb-c.h"
#include "wire.h"
#include "pager.h"

/* Written by the channel's thread alone, read by the session's. */
struct mfd_counts {
	mfd_counter packets, pages, zero_pages, file_bytes, checksum, wire_bytes;
	mfd_counter stalls, stall_us, receive_us; /* see session.proto */
};

struct mfd_totals {
	uint64_t packets, pages, zero_pages, file_bytes, checksum, wire_bytes;
	uint64_t stalls, stall_us, receive_us;
};

/*
 * CLOCK_REALTIME, since sessions outlive the server; 0 = has not happened. The session's thread
 * alone, but for the atomics.
 */
struct mfd_times {
	uint64_t started_us, joined_us, images_us, restorable_us, running_us, sent_us;
	uint64_t ready_us, committed_us, installed_us, done_us;
	/* a channel's or the pager's thread: mfd_figures_first */
	_Atomic uint64_t streaming_us, restored_us;
};

struct mfd_figures {
	/* of connections before a resume, or before a restart */
	struct mfd_totals past[MFD_WIRE_MAX_CHANNELS + 1];
	struct mfd_pager_stats pager; /* as last seen */
	uint64_t moved;		      /* what session.img last said of progress */
	/* What an entry's lists point to. */
	Mfd__SessionChannel channel[MFD_WIRE_MAX_CHANNELS + 1],
		*channels[MFD_WIRE_MAX_CHANNELS + 1];
	Mfd__SessionLatency waited, network;
	Mfd__SessionPagerThread thread[MFD_PAGER_MAX_THREADS], *threads[MFD_PAGER_MAX_THREADS];
};

struct mfd_session;

void mfd_figures_first(_Atomic uint64_t *at); /* now, unless it has happened before. Any thread. */

/* The session's thread only. */
void mfd_figures_entry(struct mfd_session *s, Mfd__SessionEntry *e); /* borrows lists of s */
/* of the pager, or as it last was; the session's own, until the next call */
struct mfd_pager_stats *mfd_figures_pager(struct mfd_session *s);
void mfd_figures_load(struct mfd_session *s, const Mfd__SessionEntry *e);
/* the channels begin anew; what they counted is kept */
void mfd_figures_keep(struct mfd_session *s);
void mfd_figures_time(uint64_t *at); /* now, unless it has happened before */

#endif
