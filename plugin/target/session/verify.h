/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Has everything come?  The session's thread only; -errno and *t, or what is said below.
 */
#ifndef MFD_VERIFY_H
#define MFD_VERIFY_H

#include <stdint.h>

#include "proto/control.pb-c.h"
#include "rules.h"

/* Image files against the counts, descriptors in reach, lazy pages counted: 0 = complete. */
int mfd_verify_images(struct mfd_session *s, const Mfd__Images *m, struct mfd_trouble *t);
/*
 * Counts compared, and every lazy page looked up: MFD_VERIFY_PASSED, and no packet is let in any
 * more; or 0 = NEED was sent for what is missing.
 */
enum { MFD_VERIFY_PASSED = 1 };
int mfd_verify_end(struct mfd_session *s, const Mfd__End *m, struct mfd_trouble *t);
/* After a resume: NEED for everything that is missing. */
int mfd_verify_need_all(struct mfd_session *s, struct mfd_trouble *t);

/* Lazy pages that have not come. */
uint64_t mfd_verify_missing(struct mfd_session *s);

#endif
