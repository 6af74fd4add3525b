// SPDX-License-Identifier: GPL-2.0-only
/* The distance of two words (Damerau and Levenshtein), and the nearest of several. */
#include <string.h>

#include "closest.h"

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
	unsigned m = a < b ? a : b;

	return m < c ? m : c;
}

#define MAX_WORD 32

/*
 * Letters to insert, drop, change or swap with a neighbour; words longer than MAX_WORD are never
 * close.
 */
static unsigned distance(const char *a, const char *b)
{
	size_t na = strlen(a), nb = strlen(b);
	unsigned d[MAX_WORD + 1][MAX_WORD + 1];

	if (na > MAX_WORD || nb > MAX_WORD)
		return MAX_WORD;
	for (size_t i = 0; i <= na; i++) {
		for (size_t j = 0; j <= nb; j++) {
			if (!i || !j) {
				d[i][j] = i + j;
				continue;
			}
			d[i][j] = min3(d[i - 1][j] + 1, d[i][j - 1] + 1,
				       d[i - 1][j - 1] + (a[i - 1] != b[j - 1]));
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				d[i][j] = min3(d[i][j], d[i - 2][j - 2] + 1, MAX_WORD);
		}
	}
	return d[na][nb];
}

const char *mfd_closest(const char *word, const void *names, size_t n, size_t stride)
{
	/* changes that still pass for a slip, and one more */
	unsigned best = strlen(word) <= 4 ? 2 : 3;
	const char *found = NULL;

	for (size_t i = 0; i < n; i++) {
		const char *name = *(const char *const *)((const char *)names + i * stride);
		unsigned d = name ? distance(word, name) : MAX_WORD;

		if (d < best && d < strlen(name)) {
			best = d;
			found = name;
		}
	}
	return found;
}
