// SPDX-License-Identifier: GPL-2.0-only
/*
 * The CPR table: (name, id) -> descriptor, built so that a lookup touches one cache line that is
 * not hot.
 *
 *	slots	| key ref fd | key ref fd | ...		16 bytes each, four to a cache line, sorted by key
 *	records	| pointer    | pointer    | ...		the same positions; lookups of descriptors never come here
 *	names	every different name once, in chunks that never move: hash, references, length, text
 *
 * The key is scramble(id ^ hash of the name).  scramble is a bijection, so key and name give the id
 * back and a slot need not hold it: equal keys and equal names are equal ids.  That halves the slot
 * and leaves room for what the lookup is after, the descriptor.  The name is compared in full, but
 * many entries share few names, which stay in the cache.
 *
 * Ordered linear probing (Amble and Knuth 1974; linear robin hood is the same order): a slot's home
 * is the top bits of its key, and slots lie in the order of their keys from home on.  So a search
 * ends at the first key that is not smaller, for keys that are there as for keys that are not; to
 * delete is to move the rest of the run one down, with no tombstone left; to grow is one pass from
 * front to back over old and new memory, with neither hashing nor comparing.  The table does not
 * wrap: behind the last home there is room for a run, then slots that are never used.  Empty slots
 * have the largest key, so nothing needs to ask whether a slot is in use to get past it.
 *
 * The hash of names has a random seed, so that names and ids chosen by somebody else cannot all
 * have one home.
 *
 * Tried and given up (EPYC 9005, ns per look-up in a loop over keys as `make bench-cpr` has them):
 * - A loop over the slots from home on: it mispredicts about every second time.  That costs nothing while the keys are few
 *   and come in the same order, but at 1,000,000 getting to the slot took 61 instead of 41, because the next look-up does
 *   not begin before memory has answered this one.  So slots are compared four at a time without a branch, and the
 *   homes are the beginnings of cache lines.
 * - XXH3_64bits_withSeed for names: 0.9 more of 8, it is not inlined and has more branches.
 * - A memcmp of our own with the branches that the hash took: 1 more, libc has masked vectors.
 * - Up to 3/4 full instead of 5/8: 0.3 more at 2,870, where one line is then not enough too often.
 *
 * Not tried, for a reason: control bytes searched with SSE2, as Swiss tables have them, are 2 MB of
 * their own at 1,000,000 entries and thus one more miss per look-up; names resolved to numbers
 * first, and then a table of (number, id), are two probes where one will do.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "cpr.h"

#define EMPTY \
	UINT64_MAX /* key of an empty slot; a real key may have this value, hence ref != 0 says "in use" */
#define MIN_HOMES 16
#define MAX_TAIL  256 /* slots behind the last home that a run may use */
#define LINE	  4U  /* slots to a cache line */
#define CHUNK	  (64U << 10)
#define FIRST	  (8U << 10) /* the first chunk is smaller: most tables are */
#define GRANULE	  16U
#define PER_CHUNK (CHUNK / GRANULE)
#define CLASSES	  ((sizeof(struct name) + MFD_CPR_NAME_MAX + 1 + GRANULE - 1) / GRANULE + 1)
#define HUGE_PAGE (2U << 20)

struct slot {
	uint64_t key;
	uint32_t ref; /* of the name; 0 = empty: it is longer than any, so that nothing equals it */
	int32_t fd;   /* -EBADF where there is none: what a look-up returns */
};

struct index {
	struct slot *slots;
	void **records; /* NULL in the index of names */
	size_t used;
	size_t max;   /* entries before it grows */
	size_t limit; /* slots that may be used */
	size_t bytes; /* of the block that `slots` begins; 0 = static */
	int shift;    /* key >> shift is the line of the home */
};

struct name {
	uint64_t hash;
	uint32_t refs; /* entries; of a free piece: ref of the next one of its class */
	uint32_t len;  /* of text without the final 0 */
	char text[];
};

struct walk {
	size_t next; /* everything before this position has been visited */
	struct walk *outer;
};

struct mfd_cpr {
	struct index entries, names;
	char **chunks;
	uint64_t seed, secret; /* of the hash; neither is known outside */
	struct walk *walks;    /* the innermost one under way */

	size_t n_chunks, chunk_room;
	/* of the last chunk: first granule that was never used, and how many there are */
	uint32_t fresh, room;
	uint32_t free_pieces[CLASSES]; /* by size in granules: ref of the first */
	size_t bytes;
	struct mfd_cpr_options o;
};

/* What an index without memory searches. Never written: its `max` is 0. */
static const struct slot nothing[2 * LINE] = {
	{ EMPTY, 0, 0 }, { EMPTY, 0, 0 }, { EMPTY, 0, 0 }, { EMPTY, 0, 0 },
	{ EMPTY, 0, 0 }, { EMPTY, 0, 0 }, { EMPTY, 0, 0 }, { EMPTY, 0, 0 },
};

/* Name 0, and the chunk it is in as long as there is no other. */
static const struct name no_name = { .len = UINT32_MAX };
static const char *const no_chunks[] = { (const char *)&no_name };

/* ---- memory ---- */

/*
 * Tables that exceed the reach of the TLB ask for huge pages: a lookup would miss there before it
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

static void *take_memory(struct mfd_cpr *t, size_t size)
{
	void *p = t->o.alloc(t->o.ctx, size);

	if (p)
		t->bytes += size;
	return p;
}

static void give_memory(struct mfd_cpr *t, void *p, size_t size)
{
	if (!p || !size)
		return;
	t->bytes -= size;
	t->o.free(t->o.ctx, p, size);
}

/* ---- keys ---- */

#define SECRET_1   0xa0761d6478bd642fULL
#define SECRET_2   0xe7037ed1a0b428dbULL
#define MULTIPLY_1 0x9fb21c651e98df25ULL /* odd, so each has an inverse modulo 2^64 */
#define MULTIPLY_2 0x9e3779b97f4a7c15ULL

/* A bijection whose top bits, which are the home, depend on every bit. */
static inline uint64_t scramble(uint64_t x)
{
	x *= MULTIPLY_1;
	x ^= x >> 32;
	return x * MULTIPLY_2;
}

/*
 * Newton's iteration: each step doubles the number of right bits, and an odd number is its own
 * inverse modulo 8.
 */
static inline uint64_t inverse(uint64_t odd)
{
	uint64_t x = odd;

	for (int i = 0; i < 5; i++)
		x *= 2 - odd * x;
	return x;
}

static inline uint64_t unscramble(uint64_t x)
{
	x *= inverse(MULTIPLY_2);
	x ^= x >> 32;
	return x * inverse(MULTIPLY_1);
}

static inline uint64_t load_8(const char *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static inline uint64_t load_4(const char *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

/*
 * Both halves of the product of two 64-bit numbers, folded: every bit of either reaches every bit
 * of the result.
 */
static inline uint64_t fold(uint64_t a, uint64_t b)
{
	unsigned __int128 r = (unsigned __int128)a * b;

	return (uint64_t)r ^ (uint64_t)(r >> 64);
}

/*
 * wyhash in short (Wang Yi, public domain): its last step, and one fold for every 16 bytes before.
 * The pieces overlap, so no byte beyond the name is read and there is one hard branch for most
 * names.  Every factor has something secret in it: with a constant instead, a name that makes it 0
 * has the same hash whatever follows.
 */
static inline uint64_t hash_name(const struct mfd_cpr *t, const char *p, size_t len)
{
	uint64_t h = t->seed + len, a, b;

	if (len > 16) {
		const char *end = p + len - 16;

		for (; p < end; p += 16)
			h = fold(load_8(p) ^ t->secret, load_8(p + 8) ^ h);
		a = load_8(end);
		b = load_8(end + 8);
	} else if (len >= 8) {
		a = load_8(p);
		b = load_8(p + len - 8);
	} else if (len >= 4) {
		a = load_4(p);
		b = load_4(p + len - 4);
	} else {
		a = len ? (uint64_t)(uint8_t)p[0] << 16 | (uint64_t)(uint8_t)p[len / 2] << 8 |
				    (uint8_t)p[len - 1] :
			  0;
		b = 0;
	}
	return fold(a ^ t->secret, b ^ h);
}

/* ---- one index ---- */

static inline size_t home(const struct index *ix, uint64_t key)
{
	return (key >> ix->shift) * LINE;
}

/*
 * Position of the first slot whose key is not smaller: where `key` is if it is there, and where it
 * would go.
 */
static inline size_t lower_bound(const struct index *ix, uint64_t key)
{
	size_t i = home(ix, key);

	while (ix->slots[i].key < key)
		i++;
	return i;
}

static void index_init(struct index *ix)
{
	*ix = (struct index){ .slots = (struct slot *)nothing, .shift = 63 };
}

/*
 * Memory for `homes` (a power of two), all of it empty. `records` nonzero: with room for records.
 */
static int index_make(struct mfd_cpr *t, struct index *ix, size_t homes, int records)
{
	/* the last line stays empty */
	size_t tail = homes < MAX_TAIL ? homes : MAX_TAIL, n = homes + tail + LINE;
	size_t one = sizeof(struct slot) + (records ? sizeof(void *) : 0);

	if (homes > SIZE_MAX / 4 / one)
		return -ENOMEM;
	ix->bytes = n * one;
	ix->slots = take_memory(t, ix->bytes);
	if (!ix->slots)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		ix->slots[i] = (struct slot){ .key = EMPTY };
	ix->records = records ? (void **)(ix->slots + n) : NULL; /* set as slots come into use */
	ix->limit = homes + tail;
	ix->max = homes / 8 * 5;
	ix->shift = 64 - __builtin_ctzll(homes / LINE);
	ix->used = 0;
	return 0;
}

/*
 * Every slot of `from` into the empty `to`, front to back. -ENOSPC: the last run is longer than the
 * room for it.
 */
static int index_fill(struct index *to, const struct index *from)
{
	size_t next = 0;

	for (size_t i = 0; i < from->limit; i++) {
		if (!from->slots[i].ref)
			continue;
		if (next < home(to, from->slots[i].key))
			next = home(to, from->slots[i].key);
		if (next >= to->limit)
			return -ENOSPC;
		to->slots[next] = from->slots[i];
		if (to->records)
			to->records[next] = from->records[i];
		next++;
	}
	to->used = from->used;
	return 0;
}

/* A larger index in place of this one, at least `homes`; unchanged when there is no memory. */
static int index_grow(struct mfd_cpr *t, struct index *ix, size_t homes, int records)
{
	struct index bigger;
	int ret;

	do {
		ret = index_make(t, &bigger, homes, records);
		if (ret)
			return ret;
		ret = index_fill(&bigger, ix);
		if (ret)
			give_memory(t, bigger.slots, bigger.bytes);
		homes *= 2;
	} while (ret);
	give_memory(t, ix->slots, ix->bytes);
	*ix = bigger;
	return 0;
}

static size_t next_homes(const struct index *ix)
{
	return ix->max ? 2 * LINE * ((size_t)1 << (64 - ix->shift)) : MIN_HOMES;
}

/* Room for one more, so that index_insert need not grow unless a run is long. */
static int index_make_room(struct mfd_cpr *t, struct index *ix, int records)
{
	return ix->used < ix->max ? 0 : index_grow(t, ix, next_homes(ix), records);
}

static int index_insert(struct mfd_cpr *t, struct index *ix, struct slot s, void *record)
{
	size_t at = lower_bound(ix, s.key), end = at;
	int records = !!ix->records, ret;

	while (end < ix->limit && ix->slots[end].ref)
		end++;
	if (end == ix->limit) {
		ret = index_grow(t, ix, next_homes(ix), records);
		return ret ? ret : index_insert(t, ix, s, record);
	}
	memmove(ix->slots + at + 1, ix->slots + at, (end - at) * sizeof(*ix->slots));
	ix->slots[at] = s;
	if (records) {
		memmove(ix->records + at + 1, ix->records + at, (end - at) * sizeof(*ix->records));
		ix->records[at] = record;
	}
	ix->used++;
	return 0;
}

/*
 * Empties slot `at`; what follows in its run and is not at home moves one down. Returns the first
 * that did not move.
 */
static size_t index_remove(struct index *ix, size_t at)
{
	size_t end = at + 1;

	while (ix->slots[end].ref && home(ix, ix->slots[end].key) < end)
		end++;
	memmove(ix->slots + at, ix->slots + at + 1, (end - at - 1) * sizeof(*ix->slots));
	if (ix->records)
		memmove(ix->records + at, ix->records + at + 1,
			(end - at - 1) * sizeof(*ix->records));
	ix->slots[end - 1] = (struct slot){ .key = EMPTY };
	ix->used--;
	return end;
}

/* ---- names ---- */

static inline struct name *name_at(const struct mfd_cpr *t, uint32_t ref)
{
	return (struct name *)(t->chunks[ref / PER_CHUNK] + (size_t)(ref % PER_CHUNK) * GRANULE);
}

static inline uint32_t granules(size_t len)
{
	return (sizeof(struct name) + len + 1 + GRANULE - 1) / GRANULE;
}

static void put_piece(struct mfd_cpr *t, uint32_t ref, uint32_t size)
{
	name_at(t, ref)->refs = t->free_pieces[size];
	t->free_pieces[size] = ref;
}

static uint32_t get_piece(struct mfd_cpr *t, uint32_t size)
{
	uint32_t ref = t->free_pieces[size];

	if (ref)
		t->free_pieces[size] = name_at(t, ref)->refs;
	return ref;
}

static size_t chunk_size(size_t i)
{
	return i ? CHUNK : FIRST;
}

/*
 * A new last chunk. What the one before has left becomes a free piece; it is smaller than a name of
 * some length.
 */
static int add_chunk(struct mfd_cpr *t)
{
	size_t room = t->chunk_room ? 2 * t->chunk_room : 8;
	char **chunks, *chunk;

	if (t->n_chunks >= UINT32_MAX / PER_CHUNK)
		return -ENOMEM;
	if (t->n_chunks == t->chunk_room) {
		chunks = take_memory(t, room * sizeof(*chunks));
		if (!chunks)
			return -ENOMEM;
		/* the static one, too */
		memcpy(chunks, t->chunks, (t->n_chunks ? t->n_chunks : 1) * sizeof(*chunks));
		give_memory(t, t->chunks, t->chunk_room * sizeof(*chunks));
		t->chunks = chunks;
		t->chunk_room = room;
	}
	chunk = take_memory(t, chunk_size(t->n_chunks));
	if (!chunk)
		return -ENOMEM;
	if (t->fresh < t->room)
		put_piece(t, (t->n_chunks - 1) * PER_CHUNK + t->fresh, t->room - t->fresh);
	t->room = chunk_size(t->n_chunks) / GRANULE;
	t->chunks[t->n_chunks++] = chunk;
	t->fresh = 0;
	if (t->n_chunks == 1) {
		*name_at(t, 0) = no_name;
		t->fresh = 1;
	}
	return 0;
}

/* A larger piece than needed, cut; only before more memory is taken. */
static uint32_t cut_piece(struct mfd_cpr *t, uint32_t size)
{
	for (uint32_t larger = size + 1; larger < CLASSES; larger++) {
		uint32_t ref = get_piece(t, larger);

		if (ref) {
			put_piece(t, ref + size, larger - size);
			return ref;
		}
	}
	return 0;
}

/*
 * `size` granules; 0: no memory. Pieces are not joined again, so memory is bounded by the peak of
 * every size.
 */
static uint32_t alloc_piece(struct mfd_cpr *t, uint32_t size)
{
	uint32_t ref = get_piece(t, size);

	if (ref)
		return ref;
	if (t->fresh + size > t->room) {
		ref = cut_piece(t, size);
		if (ref)
			return ref;
		if (add_chunk(t))
			return 0;
	}
	ref = (t->n_chunks - 1) * PER_CHUNK + t->fresh;
	t->fresh += size;
	return ref;
}

static inline int is_name(const struct mfd_cpr *t, uint32_t ref, const char *name, size_t len)
{
	const struct name *n = name_at(t, ref);

	return n->len == len && !memcmp(n->text, name, len);
}

/* Position of a name in the index of names, or -1. */
static ssize_t find_name(const struct mfd_cpr *t, uint64_t hash, const char *name, size_t len)
{
	const struct slot *s = t->names.slots;

	uint64_t key = scramble(hash);

	for (size_t i = lower_bound(&t->names, key); s[i].key == key && s[i].ref; i++)
		if (is_name(t, s[i].ref, name, len))
			return i;
	return -1;
}

/* The reference of a name, one more of it; 0: no memory. */
static uint32_t hold_name(struct mfd_cpr *t, uint64_t hash, const char *name, size_t len)
{
	ssize_t i = find_name(t, hash, name, len);
	struct name *n;
	uint32_t ref;

	if (i >= 0) {
		name_at(t, t->names.slots[i].ref)->refs++;
		return t->names.slots[i].ref;
	}
	ref = alloc_piece(t, granules(len));
	if (!ref)
		return 0;
	n = name_at(t, ref);
	n->hash = hash;
	n->refs = 1;
	n->len = len;
	memcpy(n->text, name, len);
	n->text[len] = 0;
	if (index_make_room(t, &t->names, 0) ||
	    index_insert(t, &t->names, (struct slot){ .key = scramble(hash), .ref = ref }, NULL)) {
		put_piece(t, ref, granules(len));
		return 0;
	}
	return ref;
}

static void drop_name(struct mfd_cpr *t, uint32_t ref)
{
	struct name *n = name_at(t, ref);
	size_t i;

	if (--n->refs)
		return;
	for (i = lower_bound(&t->names, scramble(n->hash)); t->names.slots[i].ref != ref; i++)
		;
	index_remove(&t->names, i);
	put_piece(t, ref, granules(n->len));
}

/* ---- entries ---- */

/* The slot of a key, searched from `s` on, which is between its home and its place. */
static struct slot *find_from(const struct mfd_cpr *t, struct slot *s, uint64_t key,
			      const char *name, size_t len)
{
	while (s->key < key)
		s++;
	for (; s->key == key && s->ref; s++)
		if (is_name(t, s->ref, name, len))
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

	return find_slot(t, scramble(id ^ hash_name(t, name, len)), name, len);
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
	uint64_t key = scramble(id ^ hash_name(t, name, len));
	struct slot *s = t->entries.slots + home(&t->entries, key);

	s += (s[0].key < key) + (s[1].key < key) + (s[2].key < key);
	if (__builtin_expect(s->key != key, 0))
		return s->key > key ? NULL : find_from(t, s, key, name, len);
	if (__builtin_expect(is_name(t, s->ref, name, len), 1))
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
	const struct name *n = name_at(t, s->ref);

	return (struct mfd_cpr_entry){
		.name = n->text,
		.id = unscramble(s->key) ^ n->hash,
		.fd = s->fd < 0 ? MFD_CPR_NO_FD : s->fd,
		.record = t->entries.records[i],
	};
}

static void let_go(const struct mfd_cpr *t, int fd, void *record)
{
	if (fd >= 0 && t->o.flags & MFD_CPR_OWNS_FDS)
		close(fd);
	if (record)
		t->o.release(record);
}

/* Takes entry `i` out; walks under way neither skip nor repeat one of those that moved. */
static void remove_entry(struct mfd_cpr *t, size_t i)
{
	uint32_t ref = t->entries.slots[i].ref;
	size_t end = index_remove(&t->entries, i);

	for (struct walk *w = t->walks; w; w = w->outer)
		if (w->next > i && w->next <= end)
			w->next--;
	drop_name(t, ref);
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
	hash = hash_name(t, name, len);
	key = scramble(id ^ hash);
	if (find_slot(t, key, name, len))
		return -EEXIST;
	if (t->walks)
		return -EBUSY;
	ret = index_make_room(t, &t->entries, 1);
	if (ret)
		return ret;
	ref = hold_name(t, hash, name, len);
	if (!ref)
		return -ENOMEM;
	ret = index_insert(t, &t->entries,
			   (struct slot){ .key = key, .ref = ref, .fd = fd < 0 ? -EBADF : fd },
			   record);
	if (ret)
		drop_name(t, ref);
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

int mfd_cpr_take(struct mfd_cpr *t, const char *name, uint64_t id, struct mfd_cpr_entry *e)
{
	ssize_t i = find(t, name, id);

	if (i < 0)
		return -ENOENT;
	*e = entry_at(t, i);
	e->name = NULL;
	remove_entry(t, i);
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

	return find_name(t, hash_name(t, name, len), name, len) >= 0;
}

int mfd_cpr_set_record(struct mfd_cpr *t, const char *name, uint64_t id, void *record)
{
	ssize_t i = find(t, name, id);
	void *old;

	if (i < 0)
		return -ENOENT;
	old = t->entries.records[i];
	t->entries.records[i] = record;
	if (old && old != record)
		t->o.release(old);
	return 0;
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
	return sizeof(*t) + t->bytes;
}

int mfd_cpr_reserve(struct mfd_cpr *t, size_t n)
{
	size_t homes = MIN_HOMES;

	if (t->walks)
		return -EBUSY;
	if (n <= t->entries.max)
		return 0;
	while (homes / 8 * 5 < n && homes <= SIZE_MAX / 4)
		homes *= 2;
	return index_grow(t, &t->entries, homes, 1);
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

static uint64_t random_seed(void)
{
	struct timespec ts;
	uint64_t seed;

	if (getrandom(&seed, sizeof(seed), GRND_NONBLOCK) == sizeof(seed))
		return seed;
	clock_gettime(CLOCK_MONOTONIC, &ts); /* early at boot: better than none */
	return scramble(ts.tv_nsec ^ (uint64_t)ts.tv_sec << 32 ^ (uintptr_t)&ts);
}

struct mfd_cpr *mfd_cpr_new(const struct mfd_cpr_options *o)
{
	struct mfd_cpr_options def = { .alloc = default_alloc,
				       .free = default_free,
				       .release = free };
	struct mfd_cpr *t;

	if (o) {
		def.flags = o->flags;
		def.seed = o->seed;
		def.release = o->release ? o->release : free;
		if (o->alloc && o->free) {
			def.alloc = o->alloc;
			def.free = o->free;
			def.ctx = o->ctx;
		}
	}
	t = def.alloc(def.ctx, sizeof(*t));
	if (!t)
		return NULL;
	memset(t, 0, sizeof(*t));
	t->o = def;
	t->seed = def.seed ? def.seed : random_seed();
	t->secret = fold(t->seed ^ SECRET_1, SECRET_2);
	t->chunks = (char **)no_chunks;
	index_init(&t->entries);
	index_init(&t->names);
	return t;
}

void mfd_cpr_free(struct mfd_cpr *t)
{
	if (!t)
		return;
	for (size_t i = 0; i < t->entries.limit; i++)
		if (t->entries.slots[i].ref)
			let_go(t, t->entries.slots[i].fd, t->entries.records[i]);
	give_memory(t, t->entries.slots, t->entries.bytes);
	give_memory(t, t->names.slots, t->names.bytes);
	for (size_t i = 0; i < t->n_chunks; i++)
		give_memory(t, t->chunks[i], chunk_size(i));
	give_memory(t, t->chunks, t->chunk_room * sizeof(*t->chunks));
	t->o.free(t->o.ctx, t, sizeof(*t));
}
