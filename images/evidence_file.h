/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What became of a session, by its id: what a source that comes back is answered with, whatever has
 * happened under the session's name since.
 *
 *	DIR/.ended/by-id/PEER/ID.img	the last entry of a session that has ended, ABORTED or DONE
 *	DIR/.ended/by-id/PEER/ID.old	the same, and its source knows already
 *
 * PEER stands for the identity that opened the session (16 digits, a hash; the entry has the
 * identity itself), ID for its id (32 digits).  No name is part of it: a new session of the same
 * name finds its name free, and the evidence of the one before stays.
 *
 * Peers make records at will, so each PEER has room for MFD_EVIDENCE_FILE_MOST.  Those that end in
 * .old go first, oldest first; one that a source may still need goes by its age alone, and so a
 * PEER that has none to spare is full: HELLO asks, and is refused.
 *
 * Functions return 0 or -errno; `dirfd` is the server's folder, an id has 16 bytes, an identity ""
 * or NULL is that of plain connections.
 */
#ifndef MFD_EVIDENCE_FILE_H
#define MFD_EVIDENCE_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "images/session.pb-c.h"

#define MFD_EVIDENCE_FILE_ID   16U
#define MFD_EVIDENCE_FILE_MOST 1000U /* of one peer */

/* A source may have given leave to run, or let its tasks die, and ask what became of it. */
int mfd_evidence_file_is_needed(const Mfd__SessionEntry *e);
/*
 * Write the record of `e`, synced and without its secret, in place of an older one.  Nothing is
 * written of a session without an id, or that no source needs evidence of.
 */
int mfd_evidence_file_keep(int dirfd, const Mfd__SessionEntry *e);
/* The same, unless there is a record already. */
int mfd_evidence_file_keep_first(int dirfd, const Mfd__SessionEntry *e);
/* *e is to be freed; -ENOENT: there is none that this identity may see. */
int mfd_evidence_file_find(int dirfd, const char *identity, const uint8_t *id,
			   Mfd__SessionEntry **e);
/* Nonzero: no record of this peer may go, and it has as many as it may have. */
int mfd_evidence_file_is_full(int dirfd, const char *identity, unsigned most);
/* The folder of this peer's records, below DIR. */
void mfd_evidence_file_folder(const char *identity, char *buf, size_t len);
/* Remove records that are older than so many seconds (0 = none). */
int mfd_evidence_file_expire(int dirfd, uint64_t seconds);

#endif
