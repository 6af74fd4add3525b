/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Settings that change while a session runs: today max-bandwidth.  The target asks by SET, which
 * the inbox thread answers, since the main thread may be waiting for the very channels that are
 * held up; a person asks at the desk (main thread).
 *
 * The value lives in shared memory, so that it outlasts connections and the worker; the channels'
 * limit follows it.
 */
#ifndef MFD_SETTING_H
#define MFD_SETTING_H

#include "proto/control.pb-c.h"
#include "uplink.h"

#define MFD_SETTING_TEXT 24 /* bytes of a value */

struct mfd_setting {
	/* as the option is written: bytes per second */
	char old[MFD_SETTING_TEXT], now[MFD_SETTING_TEXT];
};

/*
 * Any thread. 0, or -EINVAL with what is wrong with name or value; nothing is changed then, and
 * only `now` is filled in.
 */
int mfd_setting_change(struct mfd_uplink *s, struct mfd_shared *sh, const char *name,
		       const char *value, struct mfd_setting *change, struct mfd_error *err);
/* Carry out a SET and answer it; -errno of the connection. */
int mfd_setting_answer(struct mfd_uplink *s, struct mfd_shared *sh, const Mfd__Set *set);
/* Tell the target of a change made here, if it understands that. */
void mfd_setting_tell(struct mfd_uplink *s, const struct mfd_shared *sh, const char *name,
		      const struct mfd_setting *change);
/*
 * Tell it of a change that was made between HELLO and JOINED, where a target without memory keeps
 * the source waiting.
 */
void mfd_setting_catch_up(struct mfd_uplink *s, const struct mfd_shared *sh);

#endif
