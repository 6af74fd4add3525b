/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * For tests of the pager: a session made by hand (folder, images, store, page table, callbacks that
 * take notes), and what a child process needs to play CRIU and the task it restores.
 *
 * The task's memory is one area at an address that is free in the test and so in its children.
 * Page i of it, as dumped, holds words that depend on i alone, or zeros where i % 8 == 3, or i %
 * 4096 == 3 when world_dense is set.
 */
#ifndef RESTORED_H
#define RESTORED_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/types.h>

#include "pager.h"

#define PAGE  4096UL
#define TASK  77U
#define WANTS 4096

struct want {
	uint64_t page, n; /* page: number in the area */
};

struct world {
	char dir[64];
	int dirfd;
	struct mfd_pagestore *store;
	struct mfd_pagetable *table;
	struct mfd_pager *pager;
	char *area;	      /* PROT_NONE here; the child maps it */
	uint64_t pages, span; /* lazy pages from its start on; pages of address space there */
	int postcopy;
	atomic_int refuse;

	atomic_int started, restored, done; /* calls */
	int done_code;			    /* before done */
	pthread_mutex_t lock;		    /* guards the rest */
	struct want wants[WANTS];
	unsigned nwants, taken;
	int held[256];	  /* copies of the userfaultfds, as the supervisor has them */
	int numbers[256]; /* what the pager calls them */
	unsigned nheld;
	atomic_int abandoned; /* a restore was */
	/* Instead of holding them here. */
	int (*deposit)(struct world *w, const struct mfd_pager_deposit *h);
	void (*withdraw)(struct world *w, int uffd);
	/*
	 * how pages that arrive late are handed over: 0 = as the receiver would, 1 = always the
	 * store
	 */
	int feed;
};

extern int world_dense; /* before world_open and child_start */

int restored_needs_root(void **state); /* for a group's set-up */
void world_open(struct world *w, uint64_t pages, uint64_t span, int postcopy);
struct mfd_pager_config world_config(struct world *w, unsigned threads);
void world_start(struct world *w, unsigned threads);
void world_close(struct world *w);
/*
 * A packet of these pages, before or after the start: into store and table, or (postcopy, restored)
 * straight into the task.
 */
void world_bring(struct world *w, uint64_t page, uint64_t n);
/* One run that is in the table already, in `pages` or (NULL) in the store: tell the pager. */
void world_arrived(struct world *w, uint64_t vaddr, uint64_t n, int zero, const void *pages);
int world_next_want(struct world *w, struct want *x); /* 1 = took one */
void world_wait_done(struct world *w);		      /* at most 60 s */
void world_wait(atomic_int *what, int value);	      /* at most 60 s */

/* In the child. They end the process with a message when something is not as it should be. */
void die(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));
int page_is_zero(uint64_t i);
void page_fill(char *mem, uint64_t i);
void page_check(const volatile char *mem, uint64_t i); /* holds what page i held when dumped */
void page_check_zero(const volatile char *mem);
int task_connect(struct world *w);
int task_uffd(void);
void task_send(int sock, int pid, int uffd); /* uffd -1: none */
void task_finished(int sock);
void task_register(int uffd, void *at, uint64_t pages);
/* All of a restore but "finished": maps the area; returns the connection. */
int task_restore(struct world *w, int *uffd);
void task_check_all(struct world *w);

/*
 * mremap of `old` pages to `to`, where they are `new` pages then; flags besides MAYMOVE and FIXED.
 */
void task_move(char *from, char *to, uint64_t old, uint64_t new, int flags);
/*
 * Waits for step 1 of the test, restores a world of WILD_AREA pages of address space, is child step
 * 1, does things at random (forks, moves, discards, unmaps, writes, reads) with a model of what it
 * must see, is child step 2, and checks all.
 */
#define WILD_AREA 700U
void task_wild(struct world *w, unsigned seed, int actions);

/* fork; the child runs fn(w) and exits 0.  Children report through `pipe` bytes: see tell/hear. */
pid_t child_start(struct world *w, void (*fn)(struct world *w));
void child_end(pid_t pid);   /* must have exited with 0 */
void child_is_through(void); /* before an exec: it did what it was for */

#define STEPS_PIDS 512
struct steps { /* turns between test and child, in shared memory */
	atomic_int child, test;
	atomic_int through[STEPS_PIDS]; /* children that came to their end, each by its pid */
};
extern struct steps *steps;
void steps_reset(void);
void step_done(atomic_int *side, int n); /* n is reached */
void step_wait(atomic_int *side, int n); /* at most 60 s */

#endif
