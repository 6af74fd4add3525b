/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The CPR table: descriptors that outlive their process, found by (name, id) in O(1).
 *
 * After QEMU's migration/cpr.c, whose functions have the same names, with three differences: the
 * state is an object, the list is a hash table, and what QEMU leaves undefined is an error here.
 *
 *	name	what it is, for people and for the other host: "/dev/fuse", "anon_inode:[eventpoll]"
 *	id	which one of that name: an inode number, an index; any 64-bit number
 *	fd	its number in this process, or MFD_CPR_NO_FD if the process has none (so far)
 *	record	what else is known: kind, flags, position, path, socket ... (struct mfd_cpr_record
 *		of cpr_image.h, but the table does not look into it)
 *
 * Tables: a dump's, which becomes cpr-fds.img (cpr_store.h) and has a journal (cpr_log.h); a
 * restore's, loaded from that image; the keeper's, which hold the descriptors themselves.
 *
 * Ownership.  Descriptors: a table made with MFD_CPR_OWNS_FDS closes them when their entry is
 * deleted or the table is freed; any other never closes anything, and its user does so.  A call
 * that fails has taken nothing over: descriptor and record are still the caller's.  Records: a
 * record that was accepted belongs to the table, which hands it to `release` (default free()) when
 * its entry is deleted or the table is freed.  Names are copied.
 *
 * Threads: none inside, no locks.  Concurrent readers (find, get) are fine while no thread changes
 * the table.
 *
 * Memory per entry: a slot of 16 bytes and a pointer of 8 at a load between 5/16 and 5/8, so 38 to
 * 77 bytes, 53 on average (half as much again for the moment in which it grows); per *different*
 * name 16 + its length + 1, rounded up to 16, and one more slot (26 to 51 bytes).  A record is
 * extra: sizeof(struct mfd_cpr_record) (80) and its strings.  Memory goes back when the table is
 * freed; what deleted entries leave serves later ones.
 *
 * Times: `make bench-cpr`.
 */
#ifndef MFD_CPR_H
#define MFD_CPR_H

#include <stddef.h>
#include <stdint.h>

#define MFD_CPR_NO_FD (-1)
/* bytes without the final 0; same as MFD_CPR_MAX_NAME of the image */
#define MFD_CPR_NAME_MAX 4000U

struct mfd_cpr;

/*
 * A copy of an entry.  `name` and `record` belong to the table and hold until the entry is deleted.
 */
struct mfd_cpr_entry {
	const char *name;
	uint64_t id;
	int fd; /* or MFD_CPR_NO_FD */
	void *record;
};

#define MFD_CPR_OWNS_FDS (1U << 0)

struct mfd_cpr_options {
	unsigned flags;		       /* MFD_CPR_OWNS_FDS */
	void (*release)(void *record); /* NULL: free(); it must not call the table */
	/*
	 * The source of memory, NULL: malloc() and free().  alloc may return NULL; free gets the
	 * size back.  Records are not allocated by the table and never go this way.
	 */
	void *(*alloc)(void *ctx, size_t size);
	void (*free)(void *ctx, void *p, size_t size);
	void *ctx;
	/* of the hash; 0: random, as it has to be where names or ids come from elsewhere */
	uint64_t seed;
};

/*
 * `o` may be NULL: nothing owned, malloc.  NULL: no memory.  An empty table takes memory at its
 * first entry only.
 */
struct mfd_cpr *mfd_cpr_new(const struct mfd_cpr_options *o);
/* Deletes every entry first (see ownership).  NULL is fine.  Not from within a walk. */
void mfd_cpr_free(struct mfd_cpr *t);
/* Deletes every entry; the memory stays for the next ones.  -EBUSY from within a walk. */
int mfd_cpr_clear(struct mfd_cpr *t);
size_t mfd_cpr_count(const struct mfd_cpr *t);
/* Bytes the table holds now, records excluded. */
size_t mfd_cpr_memory(const struct mfd_cpr *t);
/*
 * Make room for `n` entries in all, so that the next saves up to there do not grow the table.  0,
 * -ENOMEM, -EBUSY.
 */
int mfd_cpr_reserve(struct mfd_cpr *t, size_t n);

/*
 * ---- QEMU's six
 *
 * `name`: 1 to MFD_CPR_NAME_MAX bytes, else -EINVAL / -ENAMETOOLONG (of save, resave, open, add; to
 * find, get and delete such a name is merely unknown).
 */

/*
 * Add an entry.  0; -EBADF: fd is negative (whether a number is open is not checked); -EEXIST: the
 * key is taken, whatever by; -ENOMEM: the table is as it was; -EBUSY: from within a walk.
 */
int mfd_cpr_save_fd(struct mfd_cpr *t, const char *name, uint64_t id, int fd);
/*
 * Remove an entry, with its descriptor if the table owns them.  0, -ENOENT.  Never fails for want
 * of memory.
 */
int mfd_cpr_delete_fd(struct mfd_cpr *t, const char *name, uint64_t id);
/*
 * The descriptor, still the table's.  >= 0; -ENOENT: unknown key; -EBADF: known, but without a
 * descriptor so far.
 */
int mfd_cpr_find_fd(const struct mfd_cpr *t, const char *name, uint64_t id);
/*
 * Make sure that the key stands for `fd`: a new entry; no change where it already is; an entry
 * without a descriptor gets this one.  -EEXIST: the entry has another descriptor (nothing changed);
 * otherwise as save.  The one call that is allowed within a walk if the entry exists.
 */
int mfd_cpr_resave_fd(struct mfd_cpr *t, const char *name, uint64_t id, int fd);
/*
 * The descriptor of the key if there is one, else open(path, flags | O_CLOEXEC, 0600), saved under
 * the key.  >= 0 and the table's; -errno of open or save (nothing stays open then).
 */
int mfd_cpr_open_fd(struct mfd_cpr *t, const char *path, int flags, const char *name, uint64_t id);
/*
 * Call `cb` once for every entry, in no order; a result other than 0 ends the walk and is returned.
 * Within `cb`: find, get, nested walks, and deleting *any* entry are fine: one deleted before its
 * turn is not visited, all others are, exactly once.  `e` is a copy; its name is gone when `cb`
 * deletes the entry.  What adds or moves entries (save, add, reserve, clear) is -EBUSY.
 */
int mfd_cpr_walk_fd(struct mfd_cpr *t, int (*cb)(void *ctx, const struct mfd_cpr_entry *e),
		    void *ctx);

/* ---- and what the keeper and the image need beyond */

/*
 * Add an entry with its record (may be NULL); fd may be MFD_CPR_NO_FD: an entry that an image
 * promises and that has no descriptor so far.  Errors as save; fd < -1 is -EBADF.  On success the
 * record is the table's.
 */
int mfd_cpr_add(struct mfd_cpr *t, const char *name, uint64_t id, int fd, void *record);
/* 0 and *e (may be NULL), or -ENOENT. */
int mfd_cpr_get(const struct mfd_cpr *t, const char *name, uint64_t id, struct mfd_cpr_entry *e);
/* Nonzero if there is an entry of that name, with whatever id. */
int mfd_cpr_has_name(const struct mfd_cpr *t, const char *name);

#endif
