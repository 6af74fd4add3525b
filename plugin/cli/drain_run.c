// SPDX-License-Identifier: GPL-2.0-only
/*
 * The moves of a drain, N at once, until nothing is left to begin and none runs.
 *
 * The first signal: nothing new is begun, what is on its way ends.  The second: each migrate is
 * asked to abort, as by a Ctrl-C of its own; it decides whether that is possible still.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "drain.h"
#include "io.h"
#include "life.h"
#include "words.h"

#define TICK_MS	   50
#define METRICS_MS 2000

int mfd_drain_run_signals(struct mfd_drain *d)
{
	sigset_t set;

	mfd_migrate_block_signals();
	mfd_migrate_watched_signals(&set);
	d->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return d->signals < 0 ? -errno : 0;
}

static void say_event(struct mfd_drain *d, const struct mfd_drain_item *it, const char *event)
{
	if (d->m.json)
		mfd_drain_json_print(mfd_drain_json_item(d, it, event));
}

static void say_end(struct mfd_drain *d, const struct mfd_drain_item *it)
{
	char bytes[32];

	say_event(d, it, "ended");
	if (it->state == MFD_DRAIN_STORED)
		mfd_drain_table_say(
			d,
			"process %d (%s) is complete on %s and runs nowhere yet; there: "
			"criu-multifd restore %s",
			it->pid, it->name, d->targets[it->target].to, it->session);
	else if (it->state == MFD_DRAIN_MOVED)
		mfd_drain_table_say(d, "process %d (%s) moved to %s: %s in %.2f s, pause %.0f ms",
				    it->pid, it->name, d->targets[it->target].to,
				    mfd_words_bytes(it->bytes_memory, bytes, sizeof(bytes)),
				    it->total_ms / 1000, it->pause_ms > 0 ? it->pause_ms : 0);
	else
		mfd_drain_table_say(d, "process %d (%s) to %s: %s: %s%s (%s/%s/migrate.log)",
				    it->pid, it->name, d->targets[it->target].to,
				    it->state == MFD_DRAIN_WAITING ?
					    "failed" :
					    mfd_drain_states[it->state].text,
				    it->why, it->state == MFD_DRAIN_WAITING ? "; another try" : "",
				    d->dir, it->session);
}

static void begin(struct mfd_drain *d, struct mfd_drain_item *it, int target)
{
	struct mfd_error err = { 0 };

	if (mfd_drain_move_start(d, it, target, &err)) {
		mfd_io_close(&it->events);
		it->migrate = 0;
		mfd_drain_set(it, MFD_DRAIN_FAILED, "%s", mfd_error_text(&err));
		mfd_drain_plan_ended(d, it);
		say_end(d, it);
		return;
	}
	say_event(d, it, "begun");
	if (!d->terminal)
		mfd_drain_table_say(d, "process %d (%s) to %s: begun", it->pid, it->name,
				    d->targets[target].to);
}

/* Its pid may be another process's by now, in the control group or not. */
static void drop_ended(struct mfd_drain *d)
{
	for (size_t i = 0; i < d->n; i++)
		if (d->items[i].state == MFD_DRAIN_WAITING &&
		    mfd_life(d->items[i].pid, d->items[i].start) == MFD_LIFE_OVER)
			mfd_drain_set(&d->items[i], MFD_DRAIN_GONE, "it ended before it was begun");
}

static void begin_some(struct mfd_drain *d)
{
	struct mfd_drain_item *it;
	int target;

	if (d->moving < d->parallel)
		drop_ended(d);
	while ((it = mfd_drain_plan_next(d, mfd_io_now_ms(), &target)))
		begin(d, it, target);
}

static void reap(struct mfd_drain *d)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		for (size_t i = 0; i < d->n; i++)
			if (d->items[i].migrate == pid) {
				mfd_drain_move_end(d, &d->items[i], status);
				say_end(d, &d->items[i]);
			}
}

static void take_signals(struct mfd_drain *d)
{
	struct signalfd_siginfo si;

	while (read(d->signals, &si, sizeof(si)) == (ssize_t)sizeof(si))
		if (si.ssi_signo != SIGCHLD)
			d->stop++;
}

static void obey(struct mfd_drain *d)
{
	if (d->stop && !d->said_stop)
		mfd_drain_table_say(d,
				    "nothing new is begun; %u on the way go on to their end (once "
				    "more aborts them)",
				    d->moving);
	if (d->stop > 1 && d->said_stop < 2) {
		mfd_drain_table_say(d, "aborting what is on the way");
		for (size_t i = 0; i < d->n; i++)
			if (d->items[i].migrate)
				kill(d->items[i].migrate, SIGINT);
	}
	d->said_stop = d->stop;
}

static void show(struct mfd_drain *d)
{
	uint64_t now = mfd_io_now_ms();
	struct mfd_error err = { 0 };

	for (size_t i = 0; i < d->n; i++)
		mfd_drain_move_read(&d->items[i]);
	mfd_drain_table_draw(d);
	if (now - d->metrics_ms < METRICS_MS)
		return;
	d->metrics_ms = now;
	if (mfd_drain_metrics(d, 0, &err))
		mfd_drain_table_say(d, "%s", mfd_error_text(&err));
}

/* Why each that waits still was not begun. */
static void judge_rest(struct mfd_drain *d)
{
	for (size_t i = 0; i < d->n; i++) {
		struct mfd_drain_item *it = &d->items[i];

		if (it->state != MFD_DRAIN_WAITING)
			continue;
		if (it->tries)
			mfd_drain_set(it, MFD_DRAIN_FAILED, "%s", it->error);
		else if (d->stop)
			mfd_drain_set(it, MFD_DRAIN_LATE, "the drain was stopped before");
		else if (!mfd_drain_plan_fits(d, it, mfd_io_now_ms()))
			mfd_drain_set(it, MFD_DRAIN_LATE,
				      "it would take about %.1f s, and not end before the deadline",
				      (double)mfd_drain_plan_expect(d, it) / 1000);
		else
			mfd_drain_set(it, MFD_DRAIN_LATE, "no target has room for it");
	}
}

void mfd_drain_run(struct mfd_drain *d)
{
	struct pollfd p = { .fd = d->signals, .events = POLLIN };

	for (;;) {
		take_signals(d);
		obey(d);
		reap(d);
		begin_some(d);
		show(d);
		if (!d->moving)
			break;
		poll(&p, 1, TICK_MS);
	}
	mfd_drain_table_clear(d);
	judge_rest(d);
}
