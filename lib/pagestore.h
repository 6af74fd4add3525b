/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The page store of a session: one sparse file, mapped, that receiver threads fill straight from
 * the socket and pager threads copy from with UFFDIO_COPY.  Space is handed out front to back and
 * given back to the kernel by 2 MiB blocks (hole punching) once every page of a block is released,
 * so that store and restored tasks together stay near the size of the tasks.
 *
 * Beside it lies a journal of fixed-size records (task, address, pages, index or zero): with both
 * files a restarted server knows everything that had arrived.  A record is appended after its pages
 * are in the store.
 *
 * Location: a regular file on the file system of `dirfd`; if that is not a tmpfs and `durable` is
 * not asked for, the file is made in /dev/shm/criu-multifd/XXXXXX/ and "pages.store" in dirfd is a
 * symbolic link to it: memory speed, survives the server, not the host.
 *
 * With precopy places are used again: mfd_pagestore_take hands out first what was given to
 * mfd_pagestore_reuse.  Such a place is not zeroed by the kernel once more, and the file does not
 * grow beyond the most that was ever in use at once.
 *
 * Running out of space is -ENOSPC from reserve/receive, never SIGBUS.
 */
#ifndef MFD_PAGESTORE_H
#define MFD_PAGESTORE_H

#include <stdint.h>
#include <stddef.h>

#include "error.h"

struct mfd_pagestore;

struct mfd_pagestore_record { /* on disk, little-endian, 32 bytes; FORMAT.md */
	uint32_t magic_crc;   /* so that a torn tail is recognised */
	uint32_t task;
	uint64_t vaddr;
	uint64_t pages_flags; /* pages << 8 | enum mfd_page_state */
	uint64_t index;	      /* first page in the store; above 48 bits, the round */
};

/* Create pages.store and pages.journal in dirfd (must not exist). */
int mfd_pagestore_create(int dirfd, int durable, struct mfd_pagestore **s, struct mfd_error *err);
/*
 * Open existing ones after a restart and call `each` for every record in order; a torn tail is
 * dropped.
 */
int mfd_pagestore_open(int dirfd, struct mfd_pagestore **s,
		       int (*each)(void *arg, const struct mfd_pagestore_record *r), void *arg,
		       struct mfd_error *err);
void mfd_pagestore_close(struct mfd_pagestore *s);
/* Remove the files (and the folder in /dev/shm); dirfd stays.  Fine if they are absent. */
int mfd_pagestore_remove(int dirfd);
/* The folder has nothing but a store, or a part of one. */
int mfd_pagestore_is_alone(int dirfd);
/* Remove stores in /dev/shm that no folder links to any more (memfs.h); how many.  Not cheap. */
int mfd_pagestore_tidy(void);

/*
 * Reserve `pages` consecutive pages: *index and, mapped, *mem, valid until close.  Thread-safe.
 * Contents undefined.  The memory may be filled by system calls (recv, pread, process_vm_readv; a
 * full file system makes them fail with EFAULT) but not by stores of the process itself, unless
 * mfd_pagestore_populate succeeded before.
 */
int mfd_pagestore_reserve(struct mfd_pagestore *s, uint32_t pages, uint64_t *index, void **mem);
/*
 * The same for up to `pages` of them, at least one: *got.  What was used before comes first, so
 * they may lie anywhere, and they are populated.
 */
int mfd_pagestore_take(struct mfd_pagestore *s, uint32_t pages, uint64_t *index, uint32_t *got);
/* These places are free, for mfd_pagestore_take.  Thread-safe; -ENOMEM: they are released. */
void mfd_pagestore_reuse(struct mfd_pagestore *s, uint64_t index, uint64_t pages);
/* Nothing will be taken any more: release what is free. */
void mfd_pagestore_settle(struct mfd_pagestore *s);
/* 0 or -ENOSPC */
int mfd_pagestore_populate(struct mfd_pagestore *s, uint64_t index, uint32_t pages);
void *mfd_pagestore_at(struct mfd_pagestore *s, uint64_t index);

/* Append records (one write).  Thread-safe. */
int mfd_pagestore_append(struct mfd_pagestore *s, struct mfd_pagestore_record *r, unsigned n);
void mfd_pagestore_record_fill(struct mfd_pagestore_record *r, uint32_t task, uint64_t vaddr,
			       uint64_t pages, unsigned state, uint64_t index);
/* The same for pages whose words begin with `word` (pagetable.h). */
void mfd_pagestore_record_word(struct mfd_pagestore_record *r, uint32_t task, uint64_t vaddr,
			       uint64_t pages, uint64_t word);
/* The word of the first page of a record that mfd_pagestore_open has handed out. */
uint64_t mfd_pagestore_record_is(const struct mfd_pagestore_record *r);

/* Release pages that are not needed any more.  Thread-safe; each page at most once. */
void mfd_pagestore_release(struct mfd_pagestore *s, uint64_t index, uint64_t pages);
/* fsync both files if the store is durable. */
int mfd_pagestore_sync(struct mfd_pagestore *s);
/* What a new store in dirfd could take.  0; -ENODATA: as much as there is memory. */
int mfd_pagestore_room(int dirfd, int durable, uint64_t *bytes);
int mfd_pagestore_fd(const struct mfd_pagestore *s);   /* its file; the store's still */
uint64_t mfd_pagestore_bytes(struct mfd_pagestore *s); /* reserved and not released */
/*
 * Find how much memory it takes: what the store's file has of it, and what the journal would have.
 * 0 and 0 on a disk.
 */
void mfd_pagestore_memory(struct mfd_pagestore *s, uint64_t *store, uint64_t *journal);
int mfd_pagestore_exists(int dirfd); /* it can be opened: removing it has not begun */
/* Return the memory of a store that no process has open, 0 if there is none. */
uint64_t mfd_pagestore_left(int dirfd);

#endif
