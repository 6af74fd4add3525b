// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the worker sends and when: executable pages first, then all pages, the images, END, and what
 * is asked for again.
 */
#include <errno.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "estimate.h"
#include "io.h"
#include "log.h"
#include "proto/control.pb-c.h"
#include "worker.h"

#define RESTORE_BEGINS_US 1000000 /* after the images are complete, if anybody is in a hurry */
#define RESTORE_ENDS_US	  15000	  /* at least, from the leave to run on */
/* postcopy, few processors: after each payload, times what that took */
#define REST_DUMP    2
#define REST_RESTORE 4
/* processor time of a page on both hosts, beside that of its sender */
#define BOTH_ENDS 3
/* after the images, where the target restores at once: of a few tasks */
#define EARLY_TAKES_US 60000

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
	return c->err.code ? mfd_error_set(&w->err, code, "%s", c->err.text) :
			     mfd_error_sys(&w->err, code, "sending");
}

static int send_payload(struct mfd_worker *w)
{
	struct mfd_payload *p = mfd_multifd_payload(w->session.multifd);
	uint64_t bytes =
		p->type == MFD_PAYLOAD_PAGES ? (uint64_t)p->pages.npages * MFD_WIRE_PAGE_SIZE : 0;
	int ret;

	p->sequence = w->sequence++;
	w->session.queue.sent += bytes;
	ret = mfd_multifd_send(w->session.multifd);
	atomic_fetch_add_explicit(&w->progress->bytes_sent, bytes, memory_order_relaxed);
	return ret ? channel_error(w, ret) : 0;
}

/*
 * Before a packet of so many pages: nonzero when the target has no memory for it (postcopy). Seen
 * by people, too.
 */
static int held(struct mfd_worker *w, uint64_t pages)
{
	int is = !mfd_queue_may_send(&w->session.queue, pages * MFD_WIRE_PAGE_SIZE);

	if (is != (int)atomic_load_explicit(&w->progress->held, memory_order_relaxed))
		atomic_store_explicit(&w->progress->held, (uint32_t)is, memory_order_relaxed);
	return is;
}

/* Where the main thread has nothing else to do than to send just this. */
static int await_room(struct mfd_worker *w, uint64_t pages)
{
	int ret = 0;

	while (!ret && held(w, pages)) {
		usleep(10000);
		ret = mfd_multifd_error(w->session.multifd);
		if (ret)
			return channel_error(w, ret);
		ret = w->session.waiting(w->session.waiting_arg);
		if (!ret && (ret = mfd_inbox_lost(&w->inbox)))
			mfd_error_sys(&w->err, ret, "the connection to the target is lost");
	}
	return ret;
}

/* What a frozen task has counts, and no longer what the tree had while it ran. */
static int announce(struct mfd_worker *w, uint64_t bytes)
{
	int ret;

	w->tasks_bytes += bytes;
	ret = mfd_queue_size(&w->session.queue, &w->session.control, w->tasks_bytes);
	return ret ? mfd_error_sys(&w->err, ret, "sending SIZE") : 0;
}

/* Executable pages cannot wait: CRIU is about to change them. */
static int check_room_exec(struct mfd_worker *w)
{
	struct mfd_payload *p = mfd_multifd_payload(w->session.multifd);

	if (!held(w, p->pages.npages))
		return 0;
	return mfd_error_set(
		&w->err, -ENOSPC,
		"the target's memory limit (serve --max-memory) leaves less room before the restore than the "
		"executable memory of the tasks needs");
}

/*
 * While CRIU infects a task it overwrites code in an executable mapping for a moment, so these
 * pages are read now, before CRIU goes on; everything else may be read until the commit.
 */
int mfd_stream_task(struct mfd_worker *w, pid_t pid)
{
	struct mfd_task *task = NULL;
	int ret, sent = 0;
	uint64_t bytes;

	if (!w->frozen_us)
		w->frozen_us = mfd_io_now_us();
	ret = mfd_tasks_add(&w->tasks, pid, &task, &w->err);
	if (ret || !task) /* a zombie has no memory */
		return ret;
	mfd_progress_phase(w->progress, MFD_PROGRESS_STREAMING);
	bytes = task->bytes = mfd_estimate_task(pid, NULL);
	atomic_fetch_add_explicit(&w->progress->bytes_total, bytes, memory_order_relaxed);
	ret = announce(w, bytes);
	if (ret)
		return ret;
	while ((ret = mfd_tasks_fill_exec(task, mfd_multifd_payload(w->session.multifd),
					  packet_pages(w), &w->err)) > 0) {
		ret = check_room_exec(w);
		if (!ret)
			ret = send_payload(w);
		if (ret)
			return ret;
		sent = 1;
	}
	if (ret)
		return ret;
	if (sent)
		ret = mfd_multifd_drain(w->session.multifd);
	return ret ? channel_error(w, ret) : 0;
}

static int sync_channels(struct mfd_worker *w, uint64_t *number)
{
	int ret = mfd_multifd_sync(w->session.multifd, number);

	return ret ? channel_error(w, ret) : 0;
}

static int send_images(struct mfd_worker *w)
{
	Mfd__Images m = MFD__IMAGES__INIT;
	struct stat log = { 0 };
	int ret;

	if (w->log_fd >= 0)
		fstat(w->log_fd, &log);
	w->ship.dirfd = w->image_dir;
	ret = mfd_ship_images(&w->ship, w->session.multifd, w->session.lim.packet_size,
			      &w->sequence, log.st_dev, log.st_ino, &w->err);
	if (!ret)
		ret = sync_channels(w, &m.sync);
	if (ret)
		return ret;
	m.files = w->ship.files;
	m.bytes = w->ship.bytes;
	w->images_sent = 1;
	w->images_us = mfd_io_now_us();
	ret = mfd_control_send(&w->session.control, MFD_WIRE_IMAGES, &m.base);
	return ret ? mfd_error_sys(&w->err, ret, "sending IMAGES") : 0;
}

static int send_end(struct mfd_worker *w)
{
	struct mfd_sendchan_stats sum = { 0 };
	Mfd__End m = MFD__END__INIT;
	int ret = sync_channels(w, &m.sync);

	if (ret)
		return ret;
	mfd_uplink_totals(&w->session, &sum);
	m.packets = sum.packets;
	m.pages = sum.pages;
	m.zero_pages = sum.zero_pages;
	m.files = sum.files;
	m.file_bytes = sum.file_bytes;
	m.checksum = sum.checksum;
	w->sent_us = mfd_io_now_us();
	w->end_sent = 1;
	mfd_progress_phase(w->progress, MFD_PROGRESS_VERIFYING);
	ret = mfd_control_send(&w->session.control, MFD_WIRE_END, &m.base);
	if (ret)
		return mfd_error_sys(&w->err, ret, "sending END");
	mfd_release_prepare(&w->release, w->tasks_bytes, w->sh->criu, w->gate.pidfd);
	return 0;
}

/* Looked for at most once a millisecond: it is a file to open and read. */
static int look_for_gate(struct mfd_worker *w)
{
	uint64_t now = mfd_io_now_ms();
	int ret;

	if (w->gate_open || now == w->gate_looked_ms)
		return 0;
	w->gate_looked_ms = now;
	ret = mfd_gate_poll(&w->gate, &w->err);
	if (ret < 0)
		return ret;
	w->gate_open = ret;
	if (ret)
		w->gate_us = mfd_io_now_us();
	return 0;
}

/*
 * In postcopy leave to run is asked for in the middle of the restore, so that the rest takes about
 * as long again. Or nobody restores.
 */
static int restore_is_over(struct mfd_worker *w, uint64_t now)
{
	uint64_t rest;

	if (w->session.early)
		return now > w->gate_us + EARLY_TAKES_US;
	if (!w->leave_us)
		return now > w->gate_us + RESTORE_BEGINS_US;
	rest = w->leave_us - w->gate_us;
	return now > w->leave_us + (rest > RESTORE_ENDS_US ? rest : RESTORE_ENDS_US);
}

/*
 * In postcopy nothing runs while CRIU dumps and restores, so the bulk of the pages gives way then
 * (gentle.h): until CRIU is done here, and after the images until the target's tasks run.  Where
 * the target restores early in safe mode, CRIU's two runs are what cannot be done by several
 * threads at once, and a page that comes after them need not be stored: 1 GiB took 491 ms instead
 * of 528 on two processors.
 */
static void mind_manners(struct mfd_worker *w)
{
	if (atomic_load_explicit(&w->gentle, memory_order_relaxed) && w->gate_open &&
	    restore_is_over(w, mfd_io_now_us()))
		atomic_store_explicit(&w->gentle, 0, memory_order_relaxed);
}

static int gives_way(const struct mfd_worker *w)
{
	return w->few_cpus && atomic_load_explicit(&w->gentle, memory_order_relaxed);
}

/* Of all threads of this process. */
static uint64_t processor_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

/*
 * What a payload took of the processors, not of a slow network: no more than BOTH_ENDS times what
 * it took here.
 */
static void rest(struct mfd_worker *w, uint64_t took, uint64_t worked)
{
	uint64_t busy = took < worked * BOTH_ENDS ? took : worked * BOTH_ENDS;

	w->rest_from_us = mfd_io_now_us();
	w->rest_until_us = w->rest_from_us + busy * (w->gate_open ? REST_RESTORE : REST_DUMP);
}

/* It may have ended early, as CRIU has. */
static void count_rest(struct mfd_worker *w)
{
	uint64_t now;

	if (!w->rest_from_us)
		return;
	now = mfd_io_now_us();
	w->rests++;
	w->rested_us += (now < w->rest_until_us ? now : w->rest_until_us) - w->rest_from_us;
	w->rest_from_us = 0;
}

/*
 * Giving way by nice values is not enough where there are hardly more processors than CRIU needs,
 * and no help at all against a CRIU of another session or control group.  There, one payload at a
 * time is on its way meanwhile, and in postcopy, where all that time the process stands still, with
 * rests in between.  Measured on two processors with both ends on them, 1 GiB: one at a time, 146
 * ms instead of 272; with rests 92 instead of 151 (in another hour), of which the whole takes 3 %
 * longer.
 */
static int send_gently(struct mfd_worker *w)
{
	uint64_t begin, worked;
	int ret;

	count_rest(w);
	if (!gives_way(w))
		return send_payload(w);
	begin = mfd_io_now_us();
	worked = processor_us();
	ret = send_payload(w);
	if (ret)
		return ret;
	ret = mfd_multifd_drain(w->session.multifd);
	if (ret)
		return channel_error(w, ret);
	if (!w->session.early)
		rest(w, mfd_io_now_us() - begin, processor_us() - worked);
	return 0;
}

static int is_rest(const struct mfd_worker *w)
{
	return gives_way(w) && mfd_io_now_us() < w->rest_until_us;
}

/* They have gone out, too. */
static void count_skipped(struct mfd_worker *w)
{
	uint64_t bytes = w->tasks.skipped * MFD_WIRE_PAGE_SIZE;

	w->tasks.skipped = 0;
	if (bytes)
		atomic_fetch_add_explicit(&w->progress->bytes_sent, bytes, memory_order_relaxed);
}

int mfd_stream_step(struct mfd_worker *w, int *busy)
{
	int images_first = mfd_uplink_pages_follow(&w->session, w->o), ret;

	*busy = 0;
	mind_manners(w);
	/* asked once: what does not go on for that reason must be waited for as such */
	w->rests_now = is_rest(w);
	ret = mfd_multifd_error(w->session.multifd);
	if (ret)
		return channel_error(w, ret);
	ret = look_for_gate(w);
	if (ret)
		return ret;
	if (w->gate_open && !w->images_sent && (images_first || mfd_tasks_idle(&w->tasks))) {
		*busy = 1; /* the rest of the pages or END come next */
		return send_images(w);
	}
	if (!mfd_tasks_idle(&w->tasks)) {
		if (w->rests_now || held(w, packet_pages(w)))
			return 0; /* time, the gate, or ROOM, goes on with it */
		ret = mfd_tasks_fill(&w->tasks, mfd_multifd_payload(w->session.multifd),
				     packet_pages(w), &w->err);
		count_skipped(w);
		if (ret > 0) {
			*busy = 1;
			return send_gently(w);
		}
		if (ret < 0)
			return ret;
		*busy = w->gate_open; /* everything is queued now: images or END come next */
		return 0;
	}
	if (w->images_sent && !w->end_sent)
		return send_end(w);
	return 0;
}

static int need_range(struct mfd_worker *w, const Mfd__PageRange *r)
{
	struct mfd_task *k = mfd_tasks_find(&w->tasks, r->task);
	uint64_t vaddr = r->vaddr, left = r->pages;

	if (!k || vaddr % MFD_WIRE_PAGE_SIZE || vaddr >= MFD_WIRE_MAX_VADDR ||
	    left > MFD_WIRE_MAX_VADDR >> 12)
		return mfd_error_set(
			&w->err, -EPROTO,
			"the target needs %llu pages at %#llx of task %u, which is not ours",
			(unsigned long long)left, (unsigned long long)vaddr, r->task);
	while (left) {
		struct mfd_payload *p = mfd_multifd_payload(w->session.multifd);
		uint64_t n = left < packet_pages(w) ? left : packet_pages(w);
		int ret;

		ret = await_room(w, n);
		if (ret)
			return ret;
		p->type = MFD_PAYLOAD_PAGES;
		p->pages.reader = &k->reader;
		p->pages.task = r->task;
		p->pages.runs = p->runs_memory;
		p->pages.nruns = 1;
		p->pages.npages = (uint32_t)n;
		p->pages.runs[0] = (struct mfd_run){ .vaddr = vaddr, .pages = n };
		ret = send_payload(w);
		if (ret)
			return ret;
		vaddr += n * MFD_WIRE_PAGE_SIZE;
		left -= n;
	}
	return 0;
}

int mfd_stream_need(struct mfd_worker *w, const ProtobufCMessage *msg)
{
	const Mfd__Need *need = (const Mfd__Need *)msg;
	int ret = 0;

	mfd_log_info("the target lacks %llu pages in %zu ranges: sending them again",
		     (unsigned long long)need->pages, need->n_ranges);
	for (size_t i = 0; i < need->n_ranges && !ret; i++)
		ret = need_range(w, need->ranges[i]);
	return ret ? ret : send_end(w);
}
