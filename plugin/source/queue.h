/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A target with too little memory for the session (serve --max-memory).
 *
 * Before anything is frozen the target keeps the source waiting for HELLO_OK and says QUEUED every
 * second.  The tasks run on meanwhile, and the source answers with their size if that has changed.
 * Afterwards, in postcopy, the target may leave room for a part of the pages only: the main thread
 * sends no more than that until ROOM, which the inbox thread reads, has raised it.
 */
#ifndef MFD_QUEUE_H
#define MFD_QUEUE_H

#include <protobuf-c/protobuf-c.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/types.h>

#include "control.h"
#include "error.h"

struct mfd_queue {
	pid_t root;	     /* of the tree, 0 = not known */
	uint64_t shared;     /* of `announced`: shared memory */
	uint64_t announced;  /* what the target knows of our size */
	int limited;	     /* bool: it wants to know */
	uint64_t since_us;   /* when the first QUEUED came, 0 = never */
	uint64_t waited_us;  /* until HELLO_OK */
	unsigned timeout_ms; /* for that wait; 0: not at all */
	unsigned stall_ms;   /* a target that says nothing for so long is gone */
	char last[160];	     /* what the latest QUEUED said, for errors */
	/* bytes of pages that may be sent; written by the reader of the control connection */
	_Atomic uint64_t room;
	uint64_t sent; /* of these, queued to the channels; the main thread's */
	uint64_t held_us, held_since_us;
};

/* Before HELLO: look at the tree that `criu` dumps.  Returns the bytes for HELLO.memory. */
uint64_t mfd_queue_begin(struct mfd_queue *q, pid_t criu, unsigned timeout_ms, unsigned stall_ms);
/* QUEUED has come: answer with SIZE.  -errno with err filled: the time is up. */
int mfd_queue_told(struct mfd_queue *q, struct mfd_control *c, const ProtobufCMessage *queued,
		   struct mfd_error *err);
void mfd_queue_over(struct mfd_queue *q); /* HELLO_OK has come */
static inline int mfd_queue_waits(const struct mfd_queue *q)
{
	return q->since_us && !q->waited_us;
}
/* The frozen tasks have so many bytes: tell a target that must know and expects less. */
int mfd_queue_size(struct mfd_queue *q, struct mfd_control *c, uint64_t tasks_bytes);

static inline void mfd_queue_room(struct mfd_queue *q, uint64_t bytes)
{
	if (bytes > atomic_load(&q->room))
		atomic_store(&q->room, bytes);
}
/* May so many more bytes of pages be sent now? */
static inline int mfd_queue_has_room(const struct mfd_queue *q, uint64_t bytes)
{
	uint64_t room = atomic_load(&q->room);

	return q->sent <= room && bytes <= room - q->sent;
}
/* The same, just before they are sent: notes since when they may not. */
int mfd_queue_may_send(struct mfd_queue *q, uint64_t bytes);

#endif
