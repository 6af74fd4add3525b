/* SPDX-License-Identifier: GPL-2.0-only */
/* What a sender that is gone has left (images/source.proto), for `status --source`. */
#ifndef MFD_STATUS_LEFT_H
#define MFD_STATUS_LEFT_H

#include <json-c/json.h>
#include <stddef.h>

/*
 * As a sender's own summary, as far as it is known.  NULL: a sender is at work there, or none has
 * left anything.
 */
struct json_object *mfd_status_left(const char *dir);

/*
 * What another program, or the disk, has to do with a file that could not be loaded (`ret`): what
 * is safe to type.  Returns buf.
 */
const char *mfd_status_left_unread(int ret, const char *dir, char *buf, size_t len);

#endif
