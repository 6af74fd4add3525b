/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The lazy pages of one task as ordered intervals: where a page is now (`cur`, follows mremap),
 * where it was when the task was dumped (`img`, the key of the page table) and its number among all
 * lazy pages of the task (`bit`, the index into bitmaps).
 *
 * img and bit of a page never change and rise together, so one array in that order serves lookups
 * by either; a second one is ordered by cur.  Every page is in at most one interval.  Changes cost
 * O(number of intervals), lookups O(log).  No locks inside.
 */
#ifndef MFD_RANGES_H
#define MFD_RANGES_H

#include <stddef.h>
#include <stdint.h>

#define MFD_RANGES_PAGE 4096ULL
/* of a task: 16 TiB; an image that says more is corrupt */
#define MFD_RANGES_MAX_PAGES (1ULL << 32)

struct mfd_range {
	uint64_t cur, img; /* bytes */
	uint64_t bit, pages;
};

struct mfd_ranges {
	struct mfd_range *by_cur, *by_bit; /* the same n intervals in two orders */
	size_t n, room;
	uint64_t bits; /* pages ever added */
};

/* All zero is an empty set. */
void mfd_ranges_free(struct mfd_ranges *r);
/*
 * Add an interval behind all others (cur = img = start).  -EINVAL: not ascending, not page-aligned,
 * too large; -ENOMEM.  Only before the first remove or remap.
 */
int mfd_ranges_append(struct mfd_ranges *r, uint64_t start, uint64_t pages);
/* `to` is empty; -ENOMEM */
int mfd_ranges_copy(struct mfd_ranges *to, const struct mfd_ranges *from);
/*
 * `to`, empty, becomes the n intervals of `list`, which is in the order of by_bit and may hold
 * anything: -EBADMSG when it cannot have come from `img` by removing and moving.  -ENOMEM.
 */
int mfd_ranges_load(struct mfd_ranges *to, const struct mfd_range *list, size_t n,
		    const struct mfd_ranges *img);

/* The interval that holds address `cur`, or NULL. Pointers are valid until the next change. */
const struct mfd_range *mfd_ranges_find(const struct mfd_ranges *r, uint64_t cur);
/* The first interval that starts above address `cur`, or NULL. */
const struct mfd_range *mfd_ranges_above(const struct mfd_ranges *r, uint64_t cur);
/*
 * The first interval that ends after page number `bit` (after address `img`), or NULL: it holds it
 * or lies behind it.
 */
const struct mfd_range *mfd_ranges_from_bit(const struct mfd_ranges *r, uint64_t bit);
const struct mfd_range *mfd_ranges_from_img(const struct mfd_ranges *r, uint64_t img);

/* Called for every piece that is taken away; cur is where it was. */
typedef void mfd_ranges_gone(void *arg, const struct mfd_range *piece);

/* Take away what lies in [cur, cur + len). -EINVAL: not page-aligned; -ENOMEM: nothing changed. */
int mfd_ranges_remove(struct mfd_ranges *r, uint64_t cur, uint64_t len, mfd_ranges_gone *gone,
		      void *arg);
/*
 * Move what lies in [from, from + len) to `to`; what was at the destination is taken away.  -EINVAL
 * also when both overlap, which the kernel never does.
 */
int mfd_ranges_remap(struct mfd_ranges *r, uint64_t from, uint64_t to, uint64_t len,
		     mfd_ranges_gone *gone, void *arg);

#endif
