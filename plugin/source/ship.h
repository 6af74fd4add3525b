/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Image files as payloads: everything that CRIU wrote in its image directory goes through the
 * channels as the pages do.  By the main thread.
 */
#ifndef MFD_SHIP_H
#define MFD_SHIP_H

#include "error.h"
#include "multifd.h"

struct mfd_ship {
	int dirfd; /* CRIU's image directory, the caller's */
	int *fd;   /* open files; closed by mfd_ship_fini, after the channels are synced */
	unsigned n;
	uint64_t files, bytes;
	/* what a person sees: of `bytes`, as many as were expected count as sent */
	_Atomic uint64_t *sent;
	uint64_t shown;
};

/*
 * Queue each regular file of the directory.  A name that the wire does not allow is an error; what
 * is not a regular file (a socket, CRIU's `parent` link) is skipped with a warning.
 * `skip_dev/ino`: the sender's log, which may lie there.
 */
int mfd_ship_images(struct mfd_ship *s, struct mfd_multifd *m, uint32_t packet_size,
		    uint64_t *sequence, dev_t skip_dev, ino_t skip_ino, struct mfd_error *err);
void mfd_ship_fini(struct mfd_ship *s);

#endif
