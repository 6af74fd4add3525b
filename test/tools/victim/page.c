// SPDX-License-Identifier: GPL-2.0-only
/* What a page holds: a function of its seed, index and owner alone. */
#include "victim.h"

uint64_t mix(uint64_t x)
{
	x ^= x >> 30;
	x *= 0xbf58476d1ce4e5b9ULL;
	x ^= x >> 27;
	x *= 0x94d049bb133111ebULL;
	return x ^ x >> 31;
}

uint64_t page_seed(const struct region *r, size_t i)
{
	uint64_t owner = r->owner[i];

	return mix(r->seed + (r->first + i) * GOLDEN) ^ mix(owner + SALT);
}

static inline __attribute__((always_inline)) uint64_t random_word(uint64_t seed, size_t i)
{
	uint64_t x = seed + i * GOLDEN;

	x ^= x >> 32;
	x *= 0xd6e8feb86659fd93ULL;
	return x ^ x >> 29;
}

/*
 * Eight bytes with 10 bits of information: letters that hang together, so that compressors find
 * something.
 */
static inline __attribute__((always_inline)) uint64_t text_word(uint64_t seed, size_t i)
{
	/* clang-format off */
	static const char words[32][9] = {
		"migrate ", "process ", "memory, ", "channel ",
		"restore ", "a frozen", " page of", " source ",
		"target, ", " the lazy", "faults. ", "number: ",
		"\n\tmap = ", "zero and", " copies,", "00000000",
		"in the  ", "quick on", "es, but ", "packets ",
		"without ", "headers ", "ready;\n ", "session ",
		"11111111", "server {", "}; while", " (socket",
		"->next; ", "return 0", "if (page", "<<<<>>>>",
	};
	/* clang-format on */
	uint64_t x = random_word(seed, i), w;

	memcpy(&w, words[x >> 59], 8);
	return w ^ (x & 0x1f);
}

void page_write(uint64_t seed, enum fill fill, uint64_t *p)
{
	size_t i;

	if (fill == FILL_ZERO)
		memset(p, 0, PAGE);
	else if (fill == FILL_TEXT)
		for (i = 0; i < WORDS; i++)
			p[i] = text_word(seed, i);
	else
		for (i = 0; i < WORDS; i++)
			p[i] = random_word(seed, i);
}

bool page_equal(uint64_t seed, enum fill fill, const uint64_t *p, size_t from)
{
	uint64_t diff = 0;
	size_t i;

	if (fill == FILL_ZERO)
		for (i = from; i < WORDS; i++)
			diff |= p[i];
	else if (fill == FILL_TEXT)
		for (i = from; i < WORDS; i++)
			diff |= p[i] ^ text_word(seed, i);
	else
		for (i = from; i < WORDS; i++)
			diff |= p[i] ^ random_word(seed, i);
	return !diff;
}

/* The first wrong byte of a page that is known to differ. */
size_t page_difference(uint64_t seed, enum fill fill, const uint8_t *p, size_t from)
{
	uint64_t want[WORDS];
	size_t i;

	page_write(seed, fill, want);
	for (i = from * 8; i < PAGE; i++)
		if (p[i] != ((const uint8_t *)want)[i])
			return i;
	return PAGE;
}

/*
 * FILL_HALF changes its pattern each 64 MiB: every second page is zero, then every second block of
 * 64 pages.
 */
enum fill page_fill(const struct region *r, size_t i)
{
	size_t n = r->first + i;

	if (r->owner[i] == OWNER_ZERO)
		return FILL_ZERO;
	if (r->fill != FILL_HALF)
		return r->fill;
	if (n & (1UL << 14))
		return n >> 6 & 1 ? FILL_ZERO : FILL_RANDOM;
	return n & 1 ? FILL_ZERO : FILL_RANDOM;
}

void page_code(uint32_t value, uint64_t out[CODE_WORDS])
{
#if defined(__x86_64__)
	uint8_t c[16] = { 0xb8, value, value >> 8, value >> 16, value >> 24, 0xc3, 0x90, 0x90,
			  0x90, 0x90,  0x90,	   0x90,	0x90,	     0x90, 0x90, 0x90 };
#elif defined(__aarch64__)
	uint32_t c[4] = { 0x52800000 | (value & 0xffff) << 5, 0x72a00000 | (value >> 16) << 5,
			  0xd65f03c0, 0xd503201f };
#else
	uint32_t c[4] = { value, value, value, value };
#endif
	memcpy(out, c, sizeof(c));
}

bool page_code_right(uint64_t seed, const uint8_t *page)
{
	uint64_t want[CODE_WORDS];

	page_code(seed, want);
	if (memcmp(want, page, sizeof(want)))
		return false;
#if defined(__x86_64__) || defined(__aarch64__)
	return ((uint32_t(*)(void))(uintptr_t)page)() == (uint32_t)seed;
#else
	return true;
#endif
}
