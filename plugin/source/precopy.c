// SPDX-License-Identifier: GPL-2.0-only
/* The rounds of precopy. */
#include <errno.h>
#include <json-c/json.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "assert.h"
#include "estimate.h"
#include "io.h"
#include "log.h"
#include "messages.h"
#include "procfile.h"
#include "proto/control.pb-c.h"
#include "precopy.h"
#include "stream.h"
#include "worker.h"

#define AUTO_FROM (256ULL << 20) /* precopy = auto: smaller ones are through in no time */
#define RUNS	  512
#define GLANCE_MS 20

/* ---- whether ---- */

static pid_t root_of(const struct mfd_worker *w)
{
	return w->o->tree ? (pid_t)w->o->tree : mfd_estimate_root(w->sh->criu);
}

static int no(struct mfd_worker *w, const char *why)
{
	snprintf(w->precopy.why, sizeof(w->precopy.why), "%s", why);
	mfd_log_info("no precopy: %s", why);
	return 0;
}

int mfd_precopy_wanted(struct mfd_worker *w)
{
	uint64_t shared = 0;
	int ret;

	if (w->o->precopy == MFD_OFF)
		return 0;
	ret = mfd_track_supported();
	if (ret)
		return no(w, "this kernel cannot track writes (Linux 6.9 or later can)");
	if (!root_of(w))
		return no(w, "the first process is not known (option tree)");
	if (w->o->precopy == MFD_AUTO && w->o->mode == MFD_MODE_POSTCOPY)
		return no(w, "in postcopy the tasks run there first (precopy = auto)");
	if (w->o->precopy == MFD_AUTO && mfd_estimate_tree(root_of(w), &shared) < AUTO_FROM)
		return no(w, "the tasks have less than 256 MiB (precopy = auto)");
	return 1;
}

/* ---- events between payloads ---- */

static int look_around(struct mfd_worker *w)
{
	int ret = mfd_stream_error(w);

	if (!ret)
		ret = mfd_messages_take(w);
	return ret ? ret : w->session.waiting(w->session.waiting_arg);
}

/* ---- sending ---- */

struct sender {
	struct mfd_worker *w;
	struct mfd_tracked_task *task;
	uint64_t looked_ms, pages;
};

static int flush(struct sender *s)
{
	struct mfd_payload *p = mfd_multifd_payload(s->w->session.multifd);
	int ret;

	if (p->type == MFD_PAYLOAD_NONE)
		return 0;
	s->pages += p->pages.npages;
	ret = mfd_stream_round(s->w);
	if (ret || mfd_io_now_ms() < s->looked_ms + GLANCE_MS)
		return ret;
	s->looked_ms = mfd_io_now_ms();
	return look_around(s->w);
}

static struct mfd_payload *payload(struct sender *s)
{
	struct mfd_payload *p = mfd_multifd_payload(s->w->session.multifd);

	if (p->type != MFD_PAYLOAD_NONE)
		return p;
	p->type = MFD_PAYLOAD_PAGES;
	p->pages.reader = &s->task->reader;
	p->pages.task = s->task->vpid;
	p->pages.runs = p->runs_memory;
	p->pages.nruns = p->pages.npages = 0;
	p->sent = s->task->sent;
	p->round = s->w->precopy.tracked.rounds + 1;
	p->hash = s->w->o->precopy_check != MFD_CHECK_OFF;
	return p;
}

static int send_run(struct sender *s, struct mfd_run r)
{
	uint32_t max = s->w->session.lim.packet_size / MFD_WIRE_PAGE_SIZE;
	int ret = 0;

	while (r.pages && !ret) {
		struct mfd_payload *p = payload(s);
		uint64_t n = max - p->pages.npages;

		n = r.pages < n ? r.pages : n;
		p->pages.runs[p->pages.nruns++] = (struct mfd_run){ r.vaddr, n };
		p->pages.npages += (uint32_t)n;
		r.vaddr += n * MFD_WIRE_PAGE_SIZE;
		r.pages -= n;
		if (p->pages.npages == max || p->pages.nruns == MFD_WIRE_MAX_RUNS)
			ret = flush(s);
	}
	return ret;
}

/* Channels may still read through it. */
static int renew_reader(struct sender *s)
{
	struct mfd_tracked_task *k = s->task;
	int ret;

	mfd_pageread_close(&k->reader);
	ret = mfd_pageread_open(&k->reader, k->track.pid, NULL);
	k->reader.running = 1;
	k->reader.unread = &k->unread;
	return ret;
}

static int look_for_suspects(const struct sender *s)
{
	return s->w->o->precopy_check != MFD_CHECK_OFF && mfd_suspects_is_one(s->task->track.pid);
}

/*
 * The reader is opened after the tracker has begun: a descriptor of /proc/PID/mem stays with the
 * memory map that it was opened with, and an exec before that would let old memory pass for new.
 */
static int send_task(struct sender *s)
{
	struct mfd_tracked_task *k = s->task;
	struct mfd_run runs[RUNS];
	int n, ret = 0;

	mfd_assert(mfd_multifd_payload(s->w->session.multifd)->type == MFD_PAYLOAD_NONE);
	if (k->track.fd < 0)
		return 0;
	k->suspect |= look_for_suspects(s);
	mfd_track_begin(&k->track);
	if (k->track.fd >= 0 && (ret = renew_reader(s)))
		mfd_track_give_up(&k->track, ret, "opening its memory");
	if (k->track.fd < 0)
		return 0;
	while (!ret && (n = mfd_track_next(&k->track, runs, RUNS)) > 0)
		for (int i = 0; i < n && !ret; i++)
			ret = send_run(s, runs[i]);
	k->suspect |= look_for_suspects(s);
	return ret ? ret : flush(s);
}

/* ---- a round ---- */

static int await_ok(struct mfd_worker *w, uint32_t n)
{
	struct pollfd p[] = { { w->wake, POLLIN, 0 },
			      { w->signals, POLLIN, 0 },
			      { w->desk, POLLIN, 0 } };
	int ret;

	while (!(ret = look_around(w)) && w->precopy.answered != n)
		poll(p, sizeof(p) / sizeof(*p), 50);
	return ret;
}

static int end_round(struct mfd_worker *w, uint64_t pages)
{
	uint32_t n = w->precopy.tracked.rounds + 1;
	int ret = mfd_stream_end_round(w, n, pages);

	mfd_assert(w->precopy.answered < n);
	mfd_assert(atomic_load(&w->sh->ntasks) == 0);
	if (!ret)
		ret = await_ok(w, n);
	if (ret)
		return ret;
	w->precopy.tracked.rounds = n;
	mfd_tracked_end_round(&w->precopy.tracked);
	return 0;
}

/* The tree may have grown beyond what the target has made room for. */
static int announce(struct mfd_worker *w)
{
	struct mfd_queue *q = &w->session.queue;
	uint64_t bytes = mfd_estimate_tree(root_of(w), &q->shared);

	return mfd_queue_size(q, &w->session.control, bytes > q->shared ? bytes - q->shared : 0);
}

static int send_round(struct mfd_worker *w, uint64_t *bytes)
{
	struct mfd_tracked *t = &w->precopy.tracked;
	struct sender s = { .w = w };
	int ret = mfd_tracked_meet(t, root_of(w));

	mfd_assert(w->precopy.answered == t->rounds);
	mfd_assert(w->session.lim.precopy);
	if (!ret)
		ret = announce(w);
	if (ret)
		return mfd_error_sys(&w->err, ret, "precopy");
	for (unsigned i = 0; i < t->n && !ret; i++) {
		s.task = t->task[i];
		ret = send_task(&s);
	}
	if (!ret)
		ret = end_round(w, s.pages);
	w->precopy.pages += s.pages;
	w->precopy.resent += t->rounds > 1 ? s.pages : 0;
	*bytes = s.pages * MFD_WIRE_PAGE_SIZE;
	return ret;
}

/* ---- what it comes to ---- */

static unsigned threads_of(pid_t pid)
{
	uint64_t n = 0;

	return mfd_procfile_number(pid, "Threads", 10, &n) ? 0 : (unsigned)n;
}

/* Bytes that another round, or the stop, would send. */
static uint64_t measure(struct mfd_worker *w)
{
	struct mfd_tracked *t = &w->precopy.tracked;
	struct mfd_criterion *c = &w->precopy.criterion;
	uint64_t sum = 0;

	mfd_assert(t->rounds == w->precopy.answered);
	mfd_assert(c->max_rounds);
	c->memory = 0;
	c->tasks = c->threads = 0;
	for (unsigned i = 0; i < t->n; i++) {
		struct mfd_tracked_task *k = t->task[i];
		pid_t pid = k->track.pid;

		if (mfd_procfile_start_time(pid) != k->track.start_time)
			continue;
		k->left = mfd_track_count(&k->track) * MFD_WIRE_PAGE_SIZE;
		sum += k->left;
		c->memory += mfd_estimate_task(pid, NULL);
		c->tasks++;
		c->threads += threads_of(pid);
		if (k->track.stopped_us > w->precopy.attach_us)
			w->precopy.attach_us = k->track.stopped_us;
	}
	return sum;
}

static void show(struct mfd_worker *w)
{
	const struct mfd_criterion *c = &w->precopy.criterion;

	atomic_store(&w->progress->left, c->left);
	atomic_store(&w->progress->written, c->written);
	atomic_store(&w->progress->expected_ms, c->expected_ms);
	atomic_store(&w->progress->round, c->round);
	mfd_log_info("round %u: %llu MiB left, %llu MB/s written, would stand still for %.1f s",
		     c->round, (unsigned long long)(c->left >> 20),
		     (unsigned long long)(c->written / 1000000), c->expected_ms / 1000.0);
}

static int next_round(struct mfd_worker *w)
{
	struct mfd_precopy *r = &w->precopy;
	uint64_t bytes = 0, t0 = mfd_io_now_us();
	int ret = send_round(w, &bytes);

	if (ret)
		return ret;
	r->last_us = mfd_io_now_us() - t0;
	r->total_us += r->last_us;
	r->end = mfd_criterion_round(&r->criterion, bytes, r->last_us, measure(w),
				     mfd_io_now_ms() - r->begun_ms);
	show(w);
	return 0;
}

static int judge(struct mfd_worker *w)
{
	const struct mfd_criterion *c = &w->precopy.criterion;

	if (w->precopy.end == MFD_CRITERION_REACHED)
		return 0;
	if (w->o->precopy_else == MFD_PRECOPY_ABORT)
		return mfd_error_blame(
			&w->err, MFD_ERROR_OWN,
			mfd_error_set(
				&w->err, -EBUSY,
				"the tasks would stand still for %.1f s, more than downtime-limit, after %u "
				"rounds (%s, precopy-else = abort); they run on here",
				c->expected_ms / 1000.0, c->round,
				mfd_criterion_word(w->precopy.end)));
	mfd_log_warn("the tasks are frozen now (%s): about %.1f s",
		     mfd_criterion_word(w->precopy.end), c->expected_ms / 1000.0);
	return 0;
}

static void log_untracked(const struct mfd_worker *w)
{
	const struct mfd_tracked *t = &w->precopy.tracked;

	for (unsigned i = 0; i < t->n; i++)
		if (t->task[i]->track.fd < 0 && t->task[i]->tried)
			mfd_log_info("process %d is sent whole in the stop: %s",
				     t->task[i]->track.pid, t->task[i]->track.why);
}

static void begin(struct mfd_worker *w)
{
	struct mfd_precopy *r = &w->precopy;

	mfd_assert(!r->begun_ms);
	mfd_assert(!w->tasks.n);
	r->criterion = (struct mfd_criterion){ .limit_ms = w->o->downtime_limit,
					       .max_rounds = w->o->max_rounds,
					       .timeout_ms = w->o->precopy_timeout,
					       .confirm = w->o->confirm == MFD_CONFIRM_RESTORE,
					       .listed = w->o->page_dump == MFD_PAGE_DUMP_PLUGIN };
	r->begun_ms = mfd_io_now_ms();
	r->tracked.check = w->o->precopy_check == MFD_CHECK_ALWAYS;
	w->tasks.tracked = &r->tracked;
	w->tasks.overtaken = mfd_uplink_pages_follow(&w->session);
	mfd_progress_phase(w->progress, MFD_PROGRESS_PRECOPY);
	atomic_store(&w->give_way.gentle, MFD_GENTLE_ASIDE);
}

int mfd_precopy_run(struct mfd_worker *w)
{
	int ret;

	mfd_assert(mfd_send_phase(w->sh) == MFD_SEND_CONNECTING);
	mfd_assert(w->session.multifd);
	if (!w->session.lim.precopy) {
		if (w->session.precopy)
			no(w, "the target's criu-multifd does not know it");
		return 0;
	}
	begin(w);
	do
		ret = next_round(w);
	while (!ret && w->precopy.end == MFD_CRITERION_GO_ON);
	log_untracked(w);
	return ret ? ret : judge(w);
}

/* ---- figures ---- */

static void number(struct json_object *j, const char *key, uint64_t n)
{
	json_object_object_add(j, key, json_object_new_uint64(n));
}

#define SHOWN 100 /* tasks: the summary is one message of the desk's */

static struct json_object *tasks_json(const struct mfd_tracked *t)
{
	struct json_object *a = json_object_new_array();

	for (unsigned i = 0; i < t->n && i < SHOWN; i++) {
		const struct mfd_track *k = &t->task[i]->track;
		struct json_object *j = json_object_new_object();

		number(j, "pid", (uint64_t)k->pid);
		json_object_object_add(j, "tracked", json_object_new_boolean(k->fd >= 0));
		json_object_object_add(j, "why", k->fd < 0 ? json_object_new_string(k->why) : NULL);
		json_object_object_add(j, "suspect", json_object_new_boolean(t->task[i]->suspect));
		json_object_array_add(a, j);
	}
	return a;
}

struct json_object *mfd_precopy_json(const struct mfd_worker *w)
{
	const struct mfd_precopy *r = &w->precopy;
	const struct mfd_criterion *c = &r->criterion;
	struct json_object *j;

	if (!r->begun_ms)
		return NULL;
	j = json_object_new_object();
	number(j, "rounds", r->tracked.rounds);
	number(j, "round_ms", r->last_us / 1000);
	number(j, "rounds_ms", r->total_us / 1000);
	number(j, "pages", r->pages);
	number(j, "resent_pages", r->resent);
	number(j, "dirty_pages", c->left / MFD_WIRE_PAGE_SIZE);
	number(j, "dirty_rate", c->written / 1000000);
	number(j, "rate", c->rate / 1000000);
	number(j, "floor_ms", c->floor_ms);
	number(j, "expected_downtime_ms", c->expected_ms);
	json_object_object_add(j, "stop_reason",
			       json_object_new_string(mfd_criterion_word(r->end)));
	number(j, "attach_us", r->attach_us);
	number(j, "check_pages", w->tasks.suspects.compared + w->tasks.others.compared);
	number(j, "check_differences", w->tasks.suspects.different + w->tasks.others.different);
	number(j, "check_unsuspected", w->tasks.others.different);
	json_object_object_add(j, "tasks", tasks_json(&r->tracked));
	return j;
}
