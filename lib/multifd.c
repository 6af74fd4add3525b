// SPDX-License-Identifier: GPL-2.0-only
/*
 * The multifd core: payload swap between one producer and N channel threads. Theory in multifd.h.
 */
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "assert.h"
#include "io.h"
#include "multifd.h"
#include "threadname.h"

#define WAITING_NS 50000000L /* between two calls of ops.waiting */

struct channel {
	struct mfd_multifd *m;
	unsigned id;
	void *priv;
	pthread_t thread;

	/* the producer's while !pending_job, the thread's while pending_job */
	struct mfd_payload *payload;
	/* set: release by the producer; cleared: release by the thread */
	atomic_int pending_job;
	atomic_int pending_sync; /* relaxed: no data goes with it */
	sem_t work;		 /* one post per job or sync, and one to quit */
	sem_t synced;
	uint64_t syncs;		/* the thread's own count */
	int error;		/* the thread's own, published by m->failed */
} __attribute__((aligned(64))); /* neighbours do not share a cache line */

/*
 * Three lines of cache: what all threads read and hardly ever write, what the producer keeps to
 * itself, what all of them count in.
 */
struct mfd_multifd {
	struct mfd_multifd_ops ops;
	unsigned channels; /* fixed for life */
	/* 1 + the channel that failed first: release by its thread, acquire by readers */
	atomic_uint failed;
	atomic_int quit; /* set once, by stop() */

	struct mfd_payload *payload __attribute__((aligned(64))); /* the producer's own */
	/* where the producer looks for an idle channel first */
	unsigned next;
	/* its count of syncs, equal to every channel's after a sync */
	uint64_t syncs;
	struct mfd_multifd_stats stats;
	int given_up; /* what ops.waiting ended a wait with; the semaphores count wrongly then */

	sem_t idle __attribute__((aligned(64))); /* counts channels without a job */
	struct channel chan[];
};

static struct mfd_payload *payload_new(unsigned max_runs)
{
	struct mfd_payload *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->runs_memory = calloc(max_runs, sizeof(*p->runs_memory));
	if (!p->runs_memory) {
		free(p);
		return NULL;
	}
	return p;
}

static void payload_free(struct mfd_payload *p)
{
	if (p)
		free(p->runs_memory);
	free(p);
}

static void wait_sem(sem_t *s)
{
	while (sem_wait(s) && errno == EINTR)
		;
}

int mfd_multifd_error(struct mfd_multifd *m)
{
	/* pairs with channel_failed */
	unsigned failed = atomic_load_explicit(&m->failed, memory_order_acquire);

	return failed ? m->chan[failed - 1].error : 0;
}

unsigned mfd_multifd_failed_channel(struct mfd_multifd *m)
{
	return atomic_load_explicit(&m->failed, memory_order_acquire) - 1;
}

static void channel_failed(struct channel *c, int code)
{
	unsigned none = 0;

	mfd_assert(code < 0);
	mfd_assert(c->id < c->m->channels);
	c->error = code;
	if (atomic_compare_exchange_strong(&c->m->failed, &none, c->id + 1) && c->m->ops.failed)
		c->m->ops.failed(c->m->ops.arg, c->id, code);
}

/*
 * After a failure anywhere, jobs are dropped: the session is lost and the producer must not wait.
 */
static void run_job(struct channel *c)
{
	int ret = 0;

	mfd_assert(c->payload && c->payload->runs_memory);
	mfd_assert(c->payload->type != MFD_PAYLOAD_NONE);
	if (!mfd_multifd_error(c->m))
		ret = c->m->ops.send(c->priv, c->payload);
	if (ret)
		channel_failed(c, ret);
	mfd_payload_reset(c->payload);
	atomic_store_explicit(&c->pending_job, 0, memory_order_release); /* pairs with find_idle */
	sem_post(&c->m->idle);
}

static void run_sync(struct channel *c)
{
	int ret = 0;

	mfd_assert(!atomic_load_explicit(&c->pending_job, memory_order_relaxed));
	mfd_assert(c->payload->type == MFD_PAYLOAD_NONE);
	c->syncs++;
	if (!mfd_multifd_error(c->m))
		ret = c->m->ops.sync(c->priv, c->syncs);
	if (ret)
		channel_failed(c, ret);
	atomic_store_explicit(&c->pending_sync, 0, memory_order_relaxed);
	sem_post(&c->synced);
}

static void *channel_main(void *arg)
{
	struct channel *c = arg;

	mfd_threadname_set("send", c->id);
	for (;;) {
		wait_sem(&c->work);
		/* pairs with hand_over */
		if (atomic_load_explicit(&c->pending_job, memory_order_acquire))
			run_job(c);
		else if (atomic_load_explicit(&c->pending_sync, memory_order_relaxed))
			run_sync(c);
		else if (atomic_load_explicit(&c->m->quit, memory_order_relaxed))
			return NULL;
	}
}

static int channel_init(struct mfd_multifd *m, unsigned id, void *priv, unsigned max_runs)
{
	struct channel *c = &m->chan[id];
	int ret;

	c->m = m;
	c->id = id;
	c->priv = priv;
	c->payload = payload_new(max_runs);
	if (!c->payload)
		return -ENOMEM;
	sem_init(&c->work, 0, 0);
	sem_init(&c->synced, 0, 0);
	ret = pthread_create(&c->thread, NULL, channel_main, c);
	if (ret) {
		payload_free(c->payload);
		c->payload = NULL;
	}
	return -ret;
}

/* `started` channels have a thread; the others have nothing. */
static void join_and_free(struct mfd_multifd *m, unsigned started)
{
	atomic_store_explicit(&m->quit, 1, memory_order_relaxed);
	for (unsigned i = 0; i < started; i++)
		sem_post(&m->chan[i].work);
	for (unsigned i = 0; i < started; i++) {
		struct channel *c = &m->chan[i];

		pthread_join(c->thread, NULL);
		payload_free(c->payload);
		sem_destroy(&c->work);
		sem_destroy(&c->synced);
	}
	sem_destroy(&m->idle);
	payload_free(m->payload);
	free(m);
}

int mfd_multifd_start(struct mfd_multifd **out, unsigned channels, void *const *channel,
		      const struct mfd_multifd_ops *ops, unsigned max_runs)
{
	size_t size = sizeof(struct mfd_multifd) + channels * sizeof(struct channel);
	sigset_t all, old;
	struct mfd_multifd *m;
	unsigned i;
	int ret = 0;

	mfd_assert(channels && max_runs);
	mfd_assert(ops->send && ops->sync);
	m = aligned_alloc(64, (size + 63) / 64 * 64);
	if (!m)
		return -ENOMEM;
	*m = (struct mfd_multifd){ .ops = *ops,
				   .channels = channels,
				   .payload = payload_new(max_runs) };
	sem_init(&m->idle, 0, channels);
	if (!m->payload) {
		join_and_free(m, 0);
		return -ENOMEM;
	}

	/* Signals are for the main thread: the channels start with all of them blocked. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	for (i = 0; i < channels && !ret; i++) {
		m->chan[i] = (struct channel){ 0 };
		ret = channel_init(m, i, channel[i], max_runs);
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (ret) {
		join_and_free(m, i - 1);
		return ret;
	}
	*out = m;
	return 0;
}

struct mfd_payload *mfd_multifd_payload(struct mfd_multifd *m)
{
	return m->payload;
}

/*
 * The semaphore has counted an idle channel for the producer, and the producer alone makes channels
 * busy: the search must succeed within one round.
 */
static struct channel *find_idle(struct mfd_multifd *m)
{
	const unsigned n = m->channels;
	unsigned i = m->next, looked = 0;

	mfd_assert(i < n);
	/* pairs with run_job */
	while (atomic_load_explicit(&m->chan[i].pending_job, memory_order_acquire)) {
		looked++;
		mfd_assert(looked < n);
		i = i + 1 == n ? 0 : i + 1;
	}
	m->next = i + 1 == n ? 0 : i + 1;
	return &m->chan[i];
}

static void hand_over(struct mfd_multifd *m, struct channel *c)
{
	struct mfd_payload *empty = c->payload;

	mfd_assert(empty->type == MFD_PAYLOAD_NONE && empty != m->payload);
	mfd_assert(m->payload->type != MFD_PAYLOAD_NONE);
	c->payload = m->payload;
	m->payload = empty;
	/* pairs with channel_main */
	atomic_store_explicit(&c->pending_job, 1, memory_order_release);
	sem_post(&c->work);
}

/*
 * Wait for a post on `s`, with calls of ops.waiting between.  The clock is read only if there is a
 * wait.  After a failure every channel only drops what it has, so this ends then, too.
 */
static int produce_wait(struct mfd_multifd *m, sem_t *s)
{
	struct timespec t;
	int ret;

	if (m->given_up)
		return m->given_up;
	if (!sem_trywait(s))
		return 0;
	for (;;) {
		if (!m->ops.waiting) {
			wait_sem(s);
			return 0;
		}
		clock_gettime(CLOCK_MONOTONIC, &t);
		t.tv_nsec += WAITING_NS;
		if (t.tv_nsec >= 1000000000L) {
			t.tv_nsec -= 1000000000L;
			t.tv_sec++;
		}
		if (!sem_clockwait(s, CLOCK_MONOTONIC, &t))
			return 0;
		if (errno != ETIMEDOUT)
			continue;
		ret = m->ops.waiting(m->ops.waiting_arg);
		if (ret) {
			m->given_up = ret;
			return ret;
		}
	}
}

/* If a channel is idle, this is one look at the semaphore, without the clock. */
static int wait_idle(struct mfd_multifd *m)
{
	uint64_t start;
	int ret;

	m->stats.sends++;
	if (!m->given_up && !sem_trywait(&m->idle))
		return 0;
	start = mfd_io_now_us();
	ret = produce_wait(m, &m->idle);
	m->stats.stalls++;
	m->stats.stall_us += mfd_io_now_us() - start;
	return ret;
}

void mfd_multifd_get_stats(const struct mfd_multifd *m, struct mfd_multifd_stats *st)
{
	*st = m->stats;
}

int mfd_multifd_send(struct mfd_multifd *m)
{
	int ret = mfd_multifd_error(m);

	if (!ret)
		ret = wait_idle(m);
	if (ret)
		return ret;
	hand_over(m, find_idle(m));
	return 0;
}

int mfd_multifd_drain(struct mfd_multifd *m)
{
	const unsigned n = m->channels;

	for (unsigned i = 0; i < n; i++) {
		int ret = produce_wait(m, &m->idle);

		if (ret)
			return ret;
	}
	for (unsigned i = 0; i < n; i++)
		sem_post(&m->idle);
	return mfd_multifd_error(m);
}

int mfd_multifd_sync(struct mfd_multifd *m, uint64_t *number)
{
	const unsigned n = m->channels;

	mfd_multifd_drain(m); /* failed channels still answer a sync */
	if (m->given_up)
		return m->given_up;
	for (unsigned i = 0; i < n; i++) {
		atomic_store_explicit(&m->chan[i].pending_sync, 1, memory_order_relaxed);
		sem_post(&m->chan[i].work);
	}
	for (unsigned i = 0; i < n; i++) {
		int ret = produce_wait(m, &m->chan[i].synced);

		if (ret)
			return ret;
	}
	*number = ++m->syncs;
	mfd_assert(m->chan[0].syncs == m->syncs && m->chan[n - 1].syncs == m->syncs);
	return mfd_multifd_error(m);
}

void mfd_multifd_stop(struct mfd_multifd *m)
{
	if (m)
		join_and_free(m, m->channels);
}
