/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Talking to the keeper, the process that holds open file descriptions from a dump until their
 * restore.
 *
 * A unix SOCK_SEQPACKET socket (DIR/.keeper.sock, and .cpr.sock in the image folder of a session
 * that is being restored); one request, one answer, any number of times.  A request carries at most
 * one descriptor, and so does an answer.  The other end must be root or the keeper's own user; both
 * ends are on one host and from one build, so the message is a plain struct.  The keeper holds what
 * it is given in CPR tables (cpr.h).
 *
 *	BEGIN session			drops what an earlier dump of this name left; offers stay
 *	PUT session name id + fd	keep it (kept); one that is there is replaced
 *	OFFER session name id + fd	an fd that a restore may take under this name; -EEXIST when
 *					there is one
 *	GET session name id		-> fd, flags say whether kept or offered; -ENOENT
 *	HAS session name id		the same without the descriptor
 *	DROP session [name id]		close: flags say which (kept, offered); no name: all of them
 *	LIST [session]			-> ENTRY ... then OK
 *	ATTACH session + image folder	make .cpr.sock there, so that restored tasks reach the
 *					keeper from any namespace
 *	EXEC				replace the keeper's program by the one that lies at its
 *					path now
 *
 * An offer under (name, MFD_KEEPER_ANY_ID) serves every id of that name; kept goes before offered,
 * an exact id before any. One under the name MFD_KEEPER_TERMINAL serves, in a restore, every
 * terminal that has none of its own.
 */
#ifndef MFD_KEEPER_H
#define MFD_KEEPER_H

#include <stddef.h>
#include <stdint.h>

#include "cpr.h"

#define MFD_KEEPER_SOCKET	  ".keeper.sock" /* in the keeper's folder */
#define MFD_KEEPER_SESSION_SOCKET ".cpr.sock"	 /* in a session's image folder */
/* in an image folder: symbolic link to the keeper's socket, left by the dump */
#define MFD_KEEPER_LINK	    ".keeper"
#define MFD_KEEPER_TERMINAL "tty" /* the terminals' own names are tty[RDEV:DEV] */
#define MFD_KEEPER_ANY_ID   UINT64_MAX
#define MFD_KEEPER_VERSION  1U

enum mfd_keeper_type {
	MFD_KEEPER_BEGIN = 1,
	MFD_KEEPER_PUT,
	MFD_KEEPER_OFFER,
	MFD_KEEPER_GET,
	MFD_KEEPER_HAS,
	MFD_KEEPER_DROP,
	MFD_KEEPER_LIST,
	MFD_KEEPER_ATTACH,
	MFD_KEEPER_EXEC,
	MFD_KEEPER_OK,
	MFD_KEEPER_ENTRY,
	MFD_KEEPER_FAILED,
};

#define MFD_KEEPER_KEPT	   (1U << 0)
#define MFD_KEEPER_OFFERED (1U << 1)

struct mfd_keeper_msg {
	uint32_t version;
	uint32_t type;	/* enum mfd_keeper_type */
	int32_t code;	/* FAILED: -errno */
	uint32_t flags; /* MFD_KEEPER_KEPT, _OFFERED */
	uint64_t id;
	uint64_t age_ms; /* ENTRY: since it came */
	char session[256];
	char name[MFD_CPR_NAME_MAX + 1]; /* the message ends behind its final 0 */
};

/*
 * A connected socket or -errno.  By path; by name in a folder (through /proc/self/fd); the last
 * changes the working folder and back, which needs no /proc, but no other thread either.  No call
 * on the socket lasts longer than 10 s.
 */
int mfd_keeper_connect(const char *path);
int mfd_keeper_connect_at(int dirfd, const char *name);
int mfd_keeper_connect_in(int dirfd, const char *name);

/* Fill in a request; -ENAMETOOLONG.  session and name may be NULL. */
int mfd_keeper_fill(struct mfd_keeper_msg *m, enum mfd_keeper_type type, const char *session,
		    const char *name, uint64_t id);
/* Send, with `fd` unless it is -1.  0 or -errno. */
int mfd_keeper_send(int sock, const struct mfd_keeper_msg *m, int fd);
/*
 * Receive; *fd (may be NULL) becomes the descriptor that came along or -1.  1, 0 at the end, -errno
 * (-EPROTO: not one of ours).
 */
int mfd_keeper_recv(int sock, struct mfd_keeper_msg *m, int *fd);
/* Send `m` and read the answer into it: 0, the code of FAILED, or -errno of the socket. */
int mfd_keeper_call(int sock, struct mfd_keeper_msg *m, int fd_out, int *fd_in);

/* A whole request each.  `get` returns the descriptor (>= 0, close-on-exec, the caller's). */
int mfd_keeper_begin(int sock, const char *session);
int mfd_keeper_put(int sock, const char *session, const char *name, uint64_t id, int fd);
int mfd_keeper_get(int sock, const char *session, const char *name, uint64_t id);
/* MFD_KEEPER_KEPT or _OFFERED */
int mfd_keeper_has(int sock, const char *session, const char *name, uint64_t id);
int mfd_keeper_drop(int sock, const char *session, const char *name, uint64_t id, uint32_t which);
/*
 * Every entry (of `session`, NULL = of all): `each` may end it with a result other than 0, which is
 * returned (the socket is of no use then).
 */
int mfd_keeper_list(int sock, const char *session,
		    int (*each)(void *ctx, const struct mfd_keeper_msg *m), void *ctx);
int mfd_keeper_attach(int sock, const char *session, int image_dir);

#endif
