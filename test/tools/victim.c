// SPDX-License-Identifier: GPL-2.0-only
/*
 * victim: the process that tests and benches migrate; every byte of its memory can be verified at
 * any time.
 *
 * Theory of operation
 *
 * Memory is a table of regions. What a page must hold follows from the region's seed, the page's
 * index in the region and the page's owner (the process of the tree that wrote it last), so nothing
 * has to be remembered except the owner, and a page that was swapped with another one, lost, or
 * taken from the wrong process is found. The table and the owners live in migrated memory
 * themselves; they carry a checksum with a non-zero salt, so that a table which came back as zeros
 * is an error and not an empty table that verifies.
 *
 * The processes of a tree talk through one shared anonymous mapping ("control"), which CRIU dumps
 * by itself and never lazily. It is also the second witness of the --dirty sequence number: a whole
 * round of writes that is lost leaves private memory consistent with itself, but not with the
 * control page.
 *
 * Limits: registers (FPU, AVX) are not verified; the log is opened for each line, so no regular
 * file is open when CRIU looks, unless it looks at just that moment; commands are polled every
 * tick, by rank 0 only.
 *
 * See usage() for options. Log lines (DIR/victim.log):
 *
 *	map NAME ADDR PAGES			one per region, before "ready"
 *	skipped KIND REASON			a mapping kind this machine cannot have
 *	ready PID
 *	gap START END US rank=R mono=US		did not run between START and END (CLOCK_REALTIME, us)
 *	verify OK pages=N us=T pid=P rank=R
 *	verify BAD mapping=M page=I offset=O addr=A pid=P rank=R WHY
 *	verified all OK|BAD procs=N pages=N us=T	the answer to SIGUSR1 or DIR/cmd-verify
 *	action NAME OK|BAD us=T pid=P rank=R
 *	actions all OK|BAD procs=N pages=N us=T	the answer to SIGUSR2 or DIR/cmd-actions
 *	pong TICKS				the answer to DIR/cmd-ping
 *	exit REASON
 */
#include <alloca.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif
#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT 21
#endif

#define PAGE		 4096UL
#define WORDS		 (PAGE / 8)
#define HUGE_PAGE	 (2UL << 20)
#define MB_PAGES	 (256UL)
#define MAX_REGIONS	 512
#define MAX_MAPS	 64
#define MAX_PROCS	 1024
#define MAX_THREADS	 256
#define MAX_LINES	 8     /* BAD lines logged per process and verification */
#define GAP_MIN_US	 20000 /* unless --gap says something else */
#define ANSWER_TIMEOUT_S 600
#define GOLDEN		 0x9e3779b97f4a7c15ULL
#define SALT		 0x5bd1e9955bd1e995ULL

/* Owners that are no rank. */
enum {
	OWNER_ZERO = 0xffff,  /* reads as zeros */
	OWNER_NONE = 0xfffe,  /* must not be accessible: guard page, hole */
	OWNER_AGAIN = 0xfffd, /* written a second time, with content of its own */
};

enum fill { FILL_RANDOM, FILL_ZERO, FILL_HALF, FILL_TEXT };
enum command { CMD_NONE, CMD_VERIFY, CMD_ACTIONS };

/* A range of pages; regions that share a seed are pieces of what was one mapping (see split()). */
struct region {
	char name[16];
	uint64_t seed;
	uint8_t *addr;
	size_t pages;
	size_t first;	 /* index of addr in the mapping the seed was made for */
	uint16_t *owner; /* one for each page; private memory, so each process has its own view */
	uint8_t fill;
	uint8_t prot; /* what the mapping has; PROT_NONE is made readable while it is verified */
	bool shared;  /* processes of the tree see one copy: only rank 0 writes */
	bool code;    /* each page begins with a function */
	bool mixed;   /* protections differ from page to page, all readable */
};

struct slot {
	/* last command generation answered; release, pairs with acquire in collect() */
	uint64_t done;
	uint64_t dirty_count; /* second witness of dirty.count, under the writer's dirty.lock */
	uint64_t pages;
	int32_t pid;
	int32_t bad;
	int32_t ready; /* release, pairs with acquire in wait_ready() */
};

struct control {
	uint64_t gen; /* release by rank 0 after the other fields; acquire in poll_control() */
	int32_t command;
	char actions[128];
	struct slot slot[MAX_PROCS];
};

struct worker {
	pthread_t thread;
	uint64_t beats; /* relaxed: only progress is looked at */
	uint64_t bad;	/* relaxed: a count of errors */
};

struct map_request {
	const char *kind;
	size_t pages;
};

static struct {
	uint64_t sum;
	uint32_t nr;
	struct region r[MAX_REGIONS];
} table;

/*
 * Written by one thread, page after page for ever; everything is guarded by lock except the
 * constants.
 */
static struct {
	pthread_mutex_t lock;
	uint8_t *addr;
	size_t pages;
	uint64_t seed;
	uint64_t count; /* pages written since the start; tells what each page must hold */
	unsigned int per_ms;
} dirty = { .lock = PTHREAD_MUTEX_INITIALIZER };

static struct {
	size_t size_mb;
	uint64_t seed;
	enum fill fill;
	int tree, depth, threads;
	int tick_us, gap_us;
	bool huge, zombie, keep_stdio;
	size_t dirty_mb;
	const char *actions;
	struct map_request maps[MAX_MAPS];
	int nr_maps;
	size_t stack_pages;
} opt = { .size_mb = 16,
	  .seed = 1,
	  .depth = 1,
	  .tick_us = 1000,
	  .gap_us = GAP_MIN_US,
	  .actions = "fork,remap,remove,unmap" };

struct result {
	uint64_t pages;
	uint64_t bad;
};

static struct control *control;
static struct worker workers[MAX_THREADS];
static int rank, procs = 1;
static pid_t children[MAX_PROCS];
static int nr_children;
static uint64_t my_gen, ticks;
static uint8_t *stack_area;
static volatile sig_atomic_t want_verify, want_actions, want_exit;

/* Set while a fault is an answer and not an accident. */
static __thread sigjmp_buf probe_env;
static __thread volatile sig_atomic_t probing;
static __thread uint64_t thread_cookie;

/* ---- log ---- */

static void __attribute__((format(printf, 1, 2))) say(const char *fmt, ...)
{
	char line[512];
	va_list ap;
	int fd, n;

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line) - 1, fmt, ap);
	va_end(ap);
	if (n < 0)
		return;
	if ((size_t)n > sizeof(line) - 2)
		n = sizeof(line) - 2;
	line[n++] = '\n';
	fd = open("victim.log", O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
	if (fd < 0)
		return;
	if (write(fd, line, n) != n)
		_exit(3);
	close(fd);
}

static void __attribute__((noreturn, format(printf, 1, 2))) fail(const char *fmt, ...)
{
	char why[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	say("exit error: %s", why);
	_exit(2);
}

static uint64_t now_us(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return t.tv_sec * 1000000ULL + t.tv_nsec / 1000;
}

static void nap(long us)
{
	struct timespec t = { us / 1000000, us % 1000000 * 1000 };

	nanosleep(&t, NULL);
}

/* ---- what a page holds ---- */

static uint64_t mix(uint64_t x)
{
	x ^= x >> 30;
	x *= 0xbf58476d1ce4e5b9ULL;
	x ^= x >> 27;
	x *= 0x94d049bb133111ebULL;
	return x ^ x >> 31;
}

static uint64_t page_seed(const struct region *r, size_t i)
{
	uint64_t owner = r->owner[i];

	return mix(r->seed + (r->first + i) * GOLDEN) ^ mix(owner + SALT);
}

static inline __attribute__((always_inline)) uint64_t random_word(uint64_t seed, size_t i)
{
	uint64_t x = seed + i * GOLDEN;

	x ^= x >> 32;
	x *= 0xd6e8feb86659fd93ULL;
	return x ^ x >> 29;
}

/*
 * Eight bytes with 10 bits of information: letters that hang together, so that compressors find
 * something.
 */
static inline __attribute__((always_inline)) uint64_t text_word(uint64_t seed, size_t i)
{
	/* clang-format off */
	static const char words[32][9] = {
		"migrate ", "process ", "memory, ", "channel ", "restore ", "a frozen", " page of", " source ",
		"target, ", " the lazy", "faults. ", "number: ", "\n\tmap = ", "zero and", " copies,", "00000000",
		"in the  ", "quick on", "es, but ", "packets ", "without ", "headers ", "ready;\n ", "session ",
		"11111111", "server {", "}; while", " (socket", "->next; ", "return 0", "if (page", "<<<<>>>>",
	};
	/* clang-format on */
	uint64_t x = random_word(seed, i), w;

	memcpy(&w, words[x >> 59], 8);
	return w ^ (x & 0x1f);
}

static void page_write(uint64_t seed, enum fill fill, uint64_t *p)
{
	size_t i;

	if (fill == FILL_ZERO)
		memset(p, 0, PAGE);
	else if (fill == FILL_TEXT)
		for (i = 0; i < WORDS; i++)
			p[i] = text_word(seed, i);
	else
		for (i = 0; i < WORDS; i++)
			p[i] = random_word(seed, i);
}

static bool page_equal(uint64_t seed, enum fill fill, const uint64_t *p, size_t from)
{
	uint64_t diff = 0;
	size_t i;

	if (fill == FILL_ZERO)
		for (i = from; i < WORDS; i++)
			diff |= p[i];
	else if (fill == FILL_TEXT)
		for (i = from; i < WORDS; i++)
			diff |= p[i] ^ text_word(seed, i);
	else
		for (i = from; i < WORDS; i++)
			diff |= p[i] ^ random_word(seed, i);
	return !diff;
}

/* The first wrong byte of a page that is known to differ. */
static size_t first_difference(uint64_t seed, enum fill fill, const uint8_t *p, size_t from)
{
	uint64_t want[WORDS];
	size_t i;

	page_write(seed, fill, want);
	for (i = from * 8; i < PAGE; i++)
		if (p[i] != ((const uint8_t *)want)[i])
			return i;
	return PAGE;
}

/*
 * FILL_HALF changes its pattern each 64 MiB: every second page is zero, then every second block of
 * 64 pages.
 */
static enum fill page_fill(const struct region *r, size_t i)
{
	size_t n = r->first + i;

	if (r->owner[i] == OWNER_ZERO)
		return FILL_ZERO;
	if (r->fill != FILL_HALF)
		return r->fill;
	if (n & (1UL << 14))
		return n >> 6 & 1 ? FILL_ZERO : FILL_RANDOM;
	return n & 1 ? FILL_ZERO : FILL_RANDOM;
}

/* ---- code in pages: int f(void) { return VALUE; } ---- */

#define CODE_WORDS 2

static void code_make(uint32_t value, uint64_t out[CODE_WORDS])
{
#if defined(__x86_64__)
	uint8_t c[16] = { 0xb8, value, value >> 8, value >> 16, value >> 24, 0xc3, 0x90, 0x90,
			  0x90, 0x90,  0x90,	   0x90,	0x90,	     0x90, 0x90, 0x90 };
#elif defined(__aarch64__)
	uint32_t c[4] = { 0x52800000 | (value & 0xffff) << 5, 0x72a00000 | (value >> 16) << 5,
			  0xd65f03c0, 0xd503201f };
#else
	uint32_t c[4] = { value, value, value, value };
#endif
	memcpy(out, c, sizeof(c));
}

static bool code_check(uint64_t seed, const uint8_t *page)
{
	uint64_t want[CODE_WORDS];

	code_make(seed, want);
	if (memcmp(want, page, sizeof(want)))
		return false;
#if defined(__x86_64__) || defined(__aarch64__)
	return ((uint32_t(*)(void))(uintptr_t)page)() == (uint32_t)seed;
#else
	return true;
#endif
}

/* ---- faults ---- */

static void on_fault(int sig, siginfo_t *si, void *context)
{
	(void)context;
	if (probing)
		siglongjmp(probe_env, sig);
	say("exit signal %d (%s) at %p pid=%d rank=%d", sig, sig == SIGBUS ? "SIGBUS" : "SIGSEGV",
	    si->si_addr, getpid(), rank);
	signal(sig, SIG_DFL);
	raise(sig);
}

/* True when the byte cannot be read (or written, with the value it has). */
static bool faults(volatile uint8_t *p, bool writing)
{
	bool faulted = true;

	if (!sigsetjmp(probe_env, 1)) {
		probing = 1;
		if (writing)
			*p = *p;
		else
			(void)*p;
		faulted = false;
	}
	probing = 0;
	return faulted;
}

/* ---- regions ---- */

static uint64_t table_sum(void)
{
	uint64_t sum = mix(table.nr + SALT);
	uint32_t k;
	size_t i;

	for (k = 0; k < table.nr; k++) {
		const struct region *r = &table.r[k];

		for (i = 0; i < sizeof(r->name); i++)
			sum = (sum ^ (uint8_t)r->name[i]) * GOLDEN;
		sum = mix(sum ^ r->seed) + (uintptr_t)r->addr;
		sum = mix(sum ^ r->pages) + r->first;
		sum = mix(sum ^ r->fill) + r->prot + r->shared * 256 + r->code * 512 +
		      r->mixed * 1024;
		for (i = 0; i < r->pages; i++)
			sum = (sum ^ r->owner[i]) * GOLDEN + (sum >> 47);
	}
	return sum;
}

static void table_seal(void)
{
	table.sum = table_sum();
}

static void *map_pages(size_t pages, int prot, int flags)
{
	void *p = mmap(NULL, pages * PAGE, prot, flags | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		fail("mmap of %zu pages: %s", pages, strerror(errno));
	return p;
}

static struct region *region_add(const char *name, void *addr, size_t pages)
{
	struct region *r;

	if (table.nr == MAX_REGIONS)
		fail("too many regions");
	r = &table.r[table.nr];
	memset(r, 0, sizeof(*r));
	snprintf(r->name, sizeof(r->name), "%s", name);
	r->seed = mix(opt.seed * GOLDEN + table.nr + 1);
	r->addr = addr;
	r->pages = pages;
	r->prot = PROT_READ | PROT_WRITE;
	r->owner = map_pages((pages * 2 + PAGE - 1) / PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	table.nr++;
	return r;
}

static void write_page(const struct region *r, size_t i)
{
	uint64_t *p = (uint64_t *)(r->addr + i * PAGE);
	uint64_t seed = page_seed(r, i);

	page_write(seed, page_fill(r, i), p);
	if (r->code) {
		code_make(seed, p);
		__builtin___clear_cache((char *)p, (char *)(p + CODE_WORDS));
	}
}

static void region_fill(const struct region *r)
{
	size_t i;

	for (i = 0; i < r->pages; i++)
		if (r->owner[i] < OWNER_AGAIN)
			write_page(r, i);
}

static void region_protect(struct region *r, int prot)
{
	if (mprotect(r->addr, r->pages * PAGE, prot))
		fail("mprotect %s: %s", r->name, strerror(errno));
	r->prot = prot;
}

/*
 * Cut region k after `pages` pages; the rest becomes the last entry of the table, whose index is
 * returned.
 */
static uint32_t split(uint32_t k, size_t pages)
{
	struct region *r = &table.r[k], *rest;

	if (table.nr == MAX_REGIONS)
		fail("too many regions");
	rest = &table.r[table.nr];
	*rest = *r;
	r->pages = pages;
	rest->addr += pages * PAGE;
	rest->pages -= pages;
	rest->first += pages;
	rest->owner += pages;
	return table.nr++;
}

static void region_drop(uint32_t k)
{
	table.r[k] = table.r[--table.nr];
	memset(&table.r[table.nr], 0, sizeof(table.r[0]));
}

/* ---- verification ---- */

static void bad_page(struct result *res, const char *name, size_t page, size_t offset,
		     const void *addr, const char *why)
{
	if (res->bad++ < MAX_LINES)
		say("verify BAD mapping=%s page=%zu offset=%zu addr=%p pid=%d rank=%d %s", name,
		    page, offset, addr, getpid(), rank, why);
}

static void verify_page(const struct region *r, size_t i, struct result *res)
{
	const uint8_t *p = r->addr + i * PAGE;
	enum fill fill = page_fill(r, i);
	uint64_t seed = page_seed(r, i);
	size_t from = r->code ? CODE_WORDS : 0;

	if (!page_equal(seed, fill, (const uint64_t *)p, from)) {
		size_t at = first_difference(seed, fill, p, from);
		const char *why = "content differs";

		if (at == PAGE)
			why = "changed while compared";
		else if (page_equal(0, FILL_ZERO, (const uint64_t *)p, 0))
			why = "page is zero";
		bad_page(res, r->name, r->first + i, at, p + at, why);
	} else if (r->code && !code_check(seed, p)) {
		bad_page(res, r->name, r->first + i, 0, p, "code differs");
	}
}

static void verify_region(struct region *r, struct result *res)
{
	volatile size_t i = 0;
	int sig;

	if (r->prot == PROT_NONE) {
		if (!faults(r->addr, false))
			bad_page(res, r->name, 0, 0, r->addr, "PROT_NONE is readable");
		if (mprotect(r->addr, r->pages * PAGE, PROT_READ))
			bad_page(res, r->name, 0, 0, r->addr, "cannot be made readable");
	} else if (!(r->prot & PROT_WRITE) && !r->mixed && !faults(r->addr, true)) {
		bad_page(res, r->name, 0, 0, r->addr, "read-only is writable");
	}
	sig = sigsetjmp(probe_env, 1);
	if (sig) {
		if (r->owner[i] != OWNER_NONE)
			bad_page(res, r->name, r->first + i, 0, r->addr + i * PAGE,
				 sig == SIGBUS ? "SIGBUS" : "SIGSEGV");
		i = i + 1;
	}
	probing = 1;
	for (; i < r->pages; i = i + 1) {
		if (r->owner[i] != OWNER_NONE) {
			verify_page(r, i, res);
		} else {
			(void)*(volatile uint8_t *)(r->addr + i * PAGE);
			bad_page(res, r->name, r->first + i, 0, r->addr + i * PAGE,
				 "must not be accessible");
		}
	}
	probing = 0;
	res->pages += r->pages;
	if (r->prot == PROT_NONE && mprotect(r->addr, r->pages * PAGE, PROT_NONE))
		bad_page(res, r->name, 0, 0, r->addr, "cannot be made PROT_NONE");
}

/* Page i was written last when count was at this number; its content follows from it. */
static uint64_t dirty_seed(size_t i, uint64_t count)
{
	uint64_t last = count - 1;

	return mix(dirty.seed + (last - (last - i) % dirty.pages) * GOLDEN);
}

static void verify_dirty(struct result *res)
{
	size_t i;

	if (!dirty.pages)
		return;
	pthread_mutex_lock(&dirty.lock);
	for (i = 0; i < dirty.pages; i++) {
		const uint8_t *p = dirty.addr + i * PAGE;
		uint64_t seed = dirty_seed(i, dirty.count);

		if (!page_equal(seed, FILL_RANDOM, (const uint64_t *)p, 0)) {
			size_t at = first_difference(seed, FILL_RANDOM, p, 0);

			bad_page(res, "dirty", i, at, p + at, "content differs");
		}
	}
	/* A forked helper process shares its parent's slot and must not look at it. */
	if (control->slot[rank].pid == getpid() && control->slot[rank].dirty_count != dirty.count)
		bad_page(res, "dirty-count", 0, 0, &dirty.count, "writes were lost");
	pthread_mutex_unlock(&dirty.lock);
	res->pages += dirty.pages;
}

static void verify_threads(struct result *res)
{
	uint64_t before[MAX_THREADS], end = now_us(CLOCK_MONOTONIC) + 5000000;
	int i;

	if (control->slot[rank].pid != getpid())
		return;
	for (i = 0; i < opt.threads; i++)
		before[i] = __atomic_load_n(&workers[i].beats, __ATOMIC_RELAXED);
	for (i = 0; i < opt.threads; i++) {
		while (__atomic_load_n(&workers[i].beats, __ATOMIC_RELAXED) == before[i] &&
		       now_us(CLOCK_MONOTONIC) < end)
			nap(500);
		if (__atomic_load_n(&workers[i].beats, __ATOMIC_RELAXED) == before[i])
			bad_page(res, "thread", i, 0, &workers[i], "does not run");
		if (__atomic_load_n(&workers[i].bad, __ATOMIC_RELAXED))
			bad_page(res, "thread", i, 0, &workers[i], "its stack or TLS was wrong");
	}
}

/* Grow the stack below what was touched before; 16 KiB a frame. */
static bool __attribute__((noinline)) verify_stack_growth(int depth)
{
	uint64_t data[4][WORDS];
	bool ok = true;
	int i;

	for (i = 0; i < 4; i++)
		page_write(mix(depth * 4 + i), FILL_RANDOM, data[i]);
	if (depth > 1)
		ok = verify_stack_growth(depth - 1);
	for (i = 0; i < 4; i++)
		ok = ok && page_equal(mix(depth * 4 + i), FILL_RANDOM, data[i], 0);
	return ok;
}

static struct result verify_all(void)
{
	uint64_t start = now_us(CLOCK_MONOTONIC);
	struct result res = { 0 };
	uint32_t k;

	if (table.sum != table_sum()) {
		bad_page(&res, "table", 0, 0, &table, "the table of regions itself was damaged");
		return res;
	}
	for (k = 0; k < table.nr; k++)
		verify_region(&table.r[k], &res);
	verify_dirty(&res);
	verify_threads(&res);
	if (!verify_stack_growth(32))
		bad_page(&res, "stack-growth", 0, 0, &res, "content differs");
	if (!res.bad)
		say("verify OK pages=%lu us=%lu pid=%d rank=%d", res.pages,
		    now_us(CLOCK_MONOTONIC) - start, getpid(), rank);
	else if (res.bad > MAX_LINES)
		say("verify more BAD pages=%lu pid=%d rank=%d", res.bad - MAX_LINES, getpid(),
		    rank);
	return res;
}

/* ---- actions after a restore ---- */

/* The largest piece of plain private memory, or -1. */
static int largest(void)
{
	int best = -1;
	uint32_t k;

	for (k = 0; k < table.nr; k++) {
		const struct region *r = &table.r[k];

		if (strcmp(r->name, "main") && strcmp(r->name, "plain"))
			continue;
		if (best < 0 || r->pages > table.r[best].pages)
			best = k;
	}
	return best >= 0 && table.r[best].pages >= 32 ? best : -1;
}

static void set_owner(struct region *r, size_t from, size_t to, uint16_t owner, bool write)
{
	size_t i;

	for (i = from; i < to; i++) {
		r->owner[i] = owner;
		if (write)
			write_page(r, i);
	}
}

/*
 * Forked without waiting: the child reads all memory while its parent goes on with the other
 * actions.
 */
static pid_t action_fork(void)
{
	struct result res;
	pid_t pid;

	pthread_mutex_lock(&dirty.lock);
	pid = fork();
	pthread_mutex_unlock(&dirty.lock);
	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	res = verify_all();
	_exit(!!res.bad);
}

static int action_remap(struct result *res)
{
	int k = largest();
	struct region *r, *grown;
	uint32_t middle;
	uint8_t *to, *old;
	size_t n;

	if (k < 0)
		return -ENOMEM;
	n = table.r[k].pages / 3;
	middle = split(k, n);
	split(middle, n);
	r = &table.r[middle];
	old = r->addr;
	to = map_pages(n + 16, PROT_NONE, MAP_PRIVATE | MAP_NORESERVE);
	if (mremap(r->addr, n * PAGE, n * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to) != to)
		return -errno;
	r->addr = to;
	if (!faults(old, false))
		bad_page(res, r->name, r->first, 0, old, "still there after mremap");
	munmap(to + n * PAGE, 16 * PAGE);
	verify_region(r, res);
	if (mremap(to, n * PAGE, (n + 16) * PAGE, 0) != to)
		return -errno;
	grown = region_add("grown", to + n * PAGE, 16);
	set_owner(grown, 0, 16, OWNER_ZERO, false);
	verify_region(grown, res);
	return 0;
}

static int action_remove(struct result *res)
{
	int k = largest();
	size_t n, half;
	struct region *r, part;

	if (k < 0)
		return -ENOMEM;
	r = &table.r[k];
	n = r->pages / 4;
	half = n + n / 2;
	if (madvise(r->addr + n * PAGE, n * PAGE, MADV_DONTNEED))
		return -errno;
	set_owner(r, half, 2 * n, OWNER_AGAIN, true);
	set_owner(r, n, half, OWNER_ZERO, false);
	part = *r;
	part.addr += n * PAGE;
	part.owner += n;
	part.first += n;
	part.pages = n;
	verify_region(&part, res);
	return 0;
}

static int action_unmap(struct result *res)
{
	struct region *fresh;
	int k = largest();
	uint32_t hole;
	uint8_t *addr;
	size_t n;

	if (k < 0)
		return -ENOMEM;
	n = table.r[k].pages / 4;
	addr = table.r[k].addr + 2 * n * PAGE;
	hole = split(k, 2 * n);
	split(hole, n);
	region_drop(hole);
	if (munmap(addr, n * PAGE))
		return -errno;
	if (!faults(addr, false) || !faults(addr + (n - 1) * PAGE, false))
		bad_page(res, "unmapped", 0, 0, addr, "still there after munmap");
	/* A new mapping in the same place has nothing to do with the old one. */
	if (mmap(addr, n / 2 * PAGE, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) != addr)
		return -errno;
	fresh = region_add("fresh", addr, n / 2);
	set_owner(fresh, 0, n / 2, OWNER_ZERO, false);
	verify_region(fresh, res);
	set_owner(fresh, 0, n / 4, OWNER_AGAIN, true);
	verify_region(fresh, res);
	return 0;
}

static struct result run_actions(const char *list)
{
	char copy[128], *save = NULL, *name;
	struct result total = { 0 }, one;
	pid_t forked[16];
	int nr_forked = 0, err, i, status;

	if (table.sum != table_sum())
		return verify_all();
	snprintf(copy, sizeof(copy), "%s", list);
	for (name = strtok_r(copy, ", \n", &save); name; name = strtok_r(NULL, ", \n", &save)) {
		uint64_t start = now_us(CLOCK_MONOTONIC);

		memset(&one, 0, sizeof(one));
		err = 0;
		if (!strcmp(name, "fork")) {
			pid_t pid = nr_forked < 16 ? action_fork() : -1;

			if (pid < 0)
				err = -EAGAIN;
			else
				forked[nr_forked++] = pid;
		} else if (!strcmp(name, "remap")) {
			err = action_remap(&one);
		} else if (!strcmp(name, "remove")) {
			err = action_remove(&one);
		} else if (!strcmp(name, "unmap")) {
			err = action_unmap(&one);
		} else if (!strcmp(name, "verify")) {
			one = verify_all();
		} else {
			err = -ENOSYS;
		}
		table_seal();
		total.bad += one.bad + !!err;
		say("action %s %s us=%lu pid=%d rank=%d%s%s", name, one.bad || err ? "BAD" : "OK",
		    now_us(CLOCK_MONOTONIC) - start, getpid(), rank, err ? " " : "",
		    err ? strerror(-err) : "");
	}
	one = verify_all();
	total.pages = one.pages;
	total.bad += one.bad;
	for (i = 0; i < nr_forked; i++) {
		if (waitpid(forked[i], &status, 0) != forked[i] || status) {
			say("verify BAD mapping=forked-child page=0 offset=0 pid=%d rank=%d status %#x",
			    forked[i], rank, status);
			total.bad++;
		}
	}
	return total;
}

/* ---- commands ---- */

static void answer(enum command command, const char *actions, uint64_t gen)
{
	struct slot *slot = &control->slot[rank];
	struct result res = command == CMD_ACTIONS ? run_actions(actions) : verify_all();
	int i, status;

	for (i = 0; i < nr_children; i++) {
		if (children[i] && waitpid(children[i], &status, WNOHANG) == children[i]) {
			say("verify BAD mapping=process page=0 offset=0 pid=%d rank=%d child died, status %#x",
			    children[i], rank, status);
			children[i] = 0;
			res.bad++;
		}
	}
	slot->pages = res.pages;
	slot->bad = res.bad ? 1 : 0;
	__atomic_store_n(&slot->done, gen, __ATOMIC_RELEASE); /* pairs with collect() */
}

/* Rank 0: wait for what all the others answer. */
static void collect(enum command command, uint64_t gen, uint64_t start)
{
	uint64_t end = now_us(CLOCK_MONOTONIC) + ANSWER_TIMEOUT_S * 1000000ULL, pages = 0;
	int i, bad = 0;

	for (i = 0; i < procs; i++) {
		struct slot *slot = &control->slot[i];
		bool dead = false;

		/* pairs with answer() */
		while (__atomic_load_n(&slot->done, __ATOMIC_ACQUIRE) != gen) {
			dead = (kill(slot->pid, 0) && errno == ESRCH) ||
			       now_us(CLOCK_MONOTONIC) > end;
			if (dead)
				break;
			nap(500);
		}
		if (dead)
			say("verify BAD mapping=process page=0 offset=0 pid=%d rank=%d does not answer",
			    slot->pid, i);
		bad += dead || slot->bad;
		pages += dead ? 0 : slot->pages;
	}
	say("%s all %s procs=%d pages=%lu us=%lu", command == CMD_ACTIONS ? "actions" : "verified",
	    bad ? "BAD" : "OK", procs, pages, now_us(CLOCK_MONOTONIC) - start);
}

static void root_command(enum command command, const char *actions)
{
	uint64_t start = now_us(CLOCK_MONOTONIC);

	control->command = command;
	snprintf(control->actions, sizeof(control->actions), "%s", actions);
	my_gen++;
	__atomic_store_n(&control->gen, my_gen, __ATOMIC_RELEASE); /* pairs with poll_control() */
	answer(command, actions, my_gen);
	collect(command, my_gen, start);
}

static bool command_file(const char *name, char *text, size_t size)
{
	ssize_t n = 0;
	int fd;

	if (access(name, F_OK))
		return false;
	fd = open(name, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		n = read(fd, text, size - 1);
		close(fd);
	}
	text[n > 0 ? n : 0] = 0;
	unlink(name);
	return true;
}

/* True when something was done that took time on purpose. */
static bool poll_root(void)
{
	char text[128];

	if (command_file("cmd-exit", text, sizeof(text))) {
		say("exit command");
		_exit(0);
	}
	if (command_file("cmd-ping", text, sizeof(text)))
		say("pong %lu", ticks);
	if (want_actions || command_file("cmd-actions", text, sizeof(text))) {
		const char *list = want_actions || !text[strspn(text, " \n")] ? opt.actions : text;

		want_actions = 0;
		root_command(CMD_ACTIONS, list);
		return true;
	}
	if (want_verify || command_file("cmd-verify", text, sizeof(text))) {
		want_verify = 0;
		root_command(CMD_VERIFY, "");
		return true;
	}
	return false;
}

static bool poll_control(void)
{
	/* pairs with root_command() */
	uint64_t gen = __atomic_load_n(&control->gen, __ATOMIC_ACQUIRE);

	if (gen == my_gen)
		return false;
	my_gen = gen;
	answer(control->command, control->actions, gen);
	return true;
}

static void __attribute__((noreturn)) run(void)
{
	uint64_t last = now_us(CLOCK_REALTIME), last_mono = now_us(CLOCK_MONOTONIC);

	for (;;) {
		uint64_t t, mono;

		nap(opt.tick_us);
		t = now_us(CLOCK_REALTIME);
		mono = now_us(CLOCK_MONOTONIC);
		if (t > last + (unsigned long)(opt.gap_us + opt.tick_us))
			say("gap %lu %lu %lu rank=%d mono=%ld", last, t, t - last, rank,
			    (long)(mono - last_mono));
		ticks++;
		if (want_exit) {
			say("exit signal %d pid=%d rank=%d", want_exit, getpid(), rank);
			_exit(0);
		}
		if (rank ? poll_control() : poll_root()) {
			t = now_us(CLOCK_REALTIME);
			mono = now_us(CLOCK_MONOTONIC);
		}
		last = t;
		last_mono = mono;
	}
}

/* ---- threads ---- */

/* Keeps 16 pages on its own stack, checks and rewrites one of them at each beat. */
static void *worker_main(void *arg)
{
	struct worker *w = arg;
	uint64_t data[16][WORDS], version[16], id = w - workers, beats = 0;
	int i;

	thread_cookie = mix(id + rank * 1000 + SALT);
	for (i = 0; i < 16; i++) {
		version[i] = 0;
		page_write(mix(thread_cookie + i), FILL_RANDOM, data[i]);
	}
	for (;; beats++) {
		i = beats % 16;
		if (!page_equal(mix(thread_cookie + i + version[i] * GOLDEN), FILL_RANDOM, data[i],
				0) ||
		    thread_cookie != mix(id + rank * 1000 + SALT) || w->beats != beats)
			__atomic_add_fetch(&w->bad, 1, __ATOMIC_RELAXED);
		version[i]++;
		page_write(mix(thread_cookie + i + version[i] * GOLDEN), FILL_RANDOM, data[i]);
		__atomic_store_n(&w->beats, beats + 1, __ATOMIC_RELAXED);
		nap(2000);
	}
	return NULL;
}

static void *dirty_main(void *arg)
{
	unsigned int i;

	(void)arg;
	for (;;) {
		for (i = 0; i < dirty.per_ms; i++) {
			pthread_mutex_lock(&dirty.lock);
			page_write(mix(dirty.seed + dirty.count * GOLDEN), FILL_RANDOM,
				   (uint64_t *)(dirty.addr + dirty.count % dirty.pages * PAGE));
			dirty.count++;
			control->slot[rank].dirty_count = dirty.count;
			pthread_mutex_unlock(&dirty.lock);
		}
		nap(1000);
	}
	return NULL;
}

static void start_threads(void)
{
	pthread_attr_t attr;
	pthread_t thread;
	int i, err = 0;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 256 << 10);
	memset(workers, 0, sizeof(workers));
	for (i = 0; i < opt.threads && !err; i++)
		err = pthread_create(&workers[i].thread, &attr, worker_main, &workers[i]);
	if (dirty.pages && !err)
		err = pthread_create(&thread, &attr, dirty_main, NULL);
	if (err)
		fail("pthread_create: %s", strerror(err));
	pthread_attr_destroy(&attr);
}

/* ---- mapping kinds ---- */

struct kind {
	const char *name;
	size_t pages; /* unless told */
	/* why it cannot be had, or NULL */
	const char *(*make)(const struct kind *kind, size_t pages);
};

static struct region *make_private(const char *name, size_t pages)
{
	return region_add(name, map_pages(pages, PROT_READ | PROT_WRITE, MAP_PRIVATE), pages);
}

static const char *make_plain(const struct kind *kind, size_t pages)
{
	region_fill(make_private(kind->name, pages));
	return NULL;
}

static const char *make_heap(const struct kind *kind, size_t pages)
{
	uintptr_t at = (uintptr_t)sbrk(0);

	if (sbrk(-at % PAGE + pages * PAGE) == (void *)-1)
		return "sbrk failed";
	region_fill(region_add(kind->name, (void *)(at + -at % PAGE), pages));
	return NULL;
}

static const char *make_protnone(const struct kind *kind, size_t pages)
{
	struct region *r = make_private(kind->name, pages);

	region_fill(r);
	region_protect(r, PROT_NONE);
	return NULL;
}

static const char *make_readonly(const struct kind *kind, size_t pages)
{
	struct region *r = make_private(kind->name, pages);

	region_fill(r);
	region_protect(r, PROT_READ);
	return NULL;
}

static const char *make_guard(const struct kind *kind, size_t pages)
{
	void *p = map_pages(pages, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	size_t third = pages / 3;
	struct region *r;

	if (madvise(p, PAGE, MADV_GUARD_INSTALL)) {
		munmap(p, pages * PAGE);
		return "kernel lacks MADV_GUARD_INSTALL";
	}
	r = region_add(kind->name, p, pages);
	r->owner[0] = OWNER_NONE;
	region_fill(r);
	if (madvise(r->addr + third * PAGE, third * PAGE, MADV_GUARD_INSTALL))
		return "kernel lacks MADV_GUARD_INSTALL over pages";
	set_owner(r, third, 2 * third, OWNER_NONE, false);
	return NULL;
}

static const char *make_thp(const struct kind *kind, size_t pages)
{
	size_t len = (pages * PAGE + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1);
	uint8_t *p = map_pages((len + HUGE_PAGE) / PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	size_t skip = -(uintptr_t)p % HUGE_PAGE;

	if (skip)
		munmap(p, skip);
	munmap(p + skip + len, HUGE_PAGE - skip);
	if (madvise(p + skip, len, MADV_HUGEPAGE)) {
		munmap(p + skip, len);
		return "kernel lacks transparent huge pages";
	}
	region_fill(region_add(kind->name, p + skip, len / PAGE));
	return NULL;
}

static const char *make_exec(const struct kind *kind, size_t pages)
{
	struct region *r = make_private(kind->name, pages);
	bool writable = !strcmp(kind->name, "execrw");

	r->code = true;
	region_fill(r);
	region_protect(r, PROT_READ | PROT_EXEC | (writable ? PROT_WRITE : 0));
	return NULL;
}

static const char *make_locked(const struct kind *kind, size_t pages)
{
	void *p = map_pages(pages, PROT_READ | PROT_WRITE, MAP_PRIVATE);

	if (mlock(p, pages * PAGE)) {
		munmap(p, pages * PAGE);
		return "mlock is not permitted";
	}
	region_fill(region_add(kind->name, p, pages));
	return NULL;
}

static const char *make_sparse(const struct kind *kind, size_t pages)
{
	struct region *r = make_private(kind->name, pages);
	size_t i;

	for (i = 0; i < pages; i++)
		if (i % 7)
			r->owner[i] = OWNER_ZERO;
	region_fill(r);
	return NULL;
}

static const char *make_stack(const struct kind *kind, size_t pages)
{
	region_fill(region_add(kind->name, stack_area, pages));
	return NULL;
}

static struct region *make_file(const char *name, const char *path, size_t pages, int flags)
{
	int fd = path ? open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600) :
			memfd_create(name, MFD_CLOEXEC);
	struct region *r;
	void *p;

	if (fd < 0 || ftruncate(fd, pages * PAGE))
		fail("%s: %s", path ? path : name, strerror(errno));
	p = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		fail("mmap %s: %s", name, strerror(errno));
	r = region_add(name, p, pages);
	r->shared = true;
	region_fill(r);
	if (flags & MAP_PRIVATE) {
		p = mmap(p, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, fd, 0);
		if (p == MAP_FAILED)
			fail("mmap %s: %s", name, strerror(errno));
		r->shared = false;
	}
	close(fd);
	return r;
}

static const char *make_tmpfs(const struct kind *kind, size_t pages)
{
	make_file(kind->name, "map.shared", pages, MAP_SHARED);
	return NULL;
}

static const char *make_memfd(const struct kind *kind, size_t pages)
{
	make_file(kind->name, NULL, pages, MAP_SHARED);
	return NULL;
}

static const char *make_file_private(const struct kind *kind, size_t pages)
{
	struct region *r = make_file(kind->name, "map.private", pages, MAP_PRIVATE);
	size_t i;

	for (i = 0; i < pages; i += 3)
		set_owner(r, i, i + 1, OWNER_AGAIN, true);
	return NULL;
}

static const char *make_shared(const struct kind *kind, size_t pages)
{
	struct region *r =
		region_add(kind->name, map_pages(pages, PROT_READ | PROT_WRITE, MAP_SHARED), pages);

	r->shared = true;
	region_fill(r);
	return NULL;
}

static const char *make_hugetlb(const struct kind *kind, size_t pages)
{
	size_t len = (pages * PAGE + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1);
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB,
		       -1, 0);

	if (p == MAP_FAILED)
		return "no huge pages are reserved (vm.nr_hugepages, vm.nr_overcommit_hugepages)";
	region_fill(region_add(kind->name, p, len / PAGE));
	return NULL;
}

/* Moved, and 16 untouched pages longer than before. */
static const char *make_remapped(const struct kind *kind, size_t pages)
{
	struct region *r = make_private(kind->name, pages);
	void *to = map_pages(pages + 16, PROT_NONE, MAP_PRIVATE | MAP_NORESERVE);
	size_t old = pages - 16;

	set_owner(r, old, pages, OWNER_ZERO, false);
	region_fill(r);
	munmap(r->addr + old * PAGE, 16 * PAGE);
	r->addr = mremap(r->addr, old * PAGE, pages * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to);
	if (r->addr == MAP_FAILED)
		fail("mremap: %s", strerror(errno));
	return NULL;
}

/* VMAs of one to three pages with changing protections, and a hole at each tenth. */
static const char *make_many(const struct kind *kind, size_t pages)
{
	static const int prots[] = { PROT_READ, PROT_READ | PROT_WRITE, PROT_READ | PROT_EXEC };
	struct region *r = make_private(kind->name, pages);
	size_t i, n, k;

	region_fill(r);
	for (i = 0, k = 0; i < pages; i += n, k++) {
		n = 1 + k % 3;
		if (n > pages - i)
			n = pages - i;
		if (k % 10 == 9) {
			munmap(r->addr + i * PAGE, n * PAGE);
			set_owner(r, i, i + n, OWNER_NONE, false);
		} else if (mprotect(r->addr + i * PAGE, n * PAGE, prots[(k + k / 3) % 3])) {
			fail("mprotect: %s", strerror(errno));
		}
	}
	r->prot = PROT_READ;
	r->mixed = true;
	return NULL;
}

static const char *make_swapped(const struct kind *kind, size_t pages)
{
	FILE *f = fopen("/proc/swaps", "re");
	int c, lines = 0;
	struct region *r;

	while (f && (c = getc(f)) != EOF)
		lines += c == '\n';
	if (f)
		fclose(f);
	if (lines < 2)
		return "no swap is on";
	r = make_private(kind->name, pages);
	region_fill(r);
	if (madvise(r->addr, pages * PAGE, MADV_PAGEOUT))
		say("note MADV_PAGEOUT: %s", strerror(errno));
	return NULL;
}

static const struct kind kinds[] = {
	{ "plain", 257, make_plain },
	{ "heap", 131, make_heap },
	{ "protnone", 67, make_protnone },
	{ "guard", 99, make_guard },
	{ "thp", 1024, make_thp },
	{ "exec", 19, make_exec },
	{ "execrw", 23, make_exec },
	{ "locked", 61, make_locked },
	{ "readonly", 71, make_readonly },
	{ "sparse", 1501, make_sparse },
	{ "stack", 257, make_stack },
	{ "tmpfs", 65, make_tmpfs },
	{ "memfd", 66, make_memfd },
	{ "shared-anon", 129, make_shared },
	{ "file-private", 130, make_file_private },
	{ "hugetlb", 1024, make_hugetlb },
	{ "remapped", 150, make_remapped },
	{ "many", 600, make_many },
	{ "swapped", 256, make_swapped },
};

#define NR_KINDS (sizeof(kinds) / sizeof(kinds[0]))

static const struct kind *kind_find(const char *name)
{
	size_t i;

	for (i = 0; i < NR_KINDS; i++)
		if (!strcmp(kinds[i].name, name))
			return &kinds[i];
	return NULL;
}

static void make_main(void)
{
	size_t pages = opt.size_mb * MB_PAGES;
	struct region *r;

	if (!pages)
		return;
	r = make_private("main", pages);
	r->fill = opt.fill;
	if (opt.huge && madvise(r->addr, pages * PAGE, MADV_HUGEPAGE))
		say("note MADV_HUGEPAGE: %s", strerror(errno));
	region_fill(r);
}

static void make_dirty(void)
{
	size_t i;

	if (!opt.dirty_mb)
		return;
	dirty.pages = opt.dirty_mb * MB_PAGES;
	dirty.addr = map_pages(dirty.pages, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	dirty.seed = mix(opt.seed + 77 * GOLDEN);
	dirty.count = dirty.pages;
	for (i = 0; i < dirty.pages; i++)
		page_write(mix(dirty.seed + i * GOLDEN), FILL_RANDOM,
			   (uint64_t *)(dirty.addr + i * PAGE));
}

static void make_maps(void)
{
	uint32_t k;
	int i;

	make_main();
	for (i = 0; i < opt.nr_maps; i++) {
		const struct map_request *m = &opt.maps[i];
		const struct kind *kind = kind_find(m->kind);
		const char *why = kind->make(kind, m->pages ? m->pages : kind->pages);

		if (why)
			say("skipped %s %s", kind->name, why);
	}
	make_dirty();
	for (k = 0; k < table.nr; k++)
		say("map %s %p %zu", table.r[k].name, table.r[k].addr, table.r[k].pages);
	if (dirty.pages)
		say("map dirty %p %zu", dirty.addr, dirty.pages);
	table_seal();
}

/* ---- the tree ---- */

/* About a tenth of the private pages, in runs of three, others than those of the neighbours. */
static void dirty_own_tenth(void)
{
	struct region *own;
	uint32_t k;
	size_t i;

	for (k = 0; k < table.nr; k++) {
		struct region *r = &table.r[k];

		if (r->shared || r->mixed || !(r->prot & PROT_WRITE))
			continue;
		for (i = 0; i < r->pages; i++)
			if ((i / 3 + rank) % 10 == 0 && r->owner[i] != OWNER_NONE)
				set_owner(r, i, i + 1, rank, true);
	}
	/* Memory that was never anybody else's. */
	own = make_private("own", 64);
	own->seed += rank * GOLDEN;
	region_fill(own);
	table_seal();
}

/* Children of process r are r * tree + 1 ... r * tree + tree. */
static void grow_tree(int level)
{
	int i, me = rank;

	if (level >= opt.depth)
		return;
	for (i = 1; i <= opt.tree; i++) {
		pid_t pid = fork();

		if (pid < 0)
			fail("fork: %s", strerror(errno));
		if (pid) {
			children[nr_children++] = pid;
			continue;
		}
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		rank = me * opt.tree + i;
		nr_children = 0;
		dirty_own_tenth();
		grow_tree(level + 1);
		return;
	}
}

static void wait_ready(void)
{
	int i;

	for (i = 1; i < procs; i++) {
		/* pairs with settle() */
		while (!__atomic_load_n(&control->slot[i].ready, __ATOMIC_ACQUIRE)) {
			if (waitpid(-1, NULL, WNOHANG) > 0)
				fail("a child died while the tree grew");
			nap(1000);
		}
	}
}

static void on_signal(int sig)
{
	if (sig == SIGUSR1)
		want_verify = 1;
	else if (sig == SIGUSR2)
		want_actions = 1;
	else
		want_exit = sig;
}

static void catch_signals(void)
{
	struct sigaction fault = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO },
			 plain = { .sa_handler = on_signal };
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGHUP, SIG_IGN);
	signal(SIGCHLD, SIG_DFL);
	sigaction(SIGSEGV, &fault, NULL);
	sigaction(SIGBUS, &fault, NULL);
	sigaction(SIGUSR1, &plain, NULL);
	sigaction(SIGUSR2, &plain, NULL);
	sigaction(SIGTERM, &plain, NULL);
}

static void settle(void)
{
	struct slot *slot = &control->slot[rank];

	slot->pid = getpid();
	slot->dirty_count = dirty.count;
	start_threads();
	__atomic_store_n(&slot->ready, 1, __ATOMIC_RELEASE); /* pairs with wait_ready() */
	if (rank)
		return;
	wait_ready();
	if (opt.zombie && !fork())
		_exit(3);
	say("ready %d", getpid());
}

static void __attribute__((noreturn, noinline)) live(void)
{
	uintptr_t area = (uintptr_t)alloca((opt.stack_pages + 1) * PAGE);

	stack_area = (uint8_t *)(area + -area % PAGE);
	control =
		map_pages((sizeof(*control) + PAGE - 1) / PAGE, PROT_READ | PROT_WRITE, MAP_SHARED);
	make_maps();
	grow_tree(0);
	settle();
	run();
}

/* ---- start ---- */

static void __attribute__((noreturn)) usage(int ret)
{
	size_t i;

	fprintf(ret ? stderr : stdout,
		"usage: victim [options] DIR\n"
		"  --size MB          private memory, filled as told by --fill (default 16; 0 = none)\n"
		"  --fill HOW         random (incompressible), zero, half (every other page zero), text (compressible)\n"
		"  --huge             transparent huge pages for --size\n"
		"  --map KIND[:MB]    one more mapping, repeatable; KIND = all for each of:\n                    ");
	for (i = 0; i < NR_KINDS; i++)
		fprintf(ret ? stderr : stdout, " %s%s", kinds[i].name,
			i % 10 == 9 ? "\n                    " : "");
	fprintf(ret ? stderr : stdout,
		"\n"
		"  --tree N           fork N children that share the memory and rewrite a tenth of it each\n"
		"  --depth D          each child forks N again, D levels (default 1)\n"
		"  --zombie           keep a dead child\n"
		"  --threads N        N more threads in each process, with data on their stacks\n"
		"  --dirty[=MB[:MBPS]]  keep writing MB (default 16) at MBPS (default 100)\n"
		"  --tick MS          look for gaps and commands every MS ms (default 1; fractions allowed)\n"
		"  --gap MS           the shortest gap that is told (default 20)\n"
		"  --on-restore LIST  what SIGUSR2 does: fork, remap, remove, unmap, verify (default: the first four)\n"
		"  --seed N           other content\n"
		"  --keep-stdio       do not point descriptors 0, 1 and 2 to /dev/null\n"
		"SIGUSR1 or DIR/cmd-verify verifies all memory of all processes, SIGUSR2 or DIR/cmd-actions (which may\n"
		"hold a LIST) runs the actions, SIGTERM or DIR/cmd-exit ends, DIR/cmd-ping answers.\n"
		"All answers go to DIR/victim.log\n");
	exit(ret);
}

static void add_map(char *arg)
{
	char *mb = strchr(arg, ':');
	const struct kind *kind;
	size_t pages = 0, i;

	if (mb) {
		*mb++ = 0;
		pages = strtoul(mb, NULL, 10) * MB_PAGES;
		if (!pages)
			usage(1);
	}
	for (i = 0; i < NR_KINDS; i++) {
		kind = &kinds[i];
		if (strcmp(arg, "all") && strcmp(arg, kind->name))
			continue;
		if (opt.nr_maps == MAX_MAPS) {
			fprintf(stderr, "victim: too many --map\n");
			exit(1);
		}
		if (!strcmp(kind->name, "stack")) {
			opt.stack_pages = pages ? pages : kind->pages;
			if (opt.stack_pages > 6 * MB_PAGES) {
				fprintf(stderr, "victim: --map stack is limited to 6 MB\n");
				exit(1);
			}
		}
		opt.maps[opt.nr_maps].kind = kind->name;
		opt.maps[opt.nr_maps++].pages = pages;
		if (strcmp(arg, "all"))
			return;
	}
	if (strcmp(arg, "all")) {
		fprintf(stderr, "victim: no mapping kind is called %s\n", arg);
		exit(1);
	}
}

static void set_dirty(const char *arg)
{
	unsigned long mbps = 100;
	const char *rate = arg ? strchr(arg, ':') : NULL;

	opt.dirty_mb = arg ? strtoul(arg, NULL, 10) : 16;
	if (rate)
		mbps = strtoul(rate + 1, NULL, 10);
	dirty.per_ms = mbps * MB_PAGES / 1000;
	if (!dirty.per_ms)
		dirty.per_ms = 1;
	if (!opt.dirty_mb)
		usage(1);
}

static void set_fill(const char *arg)
{
	static const char *const names[] = { "random", "zero", "half", "text" };
	size_t i;

	for (i = 0; i < 4; i++) {
		if (!strcmp(arg, names[i])) {
			opt.fill = i;
			return;
		}
	}
	usage(1);
}

static void parse(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "size", required_argument, NULL, 's' },
		{ "fill", required_argument, NULL, 'f' },
		{ "huge", no_argument, NULL, 'H' },
		{ "map", required_argument, NULL, 'm' },
		{ "tree", required_argument, NULL, 't' },
		{ "depth", required_argument, NULL, 'd' },
		{ "zombie", no_argument, NULL, 'z' },
		{ "threads", required_argument, NULL, 'T' },
		{ "dirty", optional_argument, NULL, 'D' },
		{ "tick", required_argument, NULL, 'k' },
		{ "gap", required_argument, NULL, 'g' },
		{ "on-restore", required_argument, NULL, 'r' },
		{ "seed", required_argument, NULL, 'S' },
		{ "keep-stdio", no_argument, NULL, 'K' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int c, level, width;

	while ((c = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
		switch (c) {
		case 's':
			opt.size_mb = strtoul(optarg, NULL, 10);
			break;
		case 'f':
			set_fill(optarg);
			break;
		case 'H':
			opt.huge = true;
			break;
		case 'm':
			add_map(optarg);
			break;
		case 't':
			opt.tree = atoi(optarg);
			break;
		case 'd':
			opt.depth = atoi(optarg);
			break;
		case 'z':
			opt.zombie = true;
			break;
		case 'T':
			opt.threads = atoi(optarg);
			break;
		case 'D':
			set_dirty(optarg);
			break;
		case 'k':
			opt.tick_us = atof(optarg) * 1000;
			break;
		case 'g':
			opt.gap_us = atof(optarg) * 1000;
			break;
		case 'r':
			opt.actions = optarg;
			break;
		case 'S':
			opt.seed = strtoull(optarg, NULL, 0);
			break;
		case 'K':
			opt.keep_stdio = true;
			break;
		case 'h':
			usage(0);
		default:
			usage(1);
		}
	}
	if (optind != argc - 1 || opt.tree < 0 || opt.depth < 1 || opt.tick_us < 1 ||
	    opt.threads < 0 || opt.threads > MAX_THREADS)
		usage(1);
	for (level = 0, width = 1; opt.tree && level < opt.depth && procs <= MAX_PROCS; level++) {
		width *= opt.tree;
		procs += width;
	}
	if (procs > MAX_PROCS) {
		fprintf(stderr, "victim: at most %d processes\n", MAX_PROCS);
		exit(1);
	}
}

/*
 * Nothing that the caller had open may reach CRIU: a terminal or a pipe to the outside cannot be
 * dumped.
 */
static void close_files(void)
{
	int fd, i;

	syscall(SYS_close_range, 3, ~0U, 0);
	if (opt.keep_stdio)
		return;
	fd = open("/dev/null", O_RDWR);
	for (i = 0; i < 3; i++)
		if (fd < 0 || dup2(fd, i) < 0)
			fail("/dev/null: %s", strerror(errno));
	if (fd > 2)
		close(fd);
}

int main(int argc, char **argv)
{
	parse(argc, argv);
	if (chdir(argv[optind])) {
		perror(argv[optind]);
		return 1;
	}
	close_files();
	umask(022);
	/*
	 * CRIU wants the session leader inside the dumped tree; a group leader cannot become one.
	 */
	if (getsid(0) != getpid() && setsid() < 0) {
		if (fork())
			_exit(0);
		setsid();
	}
	catch_signals();
	live();
}
