/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * criu-multifd status: where sessions stand, on the target from session.img files, on the source
 * from the sender.
 *
 *	status.c		the verb: flags, one look, or one every second
 *	status_table.c		sessions as a table for a person
 *	status_json.c		sessions as JSON for a program
 *	status_entry.c		what both compute from an entry
 *	status_figures.c	channels, pager and times of a session
 *	status_memory.c		the memory of a server with a limit
 *	status_source.c		the sender of a dump, at work or not any more
 *	status_notes.c		what the manual says
 */
#ifndef MFD_STATUS_H
#define MFD_STATUS_H

#include <json-c/json.h>
#include <stdint.h>

#include "images/session.pb-c.h"
#include "session_file.h"

#define MFD_STATUS_PAGE 4096ULL

/* One look at the sessions of a folder. */
struct mfd_status {
	const char *dir, *session; /* session NULL: all of them */
	const char *source;	   /* the folder of a sender; then nothing else is looked at */
	int json, watch, channels;
	uint64_t now_us; /* CLOCK_REALTIME of this look */
	struct mfd_session_file *list;
	size_t n;
};

void mfd_status_table_print(const struct mfd_status *s);
/* One session: its object. All: { "dir", "memory", "sessions" }; on one line when watching. */
void mfd_status_json_print(const struct mfd_status *s);

/* Microseconds from `from` to `to`; 0 if `from` is 0 (not known). */
uint64_t mfd_status_span(uint64_t from, uint64_t to);
/* How long pages have been on their way, or were. */
uint64_t mfd_status_transfer_us(const Mfd__SessionEntry *e);
/* Pages that came, zero pages included. */
uint64_t mfd_status_received(const Mfd__SessionEntry *e);
double mfd_status_percent(uint64_t part, uint64_t whole);
/* The session needs a server, and the one that wrote its entry does not run. */
int mfd_status_orphaned(const struct mfd_session_file *f);

extern const char mfd_status_notes[]; /* for help and manual: what the JSON holds, too */

/* Adds max_bandwidth, stalls, stall_ms, channel, urgent, pager, timeline to `o`. */
void mfd_status_figures_json(struct json_object *o, const Mfd__SessionEntry *e);
/* Indented lines: limit, channels, pager, times. */
void mfd_status_figures_print(const Mfd__SessionEntry *e);
/* Microseconds as "1234.5 ms". */
const char *mfd_status_ms(uint64_t us, char *buf, size_t len);

/* ---- status_scope.c ---- */

#define MFD_STATUS_SCOPE 256 /* bytes, with the NUL */
/* The scope that the server has made for what it restored; NULL: it lives in none. Returns name. */
const char *mfd_status_scope(const Mfd__SessionEntry *e, char name[MFD_STATUS_SCOPE]);
/* Nonzero: the control group is in one. */
int mfd_status_scope_of(const char *group, char name[MFD_STATUS_SCOPE]);

/* The sender whose criu dump works, or worked, in `dir`. The exit code. */
int mfd_status_source(const char *dir, int json, int channels);

#endif
