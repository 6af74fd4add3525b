// SPDX-License-Identifier: GPL-2.0-only
/* The table of stages, and the walk over it. */
#include <errno.h>

#include "connect.h"
#include "give_way.h"
#include "io.h"
#include "pluginlink.h"
#include "stages.h"
#include "stream.h"
#include "worker.h"

#define GATE_MS	    1	/* CRIU is looked for by time: nothing tells */
#define REST_MS	    1	/* length of a nap while the pages give way */
#define RESTORED_MS 100 /* how exactly restore-timeout is kept */

static int at_once(const struct mfd_worker *w)
{
	(void)w;
	return 0;
}

static int by_event(const struct mfd_worker *w)
{
	(void)w;
	return -1;
}

static int nothing(struct mfd_worker *w)
{
	(void)w;
	return MFD_SEND_NOTHING;
}

static int is_phase(const struct mfd_worker *w, enum mfd_send_phase phase)
{
	return mfd_send_phase(w->sh) == phase;
}

static int connect_ready(const struct mfd_worker *w)
{
	return w->asked.type == MFD_LINK_START;
}

static int exec_ready(const struct mfd_worker *w)
{
	return w->asked.type == MFD_LINK_TASK;
}

static int gate_ready(const struct mfd_worker *w)
{
	return is_phase(w, MFD_SEND_DUMPING);
}

static int gate_busy(const struct mfd_worker *w)
{
	(void)w;
	return GATE_MS;
}

static int late_ready(const struct mfd_worker *w)
{
	return is_phase(w, MFD_SEND_DUMPED) && mfd_tasks_has_late(&w->tasks) &&
	       (mfd_uplink_pages_follow(&w->session) || mfd_tasks_idle(&w->tasks));
}

static int images_ready(const struct mfd_worker *w)
{
	return is_phase(w, MFD_SEND_DUMPED) && !mfd_tasks_has_late(&w->tasks) &&
	       (mfd_uplink_pages_follow(&w->session) || mfd_tasks_idle(&w->tasks));
}

static int pages_ready(const struct mfd_worker *w)
{
	return mfd_send_phase_has(w->sh, MFD_SEND_JOINED) &&
	       !mfd_send_phase_has(w->sh, MFD_SEND_ENDED) && !mfd_tasks_idle(&w->tasks);
}

/* Asked anew, not as the step found it: what has ended meanwhile must not be waited for. */
static int pages_busy(const struct mfd_worker *w)
{
	if (mfd_give_way_rests(&w->give_way))
		return REST_MS;
	return mfd_stream_is_held_back(w) ? -1 : 0;
}

static int end_ready(const struct mfd_worker *w)
{
	return (is_phase(w, MFD_SEND_IMAGES) || is_phase(w, MFD_SEND_RUNNING)) &&
	       mfd_tasks_idle(&w->tasks);
}

static int verify_ready(const struct mfd_worker *w)
{
	return mfd_send_phase_has(w->sh, MFD_SEND_ENDED) &&
	       !mfd_send_phase_has(w->sh, MFD_SEND_VERIFIED);
}

static int restored_ready(const struct mfd_worker *w)
{
	return is_phase(w, MFD_SEND_RESTORING);
}

static int restored_run(struct mfd_worker *w)
{
	if (mfd_io_now_ms() < w->times.ready_us / 1000 + w->o->restore_timeout)
		return MFD_SEND_NOTHING;
	return mfd_error_blame(
		&w->err, MFD_ERROR_PEER,
		mfd_error_set(&w->err, -ETIMEDOUT,
			      "the target has not restored the tasks within %u ms (restore-timeout)",
			      w->o->restore_timeout));
}

static int restored_busy(const struct mfd_worker *w)
{
	(void)w;
	return RESTORED_MS;
}

const struct mfd_stage mfd_stages[] = {
	{ "connect", connect_ready, mfd_connect_start, at_once },
	{ "exec pages", exec_ready, mfd_stream_exec, at_once },
	{ "gate", gate_ready, mfd_stream_gate, gate_busy },
	{ "late", late_ready, mfd_stream_late, at_once },
	{ "images", images_ready, mfd_stream_images, at_once },
	{ "pages", pages_ready, mfd_stream_pages, pages_busy },
	{ "end", end_ready, mfd_stream_end, at_once },
	{ "verify", verify_ready, nothing, by_event },
	{ "restored", restored_ready, restored_run, restored_busy },
};
const size_t mfd_stages_n = sizeof(mfd_stages) / sizeof(*mfd_stages);

int mfd_stages_step(struct mfd_worker *w)
{
	int ret = mfd_stream_error(w);

	mfd_give_way_look(w);
	for (size_t i = 0; i < mfd_stages_n && !ret; i++)
		if (mfd_stages[i].ready(w))
			ret = mfd_stages[i].run(w);
	return ret;
}

int mfd_stages_wait_ms(const struct mfd_worker *w)
{
	int wait = -1;

	for (size_t i = 0; i < mfd_stages_n; i++) {
		int ms = mfd_stages[i].ready(w) ? mfd_stages[i].busy(w) : -1;

		if (ms >= 0 && (wait < 0 || ms < wait))
			wait = ms;
	}
	return wait;
}
