/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the worker sends: the way of a payload, from the scan of a frozen task to the socket.
 *
 *	main thread							file
 *	1 scan	    mfd_tasks_fill: PAGEMAP_SCAN finds runs of	tasks.c, lib/pagescan.c
 *		    populated pages, small mappings first
 *	2 payload   ... and cuts them into the payload that	tasks.c, lib/payload.h
 *		    the main thread owns: runs, no bytes yet
 *	3 room	    is the target's memory good for it?		queue.c
 *	4 swap	    mfd_multifd_send: wait for an idle channel	lib/multifd.c
 *		    and swap payloads with it; nothing is
 *		    copied, allocated or locked
 *
 *	thread of the channel (mfd_sendchan_send)		lib/sendchan.c
 *	5 read	    process_vm_readv into one of the channel's	lib/pageread.c
 *		    buffers, whose last zero-copy send has been
 *		    completed; pages of zeros lose their bytes
 *	6 packet    hash, compress, header and table		proto/wire.h
 *	7 send	    header and table by sendmsg, the pages by	lib/conn.h, lib/zerocopy.c
 *		    MSG_ZEROCOPY from where they lie
 *
 * Image files go the same way as payloads of another type (ship.c).  A page that a restored task
 * waits for takes a shorter one: the inbox thread does 2 and 5 to 7 by itself, with a payload of
 * its own, on the urgent channel (inbox.c).  From there on pager/pager.h of the target goes on:
 * packet, store or page, UFFDIO_COPY.
 *
 * A payload is in one hand at a time: the main thread's until the swap, the channel's until its
 * packet is with the kernel.  `sync` (multifd.h) is the point at which everything has left:
 * channels are empty, zero-copy sends are completed.  IMAGES and END come after one.
 *
 * Each function is a stage's step (stages.h) unless said otherwise, is called by the main thread
 * and returns 0, an enum mfd_send_event, or -errno with w->err filled.
 */
#ifndef MFD_STREAM_H
#define MFD_STREAM_H

#include <protobuf-c/protobuf-c.h>

struct mfd_worker;

/*
 * The plugin's TASK: send the executable pages of one frozen task, and wait until they have been
 * read.  While CRIU infects a task it overwrites code in an executable mapping for a moment, so
 * these are read before CRIU goes on; all others may be read until the commit.
 */
int mfd_stream_exec(struct mfd_worker *w);
/* Look whether CRIU stands at its gate, at most once a millisecond. */
int mfd_stream_gate(struct mfd_worker *w);
/* Precopy: one payload of what CRIU, too, has touched; before the images. */
int mfd_stream_late(struct mfd_worker *w);
/* One payload of whatever is left of any task. */
int mfd_stream_pages(struct mfd_worker *w);
/* All image files, sync, IMAGES. */
int mfd_stream_images(struct mfd_worker *w);
/* Sync, END. */
int mfd_stream_end(struct mfd_worker *w);

/* Not stages, precopy: send the payload of a round; and after all of them sync, ROUND. */
int mfd_stream_round(struct mfd_worker *w);
int mfd_stream_end_round(struct mfd_worker *w, uint32_t n, uint64_t pages);
/* Not a stage: the answer to NEED.  Sends these pages once more, then sync and END. */
int mfd_stream_need(struct mfd_worker *w, const ProtobufCMessage *need);
/* -errno once a channel has failed, with w->err filled. */
int mfd_stream_error(struct mfd_worker *w);
/* Nonzero: the target has no memory for the next packet (postcopy); ROOM will come. */
int mfd_stream_is_held_back(const struct mfd_worker *w);

#endif
