// SPDX-License-Identifier: GPL-2.0-only
/* NOT SANITIZED: it tracks processes of its own kind, and those reserve 20 TiB then. */
/*
 * What the tracker calls clean is as it was when it was last read.
 *
 * test/tools/chaos does to its memory whatever it can.  Rounds as those of precopy run over its
 * tree, each 10 to 20 ms; what they read is kept as a hash by process and page.  After every third
 * one the tree is stopped, and each page that the last look would not take is read and compared.
 *
 * Two wrong scans show that the comparison finds what it is there for.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>
#include <xxhash.h>

#include "io.h"
#include "pageread.h"
#include "pagetable.h"
#include "pair.h"
#include "procfile.h"
#include "track.h"
#include "wire.h"

#define PAGE	 4096UL
#define MAX	 64
#define RUNS	 256
#define SECONDS	 4    /* of each seed */
#define PATIENCE 20   /* seconds at most until a wrong filter is caught */
#define SLACK_KB 4096 /* of the kernel's counters */

enum wrong { RIGHT, UNTOLD, MARKERS };

struct task {
	struct mfd_track track;
	struct mfd_pagetable *seen; /* page -> hash, low bits 1 */
	int gone;
};

struct check {
	struct task task[MAX];
	unsigned n;
	enum wrong wrong;
	uint64_t compared, stale, missing, phantom, stops, found;
};

/* ---- reading ---- */

/* A page that is gone reads as zeros. */
static uint64_t hash_of(int mem, uint64_t vaddr)
{
	char page[PAGE];

	if (pread(mem, page, sizeof(page), (off_t)vaddr) != (ssize_t)sizeof(page))
		memset(page, 0, sizeof(page));
	return XXH3_64bits(page, sizeof(page)) << 3 | MFD_PAGE_ZERO;
}

static int open_mem(pid_t pid)
{
	char path[40];

	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	return open(path, O_RDONLY | O_CLOEXEC);
}

static void keep(struct task *t, int mem, const struct mfd_run *runs, int n)
{
	for (int i = 0; i < n; i++)
		for (uint64_t p = 0; p < runs[i].pages; p++) {
			uint64_t at = runs[i].vaddr + p * PAGE;

			mfd_pagetable_set(t->seen, at / PAGE, 1, hash_of(mem, at));
		}
}

/* ---- wrong scans ---- */

static void scan_wrongly(const struct mfd_track *t, enum wrong wrong)
{
	struct {
		uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages, inverted, mask,
			anyof, ret;
	} arg;
	struct {
		uint64_t start, end, categories;
	} found[64];
	struct mfd_vmas vmas;
	char path[40];
	int fd;

	if (mfd_pagescan_vmas(t->pid, &vmas, NULL))
		return;
	snprintf(path, sizeof(path), "/proc/%d/pagemap", t->pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	for (size_t i = 0; i < vmas.n && fd >= 0; i++) {
		memset(&arg, 0, sizeof(arg));
		arg.size = sizeof(arg);
		arg.flags = 1; /* protect */
		arg.start = vmas.v[i].start;
		arg.end = vmas.v[i].end;
		arg.vec = (uintptr_t)found;
		arg.vec_len = 64;
		arg.mask = wrong == UNTOLD ? 3 : 1; /* tracked (and written) */
		arg.anyof = wrong == UNTOLD ? 1 << 3 | 1 << 4 : 0;
		ioctl(fd, _IOWR('f', 16, arg), &arg);
	}
	mfd_io_close(&fd);
	mfd_pagescan_vmas_free(&vmas);
}

/* ---- rounds ---- */

static struct task *find(struct check *c, pid_t pid)
{
	for (unsigned i = 0; i < c->n; i++)
		if (c->task[i].track.pid == pid && !c->task[i].gone)
			return &c->task[i];
	return NULL;
}

static void meet(struct check *c, pid_t pid)
{
	struct task *t = find(c, pid);

	if (t && t->track.start_time == mfd_procfile_start_time(pid))
		return;
	if (t) {
		t->gone = 1;
		mfd_track_detach(&t->track);
	}
	if (c->n == MAX)
		return;
	t = &c->task[c->n++];
	mfd_track_attach(&t->track, pid);
	t->seen = mfd_pagetable_new();
}

typedef void each_fn(struct check *c, pid_t pid);

static void each(struct check *c, pid_t root, each_fn *fn)
{
	char path[64], *text, *save, *word;
	struct dirent *e;
	DIR *d;

	fn(c, root);
	snprintf(path, sizeof(path), "/proc/%d/task", root);
	d = opendir(path);
	while (d && (e = readdir(d))) {
		snprintf(path, sizeof(path), "/proc/%d/task/%.12s/children", root, e->d_name);
		if (!isdigit((unsigned char)e->d_name[0]) ||
		    mfd_io_read_file(AT_FDCWD, path, 1 << 16, &text, NULL))
			continue;
		for (word = strtok_r(text, " \n", &save); word; word = strtok_r(NULL, " \n", &save))
			each(c, atoi(word), fn);
		free(text);
	}
	if (d)
		closedir(d);
}

static void round_of(struct check *c, struct task *t)
{
	struct mfd_run runs[RUNS];
	int n, mem;

	mfd_track_begin(&t->track);
	mem = open_mem(
		t->track.pid); /* now: of the program that is tracked, if there is a new one */
	while ((n = mfd_track_next(&t->track, runs, RUNS)) > 0) {
		keep(t, mem, runs, n);
		c->found += (uint64_t)n;
	}
	if (c->wrong)
		scan_wrongly(&t->track, c->wrong);
	mfd_io_close(&mem);
}

/* ---- stops ---- */

/* A thread in the middle of a system call goes on with that, and may write, until it returns. */
static int all_stand_still(pid_t pid)
{
	struct mfd_procfile_stat st;
	struct dirent *e;
	char path[64];
	int all = 1;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	d = opendir(path);
	while (d && all && (e = readdir(d)))
		if (isdigit((unsigned char)e->d_name[0]) &&
		    !mfd_procfile_stat((pid_t)atoi(e->d_name), &st))
			all = mfd_procfile_is_over(&st) || st.state == 'T';
	if (d)
		closedir(d);
	return all;
}

static void stop(struct check *c, pid_t pid)
{
	uint64_t until = mfd_io_now_ms() + 10000;

	kill(pid, SIGSTOP);
	while (!all_stand_still(pid) && mfd_io_now_ms() < until)
		usleep(200);
	assert_true(all_stand_still(pid));
}

static void resume(struct check *c, pid_t pid)
{
	kill(pid, SIGCONT);
}

static void compare_run(struct check *c, struct task *t, int mem, const struct mfd_pagetable *last,
			const struct mfd_run *r)
{
	for (uint64_t p = 0; p < r->pages; p++) {
		uint64_t at = r->vaddr + p * PAGE, was = mfd_pagetable_get(t->seen, at / PAGE);

		if (mfd_pagetable_get(last, at / PAGE))
			continue;
		c->compared++;
		c->missing += !was;
		c->stale += was && was != hash_of(mem, at);
	}
}

/* Each page of the mappings, or the ones that the last look takes, into `last`. */
static uint64_t look(struct check *c, struct task *t, const struct mfd_vmas *vmas, int mem,
		     struct mfd_pagetable *last, int all)
{
	struct mfd_pagescan *s = NULL;
	struct mfd_run runs[RUNS];
	uint64_t pages = 0;
	int n = 0;

	if (mfd_pagescan_open(t->track.pid, 0, &s, NULL))
		return 0;
	for (size_t i = 0; i < vmas->n; i++) {
		mfd_pagescan_look(s, (enum mfd_look)(all ? MFD_LOOK_ALL : vmas->v[i].look), 0);
		for (uint64_t pos = vmas->v[i].start; pos < vmas->v[i].end && n >= 0;) {
			n = mfd_pagescan_next(s, &pos, vmas->v[i].end, runs, RUNS);
			for (int r = 0; r < n; r++) {
				pages += runs[r].pages;
				if (all)
					compare_run(c, t, mem, last, &runs[r]);
				else
					mfd_pagetable_set(last, runs[r].vaddr / PAGE, runs[r].pages,
							  MFD_PAGE_ZERO);
			}
		}
	}
	mfd_pagescan_close(s);
	return pages;
}

/* What is in memory, by the kernel's count; anonymous pages alone. */
static uint64_t counted_kb(pid_t pid)
{
	uint64_t rss = 0, swap = 0;

	mfd_procfile_number(pid, "RssAnon", 10, &rss);
	mfd_procfile_number(pid, "VmSwap", 10, &swap);
	return rss + swap;
}

static void compare(struct check *c, pid_t pid)
{
	struct mfd_pagetable *last = mfd_pagetable_new();
	struct task *t = find(c, pid);
	struct mfd_vmas all, split;
	int mem;

	if (!t || t->track.fd < 0 || mfd_pagescan_vmas(pid, &all, NULL))
		goto out;
	assert_int_equal(mfd_pagescan_vmas(pid, &split, NULL), 0);
	assert_int_equal(mfd_track_stopped(&t->track, &split, 0), 0);
	mem = open_mem(pid);
	look(c, t, &split, mem, last, 0);
	if (look(c, t, &all, mem, last, 1) * 4 > counted_kb(pid) + SLACK_KB)
		c->phantom++;
	mfd_io_close(&mem);
	mfd_pagescan_vmas_free(&all);
	mfd_pagescan_vmas_free(&split);
out:
	mfd_pagetable_free(last);
}

/* ---- the test ---- */

static pid_t start(unsigned seed)
{
	char path[4096], number[16];
	int fd[2];
	pid_t pid;

	snprintf(path, sizeof(path), "%s/test/tools/chaos", getenv("MFD_BUILD"));
	snprintf(number, sizeof(number), "%u", seed);
	assert_int_equal(pipe2(fd, O_CLOEXEC), 0);
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(fd[1], 1);
		execl(path, path, number, "60", "3", NULL);
		_exit(127);
	}
	close(fd[1]);
	assert_int_equal(read(fd[0], number, 6), 6);
	close(fd[0]);
	return pid;
}

static void end(struct check *c, pid_t pid)
{
	for (unsigned i = 0; i < c->n; i++) {
		mfd_track_detach(&c->task[i].track);
		mfd_pagetable_free(c->task[i].seen);
	}
	pair_reap(pid);
}

/* A wrong filter has been caught; never, if the filter is right. */
static int is_caught(const struct check *c)
{
	return c->wrong == UNTOLD ? c->stale + c->missing > 0 : c->wrong == MARKERS && c->phantom;
}

static void run(struct check *c, unsigned seed, unsigned seconds)
{
	uint64_t until = mfd_io_now_ms() + seconds * 1000;
	pid_t root = start(seed);
	unsigned rounds = 0;

	while (!is_caught(c) && mfd_io_now_ms() < until) {
		each(c, root, meet);
		for (unsigned i = 0; i < c->n; i++)
			if (!c->task[i].gone)
				round_of(c, &c->task[i]);
		usleep(10000 + rounds * 7919 % 10000);
		if (++rounds % 3)
			continue;
		each(c, root, stop);
		c->stops++;
		each(c, root, compare);
		each(c, root, resume);
	}
	assert_int_equal(waitpid(root, NULL, WNOHANG), 0); /* it has survived all that */
	assert_string_equal(c->task[0].track.why, "");
	end(c, root);
	print_message("# seed %u: %u rounds, %llu stops, %llu runs, %llu clean pages compared: "
		      "%llu stale, %llu missing, %llu counts wrong\n",
		      seed, rounds, (unsigned long long)c->stops, (unsigned long long)c->found,
		      (unsigned long long)c->compared, (unsigned long long)c->stale,
		      (unsigned long long)c->missing, (unsigned long long)c->phantom);
}

static struct check *check_of(enum wrong wrong)
{
	static struct check c;

	if (mfd_track_supported())
		skip();
	memset(&c, 0, sizeof(c));
	c.wrong = wrong;
	return &c;
}

static void clean_pages_are_as_they_were_read(void **state)
{
	static const unsigned seeds[] = { 1, 20, 300 };

	for (size_t i = 0; i < sizeof(seeds) / sizeof(*seeds); i++) {
		struct check *c = check_of(RIGHT);

		run(c, seeds[i], SECONDS);
		assert_true(c->compared > 1000);
		assert_int_equal(c->stale, 0);
		assert_int_equal(c->missing, 0);
		assert_int_equal(c->phantom, 0);
	}
}

static void a_scan_that_protects_more_than_it_tells_is_caught(void **state)
{
	struct check *c = check_of(UNTOLD);

	run(c, 1, PATIENCE);
	assert_true(c->stale + c->missing > 0);
}

static void a_scan_that_puts_markers_into_holes_is_caught(void **state)
{
	struct check *c = check_of(MARKERS);

	run(c, 1, PATIENCE);
	assert_true(c->phantom > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(clean_pages_are_as_they_were_read),
		cmocka_unit_test(a_scan_that_protects_more_than_it_tells_is_caught),
		cmocka_unit_test(a_scan_that_puts_markers_into_holes_is_caught),
	};

	pair_time_limit(120);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
