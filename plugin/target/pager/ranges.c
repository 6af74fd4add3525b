// SPDX-License-Identifier: GPL-2.0-only
/* The lazy pages of one task as intervals in two sorted arrays. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ranges.h"

static uint64_t bytes(const struct mfd_range *x)
{
	return x->pages * MFD_RANGES_PAGE;
}

/* Index of the first interval by cur that ends after `cur`. */
static size_t cur_index(const struct mfd_ranges *r, uint64_t cur)
{
	size_t lo = 0, hi = r->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (r->by_cur[mid].cur + bytes(&r->by_cur[mid]) > cur)
			hi = mid;
		else
			lo = mid + 1;
	}
	return lo;
}

/* Index of the first interval by bit that ends after `bit`. */
static size_t bit_index(const struct mfd_ranges *r, uint64_t bit)
{
	size_t lo = 0, hi = r->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (r->by_bit[mid].bit + r->by_bit[mid].pages > bit)
			hi = mid;
		else
			lo = mid + 1;
	}
	return lo;
}

const struct mfd_range *mfd_ranges_find(const struct mfd_ranges *r, uint64_t cur)
{
	size_t i = cur_index(r, cur);

	return i < r->n && r->by_cur[i].cur <= cur ? &r->by_cur[i] : NULL;
}

const struct mfd_range *mfd_ranges_above(const struct mfd_ranges *r, uint64_t cur)
{
	size_t i = cur_index(r, cur);

	if (i < r->n && r->by_cur[i].cur <= cur)
		i++;
	return i < r->n ? &r->by_cur[i] : NULL;
}

const struct mfd_range *mfd_ranges_from_bit(const struct mfd_ranges *r, uint64_t bit)
{
	size_t i = bit_index(r, bit);

	return i < r->n ? &r->by_bit[i] : NULL;
}

const struct mfd_range *mfd_ranges_from_img(const struct mfd_ranges *r, uint64_t img)
{
	size_t lo = 0, hi = r->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (r->by_bit[mid].img + bytes(&r->by_bit[mid]) > img)
			hi = mid;
		else
			lo = mid + 1;
	}
	return lo < r->n ? &r->by_bit[lo] : NULL;
}

/* Room for `more` further intervals in both arrays. */
static int make_room(struct mfd_ranges *r, size_t more)
{
	size_t room = r->room ? r->room : 16;
	struct mfd_range *a;

	if (r->n + more <= r->room)
		return 0;
	while (room < r->n + more)
		room *= 2;
	a = reallocarray(r->by_cur, room, sizeof(*a));
	if (!a)
		return -ENOMEM;
	r->by_cur = a;
	a = reallocarray(r->by_bit, room, sizeof(*a));
	if (!a)
		return -ENOMEM;
	r->by_bit = a;
	r->room = room;
	return 0;
}

void mfd_ranges_free(struct mfd_ranges *r)
{
	free(r->by_cur);
	free(r->by_bit);
	memset(r, 0, sizeof(*r));
}

int mfd_ranges_append(struct mfd_ranges *r, uint64_t start, uint64_t pages)
{
	const struct mfd_range *last = r->n ? &r->by_cur[r->n - 1] : NULL;
	struct mfd_range new = { start, start, r->bits, pages };

	if (start % MFD_RANGES_PAGE || start >= 1ULL << 56 || !pages ||
	    pages > MFD_RANGES_MAX_PAGES - r->bits)
		return -EINVAL;
	if (last && start < last->cur + bytes(last))
		return -EINVAL;
	if (make_room(r, 1))
		return -ENOMEM;
	r->by_cur[r->n] = r->by_bit[r->n] = new;
	r->n++;
	r->bits += pages;
	return 0;
}

int mfd_ranges_copy(struct mfd_ranges *to, const struct mfd_ranges *from)
{
	if (from->n && make_room(to, from->n)) {
		mfd_ranges_free(to);
		return -ENOMEM;
	}
	if (from->n) {
		memcpy(to->by_cur, from->by_cur, from->n * sizeof(*from->by_cur));
		memcpy(to->by_bit, from->by_bit, from->n * sizeof(*from->by_bit));
	}
	to->n = from->n;
	to->bits = from->bits;
	return 0;
}

static int compare_cur(const void *a, const void *b)
{
	const struct mfd_range *x = a, *y = b;

	return (x->cur > y->cur) - (x->cur < y->cur);
}

/* Nonzero when x is no piece of `img`, or does not lie behind `before` (NULL: it is the first). */
static int is_foreign(const struct mfd_range *x, const struct mfd_range *before,
		      const struct mfd_ranges *img)
{
	const struct mfd_range *r = mfd_ranges_from_bit(img, x->bit);

	if (!r || r->bit > x->bit || !x->pages || x->pages > r->bit + r->pages - x->bit)
		return 1;
	if (x->img != r->img + (x->bit - r->bit) * MFD_RANGES_PAGE || x->cur % MFD_RANGES_PAGE ||
	    x->cur >= 1ULL << 57)
		return 1;
	return before && x->bit < before->bit + before->pages;
}

int mfd_ranges_load(struct mfd_ranges *to, const struct mfd_range *list, size_t n,
		    const struct mfd_ranges *img)
{
	if (n && make_room(to, n))
		return -ENOMEM;
	if (n) /* first, since the list may be in memory that others can change */
		memcpy(to->by_bit, list, n * sizeof(*list));
	to->bits = img->bits;
	for (size_t i = 0; i < n; i++)
		if (is_foreign(&to->by_bit[i], i ? &to->by_bit[i - 1] : NULL, img))
			return -EBADMSG;
	to->n = n;
	if (!n)
		return 0;
	memcpy(to->by_cur, to->by_bit, n * sizeof(*list));
	qsort(to->by_cur, n, sizeof(*list), compare_cur);
	for (size_t i = 1; i < n; i++)
		if (to->by_cur[i].cur < to->by_cur[i - 1].cur + bytes(&to->by_cur[i - 1]))
			return -EBADMSG;
	return 0;
}

static void split_one(struct mfd_range *a, size_t i, size_t n, uint64_t pages)
{
	memmove(&a[i + 2], &a[i + 1], (n - i - 1) * sizeof(*a));
	a[i + 1] = a[i];
	a[i].pages = pages;
	a[i + 1].cur += pages * MFD_RANGES_PAGE;
	a[i + 1].img += pages * MFD_RANGES_PAGE;
	a[i + 1].bit += pages;
	a[i + 1].pages -= pages;
}

/* Make sure that no interval reaches over `cur`.  There is room for one more. */
static void split_at(struct mfd_ranges *r, uint64_t cur)
{
	size_t i = cur_index(r, cur);
	uint64_t pages;

	if (i == r->n || r->by_cur[i].cur >= cur)
		return;
	pages = (cur - r->by_cur[i].cur) / MFD_RANGES_PAGE;
	split_one(r->by_bit, bit_index(r, r->by_cur[i].bit), r->n, pages);
	split_one(r->by_cur, i, r->n, pages);
	r->n++;
}

static int bad_span(uint64_t start, uint64_t len)
{
	return (start | len) % MFD_RANGES_PAGE || start + len < start;
}

/* Take by_cur[i..j-1] out of by_bit: emptied by lookup first, closed up in one pass. */
static void forget_bits(struct mfd_ranges *r, size_t i, size_t j)
{
	size_t first = r->n, to;

	for (size_t k = i; k < j; k++) {
		size_t b = bit_index(r, r->by_cur[k].bit);

		r->by_bit[b].img = UINT64_MAX; /* pages must stay for the next binary search */
		first = b < first ? b : first;
	}
	to = first;
	for (size_t k = first; k < r->n; k++)
		if (r->by_bit[k].img != UINT64_MAX)
			r->by_bit[to++] = r->by_bit[k];
}

int mfd_ranges_remove(struct mfd_ranges *r, uint64_t cur, uint64_t len, mfd_ranges_gone *gone,
		      void *arg)
{
	size_t i, j;

	if (bad_span(cur, len))
		return -EINVAL;
	if (make_room(r, 2))
		return -ENOMEM;
	split_at(r, cur);
	split_at(r, cur + len);
	i = cur_index(r, cur);
	for (j = i; j < r->n && r->by_cur[j].cur < cur + len; j++)
		if (gone)
			gone(arg, &r->by_cur[j]);
	if (i == j)
		return 0;
	forget_bits(r, i, j);
	memmove(&r->by_cur[i], &r->by_cur[j], (r->n - j) * sizeof(*r->by_cur));
	r->n -= j - i;
	return 0;
}

/*
 * Move by_cur[i..j-1], a block whose cur has changed by `delta`, to where it belongs now; `block`
 * has room for it.
 */
static void move_block(struct mfd_ranges *r, size_t i, size_t j, uint64_t delta,
		       struct mfd_range *block)
{
	size_t n = j - i, at;

	for (size_t k = 0; k < n; k++) {
		block[k] = r->by_cur[i + k];
		block[k].cur += delta;
		r->by_bit[bit_index(r, block[k].bit)].cur = block[k].cur;
	}
	memmove(&r->by_cur[i], &r->by_cur[j], (r->n - j) * sizeof(*block));
	r->n -= n;
	at = cur_index(r, block[0].cur);
	memmove(&r->by_cur[at + n], &r->by_cur[at], (r->n - at) * sizeof(*block));
	memcpy(&r->by_cur[at], block, n * sizeof(*block));
	r->n += n;
}

int mfd_ranges_remap(struct mfd_ranges *r, uint64_t from, uint64_t to, uint64_t len,
		     mfd_ranges_gone *gone, void *arg)
{
	struct mfd_range *block;
	size_t i, j;
	int ret;

	if (bad_span(from, len) || bad_span(to, len) || (from < to + len && to < from + len))
		return -EINVAL;
	/* Everything that may fail comes first: 2 more by remove, 2 by the splits below. */
	if (make_room(r, 4))
		return -ENOMEM;
	i = cur_index(r, from);
	for (j = i; j < r->n && r->by_cur[j].cur < from + len;)
		j++;
	block = malloc((j - i + 1) * sizeof(*block));
	if (!block)
		return -ENOMEM;
	ret = mfd_ranges_remove(r, to, len, gone, arg);
	split_at(r, from);
	split_at(r, from + len);
	i = cur_index(r, from);
	for (j = i; j < r->n && r->by_cur[j].cur < from + len;)
		j++;
	if (!ret && i < j)
		move_block(r, i, j, to - from, block);
	free(block);
	return ret;
}
