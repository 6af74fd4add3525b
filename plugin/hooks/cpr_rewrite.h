/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Making a plugin restore what CRIU dumped by itself: the images say of which type a descriptor is,
 * and CRIU opens files of type EXT through RESTORE_EXT_FILE.  What CRIU wrote about the file stays
 * in files.img, so the next restore can take the change back.
 */
#ifndef MFD_CPR_REWRITE_H
#define MFD_CPR_REWRITE_H

#include <stddef.h>
#include <stdint.h>

#include "error.h"

#define MFD_CRIU_PIPE	 2U /* CRIU's fd_types */
#define MFD_CRIU_INETSK	 4U
#define MFD_CRIU_UNIXSK	 5U
#define MFD_CRIU_EVENTFD 6U
#define MFD_CRIU_EXT	 16U
#define MFD_CRIU_MEMFD	 18U

struct mfd_cpr_rewrite {
	uint32_t vpid, fd; /* a task that has it open, and as what */
	uint32_t own;	   /* its type as CRIU dumped it */
	uint32_t type;	   /* the type it shall have now: `own` or EXT */
	uint32_t criu_id;  /* out: id in files.img */
};

/* 0 or -errno; images that are right already are not touched. */
int mfd_cpr_rewrite(int image_dir, struct mfd_cpr_rewrite *list, size_t n, struct mfd_error *err);

#endif
