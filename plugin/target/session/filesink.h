/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Image files of a session, written in pieces by several channels at once.  Names come from the
 * network: they are checked here once more, opened without following links, and never one of the
 * server's own files.
 */
#ifndef MFD_FILESINK_H
#define MFD_FILESINK_H

#include <pthread.h>
#include <stdint.h>

#include "error.h"
#include "wire.h"

#define MFD_FILESINK_BUCKETS 1024
#define MFD_FILESINK_MAX     (1U << 20) /* files of one session */

/* Bytes [from, to) of a file that have come, or are being written. */
struct mfd_filesink_piece {
	struct mfd_filesink_piece *next;
	uint64_t from, to;
};

struct mfd_filesink_file {
	struct mfd_filesink_file *next;
	uint64_t size, got;		   /* lock */
	struct mfd_filesink_piece *pieces; /* lock; in order, none touches the next */
	char name[];
};

struct mfd_filesink {
	int dirfd; /* the session's */
	pthread_mutex_t lock;
	struct mfd_filesink_file *buckets[MFD_FILESINK_BUCKETS]; /* lock */
	uint64_t files;						 /* lock */
	int closed;						 /* lock; nothing more may come */
};

void mfd_filesink_init(struct mfd_filesink *fs, int dirfd);
void mfd_filesink_free(struct mfd_filesink *fs);
/*
 * A name that the server keeps for itself (session.img, pages.store ...) or that is not one at all;
 * nonzero if so.
 */
int mfd_filesink_reserved(const char *name);
int mfd_filesink_write(struct mfd_filesink *fs, const struct mfd_wire_file *f, const char *name,
		       const void *buf, uint32_t len, struct mfd_error *err);
/* Once what has come was verified: any other piece is refused. */
void mfd_filesink_close(struct mfd_filesink *fs);
uint64_t mfd_filesink_files(struct mfd_filesink *fs);
/* 0, or -EPROTO naming the first file that has not come as a whole. */
int mfd_filesink_complete(struct mfd_filesink *fs, struct mfd_error *err);
/* fsync of every file and the folder */
int mfd_filesink_sync(struct mfd_filesink *fs, struct mfd_error *err);

#endif
