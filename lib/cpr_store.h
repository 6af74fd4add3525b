/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A CPR table to and from cpr-fds.img: the records of its entries are struct mfd_cpr_record here.
 */
#ifndef MFD_CPR_STORE_H
#define MFD_CPR_STORE_H

#include "cpr.h"
#include "cpr_image.h"

/*
 * Write all entries of `t` to dirfd/cpr-fds.img (synced, see mfd_cpr_image_write), sorted by name
 * and id, so that equal tables make equal files.  `header` (may be NULL) gives all but the count.
 * Every entry needs a record: -EINVAL names the one that has none or a bad one.  Descriptors are
 * not written, their numbers mean nothing to a reader.
 */
int mfd_cpr_store(struct mfd_cpr *t, int dirfd, const struct mfd_cpr_image_header *header,
		  const char **why);

/*
 * The entries of dirfd/`name` into a new table made with `o` (its `release` must suit records from
 * mfd_cpr_record_new, as NULL does), each without a descriptor: bind them with mfd_cpr_resave_fd.
 * All or nothing. Errors as mfd_cpr_image_read; a key that occurs twice is -EBADMSG.  *header (may
 * be NULL) points to strings that mfd_cpr_header_release frees.
 */
int mfd_cpr_load(int dirfd, const char *name, const struct mfd_cpr_options *o, struct mfd_cpr **t,
		 struct mfd_cpr_image_header *header, const char **why);
void mfd_cpr_header_release(struct mfd_cpr_image_header *header);

#endif
