// SPDX-License-Identifier: GPL-2.0-only
/*
 * The CPR table: (name, id) -> descriptor, built so that a look-up touches one cache line that is
 * not hot.  cpr_hash.h says how entries lie in memory.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cpr.h"
#include "cpr_hash.h"

#define HUGE_PAGE (2U << 20)

struct walk {
	size_t next; /* everything before this position has been visited */
	struct walk *outer;
};

struct mfd_cpr {
	struct index entries;
	struct names names;
	struct walk *walks; /* the innermost one under way */
	struct memory memory;
	unsigned flags;
	void (*release)(void *record);
};

/* ---- searching ---- */

/* The slot of a key, searched from `s` on, which is between its home and its place. */
static struct slot *find_from(const struct mfd_cpr *t, struct slot *s, uint64_t key,
			      const char *name, size_t len)
{
	while (s->key < key)
		s++;
	for (; s->key == key && s->ref; s++)
		if (is_name(&t->names, s->ref, name, len))
			return s;
	return NULL;
}

static struct slot *find_slot(const struct mfd_cpr *t, uint64_t key, const char *name, size_t len)
{
	return find_from(t, t->entries.slots + home(&t->entries, key), key, name, len);
}

/*
 * Another name has the same key: once in 2^64 look-ups.  Starts again, so that the usual case need
 * not keep anything.
 */
static struct slot *__attribute__((noinline, cold))
find_again(const struct mfd_cpr *t, const char *name, uint64_t id)
{
	size_t len = strlen(name);

	return find_slot(t, scramble(id ^ hash_name(&t->names, name, len)), name, len);
}

/*
 * What everything else here serves.  Three slots of the line are compared without a branch, so that
 * a look-up does not wait for memory before the next one begins; the fourth one then is what is
 * left.
 */
static inline __attribute__((always_inline)) struct slot *find_key(const struct mfd_cpr *t,
								   const char *name, uint64_t id)
{
	size_t len = strlen(name);
	uint64_t key = scramble(id ^ hash_name(&t->names, name, len));
	struct slot *s = t->entries.slots + home(&t->entries, key);

	s += (s[0].key < key) + (s[1].key < key) + (s[2].key < key);
	if (__builtin_expect(s->key != key, 0))
		return s->key > key ? NULL : find_from(t, s, key, name, len);
	if (__builtin_expect(is_name(&t->names, s->ref, name, len), 1))
		return s;
	return find_again(t, name, id);
}

static ssize_t find(const struct mfd_cpr *t, const char *name, uint64_t id)
{
	const struct slot *s = find_key(t, name, id);

	return s ? s - t->entries.slots : -1;
}

static struct mfd_cpr_entry entry_at(const struct mfd_cpr *t, size_t i)
{
	const struct slot *s = &t->entries.slots[i];
	const struct name *n = name_at(&t->names, s->ref);

	return (struct mfd_cpr_entry){
		.name = n->text,
		.id = unscramble(s->key) ^ n->hash,
		.fd = s->fd < 0 ? MFD_CPR_NO_FD : s->fd,
		.record = t->entries.records[i],
	};
}

static void let_go(const struct mfd_cpr *t, int fd, void *record)
{
	if (fd >= 0 && t->flags & MFD_CPR_OWNS_FDS)
		close(fd);
	if (record)
		t->release(record);
}

/* Takes entry `i` out; walks under way neither skip nor repeat one of those that moved. */
static void remove_entry(struct mfd_cpr *t, size_t i)
{
	uint32_t ref = t->entries.slots[i].ref;
	size_t end = mfd_cpr_hash_remove(&t->entries, i);

	for (struct walk *w = t->walks; w; w = w->outer)
		if (w->next > i && w->next <= end)
			w->next--;
	mfd_cpr_hash_unref(&t->names, ref);
}

static void delete_entry(struct mfd_cpr *t, size_t i)
{
	struct mfd_cpr_entry e = entry_at(t, i);

	remove_entry(t, i);
	let_go(t, e.fd, e.record);
}

static int check_name(size_t len)
{
	return !len ? -EINVAL : len > MFD_CPR_NAME_MAX ? -ENAMETOOLONG : 0;
}

int mfd_cpr_add(struct mfd_cpr *t, const char *name, uint64_t id, int fd, void *record)
{
	size_t len = strlen(name);
	uint64_t hash, key;
	uint32_t ref;
	int ret = check_name(len);

	if (ret)
		return ret;
	if (fd < MFD_CPR_NO_FD)
		return -EBADF;
	hash = hash_name(&t->names, name, len);
	key = scramble(id ^ hash);
	if (find_slot(t, key, name, len))
		return -EEXIST;
	if (t->walks)
		return -EBUSY;
	ret = mfd_cpr_hash_room(&t->memory, &t->entries);
	if (ret)
		return ret;
	ref = mfd_cpr_hash_ref(&t->memory, &t->names, hash, name, len);
	if (!ref)
		return -ENOMEM;
	ret = mfd_cpr_hash_insert(
		&t->memory, &t->entries,
		(struct slot){ .key = key, .ref = ref, .fd = fd < 0 ? -EBADF : fd }, record);
	if (ret)
		mfd_cpr_hash_unref(&t->names, ref);
	return ret;
}

int mfd_cpr_save_fd(struct mfd_cpr *t, const char *name, uint64_t id, int fd)
{
	return fd < 0 ? -EBADF : mfd_cpr_add(t, name, id, fd, NULL);
}

int mfd_cpr_resave_fd(struct mfd_cpr *t, const char *name, uint64_t id, int fd)
{
	ssize_t i = find(t, name, id);
	struct slot *s;

	if (fd < 0)
		return -EBADF;
	if (i < 0)
		return mfd_cpr_add(t, name, id, fd, NULL);
	s = &t->entries.slots[i];
	if (s->fd >= 0 && s->fd != fd)
		return -EEXIST;
	s->fd = fd;
	return 0;
}

int mfd_cpr_find_fd(const struct mfd_cpr *t, const char *name, uint64_t id)
{
	const struct slot *s = find_key(t, name, id);

	return s ? s->fd : -ENOENT;
}

int mfd_cpr_open_fd(struct mfd_cpr *t, const char *path, int flags, const char *name, uint64_t id)
{
	int fd = mfd_cpr_find_fd(t, name, id), ret = check_name(strlen(name));

	if (fd >= 0)
		return fd;
	if (!ret && fd == -ENOENT && t->walks)
		ret = -EBUSY; /* before anything is created */
	if (ret)
		return ret;
	fd = open(path, flags | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	ret = mfd_cpr_resave_fd(t, name, id, fd);
	if (ret) {
		close(fd);
		return ret;
	}
	return fd;
}

int mfd_cpr_delete_fd(struct mfd_cpr *t, const char *name, uint64_t id)
{
	ssize_t i = find(t, name, id);

	if (i < 0)
		return -ENOENT;
	delete_entry(t, i);
	return 0;
}

int mfd_cpr_get(const struct mfd_cpr *t, const char *name, uint64_t id, struct mfd_cpr_entry *e)
{
	ssize_t i = find(t, name, id);

	if (i < 0)
		return -ENOENT;
	if (e)
		*e = entry_at(t, i);
	return 0;
}

/* A name goes with its last entry. */
int mfd_cpr_has_name(const struct mfd_cpr *t, const char *name)
{
	size_t len = strlen(name);

	return mfd_cpr_hash_find(&t->names, hash_name(&t->names, name, len), name, len) >= 0;
}

int mfd_cpr_walk_fd(struct mfd_cpr *t, int (*cb)(void *ctx, const struct mfd_cpr_entry *e),
		    void *ctx)
{
	struct walk w = { .outer = t->walks };
	int ret = 0;

	t->walks = &w;
	while (!ret && w.next < t->entries.limit) {
		size_t i = w.next++;

		if (t->entries.slots[i].ref) {
			struct mfd_cpr_entry e = entry_at(t, i);

			ret = cb(ctx, &e);
		}
	}
	t->walks = w.outer;
	return ret;
}

/* ---- the table ---- */

size_t mfd_cpr_count(const struct mfd_cpr *t)
{
	return t->entries.used;
}

size_t mfd_cpr_memory(const struct mfd_cpr *t)
{
	return sizeof(*t) + t->memory.bytes;
}

int mfd_cpr_reserve(struct mfd_cpr *t, size_t n)
{
	return t->walks ? -EBUSY : mfd_cpr_hash_reserve(&t->memory, &t->entries, n);
}

int mfd_cpr_clear(struct mfd_cpr *t)
{
	if (t->walks)
		return -EBUSY;
	/* from the back, where nothing moves */
	for (size_t i = t->entries.limit; i--;)
		if (t->entries.slots[i].ref)
			delete_entry(t, i);
	return 0;
}

/*
 * Tables that exceed the reach of the TLB ask for huge pages: a look-up would miss there before it
 * misses the cache.
 */
static void *default_alloc(void *ctx, size_t size)
{
	void *p;

	(void)ctx;
	if (size < 2 * HUGE_PAGE)
		return aligned_alloc(64, (size + 63) / 64 * 64);
	p = aligned_alloc(HUGE_PAGE, (size + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE);
	if (p)
		madvise(p, size / HUGE_PAGE * HUGE_PAGE, MADV_HUGEPAGE);
	return p;
}

static void default_free(void *ctx, void *p, size_t size)
{
	(void)ctx;
	(void)size;
	free(p);
}

struct mfd_cpr *mfd_cpr_new(const struct mfd_cpr_options *o)
{
	struct memory memory = { .alloc = default_alloc, .free = default_free };
	struct mfd_cpr *t;

	if (o && o->alloc && o->free)
		memory = (struct memory){ .alloc = o->alloc, .free = o->free, .ctx = o->ctx };
	t = memory.alloc(memory.ctx, sizeof(*t));
	if (!t)
		return NULL;
	*t = (struct mfd_cpr){
		.memory = memory,
		.flags = o ? o->flags : 0,
		.release = o && o->release ? o->release : free,
	};
	mfd_cpr_hash_init(&t->entries, 1);
	mfd_cpr_hash_names_init(&t->names, o ? o->seed : 0);
	return t;
}

void mfd_cpr_free(struct mfd_cpr *t)
{
	if (!t)
		return;
	for (size_t i = 0; i < t->entries.limit; i++)
		if (t->entries.slots[i].ref)
			let_go(t, t->entries.slots[i].fd, t->entries.records[i]);
	mfd_cpr_hash_fini(&t->memory, &t->entries);
	mfd_cpr_hash_names_fini(&t->memory, &t->names);
	t->memory.free(t->memory.ctx, t, sizeof(*t));
}
