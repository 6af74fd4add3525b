/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The intervals of a task's lazy pages through a sequence of what a restored task may do with its
 * memory (the pager hears of it by UFFD_EVENT_REMOVE, UNMAP and REMAP), beside a plain array of 256
 * pages; and a list of intervals from a file, which may hold anything.
 *
 * Input: 32 bytes, one bit for each page that is lazy at first; then operations of 4 bytes: what,
 * from, to, length in pages.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "ranges.h"

#define PAGES 256
#define PAGE  MFD_RANGES_PAGE
#define NONE  UINT64_MAX

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Where the page that is now at a number was when the task was dumped. */
struct plain {
	uint64_t img[PAGES];
	size_t n, gone, expected;
};

static void must(int ok)
{
	if (!ok)
		abort();
}

static void is_gone(void *arg, const struct mfd_range *piece)
{
	struct plain *p = arg;

	for (uint64_t i = 0; i < piece->pages; i++) {
		uint64_t at = piece->cur / PAGE + i;

		must(at < PAGES && p->img[at] == piece->img + i * PAGE);
		p->img[at] = NONE;
		p->gone++;
	}
}

static void compare(const struct mfd_ranges *r, const struct plain *p)
{
	uint64_t bit = 0, img = 0;
	size_t n = 0;

	for (uint64_t i = 0; i < PAGES; i++) {
		const struct mfd_range *x = mfd_ranges_find(r, i * PAGE);

		must(x ? x->img + (i * PAGE - x->cur) == p->img[i] : p->img[i] == NONE);
		n += p->img[i] != NONE;
	}
	must(n + p->gone == r->bits);
	for (size_t i = 0; i < r->n; i++) {
		const struct mfd_range *x = &r->by_bit[i];

		must(x->pages && x->bit >= bit && x->img >= img);
		bit = x->bit + x->pages;
		img = x->img + x->pages * PAGE;
		must(mfd_ranges_from_bit(r, x->bit) == x && mfd_ranges_from_img(r, x->img) == x);
	}
	must(bit <= r->bits);
}

static void expect(struct plain *p, uint64_t from, uint64_t n)
{
	p->expected = p->gone;
	for (uint64_t i = from; i < from + n && i < PAGES; i++)
		p->expected += p->img[i] != NONE;
}

static void remap(struct mfd_ranges *r, struct plain *p, uint64_t from, uint64_t to, uint64_t n)
{
	uint64_t moved[PAGES];
	int overlap = from < to + n && to < from + n, ret;

	memcpy(moved, p->img + from, n * sizeof(*moved));
	expect(p, to, overlap ? 0 : n);
	ret = mfd_ranges_remap(r, from * PAGE, to * PAGE, n * PAGE, is_gone, p);
	if (!n || overlap) {
		must(ret == -EINVAL || (!n && !ret));
		return;
	}
	must(!ret && p->gone == p->expected);
	memset(p->img + from, 0xff, n * sizeof(*moved));
	memcpy(p->img + to, moved, n * sizeof(*moved));
}

static void step(struct mfd_ranges *r, struct plain *p, const uint8_t op[4])
{
	uint64_t from = op[1], to = op[2], n = op[3], most = from > to ? from : to;

	if ((op[0] & 3) == 3) { /* not aligned: nothing changes */
		expect(p, 0, 0);
		must(mfd_ranges_remove(r, from * PAGE + 1 + op[2], n * PAGE + 1, is_gone, p) ==
		     -EINVAL);
	} else if (op[0] & 1) {
		expect(p, from, n);
		must(!mfd_ranges_remove(r, from * PAGE, n * PAGE, is_gone, p));
	} else {
		remap(r, p, from, to, n > PAGES - most ? PAGES - most : n);
		return;
	}
	must(p->gone == p->expected);
}

/* What it accepts came from `img` by removing and moving: each page once, none that img lacks. */
static void from_file(const uint8_t *data, size_t size, const struct mfd_ranges *img)
{
	size_t n = size / sizeof(struct mfd_range);
	struct mfd_range *list = malloc(n * sizeof(*list) + 1);
	struct mfd_ranges to = { 0 };
	uint64_t pages = 0;
	int ret;

	must(list != NULL);
	if (n) /* data may be NULL */
		memcpy(list, data, n * sizeof(*list));
	ret = mfd_ranges_load(&to, list, n, img);
	must(!ret || ret == -EBADMSG);
	for (size_t i = 0; i < to.n; i++)
		pages += to.by_bit[i].pages;
	must(ret || pages <= img->bits);
	mfd_ranges_free(&to);
	free(list);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mfd_ranges r = { 0 }, img = { 0 };
	struct plain p = { .n = 0 };

	if (size < PAGES / 8)
		return 0;
	for (uint64_t i = 0; i < PAGES; i++) {
		int lazy = data[i / 8] >> (i % 8) & 1;

		p.img[i] = lazy ? i * PAGE : NONE;
		if (lazy)
			must(!mfd_ranges_append(&r, i * PAGE, 1));
	}
	data += PAGES / 8;
	size -= PAGES / 8;
	must(!mfd_ranges_copy(&img, &r));
	compare(&r, &p);
	for (const uint8_t *op = data; op + 4 <= data + size; op += 4) {
		step(&r, &p, op);
		compare(&r, &p);
	}
	/* What was made by removing and moving is taken back. */
	from_file((const uint8_t *)r.by_bit, r.n * sizeof(*r.by_bit), &img);
	from_file(data, size, &img);
	mfd_ranges_free(&r);
	mfd_ranges_free(&img);
	return 0;
}
