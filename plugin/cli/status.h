/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * criu-multifd status, beyond the table of sessions (status.c):
 *
 *	status_figures.c	channels, pager and times of a session on the target, as JSON and for people
 *	status_source.c		the sender of a dump, at work or not any more
 *	status_notes.c		what the manual says
 */
#ifndef MFD_STATUS_H
#define MFD_STATUS_H

#include <json-c/json.h>
#include <stdint.h>

#include "images/session.pb-c.h"

extern const char mfd_status_notes[]; /* for help and manual: what the JSON holds, too */

/* Adds max_bandwidth, stalls, stall_ms, channel, urgent, pager, timeline to `o`. */
void mfd_status_figures_json(struct json_object *o, const Mfd__SessionEntry *e);
/* Indented lines: limit, channels, pager, times. */
void mfd_status_figures_print(const Mfd__SessionEntry *e);
/* Microseconds as "1234.5 ms". */
const char *mfd_status_ms(uint64_t us, char *buf, size_t len);

/* The sender whose criu dump works, or worked, in `dir`. The exit code. */
int mfd_status_source(const char *dir, int json, int channels);

#endif
