/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a source that comes back by RESUME is told of a session that is not alive here.
 *
 * A source whose restored tasks may have run goes on only by evidence: the word of the session, or
 * of the tombstone with its id, that it has ended, that nothing restored of it lives, and that no
 * later server can restore it.  A tombstone is written after the tasks are dead, and before a
 * source hears of it.  It wins over the session's own folder, should that be left.
 *
 * It is found by the id and the identity that opened the session (evidence_file.h): what happens
 * under the session's name later takes nothing away from it, and no other peer hears of it.
 *
 * Everything else is no evidence, and says so: no session of that id, a folder that cannot be read,
 * a session that cannot be loaded.
 */
#ifndef MFD_EVIDENCE_H
#define MFD_EVIDENCE_H

#include <stdint.h>

#include "images/session.pb-c.h"
#include "proto/control.pb-c.h"
#include "wire.h"

struct mfd_peer;

enum mfd_evidence_kind {
	MFD_EVIDENCE_UNKNOWN,	 /* no session of this id is known */
	MFD_EVIDENCE_UNLOADABLE, /* it is here, and not alive */
	MFD_EVIDENCE_COMMITTED,	 /* it is committed: `state` */
	MFD_EVIDENCE_ENDED,	 /* it was aborted */
};

struct mfd_evidence {
	enum mfd_evidence_kind kind;
	Mfd__SessionState state;
	int ran, by_person; /* of ENDED */
	char text[512];	    /* a sentence */
};

/* Look on disk for the session `name` that this greeting of `p` proves to be its own. */
void mfd_evidence_look(struct mfd_peer *p, const struct mfd_wire_greeting *g, const char *name,
		       struct mfd_evidence *v);
/* The entry is of the session with this id, which this identity has opened ("" or NULL: plain). */
int mfd_evidence_is_of(const Mfd__SessionEntry *e, const char *identity, const uint8_t *id);
/* 1: DIR has evidence that this very session was aborted; 0: none; -errno: it cannot be told. */
int mfd_evidence_buried(int dirfd, const Mfd__SessionEntry *e);
/* Its tasks may have run: leave was given, or it was committed. */
int mfd_evidence_ran(const Mfd__SessionEntry *e);

#endif
