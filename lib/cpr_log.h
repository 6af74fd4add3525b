/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * cpr-fds.img while CRIU dumps: entries are appended to .cpr-fds.log in the image folder as the
 * hooks are called, and nobody can tell the last one.  Whoever knows that the images are complete
 * seals it: the sender before it ships them, or the plugin when CRIU's dump ends.  The log is read
 * by the build that wrote it, so its records are plain structs; it never leaves the host.
 */
#ifndef MFD_CPR_LOG_H
#define MFD_CPR_LOG_H

#include "cpr_image.h"

#define MFD_CPR_LOG_NAME ".cpr-fds.log"

/*
 * Begin anew: removes log and image of an earlier dump.  A descriptor for mfd_cpr_log_add or
 * -errno.
 */
int mfd_cpr_log_open(int dirfd, const char *session);
/*
 * One entry; its name, path and the like are copied.  0, -EINVAL (it could not be in an image),
 * -errno.
 */
int mfd_cpr_log_add(int fd, const struct mfd_cpr_image_item *item, const char **why);
/*
 * Make cpr-fds.img of the log, if there is one with entries, and remove it.  0 or -errno with *why.
 */
int mfd_cpr_log_seal(int dirfd, const char **why);
/* Without an image: the dump failed. */
void mfd_cpr_log_discard(int dirfd);

#endif
