/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The threads of a process that come and go: one list, joined by the main thread alone, so that
 * none is forgotten and none outlives it.  A thread that ends wakes the main thread through `wake`,
 * and so does mfd_threads_wake when the main thread has something else to look at.
 */
#ifndef MFD_THREADS_H
#define MFD_THREADS_H

#include <pthread.h>

struct mfd_thread;
struct mfd_threads {
	pthread_mutex_t lock;
	pthread_cond_t used;	/* lock: a reserved thread is */
	struct mfd_thread *all; /* lock */
	int wake; /* eventfd: readable after the end of a thread, or mfd_threads_wake */
};

int mfd_threads_init(struct mfd_threads *t);
/* Run fn(arg) in a new thread. 0 or -errno. */
int mfd_threads_start(struct mfd_threads *t, void (*fn)(void *), void *arg);
/*
 * A thread that is there before what it does can be begun, so that nothing can fail any more then.
 * mfd_threads_use has it run fn(arg), or end if fn is NULL.  0 or -errno.
 */
int mfd_threads_reserve(struct mfd_threads *t, struct mfd_thread **thread);
void mfd_threads_use(struct mfd_thread *thread, void (*fn)(void *), void *arg);
void mfd_threads_wake(struct mfd_threads *t); /* any thread */
void mfd_threads_reap(struct mfd_threads *t); /* main thread: join those that have ended */
void mfd_threads_join(struct mfd_threads *t); /* main thread: join all */

#endif
