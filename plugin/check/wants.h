/* SPDX-License-Identifier: GPL-2.0-only */
/* What the tree needs to find on the target: files by their paths, and numbers of processes. */
#ifndef MFD_CHECK_WANTS_H
#define MFD_CHECK_WANTS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "buildid.h"

#define MFD_WANTS_FILES 2048
#define MFD_WANTS_PIDS	8192

struct mfd_want {
	char *path;
	uint64_t size;
	int folder;  /* bool: a folder; it has no size */
	int grows;   /* bool: it is open for writing, so it may have become larger */
	int unsized; /* bool: CRIU does not look at its size: it is open for appending alone */
	int stays;   /* bool: a program or library of the first process */
	uint8_t id[MFD_BUILDID_MAX];
	size_t id_len;
	dev_t dev; /* to know it again */
	ino_t ino;
};

struct mfd_wants {
	struct mfd_want *file;
	size_t n, room;
	uint32_t *pid; /* of every thread, as the images have them */
	size_t n_pids, room_pids;
};

void mfd_wants_free(struct mfd_wants *w);

#endif
