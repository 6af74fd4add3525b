/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the files of the victim share; main.c says what it is.
 *
 *	options.c   the command line (opt)
 *	kinds.c     makes the mappings: a table of kinds
 *	region.c    the table of regions: which memory there is, and which process wrote each page
 *	page.c      what a page must hold
 *	verify.c    compares all memory with that
 *	threads.c   threads that run and write meanwhile, and their verification
 *	actions.c   fork, remap, remove, unmap after a restore
 *	tree.c      the processes of the tree, and what they share (control)
 *	command.c   the loop: gaps, and the commands of the tests
 *	log.c       the lines of DIR/victim.log
 */
#ifndef VICTIM_H
#define VICTIM_H

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <time.h>

#define PAGE	    4096UL
#define WORDS	    (PAGE / 8)
#define HUGE_PAGE   (2UL << 20)
#define MB_PAGES    (256UL)
#define MAX_REGIONS 512
#define MAX_MAPS    64
#define MAX_PROCS   1024
#define MAX_THREADS 256
#define MAX_LINES   8 /* BAD lines logged per process and verification */
#define GOLDEN	    0x9e3779b97f4a7c15ULL
#define SALT	    0x5bd1e9955bd1e995ULL

/* log.c */
void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void fail(const char *fmt, ...) __attribute__((noreturn, format(printf, 1, 2)));
uint64_t now_us(clockid_t clock);
void nap(long us);

/* options.c */
enum fill { FILL_RANDOM, FILL_ZERO, FILL_HALF, FILL_TEXT };

struct map_request {
	const char *kind;
	size_t pages;
};

struct options {
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
};
extern struct options opt;
void options_parse(int argc, char **argv);

/* region.c */
/* Owners that are no rank. */
enum {
	OWNER_ZERO = 0xffff,   /* reads as zeros */
	OWNER_NONE = 0xfffe,   /* must not be accessible: guard page, hole */
	OWNER_UNUSED = 0xfffd, /* left alone, and never looked at */
	OWNER_AGAIN = 0xfffc,  /* written a second time, with content of its own */
};

/*
 * A range of pages. Regions that share a seed are pieces of what was one mapping (see
 * region_split()).
 */
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

struct table {
	uint64_t sum;
	uint32_t nr;
	struct region r[MAX_REGIONS];
};
extern struct table table;
uint64_t table_sum(void);
void table_seal(void); /* after each change of the table or of an owner */
void *region_map(size_t pages, int prot, int flags);
struct region *region_add(const char *name, void *addr, size_t pages);
struct region *region_private(const char *name, size_t pages);
void region_write_page(const struct region *r, size_t i);
void region_fill(const struct region *r);
void region_protect(struct region *r, int prot);
void region_set_owner(struct region *r, size_t from, size_t to, uint16_t owner, bool write);
/* Cut region k after `pages` pages. Return the index of the rest, the last one of the table. */
uint32_t region_split(uint32_t k, size_t pages);
void region_drop(uint32_t k);

/* page.c */
#define CODE_WORDS 2
uint64_t mix(uint64_t x);
uint64_t page_seed(const struct region *r, size_t i);
enum fill page_fill(const struct region *r, size_t i);
void page_write(uint64_t seed, enum fill fill, uint64_t *p);
bool page_equal(uint64_t seed, enum fill fill, const uint64_t *p, size_t from);
size_t page_difference(uint64_t seed, enum fill fill, const uint8_t *p, size_t from);
/* Code in a page: int f(void) { return VALUE; } */
void page_code(uint32_t value, uint64_t out[CODE_WORDS]);
bool page_code_right(uint64_t seed, const uint8_t *page); /* runs it */

/* verify.c */
struct result {
	uint64_t pages;
	uint64_t bad;
};
struct result verify_all(void);
void verify_region(struct region *r, struct result *res);
void verify_bad(struct result *res, const char *name, size_t page, size_t offset, const void *addr,
		const char *why);
bool verify_faults(volatile uint8_t *p, bool writing);
void verify_on_fault(int sig, siginfo_t *si, void *context); /* handler of SIGSEGV and SIGBUS */

/* threads.c */
struct worker {
	pthread_t thread;
	uint64_t beats; /* relaxed: only progress is looked at */
	uint64_t bad;	/* relaxed: a count of errors */
};

/* Written by one thread, page after page for ever; lock guards all but the constants. */
struct dirty {
	pthread_mutex_t lock;
	uint8_t *addr;
	size_t pages;
	uint64_t seed;
	uint64_t count; /* pages written since the start; tells what each page must hold */
	unsigned int per_ms;
};
extern struct dirty dirty;
void threads_make_dirty(void);
void threads_start(void);
void threads_verify(struct result *res);
void threads_verify_dirty(struct result *res);

/* kinds.c */
struct kind {
	const char *name;
	size_t pages; /* unless told */
	/* why it cannot be had, or NULL */
	const char *(*make)(const struct kind *kind, size_t pages);
};
extern const struct kind kinds[];
extern const size_t nr_kinds;
extern uint8_t *stack_area; /* for the kind "stack" */
void kinds_make(void);

/* actions.c */
struct result actions_run(const char *list);

/* tree.c */
enum command { CMD_NONE, CMD_VERIFY, CMD_ACTIONS };

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
extern struct control *control;
extern int rank, procs;
extern pid_t children[MAX_PROCS];
extern int nr_children;
void tree_grow(int level);
void tree_settle(void);

/* command.c */
extern volatile sig_atomic_t want_verify, want_actions, want_exit;
void command_run(void) __attribute__((noreturn));

#endif
