/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What other threads have left for the session's thread, all under the session's lock.  A thread
 * that leaves something signals session->cond; actor.c takes one thing after the other.
 */
#ifndef MFD_SESSION_INBOX_H
#define MFD_SESSION_INBOX_H

#include <protobuf-c/protobuf-c.h>
#include <stdint.h>

#include "error.h"

#define MFD_INBOX_MAX_MAIL 64

/* A control message that takes part in the order of messages (turns.h). */
struct mfd_mail {
	unsigned type; /* enum mfd_wire_msg */
	uint64_t sync; /* not to be read before every channel has seen this sync */
	ProtobufCMessage *msg;
	struct mfd_mail *next;
};

enum mfd_request_kind { MFD_REQUEST_ABORT, MFD_REQUEST_RUN, MFD_REQUEST_DISCARD, MFD_REQUEST_SET };
/* A request of requests.c, which waits on session->cond for `done`. */
struct mfd_request {
	enum mfd_request_kind kind;
	char *name, *value; /* of SET */
	int done;
	char answer[512];
};

/* What the source wants that has come back (RESUME). */
enum mfd_outcome { MFD_OUTCOME_NONE, MFD_OUTCOME_CONTINUE, MFD_OUTCOME_COMMIT, MFD_OUTCOME_ABORT };

/* The worst loss of a connection that was not dealt with yet; in rising order. */
enum mfd_lost { MFD_LOST_NOTHING, MFD_LOST_CHANNEL, MFD_LOST_CONTROL };

/* Bits of inbox.events. */
enum {
	MFD_INBOX_ASKED = 1, /* the pager waits for leave to let a restore run */
	MFD_INBOX_PAGER = 2, /* the pager has come to its end: pager_code, pager_text */
	MFD_INBOX_NEWS = 4,  /* a setting has changed since session.img was written */
};

struct mfd_inbox {
	struct mfd_mail *mail, **mail_end;
	unsigned n_mail;
	enum mfd_lost lost;
	char lost_text[256];
	struct mfd_error failure; /* the first thing that must not go on */
	enum mfd_outcome resume;  /* link.control is a new one and asks for this */
	struct mfd_request *request;
	unsigned stopping; /* the server ends: 1 in good order, 2 now */
	unsigned events;
	int pager_code;
	char pager_text[256];
};

#endif
