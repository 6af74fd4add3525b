/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * session.img and the tombstones of aborted sessions: what the server writes and `status` and
 * `wait` read.
 *
 *	DIR/SESSION/session.img	a session that lives (or is done), replaced as a whole by rename
 *	DIR/.ended/SESSION.img	tombstone: the last session.img of an aborted session, with the
 *				reason
 *	DIR/.ended/SESSION.seen	not older than the tombstone: a `wait` has reported it already
 *	DIR/.ended/SESSION.late	likewise of a later one, that was aborted before it had any
 *				images, and so displaces neither tombstone nor session.img
 *	DIR/.ended/before	record.h: folders of what is done, while another of its name begins
 *	DIR/.ended/by-id	what sources are answered with: evidence_file.h
 *
 * A live session.img wins over a tombstone of the same name.  To `wait`, a tombstone counts if it
 * is not older than the start of the wait, or if no `wait` has reported it yet.
 *
 * Functions return 0 or -errno and do not print.  Sentences in *why belong to the library: they are
 * valid until this thread's next call into images/ and must not be freed.  `why` may be NULL.
 */
#ifndef MFD_SESSION_FILE_H
#define MFD_SESSION_FILE_H

#include <stddef.h>
#include <time.h>

#include "entry_file.h"
#include "images/session.pb-c.h"

#define MFD_SESSION_FILE_NAME	"session.img"
#define MFD_SESSION_FILE_ENDED	".ended"
#define MFD_SESSION_FILE_BEFORE MFD_SESSION_FILE_ENDED "/before"
#define MFD_SESSION_FILE_FORMAT MFD_ENTRY_FILE_FORMAT

/*
 * Replace sessiondirfd/session.img (mode 0600) by `e`.  Readers see the old one or the new one,
 * never a part.  sync nonzero: it also survives a crash of the host (fsync of file and folder); use
 * it at changes of state, 0 for the once-a-second counters. One writer per session at a time.
 */
int mfd_session_file_store(int sessiondirfd, const Mfd__SessionEntry *e, int sync);
/*
 * *e is to be freed with mfd_session_file_free.  -ENOENT: no session.img; -EBADMSG: damaged or not
 * one; -EPROTO: of a newer format; both with *why.
 */
int mfd_session_file_load(int sessiondirfd, Mfd__SessionEntry **e, const char **why);
void mfd_session_file_free(Mfd__SessionEntry *e); /* NULL is fine */

/*
 * Leave a tombstone for session `name` in the server's folder: DIR/.ended is made (0700), the entry
 * is written whatever its state with state ABORTED and without its secret, and a `seen` mark of an
 * earlier tombstone is removed.  If it had no images yet, and what is there of an earlier session
 * of that name matters to a person, it is written as SESSION.late.  Before, evidence that a source
 * may need is kept by the session's id.  `e` is not changed; set e->error to the reason before.
 * Bury first, then remove the session's folder: a `wait` must find one of the two.
 */
int mfd_session_file_bury(int dirfd, const char *name, const Mfd__SessionEntry *e);
/*
 * Remove tombstone, mark and SESSION.late; fine when absent.  Evidence stays, by its id; -errno: a
 * tombstone that cannot be read just now may be the only evidence, and stays.
 */
int mfd_session_file_exhume(int dirfd, const char *name);
/*
 * Remove tombstones and evidence that are older than so many seconds (0 = none), and all but the
 * `most` newest tombstones: of these the evidence stays.
 */
int mfd_session_file_expire(int dirfd, uint64_t seconds, unsigned most);
/* Does the tombstone of this name matter to a person?  1, 0, or -errno: it cannot be told. */
int mfd_session_file_matters(int dirfd, const char *name);
/* A `wait` has reported the tombstone it found with this mtime. */
int mfd_session_file_mark_seen(int dirfd, const char *name, const struct timespec *mtime);

/* A session as found under the server's folder. */
struct mfd_session_file {
	char *name;		     /* of the folder or tombstone */
	Mfd__SessionEntry *entry;    /* NULL: unreadable, see `why` */
	char *why;		     /* NULL when entry is set */
	int error;		     /* -errno of the reading; 0 when entry is set */
	int ended;		     /* from a tombstone */
	int seen;		     /* ended: reported by a `wait` already */
	char *later;		     /* ended or done: why a later one, SESSION.late, was aborted */
	struct timespec later_mtime; /* of SESSION.late */
	struct timespec mtime;	     /* of the file it was read from, CLOCK_REALTIME */
};

/*
 * One session by name: its live file or, without one, its tombstone.  0 (f is filled in, release
 * with mfd_session_file_release; an unreadable file is 0 with f->entry NULL); -ENOENT: neither is
 * there (yet).
 */
int mfd_session_file_find(int dirfd, const char *name, struct mfd_session_file *f);
/* Its tombstone alone, whatever else there is: likewise. */
int mfd_session_file_find_ended(int dirfd, const char *name, struct mfd_session_file *f);
void mfd_session_file_release(struct mfd_session_file *f);
/*
 * All of them, live ones and tombstones that no live one hides, by name.  Free with
 * mfd_session_file_list_free.
 */
int mfd_session_file_list(int dirfd, struct mfd_session_file **list, size_t *n);
void mfd_session_file_list_free(struct mfd_session_file *list, size_t n);

/* "RECEIVING" ... as in session.proto; "?" for a number that is none. */
const char *mfd_session_file_state(Mfd__SessionState state);

#endif
