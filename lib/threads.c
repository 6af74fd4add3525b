// SPDX-License-Identifier: GPL-2.0-only
/* A list of threads: start, notice the end of, join. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "threads.h"

struct mfd_thread {
	struct mfd_threads *pool;
	pthread_t id;
	void (*fn)(void *);
	void *arg;
	int used, ended; /* pool->lock */
	struct mfd_thread *next;
};

int mfd_threads_init(struct mfd_threads *t)
{
	t->all = NULL;
	pthread_mutex_init(&t->lock, NULL);
	pthread_cond_init(&t->used, NULL);
	t->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return t->wake < 0 ? -errno : 0;
}

void mfd_threads_wake(struct mfd_threads *t)
{
	uint64_t one = 1;

	/* A counter that is full wakes as well. */
	if (write(t->wake, &one, sizeof(one)) < 0)
		errno = 0;
}

static void *run(void *arg)
{
	struct mfd_thread *me = arg;
	struct mfd_threads *t = me->pool;

	pthread_mutex_lock(&t->lock);
	while (!me->used)
		pthread_cond_wait(&t->used, &t->lock);
	pthread_mutex_unlock(&t->lock);
	if (me->fn)
		me->fn(me->arg);
	pthread_mutex_lock(&t->lock);
	me->ended = 1;
	/* Inside the lock: the main thread may free the pool once the list is empty. */
	mfd_threads_wake(t);
	pthread_mutex_unlock(&t->lock);
	return NULL;
}

int mfd_threads_reserve(struct mfd_threads *t, struct mfd_thread **thread)
{
	struct mfd_thread *me = calloc(1, sizeof(*me));
	int ret;

	if (!me)
		return -ENOMEM;
	me->pool = t;
	pthread_mutex_lock(&t->lock);
	ret = -pthread_create(&me->id, NULL, run, me);
	if (!ret) {
		me->next = t->all;
		t->all = me;
	}
	pthread_mutex_unlock(&t->lock);
	if (ret)
		free(me);
	else
		*thread = me;
	return ret;
}

void mfd_threads_use(struct mfd_thread *me, void (*fn)(void *), void *arg)
{
	struct mfd_threads *t = me->pool;

	pthread_mutex_lock(&t->lock);
	me->fn = fn;
	me->arg = arg;
	me->used = 1;
	pthread_cond_broadcast(&t->used);
	pthread_mutex_unlock(&t->lock);
}

int mfd_threads_start(struct mfd_threads *t, void (*fn)(void *), void *arg)
{
	struct mfd_thread *me;
	int ret = mfd_threads_reserve(t, &me);

	if (!ret)
		mfd_threads_use(me, fn, arg);
	return ret;
}

/* Take one thread off the list: one that has ended, or any. */
static struct mfd_thread *take(struct mfd_threads *t, int any)
{
	struct mfd_thread **p, *me = NULL;

	pthread_mutex_lock(&t->lock);
	for (p = &t->all; *p && !any && !(*p)->ended;)
		p = &(*p)->next;
	if (*p) {
		me = *p;
		*p = me->next;
	}
	pthread_mutex_unlock(&t->lock);
	return me;
}

static void join(struct mfd_threads *t, int any)
{
	struct mfd_thread *me;

	while ((me = take(t, any))) {
		pthread_join(me->id, NULL);
		free(me);
	}
}

void mfd_threads_reap(struct mfd_threads *t)
{
	uint64_t n;

	if (read(t->wake, &n, sizeof(n)) < 0)
		errno = 0;
	join(t, 0);
}

void mfd_threads_join(struct mfd_threads *t)
{
	join(t, 1);
}
