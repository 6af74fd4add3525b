/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A session's inherited descriptors, as the server sees them: before it promises anything to the
 * source, everything in cpr-fds.img must be in reach; and when the session is over, the keeper lets
 * go.
 */
#ifndef MFD_CPR_REACH_H
#define MFD_CPR_REACH_H

#include <stddef.h>

struct mfd_session;

/*
 * Every inherited descriptor can be had here, and each that is offered for the session its peer may
 * have: 0, or -errno and which cannot or may not.
 */
int mfd_cpr_reach_check(struct mfd_session *s, char *text, size_t len);
/* Done or aborted: the keeper closes what it has for the session. */
void mfd_cpr_reach_drop(struct mfd_session *s);

#endif
