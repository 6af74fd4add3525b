/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The journal of a dump's CPR table.
 *
 * The hooks save what they find in a table in CRIU's process.  The sender ships the images while
 * CRIU still dumps, so it needs that table in another process, and CRIU may die before it could
 * tell.  Every entry that the hooks save is therefore appended to .cpr-fds.log in the image folder,
 * too.  mfd_cpr_log_load makes the table of it again, and cpr-fds.img is written from a table in
 * either process: by the sender before it ships the images (mfd_cpr_log_seal), or by the plugin at
 * the end of a dump without a sender (mfd_cpr_store).
 *
 * The build that wrote a journal reads it, so its records are plain structs; it never leaves the
 * host.
 */
#ifndef MFD_CPR_LOG_H
#define MFD_CPR_LOG_H

#include "cpr_store.h"

#define MFD_CPR_LOG_NAME ".cpr-fds.log"

/*
 * Begin a journal: remove journal and image of an earlier dump.  Return a descriptor for
 * mfd_cpr_log_add or -errno.
 */
int mfd_cpr_log_open(int dirfd, const char *session);
/*
 * Append one entry; its name, path and the like are copied.  0, -EINVAL (no image may hold it),
 * -errno; *why says more.
 */
int mfd_cpr_log_add(int fd, const struct mfd_cpr_image_item *item, const char **why);
/*
 * Make the table and the header of its image again; both are the caller's (mfd_cpr_free,
 * mfd_cpr_header_release).  -ENOENT: no journal; -EBADMSG: damaged, or a key twice; *why says more.
 */
int mfd_cpr_log_load(int dirfd, struct mfd_cpr **t, struct mfd_cpr_image_header *header,
		     const char **why);
/*
 * Write cpr-fds.img from the table of the journal, unless it is empty, and remove the journal.  0,
 * also without a journal; -errno with *why, and the journal stays.
 */
int mfd_cpr_log_seal(int dirfd, const char **why);
/* Remove the journal. */
void mfd_cpr_log_discard(int dirfd);

#endif
