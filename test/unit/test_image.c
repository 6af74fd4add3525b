// SPDX-License-Identifier: GPL-2.0-only
/*
 * Images: what is written is read back, what is damaged is refused with file and offset, lazy
 * ranges are cut right.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image.h"
#include "images/criu.pb-c.h"
#include "text.h"
#include "tmpdir.h"

/*
 * ---- making images
 * --------------------------------------------------------------------------------
 */

static void put_raw(struct dir *d, const char *name, const void *buf, size_t len)
{
	int fd = openat(d->fd, name, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_int_equal(write(fd, buf, len), len);
	close(fd);
}

struct pe {
	uint64_t vaddr, pages;
	uint32_t flags;
	int old; /* the field of CRIU before 4.2 */
};

static void put_pagemap(struct dir *d, uint32_t task, const struct pe *pe, size_t n)
{
	MfdCriu__PagemapHead head = MFD_CRIU__PAGEMAP_HEAD__INIT;
	MfdCriu__PagemapEntry e[16];
	const ProtobufCMessage *all[17] = { &head.base };
	char name[32];

	for (size_t i = 0; i < n; i++) {
		mfd_criu__pagemap_entry__init(&e[i]);
		e[i].vaddr = pe[i].vaddr;
		e[i].has_flags = 1;
		e[i].flags = pe[i].flags;
		e[i].has_nr_pages = !pe[i].old;
		e[i].nr_pages = pe[i].pages;
		e[i].compat_nr_pages = pe[i].old ? pe[i].pages : 0;
		all[i + 1] = &e[i].base;
	}
	snprintf(name, sizeof(name), "pagemap-%u.img", task);
	assert_int_equal(mfd_image_write(d->fd, name, MFD_IMAGE_COMMON_MAGIC, MFD_IMAGE_PAGEMAP,
					 all, n + 1),
			 0);
}

static void put_mm(struct dir *d, uint32_t task, const uint64_t (*vma)[2], size_t n)
{
	MfdCriu__MmEntry mm = MFD_CRIU__MM_ENTRY__INIT;
	MfdCriu__VmaEntry v[8], *p[8];
	const ProtobufCMessage *msg = &mm.base;
	char name[32];

	for (size_t i = 0; i < n; i++) {
		mfd_criu__vma_entry__init(&v[i]);
		v[i].start = vma[i][0];
		v[i].end = vma[i][1];
		p[i] = &v[i];
	}
	mm.n_vmas = n;
	mm.vmas = p;
	snprintf(name, sizeof(name), "mm-%u.img", task);
	assert_int_equal(
		mfd_image_write(d->fd, name, MFD_IMAGE_COMMON_MAGIC, MFD_IMAGE_MM, &msg, 1), 0);
}

static int ranges_of(struct dir *d, uint32_t task, struct mfd_lazy_range **r, size_t *n,
		     const char **why)
{
	*why = "";
	return mfd_image_lazy_ranges(d->fd, task, r, n, why);
}

static void expect_ranges(struct dir *d, uint32_t task, const struct mfd_lazy_range *want, size_t n)
{
	struct mfd_lazy_range *r;
	const char *why;
	size_t got;

	assert_int_equal(ranges_of(d, task, &r, &got, &why), 0);
	assert_int_equal(got, n);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(r[i].start, want[i].start);
		assert_int_equal(r[i].pages, want[i].pages);
	}
	free(r);
}

static void expect_refused(struct dir *d, uint32_t task, const char *part)
{
	struct mfd_lazy_range *r;
	const char *why;
	size_t n;

	assert_int_equal(ranges_of(d, task, &r, &n, &why), -EBADMSG);
	assert_non_null(strstr(why, part));
	assert_null(r);
	assert_int_equal(n, 0);
}

/*
 * ---- lazy ranges
 * --------------------------------------------------------------------------------
 */

static void test_ranges_are_cut_at_mappings(void **state)
{
	const uint64_t vmas[][2] = { { 0x10000, 0x12000 },
				     { 0x12000, 0x20000 },
				     { 0x30000, 0x31000 } };
	const struct pe pes[] = {
		{ 0x10000, 1, MFD_PE_PRESENT, 0 },
		{ 0x11000, 3, MFD_PE_LAZY, 0 },
		{ 0x30000, 1, MFD_PE_LAZY | MFD_PE_PRESENT, 0 },
	};
	const struct mfd_lazy_range want[] = { { 0x11000, 1 }, { 0x12000, 2 }, { 0x30000, 1 } };

	put_mm(*state, 7, vmas, 3);
	put_pagemap(*state, 7, pes, 3);
	expect_ranges(*state, 7, want, 3);
}

static void test_neighbours_are_joined(void **state)
{
	const uint64_t vmas[][2] = { { 0x10000, 0x20000 }, { 0x20000, 0x30000 } };
	const struct pe pes[] = {
		{ 0x18000, 4, MFD_PE_LAZY, 0 },
		{ 0x1c000, 4, MFD_PE_LAZY, 0 },
		{ 0x20000, 2, MFD_PE_LAZY, 0 },
	};
	const struct mfd_lazy_range want[] = { { 0x18000, 8 }, { 0x20000, 2 } };

	put_mm(*state, 7, vmas, 2);
	put_pagemap(*state, 7, pes, 3);
	expect_ranges(*state, 7, want, 2);
}

static void test_old_page_count(void **state)
{
	const uint64_t vmas[][2] = { { 0x10000, 0x20000 } };
	const struct pe pes[] = { { 0x10000, 5, MFD_PE_LAZY, 1 } };
	const struct mfd_lazy_range want[] = { { 0x10000, 5 } };

	put_mm(*state, 7, vmas, 1);
	put_pagemap(*state, 7, pes, 1);
	expect_ranges(*state, 7, want, 1);
}

static void test_nothing_lazy(void **state)
{
	const uint64_t vmas[][2] = { { 0x10000, 0x20000 },
				     { 0xffffffffff600000, 0xffffffffff601000 } };
	const struct pe pes[] = { { 0x10000, 5, MFD_PE_PRESENT, 0 } };

	put_mm(*state, 7, vmas, 2);
	put_pagemap(*state, 7, pes, 1);
	expect_ranges(*state, 7, NULL, 0);
}

static void test_no_pagemap_is_enoent(void **state)
{
	struct mfd_lazy_range *r;
	const char *why;
	size_t n;

	assert_int_equal(ranges_of(*state, 7, &r, &n, &why), -ENOENT);
}

static void test_no_mm_is_damage(void **state)
{
	const struct pe pes[] = { { 0x10000, 5, MFD_PE_LAZY, 0 } };

	put_pagemap(*state, 7, pes, 1);
	expect_refused(*state, 7, "mm-7.img is missing");
}

static void test_lazy_outside_mappings(void **state)
{
	const uint64_t vmas[][2] = { { 0x10000, 0x12000 } };
	const struct pe after[] = { { 0x11000, 2, MFD_PE_LAZY, 0 } },
			before[] = { { 0xf000, 1, MFD_PE_LAZY, 0 } };

	put_mm(*state, 7, vmas, 1);
	put_pagemap(*state, 7, after, 1);
	expect_refused(*state, 7, "no mapping");
	put_pagemap(*state, 7, before, 1);
	expect_refused(*state, 7, "no mapping");
}

static void test_bad_pagemap_entries(void **state)
{
	const uint64_t vmas[][2] = { { 0x1000, 0x100000000000000 } };
	const struct pe bad[][2] = {
		{ { 0x1001, 1, MFD_PE_LAZY, 0 } },				  /* not a page */
		{ { 0x5000, 2, MFD_PE_LAZY, 0 }, { 0x6000, 1, MFD_PE_LAZY, 0 } }, /* overlap */
		{ { 0x5000, 2, 0, 0 }, { 0x1000, 1, MFD_PE_LAZY, 0 } },		  /* backwards */
		{ { 0x100000000000000, 1, MFD_PE_LAZY, 0 } },			  /* too high */
		{ { 0x1000, UINT64_MAX, MFD_PE_LAZY, 0 } },			  /* wraps */
		/* wraps in bytes */
		{ { 0x1000, 1ULL << 52, MFD_PE_LAZY, 0 } },
	};

	put_mm(*state, 7, vmas, 1);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		put_pagemap(*state, 7, bad[i], bad[i][1].vaddr ? 2 : 1);
		expect_refused(*state, 7, "pagemap-7.img");
	}
}

static void test_bad_mappings(void **state)
{
	const uint64_t bad[][2][2] = {
		{ { 0x2000, 0x1000 } },
		{ { 0x1000, 0x1000 } },
		{ { 0x1001, 0x2000 } },
		{ { 0x1000, 0x3000 }, { 0x2000, 0x4000 } },
		{ { 0x5000, 0x6000 }, { 0x1000, 0x2000 } },
	};
	const struct pe pes[] = { { 0x1000, 1, MFD_PE_LAZY, 0 } };

	put_pagemap(*state, 7, pes, 1);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		put_mm(*state, 7, bad[i], bad[i][1][0] ? 2 : 1);
		expect_refused(*state, 7, "mm-7.img");
	}
}

/*
 * ---- framing
 * --------------------------------------------------------------------------------
 */

static void put_pstree(struct dir *d, const uint32_t *pids, size_t n)
{
	MfdCriu__PstreeEntry e[8];
	const ProtobufCMessage *all[8];

	for (size_t i = 0; i < n; i++) {
		mfd_criu__pstree_entry__init(&e[i]);
		e[i].pid = pids[i];
		all[i] = &e[i].base;
	}
	assert_int_equal(mfd_image_write(d->fd, "pstree.img", MFD_IMAGE_COMMON_MAGIC,
					 MFD_IMAGE_PSTREE, all, n),
			 0);
}

static void test_tasks(void **state)
{
	const uint32_t want[] = { 1, 17, 4000000 };
	struct dir *d = *state;
	const char *why;
	uint32_t *pids;
	size_t n;

	assert_int_equal(mfd_image_tasks(d->fd, &pids, &n, &why), -ENOENT);
	put_pstree(d, want, 3);
	assert_int_equal(mfd_image_tasks(d->fd, &pids, &n, &why), 0);
	assert_int_equal(n, 3);
	assert_memory_equal(pids, want, sizeof(want));
	free(pids);
}

/*
 * Every shorter file is either a shorter list or refused; never accepted as whole, never a crash.
 */
static void test_truncation(void **state)
{
	const uint32_t want[] = { 1, 17, 4000000 };
	struct dir *d = *state;
	struct stat st;
	const char *why;
	uint32_t *pids;
	size_t n;
	int ret;

	put_pstree(d, want, 3);
	assert_int_equal(fstatat(d->fd, "pstree.img", &st, 0), 0);
	for (off_t len = st.st_size - 1; len >= 0; len--) {
		int fd = openat(d->fd, "pstree.img", O_WRONLY);

		assert_int_equal(ftruncate(fd, len), 0);
		close(fd);
		ret = mfd_image_tasks(d->fd, &pids, &n, &why);
		assert_true(ret == -EBADMSG || (!ret && n < 3));
		if (ret)
			assert_true(strstr(why, "pstree.img") && strstr(why, "offset"));
		free(pids);
	}
}

static void expect_bad_pstree(struct dir *d, const uint32_t *words, size_t bytes, const char *part)
{
	const char *why = "";
	uint32_t *pids;
	size_t n;

	put_raw(d, "pstree.img", words, bytes);
	assert_int_equal(mfd_image_tasks(d->fd, &pids, &n, &why), -EBADMSG);
	assert_non_null(strstr(why, part));
}

static void test_bad_frames(void **state)
{
	const uint32_t zero[4] = { 0 };
	const uint32_t other[] = { MFD_IMAGE_COMMON_MAGIC, MFD_IMAGE_MM };
	const uint32_t huge[] = { MFD_IMAGE_COMMON_MAGIC, MFD_IMAGE_PSTREE, 0xffffffff, 0 };
	const uint32_t more[] = { MFD_IMAGE_COMMON_MAGIC, MFD_IMAGE_PSTREE, 5, 0 };
	const uint32_t junk[] = { MFD_IMAGE_COMMON_MAGIC, MFD_IMAGE_PSTREE, 4, 0xffffffff };
	const uint32_t none[] = { MFD_IMAGE_COMMON_MAGIC, MFD_IMAGE_PSTREE, 0 };

	expect_bad_pstree(*state, zero, 0, "offset 0");
	expect_bad_pstree(*state, zero, sizeof(zero), "not an image");
	expect_bad_pstree(*state, other, sizeof(other), "another kind");
	expect_bad_pstree(*state, huge, sizeof(huge),
			  "offset 8 claims 4294967295 bytes, 4 are left");
	expect_bad_pstree(*state, more, sizeof(more), "offset 8 claims 5 bytes, 4 are left");
	expect_bad_pstree(*state, junk, sizeof(junk), "offset 8 is not a");
	/* required fields are missing */
	expect_bad_pstree(*state, none, sizeof(none), "offset 8 is not a");
}

static void test_not_a_file(void **state)
{
	struct dir *d = *state;
	struct mfd_image *img;
	const char *why;

	assert_int_equal(mkfifoat(d->fd, "pstree.img", 0600), 0);
	assert_int_equal(mfd_image_open(d->fd, "pstree.img", MFD_IMAGE_PSTREE, &img, &why),
			 -EBADMSG);
	/* why may be NULL */
	assert_int_equal(mfd_image_open(d->fd, "none", MFD_IMAGE_PSTREE, &img, NULL), -ENOENT);
}

static void test_inventory_has_one_magic(void **state)
{
	MfdCriu__InventoryEntry e = MFD_CRIU__INVENTORY_ENTRY__INIT;
	const ProtobufCMessage *msg = &e.base;
	struct dir *d = *state;
	struct mfd_image *img;
	ProtobufCMessage *got;
	const char *why;

	e.img_version = 2;
	assert_int_equal(mfd_image_write(d->fd, "inventory.img", 0, MFD_IMAGE_INVENTORY, &msg, 1),
			 0);
	assert_int_equal(mfd_image_open(d->fd, "inventory.img", MFD_IMAGE_INVENTORY, &img, &why),
			 0);
	assert_int_equal(mfd_image_offset(img), 4);
	assert_int_equal(mfd_image_next(img, &mfd_criu__inventory_entry__descriptor, &got, &why),
			 1);
	assert_int_equal(((MfdCriu__InventoryEntry *)got)->img_version, 2);
	protobuf_c_message_free_unpacked(got, NULL);
	assert_int_equal(mfd_image_next(img, &mfd_criu__inventory_entry__descriptor, &got, &why),
			 0);
	assert_int_equal(mfd_image_offset(img), mfd_image_size(img));
	mfd_image_close(img);
}

static void test_write_replaces(void **state)
{
	const uint32_t one[] = { 1 }, two[] = { 1, 2 };
	struct dir *d = *state;
	const char *why;
	struct stat st;
	uint32_t *pids;
	char cmd[96];
	size_t n;

	put_pstree(d, one, 1);
	put_pstree(d, two, 2);
	assert_int_equal(mfd_image_tasks(d->fd, &pids, &n, &why), 0);
	assert_int_equal(n, 2);
	free(pids);
	assert_int_equal(fstatat(d->fd, "pstree.img", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	/* no temporary file is left */
	snprintf(cmd, sizeof(cmd), "[ \"$(ls -A %s)\" = pstree.img ]", d->path);
	assert_int_equal(system(cmd), 0);
}

static void test_write_fails_cleanly(void **state)
{
	MfdCriu__PstreeEntry e = MFD_CRIU__PSTREE_ENTRY__INIT;
	const ProtobufCMessage *msg = &e.base;
	struct dir *d = *state;
	char cmd[96];

	assert_int_equal(mkdirat(d->fd, "pstree.img", 0700), 0); /* rename cannot replace it */
	assert_int_equal(mfd_image_write(d->fd, "pstree.img", MFD_IMAGE_COMMON_MAGIC,
					 MFD_IMAGE_PSTREE, &msg, 1),
			 -EISDIR);
	assert_int_equal(mfd_image_write(-1, "pstree.img", MFD_IMAGE_COMMON_MAGIC, MFD_IMAGE_PSTREE,
					 &msg, 1),
			 -EBADF);
	snprintf(cmd, sizeof(cmd), "[ \"$(ls -A %s)\" = pstree.img ]", d->path);
	assert_int_equal(system(cmd), 0);
}

/*
 * ---- show
 * --------------------------------------------------------------------------------
 */

static int show(struct dir *d, const char *name, char *out, size_t len, const char **why)
{
	int fd = openat(d->fd, "out", O_RDWR | O_CREAT | O_TRUNC, 0600), ret;
	ssize_t n;

	*why = NULL;
	ret = mfd_image_show(d->fd, name, fd, why);
	n = pread(fd, out, len - 1, 0);
	assert_true(n >= 0);
	out[n] = 0;
	close(fd);
	return ret;
}

static void test_show(void **state)
{
	const uint64_t vmas[][2] = { { 0x10000, 0x12000 } };
	const struct pe pes[] = { { 0x10000, 1, MFD_PE_LAZY | 8, 0 },
				  { 0x11000, 3, MFD_PE_PRESENT, 1 } };
	const char *why;
	char out[4096];

	put_pagemap(*state, 7, pes, 2);
	put_mm(*state, 7, vmas, 1);
	assert_int_equal(show(*state, "pagemap-7.img", out, sizeof(out), &why), 0);
	assert_non_null(strstr(
		out,
		"{ \"vaddr\": \"0x10000\", \"flags\": [ \"LAZY\", \"0x8\" ], \"nr_pages\": 1 }"));
	assert_non_null(strstr(
		out, "{ \"vaddr\": \"0x11000\", \"nr_pages\": 3, \"flags\": [ \"PRESENT\" ] }"));
	assert_int_equal(show(*state, "mm-7.img", out, sizeof(out), &why), 0);
	assert_non_null(strstr(out, "\"start\": \"0x10000\", \"end\": \"0x12000\""));
}

static void test_show_others(void **state)
{
	const uint32_t core[] = { MFD_IMAGE_COMMON_MAGIC, 0x55053847, 0 },
		       never[] = { MFD_IMAGE_SERVICE_MAGIC, 0xabcdef01 };
	const char *why;
	char out[4096];

	put_raw(*state, "core-7.img", core, sizeof(core));
	put_raw(*state, "never.img", never, sizeof(never));
	put_raw(*state, "pages-1.img", core, 5);
	assert_int_equal(show(*state, "core-7.img", out, sizeof(out), &why), 0);
	assert_non_null(strstr(out, "\"magic\": \"CORE\",\n  \"bytes\": 12"));
	assert_int_equal(show(*state, "never.img", out, sizeof(out), &why), 0);
	assert_non_null(strstr(out, "\"magic\": \"0xabcdef01\""));
	assert_int_equal(show(*state, "pages-1.img", out, sizeof(out), &why), 0);
	assert_non_null(strstr(out, "\"magic\": null,\n  \"bytes\": 5"));
	assert_int_equal(show(*state, "none.img", out, sizeof(out), &why), -ENOENT);
	assert_non_null(strstr(why, "none.img"));
}

static void test_show_damaged(void **state)
{
	const uint32_t pids[] = { 17, 18 };
	struct dir *d = *state;
	const char *why;
	char out[4096];
	int fd;

	put_pstree(d, pids, 2);
	fd = openat(d->fd, "pstree.img", O_WRONLY | O_APPEND);
	assert_int_equal(write(fd, "\x40\0\0\0rest", 8), 8);
	close(fd);
	assert_int_equal(show(d, "pstree.img", out, sizeof(out), &why), -EBADMSG);
	assert_non_null(strstr(why, "claims 64 bytes, 4 are left"));
	assert_non_null(strstr(out, "\"pid\": 18"));
	assert_non_null(strstr(out, "\"error\""));
}

static void test_text_clean(void **state)
{
	char turn[] = "a\xe2\x80\xae"
		      "b\xe2\x81\xa6"
		      "c";
	char good[] = "Zürich \xe2\x82\xac \xf0\x9f\x98\x80",
	     bad[] = "a\x1b[2J\n\x80\xc0\xaf\xed\xa0\x80\xc2\x9b\x7f\xf0\x9f";

	assert_string_equal(mfd_image_text_clean(good), "Zürich \xe2\x82\xac \xf0\x9f\x98\x80");
	assert_string_equal(mfd_image_text_clean(turn), "a???b???c");
	assert_true(mfd_image_text_is_clean(good));
	assert_false(mfd_image_text_is_clean("\xc2\x9b"));
	assert_string_equal(mfd_image_text_clean(bad), "a?[2J????????????");
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, tmpdir_setup, tmpdir_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_ranges_are_cut_at_mappings),
		TEST(test_neighbours_are_joined),
		TEST(test_old_page_count),
		TEST(test_nothing_lazy),
		TEST(test_no_pagemap_is_enoent),
		TEST(test_no_mm_is_damage),
		TEST(test_lazy_outside_mappings),
		TEST(test_bad_pagemap_entries),
		TEST(test_bad_mappings),
		TEST(test_tasks),
		TEST(test_truncation),
		TEST(test_bad_frames),
		TEST(test_not_a_file),
		TEST(test_inventory_has_one_magic),
		TEST(test_write_replaces),
		TEST(test_write_fails_cleanly),
		TEST(test_show),
		TEST(test_show_others),
		TEST(test_show_damaged),
		TEST(test_text_clean),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
