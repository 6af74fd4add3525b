/* SPDX-License-Identifier: GPL-2.0-only */
/* Transparent huge pages: which mappings of a process get them (lib/maps.h reads them). */
#ifndef MFD_THP_H
#define MFD_THP_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define MFD_THP_SIZE (2ULL << 20) /* of x86-64, and of arm64 with pages of 4 KiB */

struct mfd_thp_area {
	uint64_t start, end; /* bytes, whole huge pages */
};

struct mfd_thp_areas {
	struct mfd_thp_area *v;
	size_t n;
};

int mfd_thp_here(void); /* nonzero: the host has them, of MFD_THP_SIZE */
/*
 * Private anonymous memory of `pid` that it may read and write and whose first touch gets a huge
 * page, by address: the host gives them to every process, or this one has asked (MADV_HUGEPAGE).  0
 * or -errno.  Free with mfd_thp_free.
 */
int mfd_thp_areas(pid_t pid, struct mfd_thp_areas *out);
void mfd_thp_free(struct mfd_thp_areas *areas);

#endif
