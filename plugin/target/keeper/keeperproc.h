/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The keeper: a small process that holds open file descriptions by session and (name, id).
 *
 *	keeper.c	command line, sockets, the loop
 *	keeper_hold.c	what is held: sessions, each with a table of kept and one of offered
 *			descriptors
 *	keeper_serve.c	requests (lib/keeper_client.h)
 *	keeper_upgrade.c	going on in a new program
 *
 * One thread.  It is a process of its own so that neither a crash of the restore server's worker
 * nor a bug here can reach the other's descriptors.  `criu-multifd serve` starts one for its folder
 * unless there is one.  If the server's supervisor dies while the keeper holds something, the
 * keeper stays, and the next server finds it.
 */
#ifndef MFD_TARGET_KEEPER_H
#define MFD_TARGET_KEEPER_H

#include <sys/types.h>

#include "cpr.h"
#include "error.h"
#include "keeper_client.h"

#define MFD_KEEPER_LOCK	       ".keeper.lock"
#define MFD_KEEPER_MAX_CLIENTS 256

/* What one session has here.  Kept: from its dump.  Offered: for its restore. */
struct mfd_kept {
	struct mfd_kept *next;
	char name[256];
	/* both own their descriptors; records are struct mfd_kept_since */
	struct mfd_cpr *kept, *offered;
	uint64_t used_ms;    /* last request that named it */
	int image_dir, sock; /* ATTACH: the folder, and .cpr.sock listening in it; -1 */
};

struct mfd_kept_since {
	uint64_t ms;
};

enum mfd_keeper_phase {
	MFD_KEEPER_SERVING,
	/* after this turn of the loop it goes on in a new program; SERVING when that failed */
	MFD_KEEPER_REPLACING,
	MFD_KEEPER_STOPPING, /* after this turn it ends */
};

struct mfd_keeper {
	const char *dir;
	int dirfd, lock, listen_fd;
	int signals; /* signalfd */
	int link;    /* to the supervisor that started this process, or -1 */
	uint64_t keep_ms;
	struct mfd_kept *sessions;
	int clients[MFD_KEEPER_MAX_CLIENTS];
	unsigned n_clients;
	enum mfd_keeper_phase phase; /* mfd_keeper_enter */
};

/* keeper_hold.c; the only writer of k->phase; nothing leaves STOPPING */
void mfd_keeper_enter(struct mfd_keeper *k, enum mfd_keeper_phase phase);
struct mfd_kept *mfd_keeper_find(struct mfd_keeper *k, const char *session);
/* finds or makes */
int mfd_keeper_make(struct mfd_keeper *k, const char *session, struct mfd_kept **s);
int mfd_keeper_add(struct mfd_cpr *t, const char *name, uint64_t id, int fd,
		   uint64_t since_ms); /* takes fd over on success */
/* takes image_dir over on success */
int mfd_keeper_listen_in(struct mfd_kept *s, int image_dir);
void mfd_keeper_remove(struct mfd_keeper *k, struct mfd_kept *s); /* closes everything of it */
void mfd_keeper_expire(struct mfd_keeper *k);
size_t mfd_keeper_held(const struct mfd_keeper *k);

/* keeper_serve.c: one request of a client; 0 when it is gone. */
int mfd_keeper_serve(struct mfd_keeper *k, int client);

/* keeper_upgrade.c */
int mfd_keeper_state_load(struct mfd_keeper *k, int state, struct mfd_error *err);
/* only returns when it failed: everything is as it was */
int mfd_keeper_exec(struct mfd_keeper *k);

/* keeper.c: for serve: in a child; returns its exit code. `link` ends with the supervisor. */
int mfd_keeper_run(const char *dir, int link, uint64_t keep_ms);

#endif
