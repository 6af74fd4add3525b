// SPDX-License-Identifier: GPL-2.0-only
/* When pages give way, and for how long a payload rests. */
#include <sched.h>
#include <time.h>

#include "assert.h"
#include "give_way.h"
#include "io.h"
#include "worker.h"

#define FEW_CPUS 4 /* below that */

#define RESTORE_BEGINS_US 1000000 /* after the images are complete; later, no restore is awaited */
#define RESTORE_ENDS_US	  15000	  /* at least, from the leave to run on */
#define EARLY_TAKES_US	  60000	  /* early: after the images; the restore of a few tasks */
/* After each payload, times what it took. */
#define REST_DUMP    2
#define REST_RESTORE 4
/* processor time of a page on both hosts, beside that of its sender */
#define BOTH_ENDS 3

static int has_few_cpus(void)
{
	cpu_set_t set;

	return !sched_getaffinity(0, sizeof(set), &set) && CPU_COUNT(&set) < FEW_CPUS;
}

void mfd_give_way_begin(struct mfd_worker *w)
{
	struct mfd_give_way *g = &w->give_way;

	mfd_assert(w->session.channels <= MFD_WIRE_MAX_CHANNELS);
	mfd_assert(w->session.plan < MFD_PLANS);
	atomic_store(&g->gentle, mfd_uplink_pages_follow(&w->session));
	g->few_cpus = has_few_cpus();
	for (unsigned i = 0; i < w->session.channels; i++)
		w->session.chan[i].gentle = &g->gentle;
}

static int is_gentle(const struct mfd_give_way *g)
{
	return atomic_load_explicit(&g->gentle, memory_order_relaxed);
}

/*
 * In postcopy leave to run is asked for in the middle of the restore, so that the rest takes about
 * as long again.  If it is not asked for in time, no restore is under way.
 */
static int restore_is_over(const struct mfd_worker *w, uint64_t now)
{
	const struct mfd_send_times *t = &w->times;
	uint64_t rest;

	if (w->session.plan == MFD_PLAN_EARLY)
		return now > t->gate_us + EARLY_TAKES_US;
	if (!t->leave_us)
		return now > t->gate_us + RESTORE_BEGINS_US;
	rest = t->leave_us - t->gate_us;
	return now > t->leave_us + (rest > RESTORE_ENDS_US ? rest : RESTORE_ENDS_US);
}

/*
 * In postcopy until CRIU is done here, and after the images until the target's tasks run.  With an
 * early restore in safe mode, CRIU's two runs are what cannot be done by several threads at once,
 * and a page that comes after them need not be stored: 1 GiB took 491 ms instead of 528 on two
 * processors.
 */
void mfd_give_way_look(struct mfd_worker *w)
{
	mfd_assert(w->sh);
	mfd_assert(w->session.plan < MFD_PLANS);
	if (is_gentle(&w->give_way) && mfd_send_phase_has(w->sh, MFD_SEND_GATE) &&
	    restore_is_over(w, mfd_io_now_us()))
		atomic_store_explicit(&w->give_way.gentle, 0, memory_order_relaxed);
}

static int gives_way(const struct mfd_give_way *g)
{
	return g->few_cpus && is_gentle(g);
}

int mfd_give_way_rests(const struct mfd_give_way *g)
{
	return gives_way(g) && mfd_io_now_us() < g->rest_until_us;
}

/* Of all threads of this process. */
static uint64_t processor_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

/* A rest may have ended early, because CRIU was through. */
static void count_rest(struct mfd_give_way *g)
{
	uint64_t now;

	if (!g->rest_from_us)
		return;
	now = mfd_io_now_us();
	g->rests++;
	g->rested_us += (now < g->rest_until_us ? now : g->rest_until_us) - g->rest_from_us;
	g->rest_from_us = 0;
}

int mfd_give_way_payload_begin(struct mfd_give_way *g, struct mfd_give_way_work *work)
{
	count_rest(g);
	if (!gives_way(g))
		return 0;
	work->wall_us = mfd_io_now_us();
	work->processor_us = processor_us();
	return 1;
}

/*
 * A rest is measured by what the payload took of the processors, not of a slow network: by no more
 * than BOTH_ENDS times what it took here.
 */
void mfd_give_way_payload_end(struct mfd_worker *w, const struct mfd_give_way_work *work)
{
	struct mfd_give_way *g = &w->give_way;
	uint64_t now = mfd_io_now_us(), took = now - work->wall_us,
		 worked = (processor_us() - work->processor_us) * BOTH_ENDS,
		 busy = took < worked ? took : worked;

	if (w->session.plan == MFD_PLAN_EARLY)
		return;
	g->rest_from_us = now;
	g->rest_until_us =
		now + busy * (mfd_send_phase_has(w->sh, MFD_SEND_GATE) ? REST_RESTORE : REST_DUMP);
}
