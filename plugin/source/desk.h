/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where a person (criu-multifd resolve, set or status --source, migrate's Ctrl-C) reaches the
 * sender: a unix SOCK_SEQPACKET socket in CRIU's work directory, root only; one message, one answer
 * "ok", "ok TEXT" or "error: TEXT".
 *
 *	abort		before the point of no return: the dump fails, the tasks run on
 *	run		postcopy, target out of reach: likewise, though the restored tasks may have run
 *	discard		postcopy, target out of reach: the dump succeeds, the tasks die
 *	set NAME VALUE	change a setting: "ok NAME OLD NEW"
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
	MFD_DESK_STATUS,
	MFD_DESK_SET,
};

struct mfd_desk_request {
	enum mfd_desk_verb verb;
	int caller;	    /* where the answer goes */
	char text[160];	    /* what came, cut up */
	char *name, *value; /* of SET; parts of text */
};

/* The listening socket in the current directory; one that was left behind is replaced. -errno. */
int mfd_desk_open(void);
void mfd_desk_close(int *desk); /* and remove it */
/*
 * The next request; its verb, NOTHING when there is none (what is not a request has been answered).
 */
enum mfd_desk_verb mfd_desk_next(int desk, struct mfd_desk_request *r);
/* Both close caller.  NULL = ok, else the error's text. */
void mfd_desk_answer(int caller, const char *error);
void mfd_desk_say(int caller, const char *text); /* ok, and this */

#endif
