/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A payload: one unit of work for a channel.  It says where the bytes are, and holds none.
 *
 * The multifd core moves payloads and never looks inside.  What a type means is known to the
 * producer that fills it (plugin/source) and to the row of sendchan.c that sends it.
 */
#ifndef MFD_PAYLOAD_H
#define MFD_PAYLOAD_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "pageread.h"
#include "sentpages.h"
#include "pagescan.h"
#include "wire.h"

enum mfd_payload_type {
	MFD_PAYLOAD_NONE = 0,
	MFD_PAYLOAD_PAGES,
	MFD_PAYLOAD_FILE,
	MFD_PAYLOAD_STALE, /* pages without their bytes: what was sent of them is to be forgotten */
};

struct mfd_payload {
	enum mfd_payload_type type;
	uint64_t sequence; /* of the packet it becomes */
	/* PAGES: where to note what is sent, and as of which round; NULL: nowhere */
	struct mfd_pagetable *sent;
	uint32_t round;
	int hash; /* bool: with a hash of each page */
	union {
		struct {
			const struct mfd_pageread *reader; /* outlives the session's channels */
			uint32_t task;			   /* pid in the task's own pid namespace */
			uint32_t nruns;
			uint32_t npages;      /* sum over the runs */
			struct mfd_run *runs; /* runs_memory, or the filler's own */
		} pages;
		struct {
			int fd; /* of the open image file; outlives the channels */
			uint64_t offset, size;
			uint32_t len, mode;
			char name[MFD_WIRE_MAX_NAME + 1];
		} file;
	};
	/* Room for max_runs of mfd_multifd_start; belongs to the payload for life. */
	struct mfd_run *runs_memory;
};

static inline void mfd_payload_reset(struct mfd_payload *p)
{
	p->type = MFD_PAYLOAD_NONE;
	p->sent = NULL;
}

#endif
