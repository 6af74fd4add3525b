/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * serve --ssh: the server of one migration, which `migrate --to ssh://` starts on this host.
 *
 * The key comes in one line on standard input, IDENTITY:HEX, and where the server listens goes out
 * in one on standard output (ssh_word.h).  The end of standard input is the end of the
 * migration: without a session the server ends, too; with one it goes on, as always.  After that
 * line the server needs neither of its first descriptors: its log is in a folder of its own, where
 * its key is, and its sessions unless --dir names another place.
 */
#ifndef MFD_BY_SSH_H
#define MFD_BY_SSH_H

#include "error.h"

struct mfd_by_ssh {
	char own[64];	/* the folder; empty: not started by ssh */
	char key[80];	/* a file in it */
	int life;	/* what was standard input; -1: it has ended, or there is none */
	int out, err;	/* what were standard output and error, until all is told */
	int announced;	/* bool */
	char dir[4096]; /* of the sessions */
};

#define MFD_BY_SSH_NONE                           \
	{                                         \
		.life = -1, .out = -1, .err = -1, \
	}

/* The start: take the key, make the folder.  `dir`: as --dir says, or NULL.  0 or -errno. */
int mfd_by_ssh_begin(struct mfd_by_ssh *s, const char *dir, struct mfd_error *err);
/* In a program that goes on for the one before (upgrade.c), which had the folder `own`. */
int mfd_by_ssh_again(struct mfd_by_ssh *s, const char *own, const char *dir, struct mfd_error *err);
/* The address to listen on by default, by which ssh has reached this host: "ADDR:0". */
const char *mfd_by_ssh_address(void);
/* From here on the log is a file.  0 or -errno. */
int mfd_by_ssh_detach(struct mfd_by_ssh *s, struct mfd_error *err);
/* The server is ready. */
void mfd_by_ssh_announce(struct mfd_by_ssh *s, const char *address);
/* A worker does not keep open what ssh waits for the end of. */
void mfd_by_ssh_in_worker(struct mfd_by_ssh *s);
/* s->life is readable: nonzero if that is its end; then it is closed. */
int mfd_by_ssh_has_ended(struct mfd_by_ssh *s);
/* In the worker: the session is done, restored with every page; nothing needs its folder. */
void mfd_by_ssh_done(const struct mfd_by_ssh *s);
/* The server has ended.  What it leaves is sessions that are not done. */
void mfd_by_ssh_end(struct mfd_by_ssh *s);

#endif
