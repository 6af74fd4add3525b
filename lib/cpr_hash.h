/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Inside a CPR table: slots, their search, and names.  For lib/cpr.c and its test alone.
 *
 *	slots	| key ref fd | key ref fd | ...	16 bytes each, four to a cache line, sorted by key
 *	records	| pointer    | pointer    | ...	the same positions; no look-up of a descriptor
 *						comes here
 *	names	every different name once, in chunks that never move: hash, references, length,
 *		text
 *
 * The key is scramble(id ^ hash of the name).  scramble is a bijection, so key and name give the id
 * back and a slot need not hold it: equal keys and equal names are equal ids.  That halves the slot
 * and leaves room for what the look-up is after, the descriptor.  The name is compared in full, but
 * many entries share few names, which stay in the cache.
 *
 * Ordered linear probing (Amble and Knuth 1974; linear robin hood is the same order): a slot's home
 * is the top bits of its key, and slots lie in the order of their keys from home on.  So a search
 * ends at the first key that is not smaller, for keys that are there as for keys that are not; to
 * delete is to move the rest of the run one down, with no tombstone left; to grow is one pass from
 * front to back over old and new memory, with neither hashing nor comparing.  The slots do not wrap
 * around: behind the last home there is room for a run, then slots that are never used.  Empty
 * slots have the largest key, so a search need not ask whether a slot is in use to get past it.
 *
 * The hash of names has a random seed, so that no peer can choose names and ids that all have one
 * home.
 *
 * Tried and given up (EPYC 9005, ns per look-up in a loop over keys as `make bench-cpr` has them):
 * - A loop over the slots from home on: it mispredicts about every second time.  That costs nothing
 *   while the keys are few and come in the same order, but at 1,000,000 getting to the slot took 61
 *   instead of 41, because the next look-up does not begin before memory has answered this one.
 *   So slots are compared four at a time without a branch, and homes are the beginnings of cache
 *   lines.
 * - XXH3_64bits_withSeed for names: 0.9 more of 8, it is not inlined and has more branches.
 * - A memcmp of its own with the branches that the hash took: 1 more, libc has masked vectors.
 * - Up to 3/4 full instead of 5/8: 0.3 more at 2,870, where one line is then not enough too often.
 *
 * Not tried, for a reason: control bytes searched with SSE2, as Swiss tables have them, are 2 MB of
 * their own at 1,000,000 entries and thus one more miss per look-up; names resolved to numbers
 * first, and then a table of (number, id), are two probes where one will do.
 */
#ifndef MFD_CPR_HASH_H
#define MFD_CPR_HASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>

#include "cpr.h"

/* Key of an empty slot.  A real key may have this value, hence ref != 0 says "in use". */
#define EMPTY	  UINT64_MAX
#define LINE	  4U /* slots to a cache line */
#define GRANULE	  16U
#define CHUNK	  (64U << 10)
#define PER_CHUNK (CHUNK / GRANULE)
/* sizes of names in granules, the longest included */
#define SIZES ((sizeof(struct name) + MFD_CPR_NAME_MAX + 1 + GRANULE - 1) / GRANULE + 1)

/* Where the memory of a table comes from, and how much it has. */
struct memory {
	void *(*alloc)(void *ctx, size_t size);
	void (*free)(void *ctx, void *p, size_t size);
	void *ctx;
	size_t bytes;
};

struct slot {
	uint64_t key;
	uint32_t ref; /* of the name; 0 = empty: a name that is longer than any equals none */
	int32_t fd;   /* -EBADF if there is none: what a look-up returns */
};

struct index {
	struct slot *slots;
	void **records; /* NULL in the index of names */
	size_t used;
	size_t max;   /* entries before it grows */
	size_t limit; /* slots that may be used */
	size_t bytes; /* of the block that `slots` begins; 0 = static */
	int shift;    /* key >> shift is the line of the home */
	int with_records;
};

struct name {
	uint64_t hash;
	uint32_t refs; /* entries; of a free piece: ref of the next one of its size */
	uint32_t len;  /* of text without the final 0 */
	char text[];
};

/* Names by ref: the number of the granule at which one begins. */
struct names {
	char **chunks;
	uint64_t seed, secret; /* of the hash; neither is known outside */
	struct index index;    /* by scrambled hash */
	size_t n_chunks, chunk_room;
	uint32_t fresh, room; /* of the last chunk: granules used so far, and all */
	uint32_t free[SIZES]; /* pieces by size: ref of the first free one */
};

/* ---- keys ---- */

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
static inline uint64_t hash_name(const struct names *n, const char *p, size_t len)
{
	uint64_t h = n->seed + len, a, b;

	if (len > 16) {
		const char *end = p + len - 16;

		for (; p < end; p += 16)
			h = fold(load_8(p) ^ n->secret, load_8(p + 8) ^ h);
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
	return fold(a ^ n->secret, b ^ h);
}

/* ---- searching ---- */

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

static inline struct name *name_at(const struct names *n, uint32_t ref)
{
	return (struct name *)(n->chunks[ref / PER_CHUNK] + (size_t)(ref % PER_CHUNK) * GRANULE);
}

static inline int is_name(const struct names *n, uint32_t ref, const char *text, size_t len)
{
	const struct name *name = name_at(n, ref);

	return name->len == len && !memcmp(name->text, text, len);
}

/* ---- changing ---- */

void *mfd_cpr_hash_alloc(struct memory *m, size_t size);
void mfd_cpr_hash_free(struct memory *m, void *p, size_t size);

/* An index without memory. */
void mfd_cpr_hash_init(struct index *ix, int with_records);
void mfd_cpr_hash_fini(struct memory *m, struct index *ix);
/* At least `n` entries fit without growing; unchanged when there is no memory.  0 or -ENOMEM. */
int mfd_cpr_hash_reserve(struct memory *m, struct index *ix, size_t n);
/* Room for one more, so that an insert need not grow unless a run is long.  0 or -ENOMEM. */
int mfd_cpr_hash_room(struct memory *m, struct index *ix);
int mfd_cpr_hash_insert(struct memory *m, struct index *ix, struct slot s, void *record);
/*
 * Empty slot `at`; what follows in its run and is not at home moves one down.  Return the first
 * position that did not move.
 */
size_t mfd_cpr_hash_remove(struct index *ix, size_t at);

/* `seed`: 0 = random. */
void mfd_cpr_hash_names_init(struct names *n, uint64_t seed);
void mfd_cpr_hash_names_fini(struct memory *m, struct names *n);
/* Position of a name in the index of names, or -1. */
ssize_t mfd_cpr_hash_find(const struct names *n, uint64_t hash, const char *text, size_t len);
/* The ref of a name, with one more reference to it; 0: no memory. */
uint32_t mfd_cpr_hash_ref(struct memory *m, struct names *n, uint64_t hash, const char *text,
			  size_t len);
/* One reference less; the last one frees the name's piece. */
void mfd_cpr_hash_unref(struct names *n, uint32_t ref);

#endif
