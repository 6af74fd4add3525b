// SPDX-License-Identifier: GPL-2.0-only
/* Threads that run and write while the others are looked at, and their verification. */
#include <sys/mman.h>
#include <unistd.h>

#include "victim.h"

struct dirty dirty = { .lock = PTHREAD_MUTEX_INITIALIZER };
static struct worker workers[MAX_THREADS];
static __thread uint64_t thread_cookie;

/* Page i was written last when count was at this number; its content follows from it. */
static uint64_t dirty_seed(size_t i, uint64_t count)
{
	uint64_t last = count - 1;

	return mix(dirty.seed + (last - (last - i) % dirty.pages) * GOLDEN);
}

void threads_verify_dirty(struct result *res)
{
	size_t i;

	if (!dirty.pages)
		return;
	pthread_mutex_lock(&dirty.lock);
	for (i = 0; i < dirty.pages; i++) {
		const uint8_t *p = dirty.addr + i * PAGE;
		uint64_t seed = dirty_seed(i, dirty.count);

		if (!page_equal(seed, FILL_RANDOM, (const uint64_t *)p, 0)) {
			size_t at = page_difference(seed, FILL_RANDOM, p, 0);

			verify_bad(res, "dirty", i, at, p + at, "content differs");
		}
	}
	/* A forked helper process shares its parent's slot and must not look at it. */
	if (control->slot[rank].pid == getpid() && control->slot[rank].dirty_count != dirty.count)
		verify_bad(res, "dirty-count", 0, 0, &dirty.count, "writes were lost");
	pthread_mutex_unlock(&dirty.lock);
	res->pages += dirty.pages;
}

void threads_verify(struct result *res)
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
			verify_bad(res, "thread", i, 0, &workers[i], "does not run");
		if (__atomic_load_n(&workers[i].bad, __ATOMIC_RELAXED))
			verify_bad(res, "thread", i, 0, &workers[i], "its stack or TLS was wrong");
	}
}

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

void threads_start(void)
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

void threads_make_dirty(void)
{
	size_t i;

	if (!opt.dirty_mb)
		return;
	dirty.pages = opt.dirty_mb * MB_PAGES;
	dirty.addr = region_map(dirty.pages, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	dirty.seed = mix(opt.seed + 77 * GOLDEN);
	dirty.count = dirty.pages;
	for (i = 0; i < dirty.pages; i++)
		page_write(mix(dirty.seed + i * GOLDEN), FILL_RANDOM,
			   (uint64_t *)(dirty.addr + i * PAGE));
}
