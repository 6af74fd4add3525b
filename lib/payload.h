/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A payload: one unit of work for a channel.  The multifd core moves payloads and never looks
 * inside; what a type means is known to whoever fills it (plugin/source) and to the channel that
 * sends it (sendchan.c).
 */
#ifndef MFD_PAYLOAD_H
#define MFD_PAYLOAD_H

#include <stdint.h>
#include <sys/types.h>

#include "pageread.h"
#include "pagescan.h"
#include "wire.h"

enum mfd_payload_type {
	MFD_PAYLOAD_NONE = 0,
	MFD_PAYLOAD_PAGES,
	MFD_PAYLOAD_FILE,
};

struct mfd_payload {
	enum mfd_payload_type type;
	uint64_t sequence; /* of the packet it becomes */
	union {
		struct {
			const struct mfd_pageread *reader; /* outlives the session's channels */
			/* pid inside the task's own pid namespace */
			uint32_t task;
			uint32_t nruns;
			uint32_t npages;
			/* room for MFD_WIRE_MAX_RUNS, belongs to the payload for life */
			struct mfd_run *runs;
		} pages;
		struct {
			int fd; /* of the open image file; outlives the channels */
			uint64_t offset, size;
			uint32_t len, mode;
			char name[MFD_WIRE_MAX_NAME + 1];
		} file;
	};
	/* what pages.runs points to, kept while the payload is of another type */
	struct mfd_run *runs_memory;
};

static inline void mfd_payload_reset(struct mfd_payload *p)
{
	p->type = MFD_PAYLOAD_NONE;
}

#endif
