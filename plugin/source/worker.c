// SPDX-License-Identifier: GPL-2.0-only
/* The sender's worker from its fork to its end. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "assert.h"
#include "command.h"
#include "io.h"
#include "log.h"
#include "loop.h"
#include "pagepipes.h"
#include "reconnect.h"
#include "summary.h"
#include "verdict.h"
#include "worker.h"

#define AGAIN 100 /* exit code: nothing was decided, another worker is to try */

static int open_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static int init(struct mfd_worker *w)
{
	int ret = 0;

	mfd_assert(w->sh);
	mfd_assert(!w->progress);
	w->signals = open_signals();
	if (w->signals >= 0)
		w->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (w->signals < 0 || w->wake < 0)
		ret = -errno;
	w->session.wake_fd = w->wake;
	w->session.waiting = mfd_loop_glance;
	w->session.waiting_arg = w;
	w->session.plan = mfd_uplink_plan(w->o, 0);
	w->times.start_us = mfd_io_now_us();
	mfd_tasks_init(&w->tasks, w->sh);
	w->desk = mfd_desk_open();
	if (w->desk < 0)
		mfd_log_warn("no requests can be taken: " MFD_DESK_SOCKET ": %s",
			     strerror(-w->desk));
	w->progress = mfd_progress_open();
	if (!w->progress)
		return mfd_error_set(&w->err, -ENOMEM, "no memory");
	return ret ? mfd_error_sys(&w->err, ret, "starting") : 0;
}

/* What a worker that has died knew, as far as it lies in shared memory. */
static int take_over(struct mfd_worker *w)
{
	mfd_assert(w->sh->connected);
	mfd_gate_find(&w->gate, w->sh->criu, w->sh->criu_start);
	if (mfd_send_phase(w->sh) == MFD_SEND_RELEASED)
		return 0;
	if (!mfd_send_phase_has(w->sh, MFD_SEND_LEAVE))
		return mfd_error_set(&w->err, -ECHILD, "the sender has died after its verdict");
	if (mfd_send_phase(w->sh) == MFD_SEND_ENDING)
		return 0;
	mfd_hold_look(w->sh);
	return mfd_error_blame(&w->err, MFD_ERROR_LINK,
			       mfd_error_set(&w->err, -ENOTCONN, "the sender has died"));
}

static int run(struct mfd_worker *w, int takes_over)
{
	int ret = takes_over ? take_over(w) : mfd_loop_run(w);

	while (ret && mfd_send_phase_has(w->sh, MFD_SEND_LEAVE)) {
		ret = mfd_reconnect(w);
		if (ret) /* nothing runs on the target, or a person ends this process */
			return ret;
		ret = mfd_loop_run(w);
	}
	return ret;
}

/* Last of all: the process that waits for this one reads it. */
static void close_progress(struct mfd_worker *w, int ret)
{
	struct mfd_progress *p = w->progress;

	if (!p)
		return;
	p->code = w->err.code;
	p->ran = w->sh->hold.ran != 0;
	p->failed_in = atomic_load(&p->phase);
	if (w->err.code)
		snprintf(p->error, sizeof(p->error), "%s", mfd_error_text(&w->err));
	mfd_progress_phase(p, ret ? MFD_PROGRESS_ABORTED : MFD_PROGRESS_RELEASED);
	mfd_progress_close(p);
}

static int session(struct mfd_worker *w, int takes_over)
{
	int ret = init(w);

	if (ret && takes_over)
		return AGAIN;
	if (!ret)
		ret = run(w, takes_over);
	if (mfd_send_phase(w->sh) == MFD_SEND_ENDING) { /* of a worker that has died */
		mfd_verdict_end(w);
		return MFD_EXIT_OK;
	}
	if (mfd_send_phase(w->sh) == MFD_SEND_RELEASED) { /* likewise */
		w->times.released_us = mfd_io_now_us();
		mfd_hold_remove(w->sh);
		mfd_doubt_tell(w, 0, 0);
		return MFD_EXIT_OK;
	}
	if (ret && mfd_send_phase_has(w->sh, MFD_SEND_LEAVE))
		return mfd_verdict_leave(w);
	if (!ret)
		ret = mfd_verdict_commit(w);
	return ret && !mfd_verdict_abort(w) ? MFD_EXIT_FAILED : MFD_EXIT_OK;
}

static const char *result_word(int ret)
{
	return ret == MFD_EXIT_OK ? "released" : ret == MFD_EXIT_DOUBT ? "in-doubt" : "aborted";
}

int mfd_worker_main(struct mfd_options *o, struct mfd_shared *sh, int link, int log_fd,
		    int takes_over)
{
	struct mfd_worker w = { .o = o,
				.sh = sh,
				.link = link,
				.log_fd = log_fd,
				.image_dir = -1,
				.desk = -1,
				.dump_result = MFD_DUMP_GOES_ON };
	int ret;

	mfd_assert(o && sh);
	mfd_assert(!takes_over || mfd_send_phase_heir(mfd_send_phase(sh)) == MFD_SEND_HEIR_WORKER);
	w.gate = (struct mfd_gate)MFD_GATE_NONE;
	mfd_send_phase_context(&w);
	mfd_pagepipes_prepare();
	ret = session(&w, takes_over);
	if (ret == AGAIN) {
		mfd_log_error("%s; another worker is to try", mfd_error_text(&w.err));
		return ret;
	}
	mfd_uplink_shutdown(&w.session);
	mfd_inbox_stop(&w.inbox);
	mfd_uplink_close(&w.session);
	mfd_summary_write(&w, result_word(ret));
	sh->result = ret;
	mfd_send_phase_event(&w, MFD_SEND_EV_FINISHED);
	mfd_ship_fini(&w.ship);
	mfd_tasks_fini(&w.tasks);
	mfd_tracked_fini(&w.precopy.tracked);
	mfd_gate_fini(&w.gate);
	mfd_desk_close(&w.desk);
	close_progress(&w, ret);
	mfd_release_end(&w.release);
	mfd_send_phase_context(NULL);
	return ret;
}
