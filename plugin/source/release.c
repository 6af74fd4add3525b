// SPDX-License-Identifier: GPL-2.0-only
/* Keeping what tasks leave behind, and giving it back. */
#include <sched.h>

#include "assert.h"
#include "gentle.h"
#include "mapped.h"
#include "release.h"

/* Bytes; below, a task is gone in 5 ms anyway, and CRIU's pipes are closed in a millisecond. */
#define LARGE	  (64ULL << 20)
#define PIN_MAX	  256 /* each takes a thread */
#define PIN_MS	  20
#define GENTLE_MS 1000 /* for which it is done behind everything else */

void mfd_release_keep_pipes(struct mfd_release *r, uint64_t bytes, pid_t criu, int pidfd)
{
	if (bytes >= LARGE && !r->pipes.fd)
		mfd_pagepipes_keep(&r->pipes, criu, pidfd);
}

int mfd_release_keep_memory(struct mfd_release *r, const struct mfd_tasks *t)
{
	unsigned large = 0, n = 0;

	mfd_assert(!r->pin);
	mfd_assert(!r->pinned);

	for (unsigned i = 0; i < t->n; i++)
		large += t->task[i]->bytes >= LARGE;
	r->pin = mfd_mmpin_open(large < PIN_MAX ? large : PIN_MAX);
	for (unsigned i = 0; r->pin && i < t->n && n < PIN_MAX; i++) {
		const struct mfd_task *k = t->task[i];

		if (k->bytes < LARGE || !k->peek || mfd_mapped_is_awaited(k->id->pid))
			continue;
		mfd_mmpin_take(r->pin, k->id->pid, k->peek);
		n++;
	}
	r->pinned = mfd_mmpin_await(r->pin, PIN_MS);
	return r->pinned == large;
}

void mfd_release_give_back(struct mfd_release *r)
{
	mfd_mmpin_release(r->pin);
	mfd_pagepipes_close(&r->pipes);
}

void mfd_release_end(struct mfd_release *r)
{
	struct sched_param none = { 0 };

	if (!r->pin && !r->pipes.n)
		return;
	mfd_gentle_session(1);
	mfd_mmpin_release(r->pin);
	mfd_mmpin_wait(r->pin, GENTLE_MS);
	sched_setscheduler(0, SCHED_IDLE, &none); /* this thread has nothing else to do any more */
	mfd_pagepipes_close(&r->pipes);
	mfd_gentle_session(0);
	mfd_mmpin_close(r->pin);
}
