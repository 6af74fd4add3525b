// SPDX-License-Identifier: GPL-2.0-only
/*
 * The page store: contents, restart, torn journals, giving back, a full file system, many threads.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "pagestore.h"
#include "pagetable.h"

#define PAGE 4096UL

struct folder {
	char path[64];
	int fd;
};

static int setup(void **state)
{
	struct folder *f = calloc(1, sizeof(*f));

	strcpy(f->path, "/tmp/mfd-store-XXXXXX");
	assert_non_null(mkdtemp(f->path));
	f->fd = open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(f->fd >= 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct folder *f = *state;

	close(f->fd);
	umount2(f->path, MNT_DETACH);
	assert_int_equal(rmdir(f->path), 0); /* nothing is left in it */
	free(f);
	return 0;
}

static uint64_t put(struct mfd_pagestore *s, uint32_t pages, int byte)
{
	uint64_t index;
	void *mem;

	assert_int_equal(mfd_pagestore_reserve(s, pages, &index, &mem), 0);
	assert_ptr_equal(mem, mfd_pagestore_at(s, index));
	memset(mem, byte, pages * PAGE);
	return index;
}

static void note(struct mfd_pagestore *s, uint64_t vaddr, uint64_t pages, unsigned st,
		 uint64_t index)
{
	struct mfd_pagestore_record r;

	mfd_pagestore_record_fill(&r, 5, vaddr, pages, st, index);
	assert_int_equal(mfd_pagestore_append(s, &r, 1), 0);
}

struct seen {
	struct mfd_pagestore_record r[16];
	unsigned n;
	int refuse;
};

static int each(void *arg, const struct mfd_pagestore_record *r)
{
	struct seen *x = arg;

	if (x->refuse)
		return -ECANCELED;
	assert_true(x->n < 16);
	x->r[x->n++] = *r;
	return 0;
}

static void restart(void **state, int durable)
{
	struct folder *f = *state;
	struct mfd_error err = { 0 };
	struct mfd_pagestore *s;
	struct seen x = { 0 };
	uint64_t a, b;

	assert_int_equal(mfd_pagestore_create(f->fd, durable, &s, &err), 0);
	a = put(s, 3, 'a');
	b = put(s, 256, 'b');
	note(s, 0x10000, 3, MFD_PAGE_STORED, a);
	note(s, 0x7000000000, 1000000, MFD_PAGE_ZERO, 0);
	note(s, 0x20000, 256, MFD_PAGE_STORED, b);
	assert_int_equal(mfd_pagestore_bytes(s), 259 * PAGE);
	assert_int_equal(mfd_pagestore_sync(s), 0);
	mfd_pagestore_close(s);

	/* must not exist */
	assert_int_not_equal(mfd_pagestore_create(f->fd, durable, &s, &err), 0);
	assert_int_equal(mfd_pagestore_open(f->fd, &s, each, &x, &err), 0);
	assert_int_equal(x.n, 3);
	assert_int_equal(x.r[0].task, 5);
	assert_int_equal(x.r[1].vaddr, 0x7000000000);
	assert_int_equal(x.r[1].pages_flags, 1000000 << 8 | MFD_PAGE_ZERO);
	assert_int_equal(x.r[2].index, b);
	assert_int_equal(*(char *)mfd_pagestore_at(s, a + 2), 'a');
	assert_int_equal(((char *)mfd_pagestore_at(s, b + 255))[PAGE - 1], 'b');
	assert_int_equal(mfd_pagestore_bytes(s), 259 * PAGE);
	assert_true(put(s, 1, 'c') >= b + 256); /* goes on behind */
	mfd_pagestore_close(s);
	x.refuse = 1;
	assert_int_equal(mfd_pagestore_open(f->fd, &s, each, &x, NULL), -ECANCELED);
	assert_int_equal(mfd_pagestore_remove(f->fd), 0);
	assert_int_equal(mfd_pagestore_remove(f->fd), 0);
}

static void test_restart(void **state)
{
	restart(state, 0);
}

static void test_restart_durable(void **state)
{
	restart(state, 1);
}

/*
 * A store of a version that had it in one piece is full to the border of a step: what is handed out
 * next must not follow its last page in the file, since it does not in memory.
 */
static void test_full_step(void **state)
{
	const uint64_t last = (4UL << 30) / PAGE - 1;
	struct folder *f = *state;
	struct mfd_pagestore *s;
	struct seen x = { 0 };
	uint64_t index;
	int file;

	assert_int_equal(mfd_pagestore_create(f->fd, 1, &s, NULL), 0);
	put(s, 1, 'a');
	note(s, 0x10000, 1, MFD_PAGE_STORED, last);
	mfd_pagestore_close(s);
	file = openat(f->fd, "pages.store", O_WRONLY | O_CLOEXEC);
	assert_int_equal(pwrite(file, "b", 1, (off_t)(last * PAGE)), 1);
	close(file);
	assert_int_equal(mfd_pagestore_open(f->fd, &s, each, &x, NULL), 0);
	assert_int_equal(*(char *)mfd_pagestore_at(s, last), 'b');
	index = put(s, 2, 'c');
	assert_true(index > last + 1);
	note(s, 0x11000, 2, MFD_PAGE_STORED, index);
	mfd_pagestore_close(s);
	assert_int_equal(mfd_pagestore_open(f->fd, &s, each, &x, NULL), 0);
	assert_int_equal(*(char *)mfd_pagestore_at(s, last), 'b');
	assert_int_equal(*(char *)mfd_pagestore_at(s, index + 1), 'c');
	mfd_pagestore_close(s);
	assert_int_equal(mfd_pagestore_remove(f->fd), 0);
}

/* Whatever the journal ends with, what came before is kept and the next append is readable. */
static void test_torn(void **state)
{
	struct folder *f = *state;
	struct mfd_pagestore *s;
	char junk[100];

	memset(junk, 0x5a, sizeof(junk));
	for (size_t len = 1; len < sizeof(junk); len += 7) {
		struct seen x = { 0 };
		int fd;

		assert_int_equal(mfd_pagestore_create(f->fd, 0, &s, NULL), 0);
		note(s, 0x1000, 1, MFD_PAGE_STORED, put(s, 1, 1));
		mfd_pagestore_close(s);
		fd = openat(f->fd, "pages.journal", O_WRONLY | O_APPEND);
		assert_int_equal(write(fd, junk, len), len);
		close(fd);
		assert_int_equal(mfd_pagestore_open(f->fd, &s, each, &x, NULL), 0);
		assert_int_equal(x.n, 1);
		note(s, 0x2000, 1, MFD_PAGE_ZERO, 0);
		mfd_pagestore_close(s);
		x.n = 0;
		assert_int_equal(mfd_pagestore_open(f->fd, &s, each, &x, NULL), 0);
		assert_int_equal(x.n, 2);
		mfd_pagestore_close(s);
		assert_int_equal(mfd_pagestore_remove(f->fd), 0);
	}
}

/* Records that are whole but cannot be true are where the journal ends. */
static void test_lies(void **state)
{
	static const struct {
		uint64_t vaddr, pages, index;
	} lies[] = {
		{ 0x1001, 1, 0 },	   { 1ULL << 56, 1, 0 },      { 0x1000, 0, 0 },
		{ 0x1000, 1ULL << 45, 0 }, { 0x1000, 1, 1ULL << 47 }, { 0x1000, 2, UINT64_MAX }
	};
	struct folder *f = *state;
	struct mfd_pagestore *s;

	for (unsigned i = 0; i < sizeof(lies) / sizeof(*lies); i++) {
		struct seen x = { 0 };

		assert_int_equal(mfd_pagestore_create(f->fd, 0, &s, NULL), 0);
		note(s, 0x1000, 1, MFD_PAGE_STORED, put(s, 1, 1));
		note(s, lies[i].vaddr, lies[i].pages, MFD_PAGE_STORED, lies[i].index);
		mfd_pagestore_close(s);
		assert_int_equal(mfd_pagestore_open(f->fd, &s, each, &x, NULL), 0);
		assert_int_equal(x.n, 1);
		mfd_pagestore_close(s);
		assert_int_equal(mfd_pagestore_remove(f->fd), 0);
	}
}

static int truncate_store(struct folder *f, uint64_t bytes)
{
	char path[96];

	snprintf(path, sizeof(path), "%s/pages.store", f->path);
	return truncate(path, (off_t)bytes);
}

static uint64_t blocks_of(struct folder *f)
{
	char path[96];
	struct stat st;

	snprintf(path, sizeof(path), "%s/pages.store", f->path);
	assert_int_equal(stat(path, &st), 0);
	return (uint64_t)st.st_blocks * 512;
}

static void test_release(void **state)
{
	struct folder *f = *state;
	struct mfd_pagestore *s;
	uint64_t before, first;

	assert_int_equal(mfd_pagestore_create(f->fd, 0, &s, NULL), 0);
	first = put(s, 512 * 8, 7);
	before = blocks_of(f);
	assert_true(before >= 16 << 20);
	/* In an order that fills all blocks at about the same time. */
	for (uint64_t i = 0; i < 512 * 8; i++)
		if (i * 1021 % (512 * 8) != 512 * 3 + 77)
			mfd_pagestore_release(s, first + i * 1021 % (512 * 8), 1);
	/* All but one block are given back; the page that was kept is whole. */
	assert_int_equal(mfd_pagestore_bytes(s), PAGE);
	assert_true(blocks_of(f) <= 4 << 20);
	assert_int_equal(*(char *)mfd_pagestore_at(s, first + 512 * 3 + 77), 7);
	mfd_pagestore_close(s);
	assert_int_equal(mfd_pagestore_remove(f->fd), 0);
}

/*
 * A small file system of its own: -ENOSPC, never SIGBUS, and usable again once something was given
 * back.
 */
static void full(void **state, const char *options)
{
	struct folder *f = *state;
	struct mfd_pagestore *s;
	uint64_t index = 0, n = 0;
	void *mem;
	int ret;

	if (mount("none", f->path, "tmpfs", 0, options)) {
		print_message("SKIP: no tmpfs with %s\n", options);
		return;
	}
	close(f->fd);
	f->fd = open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(mfd_pagestore_create(f->fd, 0, &s, NULL), 0);
	while (!(ret = mfd_pagestore_reserve(s, 256, &index, &mem))) {
		memset(mem, 1, 256 * PAGE);
		n++;
		assert_true(n <= 16);
	}
	assert_int_equal(ret, -ENOSPC);
	assert_true(n >= 12);
	mfd_pagestore_release(s, 0, 512);
	assert_int_equal(mfd_pagestore_reserve(s, 256, &index, &mem), 0);
	memset(mem, 1, 256 * PAGE);
	mfd_pagestore_close(s);
	assert_int_equal(mfd_pagestore_remove(f->fd), 0);
	assert_int_equal(umount2(f->path, MNT_DETACH), 0);
}

static void test_full(void **state)
{
	full(state, "size=16m");
}

static void test_full_huge(void **state)
{
	full(state, "size=16m,huge=always");
}

#define STEP_PAGES (1ULL << 20)

/*
 * At a border between two mappings: pages of one reservation lie on one side, and what follows one
 * another in the store does so in memory, also after a restart.
 */
static void test_border(void **state)
{
	struct folder *f = *state;
	struct mfd_pagestore *s;
	struct seen x = { 0 };
	uint64_t last = 0, at;

	assert_int_equal(mfd_pagestore_create(f->fd, 0, &s, NULL), 0);
	/* As if all but two pages of a step had been handed out, and had been stored in one row. */
	note(s, 0x10000, 1, MFD_PAGE_STORED, put(s, 1, 'a'));
	note(s, 0x20000, 1, MFD_PAGE_STORED, STEP_PAGES - 3);
	mfd_pagestore_close(s);
	assert_int_equal(truncate_store(f, (STEP_PAGES + 1) * PAGE), 0);
	assert_int_equal(mfd_pagestore_open(f->fd, &s, each, &x, NULL), 0);
	assert_int_equal(x.n, 2);
	last = put(s, 1, 'b');
	assert_int_equal(last, STEP_PAGES - 2);
	at = put(s, 3, 'c');
	assert_int_equal(at, STEP_PAGES);
	assert_int_equal(*(char *)mfd_pagestore_at(s, 0), 'a');
	mfd_pagestore_release(s, at, 3);
	mfd_pagestore_close(s);

	/* An earlier version has put three pages across the border. */
	assert_int_equal(mfd_pagestore_open(f->fd, &s, each, &(struct seen){ 0 }, NULL), 0);
	note(s, 0x30000, 3, MFD_PAGE_STORED, STEP_PAGES - 1);
	mfd_pagestore_close(s);
	assert_int_equal(mfd_pagestore_open(f->fd, &s, each, &(struct seen){ 0 }, NULL), 0);
	assert_ptr_equal((char *)mfd_pagestore_at(s, STEP_PAGES - 1) + PAGE,
			 mfd_pagestore_at(s, STEP_PAGES));
	mfd_pagestore_close(s);
	assert_int_equal(mfd_pagestore_remove(f->fd), 0);
}

/* Many stores at a time, as many sessions make them, leave address space to all. */
static void test_many(void **state)
{
	static struct mfd_pagestore *s[200];
	char name[16];
	struct folder *f = *state;

	for (int i = 0; i < 200; i++) {
		int fd;

		snprintf(name, sizeof(name), "%d", i);
		assert_int_equal(mkdirat(f->fd, name, 0700), 0);
		fd = openat(f->fd, name, O_RDONLY | O_DIRECTORY);
		assert_int_equal(mfd_pagestore_create(fd, 1, &s[i], NULL), 0);
		put(s[i], 1, i);
		close(fd);
	}
	for (int i = 0; i < 200; i++) {
		int fd;

		assert_int_equal(*(unsigned char *)mfd_pagestore_at(s[i], 0), i);
		mfd_pagestore_close(s[i]);
		snprintf(name, sizeof(name), "%d", i);
		fd = openat(f->fd, name, O_RDONLY | O_DIRECTORY);
		mfd_pagestore_remove(fd);
		close(fd);
		unlinkat(f->fd, name, AT_REMOVEDIR);
	}
}

#define THREADS 6

static void *reserver(void *arg)
{
	struct mfd_pagestore *s = arg;
	unsigned seed = (unsigned)(uintptr_t)&seed;

	for (int i = 0; i < 300; i++) {
		uint32_t n = 1 + (unsigned)rand_r(&seed) % 300;
		struct mfd_pagestore_record r;
		uint64_t index;
		void *mem;

		if (mfd_pagestore_reserve(s, n, &index, &mem))
			return s;
		memset(mem, (int)(index & 0x7f), n * PAGE);
		mfd_pagestore_record_fill(&r, 1, index * PAGE, n, MFD_PAGE_STORED, index);
		if (mfd_pagestore_append(s, &r, 1))
			return s;
		for (uint32_t k = 0; k < n * PAGE; k += 999)
			if (((char *)mem)[k] != (char)(index & 0x7f))
				return s;
		mfd_pagestore_release(s, index, n);
	}
	return NULL;
}

static int count(void *arg, const struct mfd_pagestore_record *r)
{
	++*(int *)arg;
	return 0;
}

static void test_threads(void **state)
{
	struct folder *f = *state;
	struct mfd_pagestore *s;
	pthread_t id[THREADS];
	void *bad;
	int n = 0;

	assert_int_equal(mfd_pagestore_create(f->fd, 0, &s, NULL), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_create(&id[i], NULL, reserver, s);
	for (int i = 0; i < THREADS; i++) {
		pthread_join(id[i], &bad);
		assert_null(bad);
	}
	assert_int_equal(mfd_pagestore_bytes(s), 0);
	assert_true(blocks_of(f) <= 4 << 20);
	mfd_pagestore_close(s);
	assert_int_equal(mfd_pagestore_open(f->fd, &s, count, &n, NULL), 0);
	assert_int_equal(n, THREADS * 300);
	mfd_pagestore_close(s);
	assert_int_equal(mfd_pagestore_remove(f->fd), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_restart, setup, teardown),
		cmocka_unit_test_setup_teardown(test_restart_durable, setup, teardown),
		cmocka_unit_test_setup_teardown(test_full_step, setup, teardown),
		cmocka_unit_test_setup_teardown(test_torn, setup, teardown),
		cmocka_unit_test_setup_teardown(test_lies, setup, teardown),
		cmocka_unit_test_setup_teardown(test_release, setup, teardown),
		cmocka_unit_test_setup_teardown(test_full, setup, teardown),
		cmocka_unit_test_setup_teardown(test_full_huge, setup, teardown),
		cmocka_unit_test_setup_teardown(test_border, setup, teardown),
		cmocka_unit_test_setup_teardown(test_many, setup, teardown),
		cmocka_unit_test_setup_teardown(test_threads, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
