// SPDX-License-Identifier: GPL-2.0-only
/* A mutex, two condition variables and a queue in the place of the lockless swap.  See locked.h. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "locked.h"

struct lane {
	struct locked *l;
	pthread_t thread;
	void *priv;
	uint64_t syncs;
	int sync; /* lock */
};

struct locked {
	struct mfd_multifd_ops ops;
	unsigned channels;
	struct mfd_payload *own; /* the producer's */

	pthread_mutex_t lock; /* all below, and lane.sync */
	pthread_cond_t work;  /* a full payload, a sync or quit; channels wait */
	/* an empty payload or an answered sync; the producer waits */
	pthread_cond_t done;
	struct mfd_payload **full, **empty; /* a ring and a stack, each with room for `channels` */
	unsigned first, nfull, nempty;
	unsigned sleepers, producer_sleeps; /* threads that wait on work, on done */
	unsigned syncing;		    /* channels that have not answered */
	int error, quit;
	struct lane lane[];
};

/* Called with the lock, which is released around the work. */
static void one_job(struct lane *a)
{
	struct locked *l = a->l;
	struct mfd_payload *p = l->full[l->first];
	int ret = l->error, wake;

	l->first = l->first + 1 == l->channels ? 0 : l->first + 1;
	l->nfull--;
	pthread_mutex_unlock(&l->lock);
	if (!ret)
		ret = l->ops.send(a->priv, p);
	mfd_payload_reset(p);
	pthread_mutex_lock(&l->lock);
	if (ret && !l->error)
		l->error = ret;
	l->empty[l->nempty++] = p;
	wake = l->producer_sleeps;
	if (wake) {
		pthread_mutex_unlock(&l->lock);
		pthread_cond_signal(&l->done);
		pthread_mutex_lock(&l->lock);
	}
}

static void one_sync(struct lane *a)
{
	struct locked *l = a->l;
	int ret = l->error;

	a->sync = 0;
	a->syncs++;
	pthread_mutex_unlock(&l->lock);
	if (!ret)
		ret = l->ops.sync(a->priv, a->syncs);
	pthread_mutex_lock(&l->lock);
	if (ret && !l->error)
		l->error = ret;
	if (!--l->syncing)
		pthread_cond_signal(&l->done);
}

static void *lane_main(void *arg)
{
	struct lane *a = arg;
	struct locked *l = a->l;

	pthread_mutex_lock(&l->lock);
	for (;;) {
		if (l->nfull) {
			one_job(a);
		} else if (a->sync) {
			one_sync(a);
		} else if (l->quit) {
			break;
		} else {
			l->sleepers++;
			pthread_cond_wait(&l->work, &l->lock);
			l->sleepers--;
		}
	}
	pthread_mutex_unlock(&l->lock);
	return NULL;
}

static struct mfd_payload *payload_new(unsigned max_runs)
{
	struct mfd_payload *p = calloc(1, sizeof(*p));

	if (p && !(p->runs_memory = calloc(max_runs, sizeof(*p->runs_memory))))
		abort();
	return p;
}

static void payload_free(struct mfd_payload *p)
{
	free(p->runs_memory);
	free(p);
}

/* A benchmark may simply give up when there is no memory. */
int locked_start(struct locked **out, unsigned channels, void *const *channel,
		 const struct mfd_multifd_ops *ops, unsigned max_runs)
{
	struct locked *l = calloc(1, sizeof(*l) + channels * sizeof(l->lane[0]));

	if (!l)
		return -ENOMEM;
	l->ops = *ops;
	l->channels = channels;
	l->full = calloc(channels, sizeof(*l->full));
	l->empty = calloc(channels, sizeof(*l->empty));
	l->own = payload_new(max_runs);
	if (!l->full || !l->empty || !l->own)
		abort();
	pthread_mutex_init(&l->lock, NULL);
	pthread_cond_init(&l->work, NULL);
	pthread_cond_init(&l->done, NULL);
	for (unsigned i = 0; i < channels; i++)
		l->empty[l->nempty++] = payload_new(max_runs);
	for (unsigned i = 0; i < channels; i++) {
		l->lane[i].l = l;
		l->lane[i].priv = channel[i];
		if (pthread_create(&l->lane[i].thread, NULL, lane_main, &l->lane[i]))
			abort();
	}
	*out = l;
	return 0;
}

struct mfd_payload *locked_payload(struct locked *l)
{
	return l->own;
}

static void producer_waits(struct locked *l)
{
	l->producer_sleeps = 1;
	pthread_cond_wait(&l->done, &l->lock);
	l->producer_sleeps = 0;
}

int locked_send(struct locked *l)
{
	int ret, wake;

	pthread_mutex_lock(&l->lock);
	while (!l->nempty)
		producer_waits(l);
	ret = l->error;
	wake = 0;
	if (!ret) {
		l->full[(l->first + l->nfull++) % l->channels] = l->own;
		l->own = l->empty[--l->nempty];
		wake = l->sleepers > 0;
	}
	pthread_mutex_unlock(&l->lock);
	if (wake)
		pthread_cond_signal(&l->work);
	return ret;
}

int locked_drain(struct locked *l)
{
	int ret;

	pthread_mutex_lock(&l->lock);
	while (l->nempty < l->channels)
		producer_waits(l);
	ret = l->error;
	pthread_mutex_unlock(&l->lock);
	return ret;
}

int locked_sync(struct locked *l, uint64_t *number)
{
	int ret;

	locked_drain(l);
	pthread_mutex_lock(&l->lock);
	l->syncing = l->channels;
	for (unsigned i = 0; i < l->channels; i++)
		l->lane[i].sync = 1;
	pthread_cond_broadcast(&l->work);
	while (l->syncing)
		producer_waits(l);
	*number = l->lane[0].syncs;
	ret = l->error;
	pthread_mutex_unlock(&l->lock);
	return ret;
}

void locked_stop(struct locked *l)
{
	pthread_mutex_lock(&l->lock);
	l->quit = 1;
	pthread_cond_broadcast(&l->work);
	pthread_mutex_unlock(&l->lock);
	for (unsigned i = 0; i < l->channels; i++)
		pthread_join(l->lane[i].thread, NULL);
	for (unsigned i = 0; i < l->nempty; i++)
		payload_free(l->empty[i]);
	payload_free(l->own);
	free(l->full);
	free(l->empty);
	pthread_cond_destroy(&l->work);
	pthread_cond_destroy(&l->done);
	pthread_mutex_destroy(&l->lock);
	free(l);
}
