/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A CPR table to and from cpr-fds.img: the records of its entries are struct mfd_cpr_record here.
 *
 *	dump	hooks -> mfd_cpr_save_item -> table -> mfd_cpr_store -> cpr-fds.img
 *	restore	cpr-fds.img -> mfd_cpr_load -> table -> the hooks' look-ups by (name, id)
 *
 * A dump's table also has a journal, from which another process makes the same table (cpr_log.h).
 */
#ifndef MFD_CPR_STORE_H
#define MFD_CPR_STORE_H

#include "cpr.h"
#include "cpr_image.h"

/*
 * Add an entry without a descriptor and with a copy of the item's record.  Errors as mfd_cpr_add;
 * whether an image may hold the record is not checked.
 */
int mfd_cpr_save_item(struct mfd_cpr *t, const struct mfd_cpr_image_item *item);

/*
 * Copies of all entries in *list, sorted by name and id: the order of the image.  *list is to be
 * freed; names and records stay the table's.  0 or -ENOMEM.
 */
int mfd_cpr_sorted(struct mfd_cpr *t, struct mfd_cpr_entry **list, size_t *n);

/*
 * Fill in a header for an image that is written now on this host; mfd_cpr_header_release frees its
 * strings.  0 or -ENOMEM.
 */
int mfd_cpr_header_now(struct mfd_cpr_image_header *header, const char *session);
/* Nonzero if this host has not been started anew since it wrote that header. */
int mfd_cpr_header_same_boot(const struct mfd_cpr_image_header *header);
void mfd_cpr_header_release(struct mfd_cpr_image_header *header);

/*
 * Write all entries of `t` to dirfd/cpr-fds.img (synced, see mfd_cpr_image_write), sorted, so that
 * equal tables make equal files.  `header` (may be NULL) gives all but the count.  Every entry
 * needs a record: -EINVAL names the one that has none or a bad one.  Descriptors are not written:
 * their numbers mean nothing to a reader.
 */
int mfd_cpr_store(struct mfd_cpr *t, int dirfd, const struct mfd_cpr_image_header *header,
		  const char **why);

/*
 * Load the entries of dirfd/`name` into a new table made with `o` (its `release` must suit records
 * from mfd_cpr_record_new, as NULL does), each without a descriptor: mfd_cpr_resave_fd binds one.
 * All or nothing.  Errors as mfd_cpr_image_read; a key that occurs twice is -EBADMSG.  *header (may
 * be NULL) points to strings that mfd_cpr_header_release frees.
 */
int mfd_cpr_load(int dirfd, const char *name, const struct mfd_cpr_options *o, struct mfd_cpr **t,
		 struct mfd_cpr_image_header *header, const char **why);

#endif
