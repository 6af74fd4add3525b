// SPDX-License-Identifier: GPL-2.0-only
/* The sender's last word: a line in the log and multifd-send.json in CRIU's work directory. */
#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <string.h>

#include "io.h"
#include "log.h"
#include "worker.h"

static double ms_between(uint64_t from, uint64_t to)
{
	return from && to > from ? (double)(to - from) / 1000.0 : 0;
}

static void add_zerocopy(struct json_object *j, const struct mfd_uplink *s)
{
	uint64_t sent = 0, done = 0, copied = 0, waits = 0;

	for (unsigned i = 0; i < s->channels; i++) {
		sent += s->chan[i].zc.sends;
		done += s->chan[i].zc.completions;
		copied += s->chan[i].zc.copied;
		waits += s->chan[i].zc.flush_waits;
	}
	json_object_object_add(j, "zerocopy_sent", json_object_new_uint64(sent));
	json_object_object_add(j, "zerocopy_completed", json_object_new_uint64(done));
	json_object_object_add(j, "zerocopy_copied", json_object_new_uint64(copied));
	json_object_object_add(j, "zerocopy_waits", json_object_new_uint64(waits));
}

static void add_phases(struct json_object *j, const struct mfd_worker *w)
{
	struct json_object *p = json_object_new_object();

	json_object_object_add(p, "connect_to_freeze_ms",
			       json_object_new_double(ms_between(w->start_us, w->frozen_us)));
	json_object_object_add(p, "freeze_to_images_ms", json_object_new_double(ms_between(w->frozen_us, w->gate_us)));
	json_object_object_add(p, "images_to_sent_ms", json_object_new_double(ms_between(w->gate_us, w->sent_us)));
	json_object_object_add(p, "sent_to_ready_ms", json_object_new_double(ms_between(w->sent_us, w->ready_us)));
	json_object_object_add(p, "ready_to_released_ms",
			       json_object_new_double(ms_between(w->ready_us, w->released_us)));
	json_object_object_add(j, "phases", p);
}

static void add_channels(struct json_object *j, const struct mfd_uplink *s)
{
	struct json_object *a = json_object_new_array();

	for (unsigned i = 0; i < s->channels; i++) {
		const struct mfd_sendchan_stats *st = &s->chan[i].st;
		struct json_object *c = json_object_new_object();

		json_object_object_add(c, "bytes", json_object_new_uint64(st->wire_bytes));
		json_object_object_add(c, "packets", json_object_new_uint64(st->packets));
		json_object_object_add(c, "stalls", json_object_new_uint64(st->stalls));
		json_object_object_add(c, "read_ms", json_object_new_double((double)st->read_us / 1000.0));
		json_object_object_add(c, "send_ms", json_object_new_double((double)st->send_us / 1000.0));
		json_object_array_add(a, c);
	}
	json_object_object_add(j, "channel", a);
}

/* Known only when the target has restored by itself. Each part is measured by one clock; the way of COMMIT itself is not in it. */
static struct json_object *downtime(const struct mfd_worker *w)
{
	if (!w->resumed_us || !w->leave_us || !w->frozen_us)
		return NULL;
	return json_object_new_double(ms_between(w->frozen_us, w->leave_us) + (double)w->resumed_us / 1000.0);
}

static struct json_object *summary(struct mfd_worker *w, const char *result)
{
	struct json_object *j = json_object_new_object();
	struct mfd_sendchan_stats t = { 0 };
	uint64_t memory;
	double total, frozen, flow;

	mfd_uplink_totals(&w->session, &t);
	memory = (t.pages + t.zero_pages) * MFD_WIRE_PAGE_SIZE;
	total = ms_between(w->start_us, w->released_us ? w->released_us : mfd_io_now_us());
	frozen = w->frozen_us ? ms_between(w->frozen_us, w->released_us ? w->released_us : mfd_io_now_us()) : 0;
	flow = ms_between(w->frozen_us, w->sent_us);
	json_object_object_add(j, "session", json_object_new_string(w->sh->session));
	json_object_object_add(j, "result", json_object_new_string(result));
	json_object_object_add(j, "target", json_object_new_string(w->sh->target.text));
	json_object_object_add(j, "mode",
			       json_object_new_string(w->o->mode == MFD_MODE_POSTCOPY ? "postcopy" : "safe"));
	json_object_object_add(j, "channels", json_object_new_int((int)w->session.lim.channels));
	json_object_object_add(j, "tasks", json_object_new_int((int)atomic_load(&w->sh->ntasks)));
	json_object_object_add(j, "pages", json_object_new_uint64(t.pages));
	json_object_object_add(j, "zero_pages", json_object_new_uint64(t.zero_pages));
	json_object_object_add(j, "bytes_memory", json_object_new_uint64(memory));
	json_object_object_add(j, "bytes_images", json_object_new_uint64(t.file_bytes));
	json_object_object_add(j, "packets", json_object_new_uint64(t.packets));
	json_object_object_add(j, "packets_compressed", json_object_new_uint64(t.compressed));
	json_object_object_add(j, "bytes_wire", json_object_new_uint64(t.wire_bytes));
	json_object_object_add(j, "total_ms", json_object_new_double(total));
	json_object_object_add(j, "frozen_ms", json_object_new_double(frozen));
	json_object_object_add(j, "downtime_ms", downtime(w));
	json_object_object_add(j, "gbit_per_s",
			       json_object_new_double(flow > 0 ? (double)t.wire_bytes * 8e-6 / flow : 0));
	add_zerocopy(j, &w->session);
	json_object_object_add(j, "faults", json_object_new_uint64(w->faults));
	json_object_object_add(j, "queued_ms", json_object_new_double((double)w->session.queue.waited_us / 1000.0));
	json_object_object_add(j, "held_ms", json_object_new_double((double)w->session.queue.held_us / 1000.0));
	json_object_object_add(j, "reconnects", json_object_new_int((int)w->reconnects));
	add_phases(j, w);
	add_channels(j, &w->session);
	json_object_object_add(j, "acknowledged", json_object_new_boolean(w->released_us && !w->progress->untold));
	json_object_object_add(j, "error", w->err.code ? json_object_new_string(mfd_error_text(&w->err)) : NULL);
	mfd_log_info("%s: %llu pages + %llu zero pages, %llu image bytes, %.0f ms in all, %.0f ms frozen, %.1f Gbit/s",
		     result, (unsigned long long)t.pages, (unsigned long long)t.zero_pages,
		     (unsigned long long)t.file_bytes, total, frozen,
		     flow > 0 ? (double)t.wire_bytes * 8e-6 / flow : 0);
	return j;
}

void mfd_summary_write(struct mfd_worker *w, const char *result)
{
	struct json_object *j;
	const char *text;

	/* A session that never connected has said all in its error. */
	if (!w->sh->connected)
		return;
	j = summary(w, result);
	text = json_object_to_json_string_ext(j, JSON_C_TO_STRING_PRETTY);
	mfd_io_replace_file(AT_FDCWD, "multifd-send.json", text, strlen(text), 0644);
	json_object_put(j);
}
