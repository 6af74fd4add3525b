// SPDX-License-Identifier: GPL-2.0-only
/*
 * A process that does to its memory whatever may confuse a tracker of writes, at random:
 *
 *	chaos SEED SECONDS [THREADS]
 *
 * Its threads write, map, unmap and move mappings (also onto those of others), throw pages away,
 * make and break huge pages, merge equal ones, change rights, grow the heap; a child does the same
 * for a moment, and the child's program is started anew.  It prints "ready" once.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGE	  4096UL
#define SLOTS	  24
#define SLOT	  (4UL << 20)
#define DONTUNMAP 4  /* MREMAP_DONTUNMAP */
#define COLLAPSE  25 /* MADV_COLLAPSE */
#define PAGEOUT	  21

static char *arena; /* SLOTS places of SLOT bytes, 2 MiB aligned */
static pthread_mutex_t slot_lock[SLOTS];
static char **self_argv;

struct rng {
	uint64_t s;
};

static uint64_t next(struct rng *r)
{
	r->s ^= r->s << 13;
	r->s ^= r->s >> 7;
	r->s ^= r->s << 17;
	return r->s;
}

static uint64_t below(struct rng *r, uint64_t n)
{
	return next(r) % n;
}

static char *place(unsigned slot)
{
	return arena + slot * SLOT;
}

static char *some_part(struct rng *r, unsigned slot, size_t *len)
{
	size_t first = below(r, SLOT / PAGE), n = 1 + below(r, SLOT / PAGE - first);

	if (below(r, 2) && n > 64)
		n = 64;
	*len = n * PAGE;
	return place(slot) + first * PAGE;
}

static void map_slot(unsigned slot)
{
	mmap(place(slot), SLOT, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
	     0);
}

/* Another thread may have taken the page's rights away: the kernel's write then only fails. */
static void poke(char *to, uint64_t value)
{
	struct iovec l = { &value, sizeof(value) }, t = { to, sizeof(value) };

	process_vm_writev(getpid(), &l, 1, &t, 1, 0);
}

static void write_some(struct rng *r, unsigned slot)
{
	for (unsigned i = 0, n = 1 + (unsigned)below(r, 200); i < n; i++) {
		char *p = place(slot) + below(r, SLOT / PAGE) * PAGE;

		*(volatile uint64_t *)(p + below(r, 500) * 8) = next(r);
	}
}

static void write_by_kernel(struct rng *r, unsigned slot)
{
	size_t len;
	char *p = some_part(r, slot, &len);

	if (below(r, 2))
		poke(p, next(r));
	else
		(void)!getrandom(p, len < 256 ? len : 256, 0);
}

static void fill(struct rng *r, unsigned slot)
{
	size_t len;
	char *p = some_part(r, slot, &len);

	memset(p, (int)below(r, 256), len);
}

static void read_some(struct rng *r, unsigned slot)
{
	for (unsigned i = 0; i < 50; i++)
		(void)*(volatile char *)(place(slot) + below(r, SLOT / PAGE) * PAGE);
}

static void forget(struct rng *r, unsigned slot)
{
	static const int how[] = { MADV_DONTNEED, MADV_FREE, MADV_DONTNEED, MADV_COLD, PAGEOUT };
	size_t len;
	char *p = some_part(r, slot, &len);

	madvise(p, len, how[below(r, 5)]);
}

static void advise(struct rng *r, unsigned slot)
{
	static const int how[] = { MADV_HUGEPAGE, MADV_NOHUGEPAGE, MADV_MERGEABLE, MADV_UNMERGEABLE,
				   MADV_DONTFORK, MADV_DOFORK,	   COLLAPSE,	   COLLAPSE };

	madvise(place(slot), SLOT, how[below(r, 8)]);
}

static void protect(struct rng *r, unsigned slot)
{
	size_t len;
	char *p = some_part(r, slot, &len);

	mprotect(p, len, below(r, 2) ? PROT_READ : PROT_NONE);
	mprotect(p, len, PROT_READ | PROT_WRITE);
}

static void anew(struct rng *r, unsigned slot)
{
	(void)r;
	map_slot(slot);
}

/* A mapping goes onto the place of another one; its own is mapped anew, or left without pages. */
static void move(struct rng *r, unsigned slot)
{
	unsigned other = (unsigned)below(r, SLOTS);
	int keep = below(r, 3) == 0;

	if (other == slot || pthread_mutex_trylock(&slot_lock[other]))
		return;
	if (mremap(place(slot), SLOT, SLOT, MREMAP_MAYMOVE | MREMAP_FIXED | (keep ? DONTUNMAP : 0),
		   place(other)) == MAP_FAILED)
		keep = 0, map_slot(other); /* a part may have moved */
	if (!keep)
		map_slot(slot);
	pthread_mutex_unlock(&slot_lock[other]);
}

static void grow(struct rng *r, unsigned slot)
{
	char *end;

	(void)slot;
	end = sbrk((intptr_t)(PAGE * (1 + below(r, 4))));
	if (end != (void *)-1)
		*(volatile uint64_t *)end = next(r);
}

static void (*const deeds[])(struct rng *, unsigned) = {
	write_some, write_some, write_some, write_some, write_by_kernel,
	fill,	    read_some,	forget,	    forget,	advise,
	protect,    anew,	move,	    grow,
};

static void *work(void *arg)
{
	struct rng r = { (uintptr_t)arg | 1 };

	for (;;) {
		unsigned slot = (unsigned)below(&r, SLOTS);

		pthread_mutex_lock(&slot_lock[slot]);
		deeds[below(&r, sizeof(deeds) / sizeof(*deeds))](&r, slot);
		pthread_mutex_unlock(&slot_lock[slot]);
		if (below(&r, 4) == 0)
			usleep((useconds_t)below(&r, 1000));
	}
	return NULL;
}

static void make_arena(void)
{
	char *p = mmap(NULL, (SLOTS + 1) * SLOT, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	arena = (char *)(((uintptr_t)p + SLOT - 1) / SLOT * SLOT);
	for (unsigned i = 0; i < SLOTS; i++) {
		pthread_mutex_init(&slot_lock[i], NULL);
		map_slot(i);
	}
}

static void child(struct rng r)
{
	char *argv[] = { self_argv[0], "1", "0", "1", NULL };

	for (unsigned i = 0; i < 100; i++) {
		write_some(&r, (unsigned)below(&r, SLOTS));
		usleep(2000);
	}
	if (below(&r, 2))
		execv("/proc/self/exe", argv);
	_exit(0);
}

/* The locks are held over a fork, lest the child find one taken. */
static void have_child(struct rng *r)
{
	pid_t pid;

	for (unsigned i = 0; i < SLOTS; i++)
		pthread_mutex_lock(&slot_lock[i]);
	pid = fork();
	for (unsigned i = 0; i < SLOTS; i++)
		pthread_mutex_unlock(&slot_lock[i]);
	if (!pid)
		child((struct rng){ next(r) | 1 });
	usleep(300000);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

int main(int argc, char **argv)
{
	struct rng r = { argc > 1 ? strtoull(argv[1], NULL, 10) * 2654435761u + 1 : 1 };
	long seconds = argc > 2 ? atol(argv[2]) : 10;
	int threads = argc > 3 ? atoi(argv[3]) : 3;
	time_t end = time(NULL) + (seconds ? seconds : 3600);
	pthread_t t;

	self_argv = argv;
	make_arena();
	for (int i = 0; i < threads; i++)
		pthread_create(&t, NULL, work, (void *)(uintptr_t)next(&r));
	puts("ready");
	fflush(stdout);
	while (time(NULL) < end)
		if (seconds)
			have_child(&r);
		else
			usleep(100000);
	return 0;
}
