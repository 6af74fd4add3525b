// SPDX-License-Identifier: GPL-2.0-only
/* The sender's last word: a line in the log and multifd-send.json in CRIU's work directory. */
#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <string.h>

#include "assert.h"
#include "dying.h"
#include "io.h"
#include "log.h"
#include "summary.h"
#include "timeline.h"
#include "worker.h"

static double ms_between(uint64_t from, uint64_t to)
{
	return from && to > from ? (double)(to - from) / 1000.0 : 0;
}

/* Everything that was counted for the session, on whichever connections. */
struct figures {
	/* sum: of all of them */
	struct mfd_sendchan_stats channel[MFD_WIRE_MAX_CHANNELS], urgent, sum;
	struct mfd_multifd_stats produced;
	uint64_t faults;
};

static void collect(const struct mfd_worker *w, struct figures *f)
{
	const struct mfd_uplink *s = &w->session;
	struct mfd_multifd_stats now = s->produced;

	memset(f, 0, sizeof(*f));
	memcpy(f->channel, w->past.channel, sizeof(f->channel));
	f->urgent = w->past.urgent;
	for (unsigned i = 0; i < s->channels; i++)
		mfd_sendchan_stats(&s->chan[i], &f->channel[i]);
	for (unsigned i = 0; i < MFD_WIRE_MAX_CHANNELS; i++)
		mfd_sendchan_stats_add(&f->sum, &f->channel[i]);
	mfd_sendchan_stats(&s->urgent, &f->urgent);
	mfd_sendchan_stats_add(&f->sum, &f->urgent);
	if (s->multifd)
		mfd_multifd_get_stats(s->multifd, &now);
	f->produced.sends = w->past.produced.sends + now.sends;
	f->produced.stalls = w->past.produced.stalls + now.stalls;
	f->produced.stall_us = w->past.produced.stall_us + now.stall_us;
	f->faults = w->past.faults + mfd_counter_get(&w->inbox.faults);
}

void mfd_summary_keep(struct mfd_worker *w)
{
	struct figures f;

	mfd_assert(w->sh);
	mfd_assert(!w->session.multifd);
	collect(w, &f);
	memcpy(w->past.channel, f.channel, sizeof(f.channel));
	w->past.urgent = f.urgent;
	w->past.produced = f.produced;
	w->past.faults = f.faults;
	atomic_store(&w->inbox.faults, 0);
}

/* With three places: a double as it is has fifteen, most of them noise. */
static struct json_object *figure(double n)
{
	char text[40];

	snprintf(text, sizeof(text), "%.3f", n);
	return json_object_new_double_s(n, text);
}

static void add_number(struct json_object *j, const char *key, uint64_t n)
{
	json_object_object_add(j, key, json_object_new_uint64(n));
}

static void add_ms(struct json_object *j, const char *key, uint64_t us)
{
	json_object_object_add(j, key, mfd_timeline_ms(us));
}

static void add_zerocopy(struct json_object *j, const struct mfd_sendchan_stats *st)
{
	add_number(j, "zerocopy_sent", st->zerocopy_sent);
	add_number(j, "zerocopy_completed", st->zerocopy_completed);
	add_number(j, "zerocopy_copied", st->zerocopy_copied);
	add_number(j, "zerocopy_waits", st->zerocopy_waits);
}

static void add_phases(struct json_object *j, const struct mfd_worker *w)
{
	struct json_object *p = json_object_new_object();

	json_object_object_add(p, "connect_to_freeze_ms",
			       figure(ms_between(w->times.start_us, w->times.frozen_us)));
	json_object_object_add(p, "freeze_to_images_ms",
			       figure(ms_between(w->times.frozen_us, w->times.gate_us)));
	json_object_object_add(p, "images_to_sent_ms",
			       figure(ms_between(w->times.gate_us, w->times.sent_us)));
	json_object_object_add(p, "sent_to_ready_ms",
			       figure(ms_between(w->times.sent_us, w->times.ready_us)));
	json_object_object_add(p, "ready_to_released_ms",
			       figure(ms_between(w->times.ready_us, w->times.released_us)));
	json_object_object_add(j, "phases", p);
}

/* Modes differ in the order. */
static void add_timeline(struct json_object *j, const struct mfd_worker *w)
{
	const int postcopy = w->o->mode == MFD_MODE_POSTCOPY;
	struct mfd_event e[] = {
		{ "start", w->times.start_us },
		{ "hello", w->times.hello_us },
		{ "joined", w->times.joined_us },
		{ "frozen", w->times.frozen_us },
		{ "dumped", w->times.gate_us },
		{ "images", w->times.images_us },
		{ "running", postcopy ? w->times.leave_us : 0 },
		{ "sent", w->times.sent_us },
		{ "ready", w->times.ready_us },
		{ "restored", w->times.restored_us },
		{ "released", w->times.released_us },
		{ "committed", w->times.committed_us },
	};

	json_object_object_add(j, "timeline",
			       mfd_timeline_json(e, sizeof(e) / sizeof(*e), w->times.start_us));
}

static struct json_object *channel(const struct mfd_sendchan_stats *st)
{
	struct json_object *c = json_object_new_object();

	add_number(c, "bytes", st->wire_bytes);
	add_number(c, "packets", st->packets);
	add_number(c, "pages", st->pages);
	add_number(c, "zero_pages", st->zero_pages);
	add_number(c, "bytes_images", st->file_bytes);
	add_number(c, "packets_compressed", st->compressed);
	add_number(c, "stalls", mfd_sendchan_stalls(st));
	add_ms(c, "stall_ms", mfd_sendchan_stall_us(st));
	add_number(c, "blocked", st->blocked);
	add_ms(c, "blocked_ms", st->blocked_us);
	add_number(c, "reclaims", st->reclaims);
	add_ms(c, "reclaims_ms", st->reclaims_us);
	add_number(c, "limited", st->limited);
	add_ms(c, "limited_ms", st->limited_us);
	add_zerocopy(c, st);
	add_ms(c, "read_ms", st->read_us);
	add_ms(c, "send_ms", st->send_us);
	return c;
}

static void add_channels(struct json_object *j, const struct mfd_worker *w, const struct figures *f)
{
	struct json_object *a = json_object_new_array(), *p = json_object_new_object();

	for (unsigned i = 0; i < w->session.lim.channels; i++)
		json_object_array_add(a, channel(&f->channel[i]));
	json_object_object_add(j, "channel", a);
	json_object_object_add(j, "urgent",
			       mfd_uplink_pages_follow(&w->session) ? channel(&f->urgent) : NULL);
	add_number(p, "payloads", f->produced.sends);
	add_number(p, "stalls", f->produced.stalls);
	add_ms(p, "stall_ms", f->produced.stall_us);
	add_number(p, "rests", w->give_way.rests);
	add_ms(p, "rest_ms", w->give_way.rested_us);
	json_object_object_add(j, "producer", p);
}

/*
 * Known only when the target has restored by itself. Each part is measured by one clock; the way of
 * COMMIT itself is not in it.
 */
static struct json_object *downtime(const struct mfd_worker *w)
{
	if (!w->times.resumed_us || !w->times.leave_us || !w->times.frozen_us)
		return NULL;
	return figure(ms_between(w->times.frozen_us, w->times.leave_us) +
		      (double)w->times.resumed_us / 1000.0);
}

/* What was asked for did not happen if CRIU has seen the pages nevertheless. */
static const char *page_dump(const struct mfd_worker *w)
{
	if (w->o->page_dump != MFD_PAGE_DUMP_PLUGIN || w->listed.by_criu)
		return "criu";
	return "plugin";
}

static struct json_object *summary(struct mfd_worker *w, const char *result)
{
	struct json_object *j = json_object_new_object();
	struct mfd_sendchan_stats t;
	struct figures f;
	uint64_t memory;
	double total, frozen, flow;

	collect(w, &f);
	t = f.sum;
	memory = (t.pages + t.zero_pages) * MFD_WIRE_PAGE_SIZE;
	total = ms_between(w->times.start_us,
			   w->times.released_us ? w->times.released_us : mfd_io_now_us());
	frozen = w->times.frozen_us ?
			 ms_between(w->times.frozen_us,
				    w->times.released_us ? w->times.released_us : mfd_io_now_us()) :
			 0;
	flow = ms_between(w->precopy.tracked.rounds ? w->times.joined_us : w->times.frozen_us,
			  w->times.sent_us ? w->times.sent_us : mfd_io_now_us());
	json_object_object_add(j, "session", json_object_new_string(w->sh->session));
	json_object_object_add(j, "result", json_object_new_string(result));
	json_object_object_add(j, "target", json_object_new_string(w->sh->target.text));
	json_object_object_add(j, "mode",
			       json_object_new_string(w->o->mode == MFD_MODE_POSTCOPY ? "postcopy" :
											"safe"));
	json_object_object_add(j, "channels", json_object_new_int((int)w->session.lim.channels));
	json_object_object_add(j, "tasks", json_object_new_int((int)atomic_load(&w->sh->ntasks)));
	json_object_object_add(j, "pages", json_object_new_uint64(t.pages));
	json_object_object_add(j, "zero_pages", json_object_new_uint64(t.zero_pages));
	json_object_object_add(j, "bytes_memory", json_object_new_uint64(memory));
	json_object_object_add(j, "bytes_images", json_object_new_uint64(t.file_bytes));
	json_object_object_add(j, "packets", json_object_new_uint64(t.packets));
	json_object_object_add(j, "packets_compressed", json_object_new_uint64(t.compressed));
	json_object_object_add(j, "bytes_wire", json_object_new_uint64(t.wire_bytes));
	json_object_object_add(j, "total_ms", figure(total));
	json_object_object_add(j, "frozen_ms", figure(frozen));
	json_object_object_add(j, "downtime_ms", downtime(w));
	/*
	 * From the first page that was read to the last that was sent: what the channels are worth
	 * while pages flow.
	 */
	json_object_object_add(j, "stream_ms", figure(ms_between(t.first_us, t.last_us)));
	json_object_object_add(j, "gbit_per_s",
			       figure(flow > 0 ? (double)t.wire_bytes * 8e-6 / flow : 0));
	add_zerocopy(j, &t);
	add_number(j, "stalls", mfd_sendchan_stalls(&t));
	add_ms(j, "stall_ms", mfd_sendchan_stall_us(&t));
	json_object_object_add(j, "congestion", json_object_new_string(w->session.congestion));
	add_number(j, "max_bandwidth", atomic_load(&w->sh->max_bandwidth));
	add_number(j, "tasks_held", w->release.pinned);
	json_object_object_add(j, "page_dump", json_object_new_string(page_dump(w)));
	add_number(j, "pages_listed", w->listed.pages);
	add_number(j, "faults", f.faults);
	json_object_object_add(j, "fault_latency", mfd_latency_json(&w->fault_times.waited));
	json_object_object_add(j, "fault_network", mfd_latency_json(&w->fault_times.network));
	add_ms(j, "queued_ms", w->session.queue.waited_us);
	add_ms(j, "held_ms", w->session.queue.held_us);
	json_object_object_add(j, "reconnects", json_object_new_int((int)w->past.reconnects));
	json_object_object_add(j, "precopy", mfd_precopy_json(w));
	json_object_object_add(j, "precopy_why",
			       w->precopy.why[0] ? json_object_new_string(w->precopy.why) : NULL);
	add_phases(j, w);
	add_timeline(j, w);
	add_channels(j, w, &f);
	json_object_object_add(j, "acknowledged",
			       json_object_new_boolean(w->times.released_us &&
						       !w->progress->untold));
	json_object_object_add(j, "in_doubt",
			       json_object_new_boolean(w->doubt.kind != MFD_PROGRESS_SURE));
	json_object_object_add(j, "doubt",
			       w->doubt.why[0] ? json_object_new_string(w->doubt.why) : NULL);
	json_object_object_add(j, "both_run", json_object_new_boolean(w->progress->both != 0));
	json_object_object_add(
		j, "error", w->err.code ? json_object_new_string(mfd_error_text(&w->err)) : NULL);
	return j;
}

static double number(struct json_object *j, const char *key)
{
	return json_object_get_double(json_object_object_get(j, key));
}

static void log_line(struct json_object *j, const struct mfd_worker *w, const char *result)
{
	mfd_log_info(
		"%s: %.0f pages + %.0f zero pages, %.0f image bytes, %.0f ms in all, %.0f ms %s, %.1f Gbit/s",
		result, number(j, "pages"), number(j, "zero_pages"), number(j, "bytes_images"),
		number(j, "total_ms"), number(j, "frozen_ms"),
		w->o->mode == MFD_MODE_POSTCOPY ? "kept here" : "frozen", number(j, "gbit_per_s"));
}

/* What person.c takes when no task lives here any more; NULL: whatever a task here may do. */
static const char *advice(const struct mfd_worker *w)
{
	enum mfd_send_phase phase = mfd_send_phase(w->sh);

	if (w->doubt.kind == MFD_PROGRESS_SURE)
		return NULL;
	if (phase == MFD_SEND_RELEASED)
		return "The tasks here are dead: what the target holds is the only copy. It is told "
		       "on; there, 'criu-multifd status' says what runs, and criu-multifd resolve "
		       "SESSION --run lets it. Here --run is refused, and resolve --source DIR "
		       "--discard only stops telling.";
	if (phase == MFD_SEND_LOST && !mfd_shared_tasks_alive(w->sh))
		return "No task of it lives here any more: --run is refused, and what the target "
		       "lacks is lost. criu-multifd resolve --source DIR --discard has the target "
		       "told; then 'criu-multifd status' there says what is left.";
	return NULL;
}

/* Why the session is in doubt, what holds the tasks, and what happens next. */
static void add_doubt(struct json_object *j, const struct mfd_worker *w)
{
	char how[MFD_HOLD_PATH + 64];
	enum mfd_send_phase phase = mfd_send_phase(w->sh);
	int lost = phase == MFD_SEND_LOST;
	uint64_t now = mfd_io_now_ms();
	const char *text = advice(w);

	if (text)
		json_object_object_add(j, "advice", json_object_new_string(text));
	else if (w->sh->hold.kind != MFD_HOLD_NONE && phase != MFD_SEND_RELEASED)
		json_object_object_add(
			j, "held_by",
			json_object_new_string(mfd_hold_text(w->sh, how, sizeof(how))));
	json_object_object_add(j, "ran_here", json_object_new_boolean(w->sh->hold.ran != 0));
	if (!lost)
		return;
	add_number(j, "tries", w->retry.tries);
	add_number(j, "short_connections", w->retry.shorts);
	json_object_object_add(
		j, "next_try_ms",
		w->retry.next_ms ? json_object_new_uint64(
					   w->retry.next_ms > now ? w->retry.next_ms - now : 0) :
				   NULL);
}

/* The verdict waits for the tasks' end. */
static void add_dying(struct json_object *j, const struct mfd_worker *w)
{
	enum mfd_send_phase phase = mfd_send_phase(w->sh);
	char why[480] = "";

	if (phase == MFD_SEND_COMMITTING || phase == MFD_SEND_ENDING)
		mfd_dying_text(w->sh, why, sizeof(why));
	json_object_object_add(j, "waits_for", why[0] ? json_object_new_string(why) : NULL);
}

void mfd_summary_say(struct mfd_worker *w, int caller)
{
	struct json_object *j = summary(w, "under way");

	json_object_object_add(
		j, "phase",
		json_object_new_string(mfd_progress_word(atomic_load(&w->progress->phase))));
	json_object_object_add(j, "connected",
			       json_object_new_boolean(w->sh->connected &&
						       !atomic_load(&w->progress->lost)));
	add_doubt(j, w);
	add_dying(j, w);
	mfd_desk_say(caller, json_object_to_json_string_ext(j, JSON_C_TO_STRING_PLAIN));
	json_object_put(j);
}

void mfd_summary_write(struct mfd_worker *w, const char *result)
{
	struct json_object *j;
	const char *text;

	/* A session that never connected has said all in its error. */
	if (!w->sh->connected)
		return;
	j = summary(w, result);
	add_doubt(j, w);
	log_line(j, w, result);
	text = json_object_to_json_string_ext(j, JSON_C_TO_STRING_PRETTY);
	mfd_io_replace_file(AT_FDCWD, "multifd-send.json", text, strlen(text), 0644);
	json_object_put(j);
}
