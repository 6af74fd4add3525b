/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Which mappings and pages of a real stopped task are reported, and that their content is read
 * right.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "io.h"
#include "pageread.h"
#include "pagescan.h"
#include "pair.h"
#include "wire.h"

#define PAGE	4096UL
#define HUGE	(2UL << 20)
#define GUARD	102 /* MADV_GUARD_INSTALL, Linux 6.13 */
#define PATTERN 0x6d756c7469666400UL

enum region_kind {
	PLAIN,
	NONE,
	EXEC,
	LOCKED,
	GUARDED,
	THP,
	SPARSE,
	HUGETLB,
	SHARED,
	ZERO,
	DEVZERO,
	FILECOW,
	KINDS
};

static const char *const kind_names[KINDS] = { "plain",	 "none", "exec",    "locked",
					       "guard",	 "thp",	 "sparse",  "hugetlb",
					       "shared", "zero", "devzero", "file" };

struct region {
	uint64_t start, len; /* bytes; 0 = not there */
	int lazy;	     /* must be among the mappings */
	uint64_t pages;	     /* that must be reported */
};

/* The child writes here what it has made. */
struct plan {
	struct region r[KINDS];
	int no_guard;
	/* a page that was only read is one of the task's own, as on some hypervisors' kernels */
	int no_zero_page;
};

/* ---- the child ---- */

static void fill(uint64_t start, uint64_t len)
{
	uint64_t a;

	for (a = start; a < start + len; a += sizeof(a))
		*(volatile uint64_t *)a = a ^ PATTERN;
}

/* Nothing lies beside it, so the kernel cannot merge it with another mapping. */
static uint64_t map(struct region *r, uint64_t len, int flags, int fd)
{
	char *all = mmap(NULL, len + 2 * HUGE, PROT_NONE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	char *at, *end = all + len + 2 * HUGE;

	if (all == MAP_FAILED)
		_exit(10);
	at = (char *)(((uintptr_t)all + HUGE) & ~(HUGE - 1));
	if (at == all)
		at += PAGE;
	munmap(all, (size_t)(at - all));
	munmap(at, (size_t)(end - at));
	if (mmap(at, len, PROT_READ | PROT_WRITE, flags | MAP_FIXED, fd, 0) == MAP_FAILED)
		return 0;
	*r = (struct region){ .start = (uintptr_t)at, .len = len };
	return r->start;
}

#define ANON (MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE)

/* Two neighbours that were only read are one page of the kernel's, if it has a zero page. */
static int are_one_page(uint64_t a)
{
	uint64_t entry[2] = { 0, 1 };
	int fd = open("/proc/self/pagemap", O_RDONLY);

	if (fd < 0 || pread(fd, entry, sizeof(entry), (off_t)(a / PAGE * sizeof(*entry))) !=
			      (ssize_t)sizeof(entry))
		_exit(12);
	close(fd);
	return entry[0] == entry[1];
}

static void expect(struct region *r, uint64_t pages)
{
	r->lazy = 1;
	r->pages = pages;
}

static void make_ordinary(struct plan *p)
{
	uint64_t a, i;

	a = map(&p->r[PLAIN], 64 * PAGE, ANON, -1);
	fill(a, 16 * PAGE);
	fill(a + 32 * PAGE, 16 * PAGE);
	expect(&p->r[PLAIN], 32);

	a = map(&p->r[NONE], 16 * PAGE, ANON, -1);
	fill(a, 16 * PAGE);
	mprotect((void *)a, 16 * PAGE, PROT_NONE);
	expect(&p->r[NONE], 16);

	a = map(&p->r[EXEC], 8 * PAGE, ANON, -1);
	fill(a, 8 * PAGE);
	mprotect((void *)a, 8 * PAGE, PROT_READ | PROT_EXEC);
	expect(&p->r[EXEC], 8);

	a = map(&p->r[SPARSE], 512UL << 20, ANON, -1);
	madvise((void *)a, 512UL << 20, MADV_NOHUGEPAGE);
	for (i = 0; i < 2048; i++) /* more runs than one call returns */
		fill(a + i * (256 << 10) + 4 * PAGE, PAGE);
	expect(&p->r[SPARSE], 2048);

	a = map(&p->r[ZERO], 16 * PAGE, ANON, -1);
	madvise((void *)a, 16 * PAGE, MADV_NOHUGEPAGE);
	for (i = 0; i < 16; i++)
		(void)*(volatile char *)(a + i * PAGE);
	p->no_zero_page = !are_one_page(a);
	fill(a + 5 * PAGE, PAGE);
	expect(&p->r[ZERO], p->no_zero_page ? 16 : 1);
}

static void make_huge(struct plan *p)
{
	uint64_t a = map(&p->r[THP], 4 * HUGE, ANON, -1);

	madvise((void *)a, 4 * HUGE, MADV_HUGEPAGE);
	fill(a, HUGE);
	madvise((void *)(a + HUGE), 3 * HUGE, MADV_NOHUGEPAGE);
	fill(a + 2 * HUGE, 3 * PAGE);
	expect(&p->r[THP], 512 + 3);
	p->r[THP].len = 4 * HUGE;
	map(&p->r[HUGETLB], HUGE, ANON | MAP_HUGETLB, -1);
}

static void make_guard(struct plan *p)
{
	uint64_t a = map(&p->r[GUARDED], 32 * PAGE, ANON, -1);

	fill(a, 32 * PAGE);
	p->no_guard = madvise((void *)(a + 8 * PAGE), 8 * PAGE, GUARD) != 0;
	expect(&p->r[GUARDED], p->no_guard ? 32 : 24);
}

static void make_not_lazy(struct plan *p, int lock)
{
	uint64_t a = map(&p->r[SHARED], 8 * PAGE, MAP_SHARED | MAP_ANONYMOUS, -1);
	int fd;

	fill(a, 8 * PAGE);
	fd = open("/dev/zero", O_RDWR);
	a = map(&p->r[DEVZERO], 8 * PAGE, MAP_PRIVATE, fd);
	if (a)
		fill(a, 8 * PAGE);
	fd = open("/proc/self/exe", O_RDONLY);
	a = map(&p->r[FILECOW], 2 * PAGE, MAP_PRIVATE, fd);
	if (a)
		fill(a, PAGE);
	if (!lock)
		return;
	a = map(&p->r[LOCKED], 8 * PAGE, ANON, -1);
	fill(a, 8 * PAGE);
	if (syscall(SYS_mlock, a, 8 * PAGE)) /* sanitizers make mlock() do nothing */
		_exit(11);
}

static pid_t start_child(struct plan *p, int lock)
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (!pid) {
		make_ordinary(p);
		make_huge(p);
		make_guard(p);
		make_not_lazy(p, lock);
		raise(SIGSTOP);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
	if (!WIFSTOPPED(status))
		fail_msg("the child ended with %#x", status);
	return pid;
}

/* ---- the tests ---- */

struct fixture {
	struct plan *plan;
	pid_t pid;
	struct mfd_vmas vmas;
};

static int setup_child(void **state, int lock)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct mfd_error err = { .code = 0 };

	f->plan = mmap(NULL, sizeof(*f->plan), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		       -1, 0);
	f->pid = start_child(f->plan, lock);
	if (mfd_pagescan_vmas(f->pid, &f->vmas, &err)) {
		print_error("%s\n", err.text);
		return -1;
	}
	*state = f;
	return 0;
}

static int setup(void **state)
{
	return setup_child(state, 0);
}

static int setup_locked(void **state)
{
	return setup_child(state, 1);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	kill(f->pid, SIGKILL);
	waitpid(f->pid, NULL, 0);
	mfd_pagescan_vmas_free(&f->vmas);
	munmap(f->plan, sizeof(*f->plan));
	free(f);
	return 0;
}

static uint64_t covered(const struct mfd_vmas *vmas, const struct region *r)
{
	uint64_t sum = 0;
	size_t i;

	for (i = 0; i < vmas->n; i++) {
		uint64_t a = vmas->v[i].start > r->start ? vmas->v[i].start : r->start;
		uint64_t b = vmas->v[i].end < r->start + r->len ? vmas->v[i].end :
								  r->start + r->len;

		if (a < b)
			sum += b - a;
	}
	return sum;
}

static void test_vmas(void **state)
{
	struct fixture *f = *state;
	uint64_t bytes = 0, last = 0;
	size_t i;
	int k;

	for (k = 0; k < KINDS; k++) {
		const struct region *r = &f->plan->r[k];
		uint64_t want = r->lazy ? r->len : 0, got = covered(&f->vmas, r);

		if (!r->len)
			print_message("not tried here: %s\n", kind_names[k]);
		if (got != want)
			fail_msg("%s: %lu of %lu bytes", kind_names[k], got, want);
	}
	for (i = 0; i < f->vmas.n; i++) {
		assert_true(f->vmas.v[i].start >= last && f->vmas.v[i].end > f->vmas.v[i].start);
		last = f->vmas.v[i].end;
		bytes += last - f->vmas.v[i].start;
	}
	assert_true(bytes == f->vmas.bytes);
}

static const struct mfd_vma *vma_at(const struct mfd_vmas *vmas, uint64_t addr)
{
	size_t i;

	for (i = 0; i < vmas->n; i++)
		if (vmas->v[i].start <= addr && addr < vmas->v[i].end)
			return &vmas->v[i];
	fail();
	return NULL;
}

static void test_vma_bits(void **state)
{
	struct fixture *f = *state;
	const struct mfd_vma *v = vma_at(&f->vmas, f->plan->r[EXEC].start);
	char stack;

	assert_true(v->read && v->exec);
	v = vma_at(&f->vmas, f->plan->r[NONE].start);
	assert_true(!v->read && !v->exec);
	v = vma_at(&f->vmas, f->plan->r[PLAIN].start);
	assert_true(v->read && !v->exec);
	(void)vma_at(&f->vmas, (uintptr_t)&stack); /* [stack] */
}

/* All runs of [start, end), at most `step` a call, neighbours joined. */
static size_t scan(pid_t pid, int pagemap, uint64_t start, uint64_t end, int step,
		   struct mfd_run **out)
{
	struct mfd_error err = { .code = 0 };
	struct mfd_pagescan *s;
	struct mfd_run *all = NULL, runs[1500];
	size_t n = 0;
	int got, i;

	if (mfd_pagescan_open(pid, pagemap, &s, &err))
		fail_msg("%s", err.text);
	while (start < end) {
		uint64_t before = start;

		got = mfd_pagescan_next(s, &start, end, runs, step);
		if (got < 0)
			fail_msg("scan: %s", strerror(-got));
		assert_true(start > before && start <= end && got <= step);
		all = realloc(all, (n + (size_t)got + 1) * sizeof(*all));
		for (i = 0; i < got; i++) {
			if (n && all[n - 1].vaddr + all[n - 1].pages * PAGE == runs[i].vaddr)
				all[n - 1].pages += runs[i].pages;
			else
				all[n++] = runs[i];
		}
	}
	assert_int_equal(mfd_pagescan_next(s, &start, end, runs, step), 0);
	mfd_pagescan_close(s);
	*out = all;
	return n;
}

static uint64_t sum_pages(const struct mfd_run *runs, size_t n)
{
	uint64_t sum = 0;

	while (n)
		sum += runs[--n].pages;
	return sum;
}

static void scan_kinds(struct fixture *f, int pagemap, int step)
{
	int k;

	for (k = 0; k < KINDS; k++) {
		const struct region *r = &f->plan->r[k];
		struct mfd_run *runs;
		size_t n;

		if (!r->lazy)
			continue;
		n = scan(f->pid, pagemap, r->start, r->start + r->len, step, &runs);
		if (sum_pages(runs, n) != r->pages)
			fail_msg("%s: %lu of %lu pages, pagemap %d", kind_names[k],
				 sum_pages(runs, n), r->pages, pagemap);
		free(runs);
	}
}

static void test_scan(void **state)
{
	scan_kinds(*state, 0, 1000);
	scan_kinds(*state, 0, 1500); /* more than fit in the scanner's own array */
	scan_kinds(*state, 0, 1);
}

static void test_scan_pagemap(void **state)
{
	scan_kinds(*state, 1, 1000);
	scan_kinds(*state, 1, 1);
}

/* Both ways agree on every mapping (a sanitizer's shadow aside, which is terabytes of nothing). */
static void test_scan_ways_agree(void **state)
{
	struct fixture *f = *state;
	size_t i, n[2];

	for (i = 0; i < f->vmas.n; i++) {
		const struct mfd_vma *v = &f->vmas.v[i];
		struct mfd_run *runs[2];

		if (v->end - v->start > 4UL << 30)
			continue;
		n[0] = scan(f->pid, 0, v->start, v->end, 1000, &runs[0]);
		n[1] = scan(f->pid, 1, v->start, v->end, 77, &runs[1]);
		assert_int_equal(n[0], n[1]);
		if (n[0])
			assert_memory_equal(runs[0], runs[1], n[0] * sizeof(*runs[0]));
		free(runs[0]);
		free(runs[1]);
	}
}

static void test_guard_runs(void **state)
{
	struct fixture *f = *state;
	const struct region *r = &f->plan->r[GUARDED];
	struct mfd_run *runs;

	if (f->plan->no_guard) {
		print_message("no guard regions in this kernel\n");
		skip();
	}
	assert_int_equal(scan(f->pid, 0, r->start, r->start + r->len, 100, &runs), 2);
	assert_true(runs[0].vaddr == r->start && runs[0].pages == 8);
	assert_true(runs[1].vaddr == r->start + 16 * PAGE && runs[1].pages == 16);
	free(runs);
}

static void test_scan_bad(void **state)
{
	struct fixture *f = *state;
	struct mfd_error err = { .code = 0 };
	struct mfd_pagescan *s;
	struct mfd_run run;
	uint64_t pos = 1;

	assert_int_equal(mfd_pagescan_open(f->pid, 0, &s, &err), 0);
	assert_int_equal(mfd_pagescan_next(s, &pos, 4096, &run, 1), -EINVAL);
	pos = 0;
	assert_int_equal(mfd_pagescan_next(s, &pos, 4097, &run, 1), -EINVAL);
	assert_int_equal(mfd_pagescan_next(s, &pos, 4096, &run, 0), -EINVAL);
	pos = 8192;
	assert_int_equal(mfd_pagescan_next(s, &pos, 4096, &run, 1), -EINVAL);
	mfd_pagescan_close(s);
	mfd_pagescan_close(NULL);
}

static void check_content(const struct mfd_run *runs, size_t n, const uint64_t *buf, int or_zero)
{
	size_t i, j;

	for (i = 0; i < n; i++)
		for (j = 0; j < runs[i].pages * PAGE; j += sizeof(*buf), buf++)
			if (*buf != ((runs[i].vaddr + j) ^ PATTERN) && !(or_zero && !*buf))
				fail_msg("wrong content at %#lx", runs[i].vaddr + j);
}

static void test_read_kinds(void **state)
{
	struct fixture *f = *state;
	struct mfd_error err = { .code = 0 };
	struct mfd_pageread r;
	int k;

	assert_int_equal(mfd_pageread_open(&r, f->pid, &err), 0);
	for (k = 0; k < KINDS; k++) {
		const struct region *reg = &f->plan->r[k];
		struct mfd_run *runs;
		uint64_t *buf;
		size_t n;

		if (!reg->lazy)
			continue;
		n = scan(f->pid, 0, reg->start, reg->start + reg->len, 1000, &runs);
		buf = malloc(sum_pages(runs, n) * PAGE);
		assert_int_equal(mfd_pageread_runs(&r, runs, (unsigned)n, buf), 0);
		check_content(runs, n, buf, k == ZERO && f->plan->no_zero_page);
		free(buf);
		free(runs);
	}
	mfd_pageread_close(&r);
	mfd_pageread_close(&r);
}

/*
 * Readable and PROT_NONE pages in turn, backwards, more runs than one system call takes, and a run
 * that crosses.
 */
static void test_read_mixed(void **state)
{
	struct fixture *f = *state;
	uint64_t plain = f->plan->r[PLAIN].start, none = f->plan->r[NONE].start;
	unsigned i, n = 2 * IOV_MAX + 7;
	struct mfd_run *runs = malloc(n * sizeof(*runs));
	uint64_t *buf = malloc(n * 2 * PAGE);
	struct mfd_pageread r;

	for (i = 0; i < n; i++) {
		runs[i].pages = i % 5 == 4 ? 0 : 1 + i % 2; /* empty runs are harmless */
		runs[i].vaddr = i % 300 == 299 ? none + (i % 8) * PAGE :
						 plain + (14 - i % 14) * PAGE;
		if (runs[i].vaddr >= plain && runs[i].vaddr < plain + 64 * PAGE &&
		    runs[i].vaddr > plain + 14 * PAGE)
			runs[i].pages = 1;
	}
	runs[n - 1] = (struct mfd_run){ none, 2 };
	assert_int_equal(mfd_pageread_open(&r, f->pid, NULL), 0);
	assert_int_equal(mfd_pageread_runs(&r, runs, n, buf), 0);
	check_content(runs, n, buf, 0);
	assert_int_equal(mfd_pageread_runs(&r, runs, 0, buf), 0);
	mfd_pageread_close(&r);
	free(runs);
	free(buf);
}

static void test_read_fails(void **state)
{
	struct fixture *f = *state;
	struct mfd_run gap = { f->plan->r[PLAIN].start + 64 * PAGE, 1 };
	struct mfd_run crossing[2] = { { f->plan->r[PLAIN].start, 1 },
				       { f->plan->r[PLAIN].start + 63 * PAGE, 2 } };
	struct mfd_error err = { .code = 0 };
	struct mfd_pagescan *s;
	struct mfd_pageread r;
	struct mfd_vmas vmas;
	char buf[3 * PAGE];
	uint64_t pos = 0;
	int ret;

	assert_int_equal(mfd_pageread_open(&r, f->pid, NULL), 0);
	assert_int_equal(mfd_pagescan_open(f->pid, 1, &s, NULL), 0);
	assert_int_equal(mfd_pageread_runs(&r, &gap, 1, buf), -EFAULT);
	assert_int_equal(mfd_pageread_runs(&r, crossing, 2, buf), -EFAULT);
	kill(f->pid, SIGKILL);
	waitpid(f->pid, NULL, 0);
	assert_int_equal(mfd_pageread_runs(&r, crossing, 1, buf), -ESRCH);
	ret = mfd_pagescan_next(s, &pos, 1 << 20, crossing, 2);
	assert_int_equal(ret, -ESRCH);
	mfd_pagescan_close(s);
	mfd_pageread_close(&r);
	assert_int_equal(mfd_pageread_open(&r, f->pid, &err), -ENOENT);
	assert_non_null(strstr(err.text, "/mem: No such file"));
	assert_int_equal(mfd_pagescan_open(f->pid, 0, &s, NULL), -ENOENT);
	assert_int_equal(mfd_pagescan_vmas(f->pid, &vmas, NULL), -ENOENT);
}

/*
 * In a round of precopy: what is gone reads as zeros, and so does what is there and cannot be read,
 * which is told.
 */
static void test_read_what_is_there_and_cannot_be_read(void **state)
{
	struct fixture *f = *state;
	struct mfd_run there = { f->plan->r[PLAIN].start, 1 };
	struct mfd_run gone = { f->plan->r[PLAIN].start + 64 * PAGE, 1 };
	_Atomic int unread = 0;
	struct mfd_pageread r;
	uint64_t buf[PAGE / 8] = { 1 };

	assert_int_equal(mfd_pageread_open(&r, f->pid, NULL), 0);
	r.running = 1;
	r.unread = &unread;
	assert_int_equal(mfd_pageread_runs(&r, &there, 1, buf), 0);
	assert_true(buf[0] != 0);
	assert_int_equal(mfd_pageread_runs(&r, &gone, 1, buf), 0);
	assert_true(mfd_pageread_is_zero(buf));
	assert_int_equal(unread, 0);
	mfd_io_close(&r.mem_fd); /* and by process_vm_readv it cannot be had either: */
	r.pid = 0;
	buf[0] = 1;
	assert_int_equal(mfd_pageread_runs(&r, &gone, 1, buf), 0);
	assert_int_equal(unread, 0);
	assert_int_equal(mfd_pageread_runs(&r, &there, 1, buf), 0);
	assert_true(mfd_pageread_is_zero(buf));
	assert_int_equal(unread, 1);
	mfd_pageread_close(&r);
}

static void test_is_zero(void **state)
{
	static unsigned char space[PAGE + 1];
	unsigned char *page = space + 1; /* alignment is not relied on */
	unsigned i;

	(void)state;
	assert_true(mfd_pageread_is_zero(space));
	assert_true(mfd_pageread_is_zero(page));
	for (i = 0; i < PAGE; i++) {
		page[i] = (unsigned char)(1U << i % 8);
		assert_false(mfd_pageread_is_zero(page));
		page[i] = 0;
	}
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

#define SHARED 256U

/* How many of its pages are the child's own. */
static unsigned exclusive(pid_t pid, const char *m)
{
	uint64_t entry[SHARED];
	unsigned n = 0;
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/pagemap", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_int_equal(pread(fd, entry, sizeof(entry), (off_t)((uintptr_t)m / 4096 * 8)),
			 sizeof(entry));
	close(fd);
	for (unsigned i = 0; i < SHARED; i++)
		n += entry[i] >> 56 & 1;
	return n;
}

struct part { /* of m: all but `kept` pages from `from` on */
	char *m;
	size_t from, kept;
};

static void write_all_but(void *arg)
{
	const struct part *p = arg;

	for (size_t i = 0; i < SHARED; i++)
		if (i < p->from || i >= p->from + p->kept)
			p->m[i * PAGE] = 7;
}

/*
 * What is shared by copy-on-write stays so: process_vm_readv alone would give the child a copy of
 * every page.
 */
static void read_keeps_sharing(size_t from, size_t kept)
{
	char *m = mmap(NULL, SHARED * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		       0);
	char *buf = malloc(SHARED * 4096);
	const struct mfd_run run = { .vaddr = (uintptr_t)m, .pages = SHARED };
	struct mfd_error err = { 0 };
	struct mfd_pageread r;
	pid_t pid;

	madvise(m, SHARED * 4096, MADV_NOHUGEPAGE);
	memset(m, 7, SHARED * 4096);
	pid = pair_frozen_after(write_all_but, &(struct part){ m, from, kept });
	assert_int_equal(exclusive(pid, m), SHARED - kept);
	assert_int_equal(mfd_pageread_open(&r, pid, &err), 0);
	assert_int_equal(mfd_pageread_runs(&r, &run, 1, buf), 0);
	assert_memory_equal(buf, m, SHARED * 4096);
	assert_int_equal(exclusive(pid, m), SHARED - kept);
	mfd_pageread_close(&r);
	pair_reap(pid);
	munmap(m, SHARED * 4096);
	free(buf);
}

static void test_read_keeps_sharing(void **state)
{
	(void)state;
	read_keeps_sharing(0, SHARED);
	read_keeps_sharing(0, 1);
	read_keeps_sharing(SHARED - 1, 1);
	for (size_t from = 1; from < SHARED - 33; from += 37)
		read_keeps_sharing(from, 33);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_vmas),
		{ "test_vmas_locked", test_vmas, setup_locked, teardown, NULL },
		TEST(test_vma_bits),
		{ "test_vma_bits_locked", test_vma_bits, setup_locked, teardown, NULL },
		TEST(test_scan),
		TEST(test_scan_pagemap),
		TEST(test_scan_ways_agree),
		TEST(test_guard_runs),
		TEST(test_scan_bad),
		TEST(test_read_kinds),
		TEST(test_read_mixed),
		TEST(test_read_what_is_there_and_cannot_be_read),
		TEST(test_read_fails),
		cmocka_unit_test(test_read_keeps_sharing),
		cmocka_unit_test(test_is_zero),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
