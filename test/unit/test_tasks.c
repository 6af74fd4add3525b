// SPDX-License-Identifier: GPL-2.0-only
/*
 * Cutting a real stopped task's memory into payloads: all of it, once, within the limits,
 * executable pages first.
 */
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
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "dying.h"
#include "io.h"
#include "pair.h"
#include "procfile.h"
#include "tasks.h"

#define PAGE	  ((uint64_t)MFD_WIRE_PAGE_SIZE)
#define TINY	  4000 /* mappings of two pages */
#define BIG	  5000 /* pages */
#define EXEC	  700
#define TOO_LARGE (1ULL << 30) /* a sanitizer's shadow: looked at with PAGEMAP_SCAN only */

/* Our mappings; a child is a copy. */
static char *tiny, *big, *code;

static struct mfd_shared *shared;

struct page {
	uint64_t vaddr;
	int exec;
};

struct pages {
	struct page *p;
	size_t n, room;
};

static void add(struct pages *s, uint64_t vaddr, int exec)
{
	if (s->n == s->room) {
		s->room = s->room ? s->room * 2 : 4096;
		s->p = realloc(s->p, s->room * sizeof(*s->p));
		assert_non_null(s->p);
	}
	s->p[s->n++] = (struct page){ vaddr, exec };
}

static int by_address(const void *a, const void *b)
{
	uint64_t x = ((const struct page *)a)->vaddr, y = ((const struct page *)b)->vaddr;

	return x < y ? -1 : x > y;
}

static char *map(size_t pages, int prot)
{
	char *p =
		mmap(NULL, pages * PAGE, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	assert_ptr_not_equal(p, MAP_FAILED);
	return p;
}

/*
 * In `tiny` every mapping has two pages and another protection than its neighbours, so that the
 * kernel cannot join them.
 */
static int setup(void **state)
{
	(void)state;
	tiny = map(2 * TINY, PROT_READ | PROT_WRITE);
	for (unsigned i = 0; i < TINY; i++) {
		tiny[i * 2 * PAGE] = 1;
		if (i % 2)
			assert_int_equal(mprotect(tiny + i * 2 * PAGE, 2 * PAGE, PROT_READ), 0);
	}
	big = map(BIG, PROT_READ | PROT_WRITE);
	for (unsigned i = 0; i < BIG; i++)
		if (i % 10 < 5 || i > 4000)
			big[i * PAGE] = 1;
	code = map(EXEC, PROT_READ | PROT_WRITE | PROT_EXEC);
	for (unsigned i = 0; i < EXEC; i += 1 + i % 2)
		code[i * PAGE] = 1;
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	assert_ptr_not_equal(shared, MAP_FAILED);
	return 0;
}

/* What /proc/PID/pagemap says, read word by word. */
static void expected(pid_t pid, struct pages *out)
{
	struct mfd_error err = { 0 };
	struct mfd_pagescan *s;
	struct mfd_vmas vmas;
	struct mfd_run runs[64];

	memset(out, 0, sizeof(*out));
	assert_int_equal(mfd_pagescan_vmas(pid, &vmas, &err), 0);
	assert_int_equal(mfd_pagescan_open(pid, 1, &s, &err), 0);
	for (size_t i = 0; i < vmas.n; i++) {
		uint64_t pos = vmas.v[i].start;

		while (vmas.v[i].end - vmas.v[i].start < TOO_LARGE && pos < vmas.v[i].end) {
			int n = mfd_pagescan_next(s, &pos, vmas.v[i].end, runs, 64);

			assert_true(n >= 0);
			for (int r = 0; r < n; r++)
				for (uint64_t k = 0; k < runs[r].pages; k++)
					add(out, runs[r].vaddr + k * PAGE, vmas.v[i].exec);
		}
	}
	mfd_pagescan_close(s);
	mfd_pagescan_vmas_free(&vmas);
}

static void take(const struct mfd_payload *p, uint32_t max, uint32_t vpid, int exec,
		 struct pages *got)
{
	uint64_t pages = 0;

	assert_int_equal(p->type, MFD_PAYLOAD_PAGES);
	assert_int_equal(p->pages.task, vpid);
	assert_non_null(p->pages.reader);
	assert_in_range(p->pages.npages, 1, max);
	assert_in_range(p->pages.nruns, 1, MFD_WIRE_MAX_RUNS);
	for (uint32_t r = 0; r < p->pages.nruns; r++) {
		pages += p->pages.runs[r].pages;
		for (uint64_t k = 0; k < p->pages.runs[r].pages; k++)
			add(got, p->pages.runs[r].vaddr + k * PAGE, exec);
	}
	assert_int_equal(pages, p->pages.npages);
}

static int is_large(pid_t pid, uint64_t vaddr)
{
	static struct mfd_vmas vmas;
	static pid_t of;
	struct mfd_error err = { 0 };
	size_t a = 0, b;

	if (of != pid) {
		mfd_pagescan_vmas_free(&vmas);
		assert_int_equal(mfd_pagescan_vmas(pid, &vmas, &err), 0);
		of = pid;
	}
	for (b = vmas.n; b - a > 1;) {
		size_t mid = (a + b) / 2;

		*(vmas.v[mid].start <= vaddr ? &a : &b) = mid;
	}
	return vmas.v[a].end - vmas.v[a].start >= TOO_LARGE;
}

static void compare(pid_t pid, struct pages *got)
{
	struct pages want;
	size_t n = 0;

	expected(pid, &want);
	qsort(got->p, got->n, sizeof(*got->p), by_address);
	for (size_t i = 0; i < got->n; i++) {
		if (i && got->p[i].vaddr == got->p[i - 1].vaddr)
			fail_msg("page %#lx twice", (unsigned long)got->p[i].vaddr);
		if (is_large(pid, got->p[i].vaddr))
			continue;
		if (n == want.n || got->p[i].vaddr != want.p[n].vaddr)
			fail_msg("page %zu is %#lx, not %#lx", n, (unsigned long)got->p[i].vaddr,
				 n < want.n ? (unsigned long)want.p[n].vaddr : 0UL);
		assert_int_equal(got->p[i].exec, want.p[n].exec);
		n++;
	}
	assert_int_equal(n, want.n);
	free(want.p);
}

static unsigned count_in(const struct pages *s, const char *start, size_t pages)
{
	unsigned n = 0;

	for (size_t i = 0; i < s->n; i++)
		n += s->p[i].vaddr >= (uintptr_t)start &&
		     s->p[i].vaddr < (uintptr_t)start + pages * PAGE;
	return n;
}

static unsigned fill_exec(struct mfd_task *k, uint32_t max, struct pages *got)
{
	struct mfd_payload p = { .runs_memory = calloc(MFD_WIRE_MAX_RUNS, sizeof(struct mfd_run)) };
	struct mfd_error err = { 0 };
	unsigned payloads = 0;
	int ret;

	while ((ret = mfd_tasks_fill_exec(k, &p, max, &err)) > 0) {
		take(&p, max, k->id->vpid, 1, got);
		mfd_payload_reset(&p);
		payloads++;
	}
	assert_int_equal(ret, 0);
	assert_int_equal(p.type, MFD_PAYLOAD_NONE);
	free(p.runs_memory);
	return payloads;
}

/* One payload of whatever comes: 1, or 0 at the end. */
static int fill_one(struct mfd_tasks *t, uint32_t max, struct pages *got, struct mfd_payload *p)
{
	struct mfd_error err = { 0 };
	unsigned which = t->current;
	int ret = mfd_tasks_fill(t, p, max, &err);

	assert_true(ret >= 0);
	if (!ret) {
		assert_int_equal(p->type, MFD_PAYLOAD_NONE);
		return 0;
	}
	while (t->task[which]->id->vpid != p->pages.task)
		which++;
	take(p, max, p->pages.task, 0, &got[which]);
	mfd_payload_reset(p);
	return 1;
}

static void one_task(uint32_t max)
{
	struct mfd_payload p = { .runs_memory = calloc(MFD_WIRE_MAX_RUNS, sizeof(struct mfd_run)) };
	struct pages got = { 0 };
	struct mfd_error err = { 0 };
	struct mfd_task *k = NULL;
	struct mfd_tasks t;
	unsigned payloads;
	pid_t pid = pair_frozen_child();

	atomic_store(&shared->ntasks, 0);
	mfd_tasks_init(&t, shared);
	assert_int_equal(mfd_tasks_add(&t, pid, &k, &err), 0);
	assert_int_equal(atomic_load(&shared->ntasks), 1);
	assert_int_equal(k->id->pid, pid);
	assert_false(mfd_tasks_idle(&t));
	assert_true(mfd_tasks_bytes(&t) >= (2 * TINY + BIG + EXEC) * PAGE);

	payloads = fill_exec(k, max, &got);
	assert_true(payloads >= got.n / max);
	assert_true(payloads <= got.n / max + 1); /* every payload but the last is full */
	assert_true(count_in(&got, code, EXEC) >= EXEC / 2);
	assert_int_equal(count_in(&got, tiny, 2 * TINY), 0);
	assert_int_equal(count_in(&got, big, BIG), 0);
	while (fill_one(&t, max, &got, &p))
		;
	assert_int_equal(fill_one(&t, max, &got, &p), 0);
	assert_true(mfd_tasks_idle(&t));
	assert_int_equal(count_in(&got, tiny, 2 * TINY), TINY);
	assert_true(count_in(&got, big, BIG) >= BIG / 2);
	compare(pid, &got);

	assert_ptr_equal(mfd_tasks_find(&t, k->id->vpid), k);
	assert_null(mfd_tasks_find(&t, k->id->vpid + 1));
	mfd_tasks_fini(&t);
	free(got.p);
	free(p.runs_memory);
	pair_reap(pid);
}

static void test_one_task(void **state)
{
	(void)state;
	one_task(16);
	one_task(256);
	one_task(MFD_WIRE_MAX_RUNS);
	one_task(1);
}

/* Tasks come one after the other while pages of the first are already under way. */
static void test_several(void **state)
{
	struct mfd_payload p = { .runs_memory = calloc(MFD_WIRE_MAX_RUNS, sizeof(struct mfd_run)) };
	struct pages got[80] = { 0 };
	struct mfd_error err = { 0 };
	struct mfd_task *k;
	struct mfd_tasks t;
	pid_t pid[70]; /* more than the table has room for at first */

	(void)state;
	atomic_store(&shared->ntasks, 0);
	mfd_tasks_init(&t, shared);
	for (unsigned i = 0; i < 70; i++) {
		pid[i] = pair_frozen_child();
		assert_int_equal(mfd_tasks_add(&t, pid[i], &k, &err), 0);
		fill_exec(k, 64, &got[i]);
		fill_one(&t, 64, got, &p);
	}
	while (fill_one(&t, 64, got, &p))
		;
	for (unsigned i = 0; i < 70; i++) {
		assert_ptr_equal(mfd_tasks_find(&t, t.task[i]->id->vpid), t.task[i]);
		if (i % 10 == 0) /* it takes a while in a sanitizer's large address space */
			compare(pid[i], &got[i]);
		free(got[i].p);
		pair_reap(pid[i]);
	}
	mfd_tasks_fini(&t);
	free(p.runs_memory);
}

/* Whatever task a small mapping belongs to, its pages come before those of any large one. */
static void test_small_first(void **state)
{
	struct mfd_payload p = { .runs_memory = calloc(MFD_WIRE_MAX_RUNS, sizeof(struct mfd_run)) };
	struct pages got[3] = { 0 };
	struct mfd_error err = { 0 };
	struct mfd_task *k;
	struct mfd_tasks t;
	unsigned at_first_big = 0;
	pid_t pid[3];

	(void)state;
	atomic_store(&shared->ntasks, 0);
	mfd_tasks_init(&t, shared);
	for (unsigned i = 0; i < 3; i++) {
		pid[i] = pair_frozen_child();
		assert_int_equal(mfd_tasks_add(&t, pid[i], &k, &err), 0);
		fill_exec(k, 64, &got[i]);
	}
	while (fill_one(&t, 1, got, &p))
		for (unsigned i = 0; i < 3 && !at_first_big; i++)
			if (count_in(&got[i], big, BIG))
				for (unsigned j = 0; j < 3; j++)
					at_first_big += count_in(&got[j], tiny, 2 * TINY);
	/* The first and the last may have been joined with a neighbour. */
	assert_in_range(at_first_big, 3 * (TINY - 2), 3 * TINY);
	for (unsigned i = 0; i < 3; i++) {
		free(got[i].p);
		pair_reap(pid[i]);
	}
	mfd_tasks_fini(&t);
	free(p.runs_memory);
}

static int has(const struct pages *s, uint64_t vaddr)
{
	for (size_t i = 0; i < s->n; i++)
		if (s->p[i].vaddr == vaddr)
			return 1;
	return 0;
}

/*
 * What has been answered is left out, also in the middle of what was scanned already; all the rest
 * comes once.
 */
static void test_answered(void **state)
{
	struct mfd_payload p = { .runs_memory = calloc(MFD_WIRE_MAX_RUNS, sizeof(struct mfd_run)) };
	struct pages got = { 0 }, want;
	struct mfd_error err = { 0 };
	struct mfd_task *k;
	struct mfd_tasks t;
	uint64_t left_out = 0;
	pid_t pid = pair_frozen_child();

	(void)state;
	atomic_store(&shared->ntasks, 0);
	mfd_tasks_init(&t, shared);
	assert_int_equal(mfd_tasks_add(&t, pid, &k, &err), 0);
	fill_exec(k, 64, &got);
	while (!count_in(&got, big, BIG))
		assert_int_equal(fill_one(&t, 64, &got, &p), 1);
	for (uint64_t i = 0; i < BIG; i += 100)
		mfd_tasks_answered(k, (uintptr_t)big + i * PAGE, 16);
	mfd_tasks_answered(k, (uintptr_t)big + 3000 * PAGE, 900); /* longer than a payload */
	while (fill_one(&t, 64, &got, &p))
		;
	assert_true(mfd_tasks_idle(&t));
	expected(pid, &want);
	for (size_t i = 0; i < want.n; i++) {
		uint64_t page = (want.p[i].vaddr - (uintptr_t)big) / PAGE;

		if (want.p[i].vaddr >= (uintptr_t)big && page < BIG &&
		    (page % 100 < 16 || (page >= 3000 && page < 3900)) &&
		    !has(&got, want.p[i].vaddr)) {
			add(&got, want.p[i].vaddr, 0);
			left_out++;
		}
	}
	assert_true(left_out > 500);
	assert_int_equal(t.skipped, left_out);
	compare(pid, &got);
	mfd_tasks_fini(&t);
	free(want.p);
	free(got.p);
	free(p.runs_memory);
	pair_reap(pid);
}

/* A worker that takes over knows the tasks from shared memory and has nothing to send of itself. */
/* ---- after rounds of precopy, where images overtake pages ---- */

/* Entries of the table, made by hand: none of them is tracked in the stop. */
static struct mfd_tracked_task *sent_by(pid_t pid, uint32_t vpid)
{
	struct mfd_tracked_task *k = calloc(1, sizeof(*k));

	k->track = (struct mfd_track){
		.pid = pid, .fd = -1, .rounds = 1, .start_time = mfd_procfile_start_time(pid)
	};
	k->reader = (struct mfd_pageread){ .mem_fd = -1, .pagemap_fd = -1 };
	k->vpid = vpid;
	k->sent = mfd_pagetable_new();
	return k;
}

struct rounds {
	struct mfd_tracked_task *task[2];
	struct mfd_tracked tracked;
	struct mfd_tasks t;
	struct mfd_task *k;
	struct mfd_payload p;
	pid_t pid;
};

static void begin_rounds(struct rounds *r)
{
	*r = (struct rounds){ .pid = pair_frozen_child() };
	r->p.runs_memory = calloc(MFD_WIRE_MAX_RUNS, sizeof(struct mfd_run));
	r->task[0] = sent_by(0x7ffffff0, (uint32_t)r->pid); /* ended; its number came again */
	r->task[1] = sent_by(r->pid, (uint32_t)r->pid);
	r->tracked = (struct mfd_tracked){ .task = r->task, .n = 2, .rounds = 1 };
	atomic_store(&shared->ntasks, 0);
	mfd_tasks_init(&r->t, shared);
	r->t.tracked = &r->tracked;
	r->t.overtaken = 1;
}

static void add_to_rounds(struct rounds *r)
{
	struct mfd_error err = { 0 };

	assert_int_equal(mfd_tasks_add(&r->t, r->pid, &r->k, &err), 0);
	assert_int_equal(r->t.late, 1);
}

/* What the late look says is stale. */
static uint64_t count_stale(struct rounds *r, struct pages *got)
{
	struct mfd_error err = { 0 };

	while (mfd_tasks_fill_late(&r->t, &r->p, 64, &err) > 0) {
		assert_int_equal(r->p.type, MFD_PAYLOAD_STALE);
		for (uint32_t i = 0; i < r->p.pages.nruns; i++)
			for (uint64_t n = 0; n < r->p.pages.runs[i].pages; n++)
				add(got, r->p.pages.runs[i].vaddr + n * PAGE, 0);
		mfd_payload_reset(&r->p);
	}
	assert_int_equal(r->t.late, 0);
	return got->n;
}

static void end_rounds(struct rounds *r)
{
	mfd_tasks_fini(&r->t);
	for (int i = 0; i < 2; i++) {
		mfd_pagetable_free(r->task[i]->sent);
		free(r->task[i]);
	}
	free(r->p.runs_memory);
	pair_reap(r->pid);
}

/* Of the process that had the number before, and not only of the one that has it. */
static void test_all_that_was_sent_under_a_number_is_stale(void **state)
{
	struct pages got = { 0 };
	struct rounds r;

	(void)state;
	begin_rounds(&r);
	mfd_sentpages_note(r.task[0]->sent, (uintptr_t)tiny, 1, 1, NULL);
	mfd_sentpages_note(r.task[1]->sent, (uintptr_t)tiny + 4 * PAGE, 1, 1, NULL);
	add_to_rounds(&r);
	assert_int_equal(count_stale(&r, &got), 2);
	assert_int_equal(count_in(&got, tiny, 1), 1);
	assert_int_equal(count_in(&got, tiny + 4 * PAGE, 1), 1);
	end_rounds(&r);
	free(got.p);
}

/*
 * Pages that the late look has found clean, and that a search finds all the same after it: behind
 * the images a copy would not replace the target's, nor its round.
 */
static void test_no_second_copy_behind_images(void **state)
{
	struct pages got = { 0 };
	struct rounds r;
	uint64_t others;

	(void)state;
	begin_rounds(&r);
	mfd_sentpages_note(r.task[1]->sent, (uintptr_t)big + 10 * PAGE, 1, 1, NULL);
	add_to_rounds(&r);
	assert_int_equal(count_stale(&r, &got), 1);
	got.n = 0;
	mfd_sentpages_note(r.task[1]->sent, (uintptr_t)tiny, 1, 1, NULL);
	mfd_sentpages_note(r.task[1]->sent, (uintptr_t)big + 100 * PAGE, 500, 1, NULL);
	fill_exec(r.k, 64, &got);
	while (fill_one(&r.t, 64, &got, &r.p))
		;
	assert_false(has(&got, (uintptr_t)tiny));
	assert_true(has(&got, (uintptr_t)tiny + 2 * PAGE));
	assert_int_equal(count_in(&got, big + 100 * PAGE, 500), 0);
	assert_true(has(&got, (uintptr_t)big + 10 * PAGE));
	others = count_in(&got, big, BIG);
	assert_true(others >= BIG / 2 - 500 && others < BIG);
	end_rounds(&r);
	free(got.p);
}

static void test_reopen(void **state)
{
	struct mfd_payload p = { .runs_memory = calloc(MFD_WIRE_MAX_RUNS, sizeof(struct mfd_run)) };
	struct mfd_error err = { 0 };
	struct mfd_tasks t;
	struct mfd_task *k;
	struct mfd_run run;
	char page[4096];
	pid_t pid = pair_frozen_child();

	(void)state;
	run = (struct mfd_run){ (uintptr_t)big, 1 };
	atomic_store(&shared->ntasks, 0);
	mfd_tasks_init(&t, shared);
	assert_int_equal(mfd_tasks_add(&t, pid, &k, &err), 0);
	mfd_tasks_fini(&t); /* with a scan that has not been finished */
	mfd_tasks_init(&t, shared);
	assert_int_equal(mfd_tasks_reopen(&t, 0, &err), 0);
	assert_int_equal(mfd_tasks_fill(&t, &p, 16, &err), 0);
	k = mfd_tasks_find(&t, shared->task[0].vpid);
	assert_non_null(k);
	assert_int_equal(mfd_pageread_runs(&k->reader, &run, 1, page), 0);
	assert_int_equal(page[0], 1);
	mfd_tasks_fini(&t);
	pair_reap(pid);
	mfd_tasks_init(&t, shared);
	assert_true(mfd_tasks_reopen(&t, 0, &err) < 0);
	mfd_tasks_fini(&t);
	free(p.runs_memory);
}

static void test_no_task(void **state)
{
	struct mfd_error err = { 0 };
	struct mfd_tasks t;
	struct mfd_task *k;
	pid_t pid = fork();

	(void)state;
	assert_true(pid >= 0);
	if (!pid)
		_exit(0);
	assert_int_equal(waitid(P_PID, (id_t)pid, &(siginfo_t){ 0 }, WEXITED | WNOWAIT), 0);
	atomic_store(&shared->ntasks, 0);
	mfd_tasks_init(&t, shared);
	assert_int_equal(mfd_tasks_add(&t, pid, &k, &err), 0); /* a zombie, as trees may have */
	assert_null(k);
	assert_true(mfd_tasks_idle(&t));
	assert_int_equal(pair_status(pid, 1000), 0);
	assert_int_equal(mfd_tasks_add(&t, pid, &k, &err), -ENOENT);
	assert_int_equal(atomic_load(&shared->ntasks), 0);
	mfd_tasks_fini(&t);
}

static void expect_fates(unsigned gone, unsigned held, unsigned unknown, unsigned alive)
{
	unsigned count[MFD_TASK_FATES];

	mfd_shared_tasks_fates(shared, count);
	assert_int_equal(count[MFD_TASK_GONE], gone);
	assert_int_equal(count[MFD_TASK_HELD], held);
	assert_int_equal(count[MFD_TASK_UNKNOWN], unknown);
	assert_int_equal(count[MFD_TASK_ALIVE], alive);
}

/*
 * Without a descriptor nothing can be looked at: neither a task that lives nor one that is dead may
 * be told from that.
 */
static void test_fates_unknown(void **state)
{
	struct rlimit was, none;
	pid_t pid = pair_frozen_child();
	char text[200];

	(void)state;
	assert_int_equal(mfd_shared_task_fill(&shared->task[0], pid), 0);
	atomic_store(&shared->ntasks, 1);
	getrlimit(RLIMIT_NOFILE, &was);
	none = (struct rlimit){ 0, was.rlim_max };
	setrlimit(RLIMIT_NOFILE, &none);
	expect_fates(0, 0, 1, 0);
	assert_int_equal(kill(pid, SIGKILL), 0);
	pair_reap(pid);
	expect_fates(0, 0, 1, 0);
	assert_non_null(strstr(mfd_dying_text(shared, text, sizeof(text)), "cannot be looked at"));
	setrlimit(RLIMIT_NOFILE, &was);
	expect_fates(1, 0, 0, 0);
	assert_string_equal(mfd_dying_text(shared, text, sizeof(text)), "");
}

/* What became of the tasks decides about the commit. */
static void test_fates(void **state)
{
	struct mfd_shared_task *s = shared->task;
	pid_t pid = pair_frozen_child();

	(void)state;
	assert_int_equal(mfd_shared_task_fill(&s[0], pid), 0);
	assert_int_equal(s[0].vpid, pid);
	/* stopped, and not traced */
	assert_int_equal(mfd_shared_task_fate(&s[0]), MFD_TASK_ALIVE);
	s[1] = s[0];
	s[1].starttime--;
	/* the pid is another process's by now */
	assert_int_equal(mfd_shared_task_fate(&s[1]), MFD_TASK_GONE);
	atomic_store(&shared->ntasks, 2);
	assert_int_equal(mfd_shared_tasks_alive(shared), 1);
	expect_fates(1, 0, 0, 1);

	assert_int_equal(ptrace(PTRACE_SEIZE, pid, NULL, NULL), 0);
	assert_int_equal(mfd_shared_task_fate(&s[0]), MFD_TASK_HELD);
	assert_int_equal(ptrace(PTRACE_INTERRUPT, pid, NULL, NULL), 0);
	assert_int_equal(waitpid(pid, NULL, __WALL), pid);
	assert_int_equal(ptrace(PTRACE_DETACH, pid, NULL, NULL), 0);
	assert_int_equal(mfd_shared_task_fate(&s[0]), MFD_TASK_ALIVE);

	assert_int_equal(kill(pid, SIGKILL), 0);
	while (mfd_shared_task_fate(&s[0]) == MFD_TASK_HELD)
		usleep(1000);
	assert_int_equal(mfd_shared_task_fate(&s[0]), MFD_TASK_GONE); /* a zombie */
	pair_reap(pid);
	assert_int_equal(mfd_shared_task_fate(&s[0]), MFD_TASK_GONE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_task),
		cmocka_unit_test(test_several),
		cmocka_unit_test(test_small_first),
		cmocka_unit_test(test_answered),
		cmocka_unit_test(test_reopen),
		cmocka_unit_test(test_no_task),
		cmocka_unit_test(test_all_that_was_sent_under_a_number_is_stale),
		cmocka_unit_test(test_no_second_copy_behind_images),
		cmocka_unit_test(test_fates),
		cmocka_unit_test(test_fates_unknown),
	};

	pair_time_limit(300);
	return cmocka_run_group_tests(tests, setup, NULL);
}
