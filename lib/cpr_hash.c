// SPDX-License-Identifier: GPL-2.0-only
/* Slots and names of a CPR table; cpr_hash.h says how they lie. */
#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

#include "cpr_hash.h"

#define MIN_HOMES 16
#define MAX_TAIL  256	     /* slots behind the last home that a run may use */
#define FIRST	  (8U << 10) /* the first chunk is smaller: most tables need no more */
#define SECRET_1  0xa0761d6478bd642fULL
#define SECRET_2  0xe7037ed1a0b428dbULL

/* What an index without memory searches.  Never written: its `max` is 0. */
static const struct slot nothing[2 * LINE] = {
	{ EMPTY, 0, 0 }, { EMPTY, 0, 0 }, { EMPTY, 0, 0 }, { EMPTY, 0, 0 },
	{ EMPTY, 0, 0 }, { EMPTY, 0, 0 }, { EMPTY, 0, 0 }, { EMPTY, 0, 0 },
};

/* Name 0, and the chunk it is in as long as there is no other. */
static const struct name no_name = { .len = UINT32_MAX };
static const char *const no_chunks[] = { (const char *)&no_name };

void *mfd_cpr_hash_alloc(struct memory *m, size_t size)
{
	void *p = m->alloc(m->ctx, size);

	if (p)
		m->bytes += size;
	return p;
}

void mfd_cpr_hash_free(struct memory *m, void *p, size_t size)
{
	if (!p || !size)
		return;
	m->bytes -= size;
	m->free(m->ctx, p, size);
}

/* ---- slots ---- */

void mfd_cpr_hash_init(struct index *ix, int with_records)
{
	*ix = (struct index){ .slots = (struct slot *)nothing,
			      .shift = 63,
			      .with_records = with_records };
}

void mfd_cpr_hash_fini(struct memory *m, struct index *ix)
{
	mfd_cpr_hash_free(m, ix->slots, ix->bytes);
}

/* Memory for `homes` (a power of two), all of it empty. */
static int make(struct memory *m, struct index *ix, size_t homes, int with_records)
{
	/* the last line stays empty */
	size_t tail = homes < MAX_TAIL ? homes : MAX_TAIL, n = homes + tail + LINE;
	size_t one = sizeof(struct slot) + (with_records ? sizeof(void *) : 0);

	mfd_cpr_hash_init(ix, with_records);
	if (homes > SIZE_MAX / 4 / one)
		return -ENOMEM;
	ix->bytes = n * one;
	ix->slots = mfd_cpr_hash_alloc(m, ix->bytes);
	if (!ix->slots)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		ix->slots[i] = (struct slot){ .key = EMPTY };
	/* set as slots come into use */
	ix->records = with_records ? (void **)(ix->slots + n) : NULL;
	ix->limit = homes + tail;
	ix->max = homes / 8 * 5;
	ix->shift = 64 - __builtin_ctzll(homes / LINE);
	return 0;
}

/*
 * Every slot of `from` into the empty `to`, front to back.  -ENOSPC: the last run is longer than
 * the room for it.
 */
static int fill(struct index *to, const struct index *from)
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
static int grow(struct memory *m, struct index *ix, size_t homes)
{
	struct index bigger;
	int ret;

	do {
		ret = make(m, &bigger, homes, ix->with_records);
		if (ret)
			return ret;
		ret = fill(&bigger, ix);
		if (ret)
			mfd_cpr_hash_fini(m, &bigger);
		homes *= 2;
	} while (ret);
	mfd_cpr_hash_fini(m, ix);
	*ix = bigger;
	return 0;
}

static size_t next_homes(const struct index *ix)
{
	return ix->max ? 2 * LINE * ((size_t)1 << (64 - ix->shift)) : MIN_HOMES;
}

int mfd_cpr_hash_reserve(struct memory *m, struct index *ix, size_t n)
{
	size_t homes = MIN_HOMES;

	if (n <= ix->max)
		return 0;
	while (homes / 8 * 5 < n && homes <= SIZE_MAX / 4)
		homes *= 2;
	return grow(m, ix, homes);
}

int mfd_cpr_hash_room(struct memory *m, struct index *ix)
{
	return ix->used < ix->max ? 0 : grow(m, ix, next_homes(ix));
}

int mfd_cpr_hash_insert(struct memory *m, struct index *ix, struct slot s, void *record)
{
	size_t at = lower_bound(ix, s.key), end = at;
	int ret;

	while (end < ix->limit && ix->slots[end].ref)
		end++;
	if (end == ix->limit) {
		ret = grow(m, ix, next_homes(ix));
		return ret ? ret : mfd_cpr_hash_insert(m, ix, s, record);
	}
	memmove(ix->slots + at + 1, ix->slots + at, (end - at) * sizeof(*ix->slots));
	ix->slots[at] = s;
	if (ix->records) {
		memmove(ix->records + at + 1, ix->records + at, (end - at) * sizeof(*ix->records));
		ix->records[at] = record;
	}
	ix->used++;
	return 0;
}

size_t mfd_cpr_hash_remove(struct index *ix, size_t at)
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

static uint64_t random_seed(void)
{
	struct timespec ts;
	uint64_t seed;

	if (getrandom(&seed, sizeof(seed), GRND_NONBLOCK) == sizeof(seed))
		return seed;
	clock_gettime(CLOCK_MONOTONIC, &ts); /* early at boot: better than none */
	return scramble(ts.tv_nsec ^ (uint64_t)ts.tv_sec << 32 ^ (uintptr_t)&ts);
}

void mfd_cpr_hash_names_init(struct names *n, uint64_t seed)
{
	*n = (struct names){ .chunks = (char **)no_chunks, .seed = seed ? seed : random_seed() };
	n->secret = fold(n->seed ^ SECRET_1, SECRET_2);
	mfd_cpr_hash_init(&n->index, 0);
}

static size_t chunk_size(size_t i)
{
	return i ? CHUNK : FIRST;
}

void mfd_cpr_hash_names_fini(struct memory *m, struct names *n)
{
	mfd_cpr_hash_fini(m, &n->index);
	for (size_t i = 0; i < n->n_chunks; i++)
		mfd_cpr_hash_free(m, n->chunks[i], chunk_size(i));
	mfd_cpr_hash_free(m, n->chunks, n->chunk_room * sizeof(*n->chunks));
}

static uint32_t granules(size_t len)
{
	return (sizeof(struct name) + len + 1 + GRANULE - 1) / GRANULE;
}

static void put_piece(struct names *n, uint32_t ref, uint32_t size)
{
	name_at(n, ref)->refs = n->free[size];
	n->free[size] = ref;
}

static int lengthen_list(struct memory *m, struct names *n)
{
	size_t room = n->chunk_room ? 2 * n->chunk_room : 8;
	char **chunks = mfd_cpr_hash_alloc(m, room * sizeof(*chunks));

	if (!chunks)
		return -ENOMEM;
	/* the static one, too */
	memcpy(chunks, n->chunks, (n->n_chunks ? n->n_chunks : 1) * sizeof(*chunks));
	mfd_cpr_hash_free(m, n->chunks, n->chunk_room * sizeof(*chunks));
	n->chunks = chunks;
	n->chunk_room = room;
	return 0;
}

/* A new last chunk; what is left of the one before is not used, which is less than one name. */
static int add_chunk(struct memory *m, struct names *n)
{
	char *chunk;

	if (n->n_chunks >= UINT32_MAX / PER_CHUNK ||
	    (n->n_chunks == n->chunk_room && lengthen_list(m, n)))
		return -ENOMEM;
	chunk = mfd_cpr_hash_alloc(m, chunk_size(n->n_chunks));
	if (!chunk)
		return -ENOMEM;
	n->room = chunk_size(n->n_chunks) / GRANULE;
	n->chunks[n->n_chunks++] = chunk;
	n->fresh = 0;
	if (n->n_chunks == 1) {
		*name_at(n, 0) = no_name;
		n->fresh = 1;
	}
	return 0;
}

/*
 * A piece of `size` granules; 0: no memory.  Pieces are neither cut nor joined, so memory is
 * bounded by the peak of every size.
 */
static uint32_t get_piece(struct memory *m, struct names *n, uint32_t size)
{
	uint32_t ref = n->free[size];

	if (ref) {
		n->free[size] = name_at(n, ref)->refs;
		return ref;
	}
	if (n->fresh + size > n->room && add_chunk(m, n))
		return 0;
	ref = (n->n_chunks - 1) * PER_CHUNK + n->fresh;
	n->fresh += size;
	return ref;
}

ssize_t mfd_cpr_hash_find(const struct names *n, uint64_t hash, const char *text, size_t len)
{
	const struct slot *s = n->index.slots;
	uint64_t key = scramble(hash);

	for (size_t i = lower_bound(&n->index, key); s[i].key == key && s[i].ref; i++)
		if (is_name(n, s[i].ref, text, len))
			return i;
	return -1;
}

uint32_t mfd_cpr_hash_ref(struct memory *m, struct names *n, uint64_t hash, const char *text,
			  size_t len)
{
	ssize_t i = mfd_cpr_hash_find(n, hash, text, len);
	struct slot s = { .key = scramble(hash) };
	struct name *name;

	if (i >= 0) {
		name_at(n, n->index.slots[i].ref)->refs++;
		return n->index.slots[i].ref;
	}
	s.ref = get_piece(m, n, granules(len));
	if (!s.ref)
		return 0;
	name = name_at(n, s.ref);
	*name = (struct name){ .hash = hash, .refs = 1, .len = len };
	memcpy(name->text, text, len);
	name->text[len] = 0;
	if (mfd_cpr_hash_room(m, &n->index) || mfd_cpr_hash_insert(m, &n->index, s, NULL)) {
		put_piece(n, s.ref, granules(len));
		return 0;
	}
	return s.ref;
}

void mfd_cpr_hash_unref(struct names *n, uint32_t ref)
{
	struct name *name = name_at(n, ref);
	size_t i;

	if (--name->refs)
		return;
	for (i = lower_bound(&n->index, scramble(name->hash)); n->index.slots[i].ref != ref; i++)
		;
	mfd_cpr_hash_remove(&n->index, i);
	put_piece(n, ref, granules(name->len));
}
