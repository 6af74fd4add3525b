// SPDX-License-Identifier: GPL-2.0-only
/*
 * The page store: a sparse file that is mapped step by step, and its journal.
 *
 * Filling and draining, measured here (1 GiB, one thread, process_vm_readv of 1 MiB pieces into the
 * store, then UFFDIO_COPY of 256 KiB pieces and a hole of 2 MiB punched behind them), GB/s:
 *
 *                                                      fill   drain (of it punching)
 *   /dev/shm, faults taken while filling               1.5    2.6 (0.18 s)
 *   ... MADV_HUGEPAGE (no effect on that mount)        1.5    2.6
 *   ... fallocate before each piece                    1.6    2.6
 *   ... MADV_POPULATE_WRITE before each piece          1.6    2.4
 *   ... pwrite from a cache-hot buffer                 2.7    2.1
 *   a tmpfs of our own with huge=always, any of these  6-8    4.2 (0.007 s)
 *   a tmpfs with huge=advise: populate / fallocate     7.8 / 1.3
 *
 * So huge pages are what matters, and only the mount option gives them on a named file.  The store
 * therefore mounts a tmpfs of its own (memfs.c) where it may.  Elsewhere, populating is as fast as
 * the rest of what works without one more copy in the receiver, and it turns a full file system
 * into -ENOSPC before anything is received; it also works with huge=advise.
 */
#include <dirent.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>
#include <xxhash.h>

#include "io.h"
#include "memfs.h"
#include "ours.h"
#include "pagestore.h"
#include "pagetable.h"
#include "storefree.h"
#include "storemap.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

#define PAGE	     4096ULL
#define BLOCK	     MFD_STOREMAP_BLOCK /* unit of giving back */
#define BLOCK_PAGES  (BLOCK / PAGE)
#define STEP_PAGES   MFD_STOREMAP_STEP_PAGES
#define STORE	     "pages.store"
#define JOURNAL	     "pages.journal"
#define RECORD_SEED  0x4d46504aU /* "MFPJ": seed of the records' XXH32 */
#define RECORD_BATCH 2048U

struct mfd_pagestore {
	int fd, journal, durable;
	struct mfd_storemap map;
	struct mfd_storefree free; /* precopy: places that are used again */
	_Atomic uint64_t next;	   /* first page not handed out; only added to */
	_Atomic uint64_t live;	   /* pages handed out and not released; a statistic */
	/* guards journal_size and keeps a failed append from tearing the next */
	pthread_mutex_t journal_lock;
	uint64_t journal_size;
};

/* ---- where the file is ---- */

static int is_tmpfs(int fd)
{
	struct statfs fs;

	return !fstatfs(fd, &fs) && fs.f_type == TMPFS_MAGIC;
}

/*
 * Is a file system mounted at dirfd, or at the folder it is in?  Then an operator gave the sessions
 * a file system of their own.
 */
static int is_dedicated(int dirfd)
{
	struct stat here, up, up2;

	return !fstat(dirfd, &here) && !fstatat(dirfd, "..", &up, 0) &&
	       !fstatat(dirfd, "../..", &up2, 0) &&
	       (here.st_dev != up.st_dev || here.st_dev != up2.st_dev);
}

static int create_here(int dirfd)
{
	return mfd_ours_file(dirfd, STORE, O_RDWR | O_CREAT | O_EXCL, 0600);
}

/* The store's file in memory, and a link to it in dirfd: a descriptor or -errno. */
static int create_in_memory(int dirfd, int need_huge)
{
	char self[40], owner[4096], path[256];
	ssize_t n;
	int fd;

	snprintf(self, sizeof(self), "/proc/self/fd/%d", dirfd);
	n = readlink(self, owner, sizeof(owner) - 1);
	if (n < 0)
		return -errno;
	owner[n] = 0;
	mfd_memfs_tidy(STORE, 0);
	fd = mfd_memfs_create(owner, STORE, need_huge, path, sizeof(path));
	if (fd < 0 || !symlinkat(path, dirfd, STORE))
		return fd;
	n = -errno;
	close(fd);
	mfd_memfs_remove(path);
	return (int)n;
}

static int create_store(int dirfd, int durable)
{
	int fd, tmpfs = is_tmpfs(dirfd);

	if (durable || (tmpfs && is_dedicated(dirfd)))
		return create_here(dirfd);
	fd = create_in_memory(dirfd, tmpfs);
	return fd < 0 && fd != -EEXIST ? create_here(dirfd) : fd;
}

static int link_of(int dirfd, char *path, size_t len)
{
	ssize_t n = readlinkat(dirfd, STORE, path, len - 1);

	if (n > 0)
		path[n] = 0;
	return n > 0;
}

int mfd_pagestore_is_alone(int dirfd)
{
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), alone;
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	alone = d != NULL;
	while (alone && (e = readdir(d)))
		alone = !strcmp(e->d_name, ".") || !strcmp(e->d_name, "..") ||
			!strcmp(e->d_name, STORE) || !strcmp(e->d_name, JOURNAL);
	if (d)
		closedir(d);
	return alone;
}

int mfd_pagestore_tidy(void)
{
	return mfd_memfs_tidy(STORE, 1);
}

int mfd_pagestore_remove(int dirfd)
{
	char path[256];
	int ret = 0;

	if (link_of(dirfd, path, sizeof(path)))
		ret = mfd_memfs_remove(path);
	if (unlinkat(dirfd, STORE, 0) && errno != ENOENT)
		ret = -errno;
	if (unlinkat(dirfd, JOURNAL, 0) && errno != ENOENT)
		ret = -errno;
	return ret;
}

static struct mfd_pagestore *new_store(int durable)
{
	struct mfd_pagestore *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->fd = s->journal = -1;
	s->durable = durable;
	mfd_storemap_init(&s->map);
	mfd_storefree_init(&s->free);
	pthread_mutex_init(&s->journal_lock, NULL);
	return s;
}

int mfd_pagestore_create(int dirfd, int durable, struct mfd_pagestore **out, struct mfd_error *err)
{
	struct mfd_pagestore *s = new_store(durable);
	int ret;

	if (!s)
		return mfd_error_set(err, -ENOMEM, "no memory for a page store");
	s->journal = mfd_ours_file(dirfd, JOURNAL, O_RDWR | O_CREAT | O_EXCL | O_APPEND, 0600);
	if (s->journal < 0) {
		ret = mfd_error_sys(err, s->journal, "cannot create %s", JOURNAL);
		goto err_free;
	}
	s->fd = create_store(dirfd, durable);
	if (s->fd < 0) {
		ret = mfd_error_sys(err, s->fd, "cannot create %s", STORE);
		goto err_journal;
	}
	*out = s;
	return 0;
err_journal:
	unlinkat(dirfd, JOURNAL, 0);
err_free:
	mfd_pagestore_close(s);
	return ret;
}

void mfd_pagestore_close(struct mfd_pagestore *s)
{
	if (!s)
		return;
	mfd_storemap_free(&s->map);
	mfd_storefree_free(&s->free);
	mfd_io_close(&s->fd);
	mfd_io_close(&s->journal);
	pthread_mutex_destroy(&s->journal_lock);
	free(s);
}

int mfd_pagestore_room(int dirfd, int durable, uint64_t *bytes)
{
	struct statfs fs;

	if (!durable && !(is_tmpfs(dirfd) && is_dedicated(dirfd)))
		return -ENODATA;
	if (fstatfs(dirfd, &fs))
		return -errno;
	*bytes = (uint64_t)fs.f_bavail * (uint64_t)fs.f_bsize;
	return 0;
}

int mfd_pagestore_fd(const struct mfd_pagestore *s)
{
	return s->fd;
}

/* ---- pages ---- */

/*
 * The first of so many pages in a row.  They lie in one step, and the last page of a step is never
 * handed out: pages that follow one another in the store do so in memory as well.
 */
static uint64_t hand_out(struct mfd_pagestore *s, uint32_t pages)
{
	uint64_t next = atomic_load_explicit(&s->next, memory_order_relaxed), first;

	do {
		first = next;
		if (first % STEP_PAGES + pages >= STEP_PAGES)
			first = (first / STEP_PAGES + 1) * STEP_PAGES;
	} while (!atomic_compare_exchange_weak_explicit(
		&s->next, &next, first + pages, memory_order_relaxed, memory_order_relaxed));
	return first;
}

int mfd_pagestore_reserve(struct mfd_pagestore *s, uint32_t pages, uint64_t *index, void **mem)
{
	uint64_t first;
	int ret;

	if (pages >= STEP_PAGES)
		return -EINVAL;
	if (atomic_load_explicit(&s->next, memory_order_relaxed) + pages + STEP_PAGES >
	    MFD_STOREMAP_PAGES)
		return -ENOSPC;
	first = hand_out(s, pages);
	if (first + pages > MFD_STOREMAP_PAGES)
		return -ENOSPC;
	ret = mfd_storemap_need(&s->map, s->fd, first);
	ret = ret ? ret : mfd_pagestore_populate(s, first, pages);
	if (ret)
		return ret;
	atomic_fetch_add_explicit(&s->live, pages, memory_order_relaxed);
	*index = first;
	*mem = mfd_pagestore_at(s, first);
	return 0;
}

int mfd_pagestore_take(struct mfd_pagestore *s, uint32_t pages, uint64_t *index, uint32_t *got)
{
	void *mem;

	*got = mfd_storefree_take(&s->free, pages, index);
	if (*got) {
		atomic_fetch_add_explicit(&s->live, *got, memory_order_relaxed);
		return 0;
	}
	*got = pages;
	return mfd_pagestore_reserve(s, pages, index, &mem);
}

void mfd_pagestore_reuse(struct mfd_pagestore *s, uint64_t index, uint64_t pages)
{
	if (mfd_storefree_add(&s->free, index, pages))
		mfd_pagestore_release(s, index, pages);
	else
		atomic_fetch_sub_explicit(&s->live, pages, memory_order_relaxed);
}

void mfd_pagestore_settle(struct mfd_pagestore *s)
{
	uint64_t index;
	uint32_t n;

	while ((n = mfd_storefree_take(&s->free, UINT32_MAX, &index))) {
		atomic_fetch_add_explicit(&s->live, n, memory_order_relaxed);
		mfd_pagestore_release(s, index, n);
	}
}

int mfd_pagestore_populate(struct mfd_pagestore *s, uint64_t index, uint32_t pages)
{
	if (!madvise(mfd_pagestore_at(s, index), pages * PAGE, MADV_POPULATE_WRITE))
		return 0;
	if (errno == EFAULT) /* touching it would be SIGBUS */
		return -ENOSPC;
	if (errno != EINVAL)
		return -errno;
	/* A kernel before 5.14. */
	if (!fallocate(s->fd, 0, (off_t)(index * PAGE), (off_t)(pages * PAGE)) ||
	    errno == EOPNOTSUPP)
		return 0;
	return -errno;
}

void *mfd_pagestore_at(struct mfd_pagestore *s, uint64_t index)
{
	return mfd_storemap_at(&s->map, index);
}

void mfd_pagestore_release(struct mfd_pagestore *s, uint64_t index, uint64_t pages)
{
	atomic_fetch_sub_explicit(&s->live, pages, memory_order_relaxed);
	while (pages) {
		uint64_t block = index / BLOCK_PAGES, room = BLOCK_PAGES - index % BLOCK_PAGES;
		uint16_t n = (uint16_t)(pages < room ? pages : room);

		if (mfd_storemap_released(&s->map, index, n))
			(void)!fallocate(s->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
					 (off_t)(block * BLOCK), (off_t)BLOCK);
		index += n;
		pages -= n;
	}
}

uint64_t mfd_pagestore_bytes(struct mfd_pagestore *s)
{
	return atomic_load_explicit(&s->live, memory_order_relaxed) * PAGE;
}

/* The file system's figure, not the bytes asked for: a huge page is there as a whole. */
static uint64_t memory_of(int fd)
{
	struct stat st;

	return is_tmpfs(fd) && !fstat(fd, &st) ? (uint64_t)st.st_blocks * 512 : 0;
}

void mfd_pagestore_memory(struct mfd_pagestore *s, uint64_t *store, uint64_t *journal)
{
	*store = memory_of(s->fd);
	*journal = memory_of(s->journal);
}

static int open_to_look(int dirfd)
{
	char path[256];

	return link_of(dirfd, path, sizeof(path)) ? mfd_memfs_open(path) :
						    mfd_ours_file(dirfd, STORE, O_RDONLY, 0);
}

int mfd_pagestore_exists(int dirfd)
{
	int fd = open_to_look(dirfd), exists = fd >= 0;

	mfd_io_close(&fd);
	return exists;
}

uint64_t mfd_pagestore_left(int dirfd)
{
	uint64_t bytes;
	int fd = open_to_look(dirfd);

	if (fd < 0)
		return 0;
	bytes = memory_of(fd);
	close(fd);
	return bytes;
}

int mfd_pagestore_sync(struct mfd_pagestore *s)
{
	if (!s->durable)
		return 0;
	return fsync(s->fd) || fsync(s->journal) ? -errno : 0;
}

/* ---- journal ---- */

static uint32_t record_hash(const struct mfd_pagestore_record *r)
{
	return XXH32(&r->task, sizeof(*r) - offsetof(struct mfd_pagestore_record, task),
		     RECORD_SEED);
}

void mfd_pagestore_record_fill(struct mfd_pagestore_record *r, uint32_t task, uint64_t vaddr,
			       uint64_t pages, unsigned state, uint64_t index)
{
	r->task = htole32(task);
	r->vaddr = htole64(vaddr);
	r->pages_flags = htole64(pages << 8 | state);
	r->index = htole64(index);
	r->magic_crc = htole32(record_hash(r));
}

void mfd_pagestore_record_word(struct mfd_pagestore_record *r, uint32_t task, uint64_t vaddr,
			       uint64_t pages, uint64_t word)
{
	mfd_pagestore_record_fill(r, task, vaddr, pages, mfd_page_state(word),
				  (uint64_t)mfd_page_round(word) << MFD_PAGE_INDEX_BITS |
					  mfd_page_index(word));
}

#define INDEX_MASK ((1ULL << MFD_PAGE_INDEX_BITS) - 1)

uint64_t mfd_pagestore_record_is(const struct mfd_pagestore_record *r)
{
	enum mfd_page_state st = (enum mfd_page_state)(r->pages_flags & 0xff);

	return mfd_page_in_round(mfd_page_word(st,
					       st == MFD_PAGE_STORED ? r->index & INDEX_MASK : 0),
				 (uint32_t)(r->index >> MFD_PAGE_INDEX_BITS));
}

int mfd_pagestore_append(struct mfd_pagestore *s, struct mfd_pagestore_record *r, unsigned n)
{
	size_t len = n * sizeof(*r);
	ssize_t done;
	int ret = 0;

	pthread_mutex_lock(&s->journal_lock);
	do
		done = write(s->journal, r, len);
	while (done < 0 && errno == EINTR);
	if (done == (ssize_t)len) {
		s->journal_size += len;
	} else {
		ret = done < 0 ? -errno : -ENOSPC;
		if (ftruncate(s->journal, (off_t)s->journal_size))
			ret = -EIO;
	}
	pthread_mutex_unlock(&s->journal_lock);
	return ret;
}

/*
 * Convert to host order; nonzero if the record is what was written and can be true for a store of
 * `pages` pages.
 */
static int record_open(struct mfd_pagestore_record *r, uint64_t pages)
{
	uint64_t n, index;

	if (le32toh(r->magic_crc) != record_hash(r))
		return 0;
	r->task = le32toh(r->task);
	r->vaddr = le64toh(r->vaddr);
	r->pages_flags = le64toh(r->pages_flags);
	r->index = le64toh(r->index);
	index = r->index & INDEX_MASK;
	n = r->pages_flags >> 8;
	if (r->index >> MFD_PAGE_INDEX_BITS > MFD_PAGE_MAX_ROUND)
		return 0;
	if (!n || r->vaddr % PAGE || r->vaddr >= 1ULL << 56 || n > (1ULL << 44) - r->vaddr / PAGE)
		return 0;
	return (r->pages_flags & 0xff) != MFD_PAGE_STORED || (index <= pages && n <= pages - index);
}

struct replay {
	int (*each)(void *arg, const struct mfd_pagestore_record *r);
	void *arg;
	uint64_t pages, good; /* pages of the store; bytes of the journal that are fine */
	uint64_t used, live;
};

/* 0 = all good, 1 = a bad record, or what `each` says. */
static int replay_batch(struct replay *p, struct mfd_pagestore_record *r, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint64_t count;
		int ret;

		if (!record_open(&r[i], p->pages))
			return 1;
		ret = p->each(p->arg, &r[i]);
		if (ret)
			return ret;
		p->good += sizeof(*r);
		if ((r[i].pages_flags & 0xff) != MFD_PAGE_STORED)
			continue;
		count = r[i].pages_flags >> 8;
		p->live += count;
		if ((r[i].index & INDEX_MASK) + count > p->used)
			p->used = (r[i].index & INDEX_MASK) + count;
	}
	return 0;
}

static int replay_journal(int fd, struct replay *p)
{
	struct mfd_pagestore_record *r = malloc(RECORD_BATCH * sizeof(*r));
	int ret = r ? 0 : -ENOMEM;

	while (!ret) {
		ssize_t n = pread(fd, r, RECORD_BATCH * sizeof(*r), (off_t)p->good);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			ret = -errno;
		else if (n < (ssize_t)sizeof(*r))
			break;
		else
			ret = replay_batch(p, r, (size_t)n / sizeof(*r));
	}
	free(r);
	return ret < 0 ? ret : 0;
}

static int open_files(struct mfd_pagestore *s, int dirfd, struct stat *st, struct mfd_error *err)
{
	char path[256];

	s->journal = mfd_ours_file(dirfd, JOURNAL, O_RDWR | O_APPEND, 0);
	if (s->journal < 0)
		return mfd_error_sys(err, s->journal, "cannot open %s", JOURNAL);
	s->fd = link_of(dirfd, path, sizeof(path)) ? mfd_memfs_open(path) :
						     mfd_ours_file(dirfd, STORE, O_RDWR, 0);
	if (s->fd < 0)
		return mfd_error_sys(err, s->fd, "cannot open %s", STORE);
	if (fstat(s->fd, st) || !S_ISREG(st->st_mode))
		return mfd_error_set(err, -EBADMSG, "%s is not a regular file", STORE);
	return 0;
}

static int load(struct mfd_pagestore *s, struct replay *p, struct mfd_error *err)
{
	int ret = replay_journal(s->journal, p);

	if (ret)
		return mfd_error_sys(err, ret, "cannot read %s", JOURNAL);
	s->journal_size = p->good;
	if (ftruncate(s->journal, (off_t)p->good))
		return mfd_error_sys(err, -errno, "cannot cut the torn end off %s", JOURNAL);
	ret = mfd_storemap_whole(&s->map, s->fd, p->used);
	if (ret)
		return mfd_error_sys(err, ret, "cannot map %s", STORE);
	/*
	 * A step that is full to its last page: see hand_out.  What comes next lies elsewhere in
	 * memory, and must not seem to follow it.
	 */
	s->next = p->used && p->used % STEP_PAGES == 0 ? p->used + 1 : p->used;
	s->live = p->live;
	return 0;
}

int mfd_pagestore_open(int dirfd, struct mfd_pagestore **out,
		       int (*each)(void *arg, const struct mfd_pagestore_record *r), void *arg,
		       struct mfd_error *err)
{
	struct replay p = { .each = each, .arg = arg };
	struct mfd_pagestore *s = new_store(0);
	struct stat st;
	int ret;

	if (!s)
		return mfd_error_set(err, -ENOMEM, "no memory for a page store");
	ret = open_files(s, dirfd, &st, err);
	if (!ret) {
		p.pages = (uint64_t)st.st_size / PAGE;
		/* Only a durable store is a file of its own on something that is no tmpfs. */
		s->durable = !is_tmpfs(s->fd);
		ret = load(s, &p, err);
	}
	if (ret)
		mfd_pagestore_close(s);
	else
		*out = s;
	return ret;
}
