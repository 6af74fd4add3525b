/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * When things happened, in the order in which they did: the same list in the sender's summary and
 * in status.
 */
#ifndef MFD_TIMELINE_H
#define MFD_TIMELINE_H

#include <json-c/json.h>
#include <stddef.h>
#include <stdint.h>

struct mfd_event {
	const char *name;
	uint64_t us; /* by any clock; 0 = has not happened */
};

/* Sorts the n events, those that have not happened first; equal times stay as they are. */
void mfd_timeline_sort(struct mfd_event *e, size_t n);
/* [ { "phase": NAME, "ms": after `start` }, ... ] of what has happened; e is sorted. */
struct json_object *mfd_timeline_json(struct mfd_event *e, size_t n, uint64_t start);
/* A number of milliseconds, three digits of it, from microseconds. */
struct json_object *mfd_timeline_ms(uint64_t us);

#endif
