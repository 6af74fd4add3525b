// SPDX-License-Identifier: GPL-2.0-only
/* The steps of the stages that send. */
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "assert.h"
#include "estimate.h"
#include "freshness.h"
#include "give_way.h"
#include "io.h"
#include "link.h"
#include "log.h"
#include "proto/control.pb-c.h"
#include "stream.h"
#include "worker.h"

#define ROOM_MS 10 /* between two looks for room */

static uint32_t packet_pages(const struct mfd_worker *w)
{
	return w->session.lim.packet_size / MFD_WIRE_PAGE_SIZE;
}

static int channel_error(struct mfd_worker *w, int code)
{
	const struct mfd_sendchan *c;

	if (w->err.code) /* not a channel: the wait for one was given up */
		return w->err.code;
	/* Only this channel's error may be read: another one may just be writing its own. */
	c = &w->session.chan[mfd_multifd_failed_channel(w->session.multifd)];
	if (c->err.code)
		return mfd_error_blame(&w->err, c->err.side,
				       mfd_error_set(&w->err, code, "%s", c->err.text));
	return mfd_error_sys(&w->err, code, "sending");
}

/* The control connection's end of the same. */
static int control_error(struct mfd_worker *w, int ret, const char *what)
{
	if (!ret)
		return 0;
	return mfd_error_blame(&w->err, MFD_ERROR_LINK, mfd_error_sys(&w->err, ret, "%s", what));
}

int mfd_stream_error(struct mfd_worker *w)
{
	int ret = w->session.multifd ? mfd_multifd_error(w->session.multifd) : 0;

	return ret ? channel_error(w, ret) : 0;
}

static int send_payload(struct mfd_worker *w)
{
	struct mfd_payload *p = mfd_multifd_payload(w->session.multifd);
	uint64_t bytes = 0;
	int ret;

	mfd_assert(p->type != MFD_PAYLOAD_NONE);
	mfd_assert(!mfd_send_phase_has(w->sh, MFD_SEND_DECIDED));
	if (p->type == MFD_PAYLOAD_PAGES)
		bytes = (uint64_t)p->pages.npages * MFD_WIRE_PAGE_SIZE;
	p->sequence = w->sequence++;
	w->session.queue.sent += bytes;
	ret = mfd_multifd_send(w->session.multifd);
	atomic_fetch_add_explicit(&w->progress->bytes_sent, bytes, memory_order_relaxed);
	return ret ? channel_error(w, ret) : 0;
}

static int drain(struct mfd_worker *w)
{
	int ret = mfd_multifd_drain(w->session.multifd);

	return ret ? channel_error(w, ret) : 0;
}

int mfd_stream_is_held_back(const struct mfd_worker *w)
{
	return !mfd_queue_has_room(&w->session.queue,
				   (uint64_t)packet_pages(w) * MFD_WIRE_PAGE_SIZE);
}

/*
 * Before a packet of so many pages: nonzero when the target has no memory for it (postcopy). People
 * see that, too.
 */
static int hold_back(struct mfd_worker *w, uint64_t pages)
{
	int held = !mfd_queue_may_send(&w->session.queue, pages * MFD_WIRE_PAGE_SIZE);

	if (held != (int)atomic_load_explicit(&w->progress->held, memory_order_relaxed))
		atomic_store_explicit(&w->progress->held, (uint32_t)held, memory_order_relaxed);
	return held;
}

/* Wait for room, if the main thread has nothing else to do than to send just this. */
static int await_room(struct mfd_worker *w, uint64_t pages)
{
	int ret = 0;

	while (!ret && hold_back(w, pages)) {
		usleep(ROOM_MS * 1000);
		ret = mfd_stream_error(w);
		if (!ret)
			ret = w->session.waiting(w->session.waiting_arg);
		if (!ret && (ret = mfd_inbox_lost(&w->inbox)))
			control_error(w, ret, "the connection to the target is lost");
	}
	return ret;
}

/* ---- exec pages ---- */

/* An estimate. */
static uint64_t bytes_to_send(const struct mfd_task *task)
{
	const struct mfd_tracked_task *k = task->tracked;

	return k && k->track.fd >= 0 && k->left < task->bytes ? k->left : task->bytes;
}

/* What a frozen task has counts, and no longer what the tree had while it ran. */
static int announce(struct mfd_worker *w, struct mfd_task *task)
{
	mfd_assert(mfd_send_phase(w->sh) == MFD_SEND_DUMPING);
	mfd_assert(task->id);
	if (!w->tasks_bytes) /* shared memory comes in CRIU's images, once for all tasks */
		atomic_fetch_add_explicit(&w->progress->bytes_total, w->session.queue.shared,
					  memory_order_relaxed);
	task->bytes = mfd_estimate_task(task->id->pid, NULL);
	atomic_fetch_add_explicit(&w->progress->bytes_total, bytes_to_send(task),
				  memory_order_relaxed);
	w->tasks_bytes += task->bytes;
	return control_error(w,
			     mfd_queue_size(&w->session.queue, &w->session.control, w->tasks_bytes),
			     "sending SIZE");
}

/* Executable pages cannot wait: CRIU is about to change them. */
static int check_room_exec(struct mfd_worker *w)
{
	struct mfd_payload *p = mfd_multifd_payload(w->session.multifd);

	if (!hold_back(w, p->pages.npages))
		return 0;
	return mfd_error_blame(
		&w->err, MFD_ERROR_PEER,
		mfd_error_set(
			&w->err, -ENOSPC,
			"the target's memory limit (serve --max-memory) leaves less room before the restore than the "
			"executable memory of the tasks needs"));
}

static int send_exec_pages(struct mfd_worker *w, struct mfd_task *task)
{
	int ret, sent = 0;

	while ((ret = mfd_tasks_fill_exec(task, mfd_multifd_payload(w->session.multifd),
					  packet_pages(w), &w->err)) > 0) {
		ret = check_room_exec(w);
		if (!ret)
			ret = send_payload(w);
		if (ret)
			return ret;
		sent = 1;
	}
	return ret || !sent ? ret : drain(w);
}

/* *mappings: for the plugin, -1 if it shall hide nothing of this task. */
static int list_pages(struct mfd_worker *w, struct mfd_task *task, int *mappings)
{
	struct mfd_vmas vmas;
	int ret;

	mfd_assert(mfd_send_phase(w->sh) == MFD_SEND_DUMPING);
	mfd_assert(!task->list.nlarge);
	if (w->o->page_dump != MFD_PAGE_DUMP_PLUGIN)
		return 0;
	ret = mfd_tasks_mappings(task, &vmas);
	if (ret)
		return mfd_error_sys(&w->err, ret, "task %d", task->id->pid);
	ret = mfd_pagelist_make(&task->list, task->id->pid, &vmas, &w->err);
	mfd_pagescan_vmas_free(&vmas);
	if (!ret)
		*mappings = mfd_pagelist_mappings(&task->list, &w->err);
	return ret || *mappings >= -1 ? ret : *mappings;
}

static int add_task(struct mfd_worker *w, pid_t pid, int *mappings)
{
	struct mfd_task *task = NULL;
	int ret;

	if (!w->times.frozen_us)
		w->times.frozen_us = mfd_io_now_us();
	ret = mfd_tasks_add(&w->tasks, pid, &task, &w->err);
	if (ret || !task) /* a zombie has no memory */
		return mfd_error_blame(&w->err, MFD_ERROR_OWN, ret);
	mfd_progress_phase(w->progress, MFD_PROGRESS_STREAMING);
	ret = list_pages(w, task, mappings);
	if (ret)
		return mfd_error_blame(&w->err, MFD_ERROR_OWN, ret);
	ret = announce(w, task);
	return ret ? ret : send_exec_pages(w, task);
}

int mfd_stream_exec(struct mfd_worker *w)
{
	int mappings = -1, ret;

	mfd_assert(mfd_send_phase(w->sh) == MFD_SEND_DUMPING);
	mfd_assert(w->session.multifd);
	ret = add_task(w, w->asked.value, &mappings);
	if (ret) {
		mfd_io_close(&mappings);
		return ret;
	}
	mfd_link_answer_with(w, mappings);
	return MFD_SEND_STEP;
}

/* ---- precopy ---- */

static int sync_channels(struct mfd_worker *w, uint64_t *number)
{
	int ret = mfd_multifd_sync(w->session.multifd, number);

	return ret ? channel_error(w, ret) : 0;
}

int mfd_stream_round(struct mfd_worker *w)
{
	struct mfd_payload *p = mfd_multifd_payload(w->session.multifd);
	int ret;

	mfd_assert(p->type == MFD_PAYLOAD_PAGES);
	mfd_assert(mfd_send_phase(w->sh) == MFD_SEND_CONNECTING);
	p->sequence = w->sequence++;
	ret = mfd_multifd_send(w->session.multifd);
	return ret ? channel_error(w, ret) : 0;
}

int mfd_stream_end_round(struct mfd_worker *w, uint32_t n, uint64_t pages)
{
	Mfd__Round m = MFD__ROUND__INIT;
	int ret;

	mfd_assert(mfd_send_phase(w->sh) == MFD_SEND_CONNECTING);
	mfd_assert(n && n <= MFD_WIRE_MAX_ROUND);
	m.n = n;
	m.pages = pages;
	ret = sync_channels(w, &m.sync);
	if (ret)
		return ret;
	return control_error(w, mfd_control_send(&w->session.control, MFD_WIRE_ROUND, &m.base),
			     "sending ROUND");
}

int mfd_stream_late(struct mfd_worker *w)
{
	int ret;

	mfd_assert(mfd_send_phase(w->sh) == MFD_SEND_DUMPED);
	ret = mfd_tasks_fill_late(&w->tasks, mfd_multifd_payload(w->session.multifd),
				  packet_pages(w), &w->err);
	if (ret < 0)
		return mfd_error_blame(&w->err, MFD_ERROR_OWN, ret);
	ret = ret ? send_payload(w) : 0;
	return ret ? ret : MFD_SEND_STEP;
}

/* ---- gate, images, end ---- */

/* It is a file to open and read. */
int mfd_stream_gate(struct mfd_worker *w)
{
	uint64_t now = mfd_io_now_ms();
	int ret;

	mfd_assert(w->gate.end >= 0);
	mfd_assert(!w->times.gate_us);
	if (now == w->times.gate_looked_ms)
		return MFD_SEND_NOTHING;
	w->times.gate_looked_ms = now;
	ret = mfd_gate_poll(&w->gate, &w->err);
	if (ret <= 0)
		return mfd_error_blame(&w->err, MFD_ERROR_OWN, ret);
	w->times.gate_us = mfd_io_now_us();
	return MFD_SEND_EV_GATE;
}

/*
 * What CRIU was told is not there.  It has listed a page all the same only if nothing was hidden
 * from it.
 */
static int complete_pagemaps(struct mfd_worker *w)
{
	struct mfd_pagemap_merged m;
	int ret = 0;

	mfd_assert(mfd_send_phase(w->sh) == MFD_SEND_DUMPED);
	mfd_assert(!w->listed.pages); /* images are sent once */
	for (unsigned i = 0; i < w->tasks.n && !ret; i++) {
		struct mfd_task *k = w->tasks.task[i];

		if (!k->list.nlarge)
			continue;
		ret = mfd_pagelist_write(&k->list, w->image_dir, k->id->vpid, &m, &w->err);
		w->listed.pages += ret ? 0 : m.added;
		w->listed.by_criu += ret ? 0 : m.listed;
		mfd_pagelist_free(&k->list);
	}
	if (w->listed.by_criu)
		mfd_log_warn("page-dump: criu listed %llu pages of large mappings all the same",
			     (unsigned long long)w->listed.by_criu);
	return mfd_error_blame(&w->err, MFD_ERROR_OWN, ret);
}

static int ship_images(struct mfd_worker *w)
{
	struct stat log = { 0 };

	mfd_assert(w->session.multifd);
	mfd_assert(!w->ship.files);
	if (w->log_fd >= 0)
		fstat(w->log_fd, &log);
	w->ship.dirfd = w->image_dir;
	w->ship.sent = &w->progress->bytes_sent;
	w->ship.shown = w->session.queue.shared;
	return mfd_ship_images(&w->ship, w->session.multifd, w->session.lim.packet_size,
			       &w->sequence, log.st_dev, log.st_ino, &w->err);
}

int mfd_stream_images(struct mfd_worker *w)
{
	Mfd__Images m = MFD__IMAGES__INIT;
	int ret;

	mfd_assert(mfd_send_phase(w->sh) == MFD_SEND_DUMPED);
	mfd_assert(!w->ship.files);
	ret = complete_pagemaps(w);
	if (!ret)
		ret = ship_images(w);
	if (!ret)
		ret = sync_channels(w, &m.sync);
	if (ret)
		return ret;
	m.files = w->ship.files;
	m.bytes = w->ship.bytes;
	w->times.images_us = mfd_io_now_us();
	ret = control_error(w, mfd_control_send(&w->session.control, MFD_WIRE_IMAGES, &m.base),
			    "sending IMAGES");
	return ret ? ret : MFD_SEND_EV_IMAGES;
}

/* After everything else; once more after each NEED. */
static int send_end(struct mfd_worker *w)
{
	struct mfd_sendchan_stats sum = { 0 };
	Mfd__End m = MFD__END__INIT;
	int ret;

	mfd_assert(mfd_send_phase_has(w->sh, MFD_SEND_IMAGED));
	mfd_assert(mfd_tasks_idle(&w->tasks));
	ret = sync_channels(w, &m.sync);
	if (ret)
		return ret;
	mfd_uplink_totals(&w->session, &sum);
	m.packets = sum.packets;
	m.pages = sum.pages;
	m.zero_pages = sum.zero_pages;
	m.files = sum.files;
	m.file_bytes = sum.file_bytes;
	m.checksum = sum.checksum;
	if (w->session.lim.precopy)
		ret = mfd_freshness(&w->tasks, w->image_dir, &m.freshness, &w->err);
	m.has_freshness = w->session.lim.precopy;
	if (ret)
		return mfd_error_blame(&w->err, MFD_ERROR_OWN, ret);
	w->times.sent_us = mfd_io_now_us();
	ret = control_error(w, mfd_control_send(&w->session.control, MFD_WIRE_END, &m.base),
			    "sending END");
	if (!ret)
		mfd_release_keep_pipes(&w->release, w->tasks_bytes, w->sh->criu, w->gate.pidfd);
	return ret;
}

int mfd_stream_end(struct mfd_worker *w)
{
	int ret;

	mfd_assert(!mfd_send_phase_has(w->sh, MFD_SEND_ENDED));
	ret = send_end(w);
	return ret ? ret : MFD_SEND_EV_END;
}

/* ---- pages ---- */

/* One at a time while pages give way. */
static int send_gently(struct mfd_worker *w)
{
	struct mfd_give_way_work work;
	int gently = mfd_give_way_payload_begin(&w->give_way, &work), ret;

	ret = send_payload(w);
	if (ret || !gently)
		return ret;
	ret = drain(w);
	if (!ret)
		mfd_give_way_payload_end(w, &work);
	return ret;
}

/* Pages that were left out have gone out as answers to faults. */
static void count_skipped(struct mfd_worker *w)
{
	uint64_t bytes = w->tasks.skipped * MFD_WIRE_PAGE_SIZE;

	mfd_assert(w->progress);
	mfd_assert(!mfd_send_phase_has(w->sh, MFD_SEND_ENDED));
	w->tasks.skipped = 0;
	if (bytes)
		atomic_fetch_add_explicit(&w->progress->bytes_sent, bytes, memory_order_relaxed);
}

int mfd_stream_pages(struct mfd_worker *w)
{
	int ret;

	mfd_assert(w->session.multifd);
	mfd_assert(!mfd_send_phase_has(w->sh, MFD_SEND_ENDED));
	if (mfd_give_way_rests(&w->give_way) || hold_back(w, packet_pages(w)))
		return MFD_SEND_NOTHING;
	ret = mfd_tasks_fill(&w->tasks, mfd_multifd_payload(w->session.multifd), packet_pages(w),
			     &w->err);
	count_skipped(w);
	if (ret <= 0)
		return mfd_error_blame(&w->err, MFD_ERROR_OWN, ret);
	ret = send_gently(w);
	/* Noted now: a main thread that is held back sleeps until ROOM and does not come here. */
	if (!ret && !mfd_tasks_idle(&w->tasks))
		hold_back(w, packet_pages(w));
	return ret ? ret : MFD_SEND_STEP;
}

/* ---- NEED ---- */

static int send_range(struct mfd_worker *w, const struct mfd_task *k, uint64_t vaddr, uint64_t n)
{
	struct mfd_payload *p = mfd_multifd_payload(w->session.multifd);
	int ret = await_room(w, n);

	if (ret)
		return ret;
	p->type = MFD_PAYLOAD_PAGES;
	p->pages.reader = &k->reader;
	p->pages.task = k->id->vpid;
	p->sent = k->sent;
	p->round = mfd_tasks_round(&w->tasks);
	p->hash = 0;
	p->pages.runs = p->runs_memory;
	p->pages.nruns = 1;
	p->pages.npages = (uint32_t)n;
	p->pages.runs[0] = (struct mfd_run){ .vaddr = vaddr, .pages = n };
	return send_payload(w);
}

static int need_range(struct mfd_worker *w, const Mfd__PageRange *r)
{
	const struct mfd_task *k = mfd_tasks_find(&w->tasks, r->task);
	uint64_t vaddr = r->vaddr, left = r->pages;
	int ret = 0;

	if (!k || vaddr % MFD_WIRE_PAGE_SIZE || vaddr >= MFD_WIRE_MAX_VADDR ||
	    left > MFD_WIRE_MAX_VADDR >> 12)
		return mfd_error_blame(
			&w->err, MFD_ERROR_PEER,
			mfd_error_set(
				&w->err, -EPROTO,
				"the target needs %llu pages at %#llx of task %u, which is not ours",
				(unsigned long long)left, (unsigned long long)vaddr, r->task));
	while (left && !ret) {
		uint64_t n = left < packet_pages(w) ? left : packet_pages(w);

		ret = send_range(w, k, vaddr, n);
		vaddr += n * MFD_WIRE_PAGE_SIZE;
		left -= n;
	}
	return ret;
}

int mfd_stream_need(struct mfd_worker *w, const ProtobufCMessage *msg)
{
	const Mfd__Need *need = (const Mfd__Need *)msg;
	int ret = 0;

	if (!w->session.multifd) /* it has said that it lacks nothing */
		return mfd_error_blame(&w->err, MFD_ERROR_PEER,
				       mfd_error_set(&w->err, -EPROTO,
						     "the target needs pages without channels"));
	mfd_log_info("the target lacks %llu pages in %zu ranges: sending them again",
		     (unsigned long long)need->pages, need->n_ranges);
	for (size_t i = 0; i < need->n_ranges && !ret; i++)
		ret = need_range(w, need->ranges[i]);
	return ret ? ret : send_end(w);
}
