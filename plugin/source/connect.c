// SPDX-License-Identifier: GPL-2.0-only
/* From START to JOINED, and the rounds of precopy after that. */
#include <errno.h>

#include "assert.h"
#include "connect.h"
#include "give_way.h"
#include "live_setting.h"
#include "log.h"
#include "procfile.h"
#include "worker.h"

static void log_session(const struct mfd_worker *w)
{
	const struct mfd_uplink *s = &w->session;

	mfd_log_info("session '%s' on %s: %u channels (%s), packets of %u KiB, %s mode",
		     w->sh->session, w->sh->target.text, s->lim.channels, s->congestion,
		     s->lim.packet_size >> 10,
		     w->o->mode == MFD_MODE_POSTCOPY ? "postcopy" : "safe");
	if (s->chan[0].zc.fell_back)
		mfd_log_info("zero-copy is off: %s", s->chan[0].zc.fell_back);
}

static int open_session(struct mfd_worker *w)
{
	int ret = mfd_uplink_open(&w->session, w->o, w->sh, &w->err);

	if (ret)
		return ret;
	mfd_setting_catch_up(&w->session, w->sh);
	ret = mfd_inbox_start(&w->inbox, &w->session, &w->tasks, w->wake);
	return ret ? mfd_error_sys(&w->err, ret, "starting the inbox thread") : 0;
}

int mfd_connect_start(struct mfd_worker *w)
{
	int ret;

	mfd_assert(mfd_send_phase(w->sh) == MFD_SEND_CONNECTING);
	mfd_assert(!w->session.multifd);
	w->sh->criu = w->asked.value;
	w->sh->criu_start = mfd_procfile_start_time(w->sh->criu);
	mfd_progress_phase(w->progress, MFD_PROGRESS_CONNECTING);
	ret = mfd_gate_init(&w->gate, w->sh->criu, &w->err);
	if (!ret && w->image_dir < 0)
		ret = mfd_error_set(&w->err, -EBADF, "CRIU has no image directory");
	mfd_error_blame(&w->err, MFD_ERROR_OWN, ret);
	if (!ret)
		w->session.precopy = mfd_precopy_wanted(w);
	if (!ret)
		ret = open_session(w);
	if (ret)
		return ret;
	w->times.hello_us = w->session.hello_us;
	w->times.joined_us = w->session.joined_us;
	mfd_give_way_begin(w);
	log_session(w);
	ret = mfd_precopy_run(w);
	if (ret)
		return ret;
	mfd_give_way_begin(w);
	return MFD_SEND_EV_JOINED;
}
