// SPDX-License-Identifier: GPL-2.0-only
/*
 * Lazy pages added to a pagemap image: what CRIU listed stays, nothing is listed twice, and nothing
 * goes into mappings that are not lazy.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "images/criu.pb-c.h"
#include "pagemap_merge.h"
#include "tmpdir.h"

#define PAGE	 4096ULL
#define TASK	 7
#define LAZY	 0x22U /* MAP_PRIVATE | MAP_ANONYMOUS */
#define N(a)	 (sizeof(a) / sizeof((a)[0]))
#define AT(page) ((page)*PAGE)

struct entry {
	uint64_t page, pages;
	uint32_t flags;
};

struct vma {
	uint64_t page, end;
	uint32_t flags, status;
};

static void put_pagemap(struct dir *d, const struct entry *entry, size_t n, int old)
{
	MfdCriu__PagemapHead head = MFD_CRIU__PAGEMAP_HEAD__INIT;
	MfdCriu__PagemapEntry *e = calloc(n + 1, sizeof(*e));
	const ProtobufCMessage **all = calloc(n + 1, sizeof(*all));

	head.pages_id = 3;
	all[0] = &head.base;
	for (size_t i = 0; i < n; i++) {
		mfd_criu__pagemap_entry__init(&e[i]);
		e[i].vaddr = AT(entry[i].page);
		e[i].has_flags = 1;
		e[i].flags = entry[i].flags;
		e[i].has_nr_pages = !old;
		e[i].nr_pages = old ? 0 : entry[i].pages;
		e[i].compat_nr_pages = old ? (uint32_t)entry[i].pages : 0;
		all[i + 1] = &e[i].base;
	}
	assert_int_equal(mfd_image_write(d->fd, "pagemap-7.img", MFD_IMAGE_COMMON_MAGIC,
					 MFD_IMAGE_PAGEMAP, all, n + 1),
			 0);
	free(e);
	free(all);
}

static void put_mm(struct dir *d, const struct vma *vma, size_t n)
{
	MfdCriu__MmEntry mm = MFD_CRIU__MM_ENTRY__INIT;
	MfdCriu__VmaEntry v[8], *p[8];
	const ProtobufCMessage *msg = &mm.base;

	for (size_t i = 0; i < n; i++) {
		mfd_criu__vma_entry__init(&v[i]);
		v[i].start = AT(vma[i].page);
		v[i].end = AT(vma[i].end);
		v[i].flags = vma[i].flags;
		v[i].status = vma[i].status;
		p[i] = &v[i];
	}
	mm.n_vmas = n;
	mm.vmas = p;
	assert_int_equal(mfd_image_write(d->fd, "mm-7.img", MFD_IMAGE_COMMON_MAGIC, MFD_IMAGE_MM,
					 &msg, 1),
			 0);
}

/* What the image lists, entry by entry. */
struct listed {
	struct entry e[512];
	size_t n;
	int old; /* how many have the count in the old field */
	uint32_t pages_id;
};

static int each(void *ctx, ProtobufCMessage **msg)
{
	const MfdCriu__PagemapEntry *e = (const MfdCriu__PagemapEntry *)*msg;
	struct listed *l = ctx;

	if ((*msg)->descriptor == &mfd_criu__pagemap_head__descriptor) {
		l->pages_id = ((const MfdCriu__PagemapHead *)*msg)->pages_id;
		return 0;
	}
	assert_true(l->n < N(l->e));
	assert_true(e->has_nr_pages ? !e->compat_nr_pages : e->compat_nr_pages > 0);
	l->old += !e->has_nr_pages;
	l->e[l->n++] = (struct entry){ e->vaddr / PAGE,
				       e->has_nr_pages ? e->nr_pages : e->compat_nr_pages,
				       e->flags };
	return 0;
}

static void read_back(struct dir *d, struct listed *l)
{
	memset(l, 0, sizeof(*l));
	assert_int_equal(mfd_image_each(d->fd, "pagemap-7.img", MFD_IMAGE_PAGEMAP, each, l, NULL),
			 0);
	assert_int_equal(l->pages_id, 3);
}

static void expect(struct dir *d, const struct entry *want, size_t n)
{
	struct listed l;

	read_back(d, &l);
	assert_int_equal(l.n, n);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(l.e[i].page, want[i].page);
		assert_int_equal(l.e[i].pages, want[i].pages);
		assert_int_equal(l.e[i].flags, want[i].flags);
	}
}

static int merge(struct dir *d, const struct entry *more, size_t n, struct mfd_pagemap_merged *m,
		 const char **why)
{
	struct mfd_lazy_range r[64];

	assert_true(n <= N(r));
	for (size_t i = 0; i < n; i++)
		r[i] = (struct mfd_lazy_range){ AT(more[i].page), more[i].pages };
	return mfd_image_pagemap_merge(d->fd, TASK, r, n, m, why);
}

static const struct vma three[] = { { 10, 100, LAZY, 0 },
				    { 100, 200, LAZY, 0 },
				    { 300, 400, LAZY, 0 } };
static const struct entry by_criu[] = { { 2, 3, MFD_PE_PRESENT },
					{ 20, 5, MFD_PE_LAZY },
					{ 250, 1, MFD_PE_PRESENT } };

static void test_added_in_order(void **state)
{
	static const struct entry more[] = { { 12, 2, 0 }, { 50, 10, 0 }, { 300, 7, 0 } };
	static const struct entry want[] = { { 2, 3, MFD_PE_PRESENT },	 { 12, 2, MFD_PE_LAZY },
					     { 20, 5, MFD_PE_LAZY },	 { 50, 10, MFD_PE_LAZY },
					     { 250, 1, MFD_PE_PRESENT }, { 300, 7, MFD_PE_LAZY } };
	struct mfd_pagemap_merged m;
	struct dir *d = *state;

	put_pagemap(d, by_criu, N(by_criu), 0);
	put_mm(d, three, N(three));
	assert_int_equal(merge(d, more, N(more), &m, NULL), 0);
	assert_int_equal(m.added, 19);
	assert_int_equal(m.listed, 0);
	expect(d, want, N(want));
}

/* As if nothing had been hidden: CRIU's entries stay, also those that it did not call lazy. */
static void test_listed_already(void **state)
{
	static const struct entry criu[] = { { 20, 5, MFD_PE_LAZY },
					     { 25, 1, MFD_PE_PRESENT },
					     { 30, 2, MFD_PE_PARENT } };
	static const struct entry more[] = { { 18, 20, 0 } };
	static const struct entry want[] = { { 18, 2, MFD_PE_LAZY },	{ 20, 5, MFD_PE_LAZY },
					     { 25, 1, MFD_PE_PRESENT }, { 26, 4, MFD_PE_LAZY },
					     { 30, 2, MFD_PE_PARENT },	{ 32, 6, MFD_PE_LAZY } };
	struct mfd_pagemap_merged m;
	struct dir *d = *state;

	put_pagemap(d, criu, N(criu), 0);
	put_mm(d, three, N(three));
	assert_int_equal(merge(d, more, 1, &m, NULL), 0);
	assert_int_equal(m.added, 12);
	assert_int_equal(m.listed, 8);
	expect(d, want, N(want));
	/* Once more: all of it is there now. */
	assert_int_equal(merge(d, more, 1, &m, NULL), 0);
	assert_int_equal(m.added, 0);
	assert_int_equal(m.listed, 20);
	expect(d, want, N(want));
}

static void test_form_of_criu_before_4_2(void **state)
{
	static const struct entry more[] = { { 40, 8, 0 } };
	struct mfd_pagemap_merged m;
	struct listed l;
	struct dir *d = *state;

	put_pagemap(d, by_criu, N(by_criu), 1);
	put_mm(d, three, N(three));
	assert_int_equal(merge(d, more, 1, &m, NULL), 0);
	read_back(d, &l);
	assert_int_equal(l.n, 4);
	assert_int_equal(l.old, 4);
}

static void test_split_at_mappings_and_limits(void **state)
{
	static const uint64_t huge = 5ULL << 29; /* pages: 10 TiB */
	const struct vma mapping[] = { { 10, 100, LAZY, 0 }, { 100, 100 + huge, LAZY, 0 } };
	const struct entry more[] = { { 90, 10 + huge, 0 } };
	struct mfd_pagemap_merged m;
	struct listed l;
	struct dir *d = *state;

	put_pagemap(d, by_criu, 1, 0);
	put_mm(d, mapping, N(mapping));
	assert_int_equal(merge(d, more, 1, &m, NULL), 0);
	assert_int_equal(m.added, 10 + huge);
	read_back(d, &l);
	assert_int_equal(l.n, 5);
	assert_int_equal(l.e[1].pages, 10);
	assert_int_equal(l.e[2].pages, 1 << 30);
	assert_int_equal(l.e[4].pages, huge - (2U << 30));
}

static void test_mappings_that_do_not_travel(void **state)
{
	static const struct vma mapping[] = {
		{ 10, 100, LAZY, 0 },
		{ 100, 200, LAZY | 0x08, 0 },
		{ 200, 300, LAZY, 0 },
		{ 20, 30, 0, MFD_VMA_GUARD }, /* inside the first, listed behind all */
	};
	static const struct entry more[] = { { 15, 4, 0 }, { 95, 115, 0 } };
	static const struct entry want[] = { { 15, 4, MFD_PE_LAZY },
					     { 95, 5, MFD_PE_LAZY },
					     { 200, 10, MFD_PE_LAZY } };
	struct mfd_pagemap_merged m;
	struct dir *d = *state;

	put_pagemap(d, NULL, 0, 0);
	put_mm(d, mapping, N(mapping));
	assert_int_equal(merge(d, more, N(more), &m, NULL), 0);
	assert_int_equal(m.dropped, 100);
	expect(d, want, N(want));
}

static void expect_refused(struct dir *d, const struct vma *mapping, size_t n,
			   const struct entry *more)
{
	struct mfd_pagemap_merged m;
	const char *why = NULL;
	put_pagemap(d, by_criu, N(by_criu), 0);
	put_mm(d, mapping, n);
	assert_int_equal(merge(d, more, 1, &m, &why), -EBADMSG);
	assert_non_null(strstr(why, "no lazy mapping"));
	expect(d, by_criu, N(by_criu));
}

static void test_outside_lazy_mappings(void **state)
{
	static const struct vma file[] = { { 10, 100, 0x02, 0 } },
				shared[] = { { 10, 100, 0x21, 0 } },
				locked[] = { { 10, 100, LAZY | 0x2000, 0 } },
				hugetlb[] = { { 10, 100, LAZY | 0x40000, 0 } };
	static const struct entry inside = { 40, 8, 0 }, hole = { 210, 1, 0 },
				  over = { 390, 20, 0 };

	expect_refused(*state, file, 1, &inside);
	expect_refused(*state, shared, 1, &inside);
	expect_refused(*state, locked, 1, &inside);
	expect_refused(*state, hugetlb, 1, &inside);
	expect_refused(*state, three, N(three), &hole);
	expect_refused(*state, three, N(three), &over);
}

/* ---- any lists, page by page ---- */

#define PAGES 400

/* Runs of at most 9 pages of [from, PAGES). */
static size_t random_list(struct entry *e, uint64_t from, int flags)
{
	size_t n = 0;

	for (uint64_t at = from + (uint64_t)(rand() % 20); n < 40;) {
		uint64_t pages = 1 + (uint64_t)(rand() % 9);

		if (at + pages > PAGES)
			break;
		e[n++] = (struct entry){ at, pages, flags ? 1U << rand() % 3 : 0 };
		at += pages + (uint64_t)(rand() % 3 ? rand() % 15 : 0);
	}
	return n;
}

static void mark(uint8_t *page, const struct entry *e, size_t n, int lazy)
{
	for (size_t i = 0; i < n; i++)
		for (uint64_t k = 0; k < e[i].pages; k++) {
			assert_true(!lazy || !page[e[i].page + k]);
			if (!page[e[i].page + k])
				page[e[i].page + k] = (uint8_t)(1 + e[i].flags);
		}
}

static void test_any_lists(void **state)
{
	static const struct vma one[] = { { 0, PAGES, LAZY, 0 } };
	struct entry criu[64], more[64];
	struct mfd_pagemap_merged m;
	struct listed l;
	struct dir *d = *state;

	srand(1);
	put_mm(d, one, 1);
	for (int round = 0; round < 300; round++) {
		uint8_t want[PAGES] = { 0 }, got[PAGES] = { 0 };
		size_t nc = random_list(criu, 0, 1), nm = random_list(more, 0, 0);

		for (size_t i = 0; i < nm; i++)
			more[i].flags = MFD_PE_LAZY;
		mark(want, criu, nc, 0);
		mark(want, more, nm, 0);
		put_pagemap(d, criu, nc, 0);
		assert_int_equal(merge(d, more, nm, &m, NULL), 0);
		read_back(d, &l);
		mark(got, l.e, l.n, 1); /* no page twice */
		assert_memory_equal(got, want, sizeof(want));
		for (size_t i = 1; i < l.n; i++)
			assert_true(l.e[i].page >= l.e[i - 1].page + l.e[i - 1].pages);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_added_in_order, tmpdir_setup, tmpdir_teardown),
		cmocka_unit_test_setup_teardown(test_listed_already, tmpdir_setup, tmpdir_teardown),
		cmocka_unit_test_setup_teardown(test_form_of_criu_before_4_2, tmpdir_setup,
						tmpdir_teardown),
		cmocka_unit_test_setup_teardown(test_split_at_mappings_and_limits, tmpdir_setup,
						tmpdir_teardown),
		cmocka_unit_test_setup_teardown(test_mappings_that_do_not_travel, tmpdir_setup,
						tmpdir_teardown),
		cmocka_unit_test_setup_teardown(test_outside_lazy_mappings, tmpdir_setup,
						tmpdir_teardown),
		cmocka_unit_test_setup_teardown(test_any_lists, tmpdir_setup, tmpdir_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
