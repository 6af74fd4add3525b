/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a session does about trouble.  A handler (verify.c, commit.c, own_restore.c, ...) returns
 * what it has found; it does not end a session.  rules.c decides by plan and phase what that means,
 * mfd_session_trouble() (ending.c) does it, and nothing else does.
 *
 * One question decides: can the source still go on by itself?  Before READY (postcopy: before leave
 * to run was given) it can, and will, so everything here is thrown away.  Afterwards only the
 * source or a person can tell, so the session is kept, in doubt.
 */
#ifndef MFD_RULES_H
#define MFD_RULES_H

struct mfd_session;

enum mfd_trouble_kind {
	MFD_TROUBLE_NONE,
	MFD_TROUBLE_LINK,    /* a connection, what came over it, or this server's disk and memory */
	MFD_TROUBLE_UNTOLD,  /* a step failed that the source has not been told of */
	MFD_TROUBLE_RESTORE, /* the server's restore, or one of its tasks */
	MFD_TROUBLE_PAGER,   /* the pager has given up */
	MFD_TROUBLE_FATE,    /* what was restored has died before the commit (fate.h) */
	MFD_TROUBLE_SERVER,  /* the server ends before the session can be kept */
	MFD_TROUBLE_PERSON,  /* a person throws the session away */
	MFD_TROUBLE_SOURCE,  /* the source does, and need not be told */
	MFD_TROUBLES,
};

struct mfd_trouble {
	enum mfd_trouble_kind kind;
	int code;
	char text[512];
};

/* Fill *t; return `code`. */
int mfd_trouble(struct mfd_trouble *t, enum mfd_trouble_kind kind, int code, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

enum mfd_remedy {
	MFD_REMEDY_ABORT, /* what was restored is killed, the source is told, a tombstone is left */
	MFD_REMEDY_DOUBT, /* kept; the source, when it comes back, or a person decides */
	MFD_REMEDY_NOTE,  /* kept as it is; session.img says what is wrong */
	MFD_REMEDY_BREAK, /* committed: folder and store stay for a person */
	MFD_REMEDY_LOG,	  /* of no consequence any more */
};
enum mfd_remedy mfd_rules_remedy(const struct mfd_session *s, enum mfd_trouble_kind kind);

/* The source can go on by itself. */
int mfd_rules_may_abort(const struct mfd_session *s);
/* The restored tasks may be the only copy, if the source has let go: COMMIT may be lost. */
int mfd_rules_only_copy(const struct mfd_session *s);
/* They are complete as well, so that a worker that reloads the session finds them. */
int mfd_rules_keeps_tasks(const struct mfd_session *s);
/* A lost data channel matters: pages are due. */
int mfd_rules_needs_channels(const struct mfd_session *s);

#endif
