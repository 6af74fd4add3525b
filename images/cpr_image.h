/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * cpr-fds.img: the descriptors that came along and how each one is got back.
 *
 * Entries stream in both directions, one at a time, so that a million of them takes no more memory
 * than one; the collection they come from and go to is the caller's (lib/cpr_store.h for a struct
 * mfd_cpr).  The reader checks everything that one entry can say about itself; that no key occurs
 * twice is for the caller that collects them.
 */
#ifndef MFD_CPR_IMAGE_H
#define MFD_CPR_IMAGE_H

#include <stddef.h>
#include <stdint.h>

#include "images/cpr.pb-c.h"

#define MFD_CPR_IMAGE_NAME   "cpr-fds.img"
#define MFD_CPR_IMAGE_FORMAT 1U

/* What an image may hold; writer and reader refuse more. Strings in bytes without the final 0. */
#define MFD_CPR_MAX_NAME    4000U
#define MFD_CPR_MAX_PATH    4095U
#define MFD_CPR_MAX_INHERIT 4200U
#define MFD_CPR_MAX_ADDRESS 128U
#define MFD_CPR_MAX_SESSION 255U /* of boot_id, too */
#define MFD_CPR_MAX_OWNERS  65536U
#define MFD_CPR_MAX_ENTRIES (16U << 20)

struct mfd_cpr_socket {
	/* AF_*, SOCK_*, IPPROTO_*, TCP_* (for unix sockets too) */
	uint32_t family, type, protocol, state;
	uint64_t inode, peer_inode; /* 0 = not known */
	/* AF_UNIX: sun_path (a leading 0 = abstract); else as text, like ss */
	const void *address, *peer_address;
	uint32_t address_len, peer_address_len; /* 0 = none */
};

struct mfd_cpr_owner {
	uint32_t pid, fd;
};

#define MFD_CPR_HAS_POSITION (1U << 0)
#define MFD_CPR_HAS_DEVICE   (1U << 1)
#define MFD_CPR_HAS_SOCKET   (1U << 2)
#define MFD_CPR_HAS_CRIU_ID  (1U << 3)
#define MFD_CPR_HAS_FLAGS    (1U << 4)

/*
 * All that is known about a description beside its key and its number here.  Fill one in on the
 * stack (zeroed) and keep it with mfd_cpr_record_new, which copies it with all it points to into
 * one block.
 */
struct mfd_cpr_record {
	Mfd__CprKind kind;
	Mfd__CprHow how;
	uint32_t has;	/* MFD_CPR_HAS_*: which of the optional numbers below are meant */
	uint32_t flags; /* O_*, as F_GETFL says */
	uint32_t major, minor;
	uint32_t criu_id;
	uint32_t n_owners;
	uint64_t position;
	const char *path;	/* NULL = none */
	const char *inherit_id; /* NULL = none */
	const struct mfd_cpr_owner *owners;
	const struct mfd_cpr_socket *socket; /* with MFD_CPR_HAS_SOCKET */
	uint32_t mark; /* of the program that has the record in memory; in no image */
};

/* A copy in one block, to be freed with free() (or by the table that takes it). NULL: no memory. */
struct mfd_cpr_record *mfd_cpr_record_new(const struct mfd_cpr_record *r);
/*
 * 0, or -EINVAL and *why (a constant; may be NULL) if `r` cannot be in an image: unknown kind or
 * how, something too long, REOPEN without an absolute path, INHERITED without inherit_id, a socket
 * without its identity.
 */
int mfd_cpr_record_check(const struct mfd_cpr_record *r, const char **why);

/* /dev/tty: the terminal of its session, which is the entry with the same id. */
int mfd_cpr_record_is_dev_tty(const struct mfd_cpr_record *r);
/* AF_* of a socket; -1: no socket. */
int mfd_cpr_record_family(const struct mfd_cpr_record *r);

struct mfd_cpr_image_header {
	uint64_t count;
	const char *boot_id; /* NULL = not known */
	const char *session; /* NULL = none */
	uint64_t created_us; /* CLOCK_REALTIME; 0 = not known */
};

/* One entry on its way out or in.  What is read is valid during the call only. */
struct mfd_cpr_image_item {
	const char *name;
	uint64_t id;
	struct mfd_cpr_record record;
	struct mfd_cpr_socket socket; /* where record.socket points for an item that was read */
};

/*
 * Replace dirfd/cpr-fds.img: temporary name, fsync, rename, fsync of the folder.  next() fills in
 * *item: 1, 0 at the end (after exactly header->count items, else -EINVAL), or -errno, which ends
 * the writing; pointers in *item must hold until it is called again.  0, -EINVAL (*why: an item
 * that no image may hold), -errno of the file system.  The old file, if any, stays when this fails.
 */
int mfd_cpr_image_write(int dirfd, const struct mfd_cpr_image_header *header,
			int (*next)(void *ctx, struct mfd_cpr_image_item *item), void *ctx,
			const char **why);
/*
 * Read `name` (MFD_CPR_IMAGE_NAME) in dirfd.  begin() (may be NULL) sees the header first, its
 * count checked against the size of the file; then each() gets every entry.  A non-zero result of
 * either ends the reading and is returned. 0; -ENOENT; -EPROTO: a newer criu-multifd wrote it;
 * -EBADMSG: damaged, entries missing or too many; -ENOMEM.  *why names the file and the entry, as
 * in image.h.  Entries before the error have been delivered by then.
 */
int mfd_cpr_image_read(int dirfd, const char *name,
		       int (*begin)(void *ctx, const struct mfd_cpr_image_header *header),
		       int (*each)(void *ctx, const struct mfd_cpr_image_item *item), void *ctx,
		       const char **why);

#endif
