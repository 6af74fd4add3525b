/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The desk: where a person (criu-multifd resolve, set or status --source, migrate's Ctrl-C) reaches
 * the sender.  It is a unix SOCK_SEQPACKET socket in CRIU's work directory, for root only; one
 * message, one answer "ok", "ok TEXT" or "error: TEXT".
 *
 *	abort		before leave to run: the dump fails, the tasks run on
 *	run		postcopy, target out of reach: likewise, though the copies may have run
 *	discard		postcopy, target out of reach: the dump succeeds, the tasks die
 *	set NAME VALUE	change a setting: "ok NAME OLD NEW"
 *	retry		the same: another try now, whatever has ended the tries
 *	status		"ok " and the summary so far, as in multifd-send.json
 *
 * The worker's main thread alone uses it.
 */
#ifndef MFD_DESK_H
#define MFD_DESK_H

#define MFD_DESK_SOCKET ".multifd-send.sock" /* begins with a dot: it is no image */

enum mfd_desk_verb {
	MFD_DESK_NOTHING,
	MFD_DESK_ABORT,
	MFD_DESK_RUN,
	MFD_DESK_DISCARD,
	MFD_DESK_RETRY,
	MFD_DESK_STATUS,
	MFD_DESK_SET,
};

struct mfd_desk_request {
	enum mfd_desk_verb verb;
	int caller;	    /* a connection: where the answer goes */
	char text[160];	    /* what came, cut up */
	char *name, *value; /* of SET; parts of text */
};

/* Open the socket in the current directory, in the place of one left behind. -errno. */
int mfd_desk_open(void);
void mfd_desk_close(int *desk); /* close and remove it */
/*
 * Take the next request.  Returns its verb; NOTHING: there is none, or it was none and has been
 * answered.
 */
enum mfd_desk_verb mfd_desk_next(int desk, struct mfd_desk_request *r);
/* Answer and close caller.  NULL = ok, else the error's text. */
void mfd_desk_answer(int caller, const char *error);
void mfd_desk_say(int caller, const char *text); /* the same: ok, and this text */

#endif
