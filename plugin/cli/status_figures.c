// SPDX-License-Identifier: GPL-2.0-only
/* What each channel and each thread of the pager has done, and what happened when. */
#include <inttypes.h>
#include <stdio.h>

#include "latency.h"
#include "rate.h"
#include "status.h"
#include "timeline.h"
#include "words.h"

#define EVENTS 12

static void add_number(struct json_object *o, const char *key, uint64_t v)
{
	json_object_object_add(o, key, json_object_new_uint64(v));
}

static size_t events(const Mfd__SessionEntry *e, struct mfd_event *v)
{
	const struct mfd_event all[EVENTS] = {
		{ "hello", e->started_us },
		{ "joined", e->joined_us },
		{ "streaming", e->streaming_us },
		{ "images", e->images_us },
		{ "restorable", e->restorable_us },
		{ "running", e->running_us },
		{ "sent", e->sent_us },
		{ "ready", e->ready_us },
		{ "restored", e->restored_us },
		{ "committed", e->committed_us },
		{ "installed", e->installed_us },
		{ "done", e->done_us },
	};

	for (size_t i = 0; i < EVENTS; i++)
		v[i] = all[i];
	return EVENTS;
}

/* ---- JSON ---- */

static struct json_object *channel_json(const Mfd__SessionChannel *c)
{
	struct json_object *o = json_object_new_object();

	add_number(o, "bytes", c->wire_bytes);
	add_number(o, "packets", c->packets);
	add_number(o, "pages", c->pages);
	add_number(o, "zero_pages", c->zero_pages);
	add_number(o, "file_bytes", c->file_bytes);
	add_number(o, "stalls", c->stalls);
	json_object_object_add(o, "stall_ms", mfd_timeline_ms(c->stall_us));
	json_object_object_add(o, "receive_ms", mfd_timeline_ms(c->receive_us));
	return o;
}

static void add_channels(struct json_object *o, const Mfd__SessionEntry *e)
{
	struct json_object *list = json_object_new_array(), *urgent = NULL;
	uint64_t stalls = 0, stall_us = 0;

	for (size_t i = 0; i < e->n_channel; i++) {
		const Mfd__SessionChannel *c = e->channel[i];

		if (c->urgent) {
			urgent = channel_json(c);
			continue;
		}
		json_object_array_add(list, channel_json(c));
		stalls += c->stalls;
		stall_us += c->stall_us;
	}
	add_number(o, "stalls", stalls);
	json_object_object_add(o, "stall_ms", mfd_timeline_ms(stall_us));
	json_object_object_add(o, "channel", list);
	json_object_object_add(o, "urgent", urgent);
}

static struct json_object *pager_json(const Mfd__SessionEntry *e)
{
	struct json_object *o, *list;

	if (!e->n_pager_thread)
		return NULL;
	o = json_object_new_object();
	list = json_object_new_array();
	for (size_t i = 0; i < e->n_pager_thread; i++) {
		const Mfd__SessionPagerThread *t = e->pager_thread[i];
		struct json_object *j = json_object_new_object();

		add_number(j, "pages", t->pages);
		add_number(j, "bytes", t->pages * MFD_STATUS_PAGE);
		add_number(j, "chunks", t->chunks);
		add_number(j, "faults", t->faults);
		json_object_array_add(list, j);
	}
	json_object_object_add(o, "thread", list);
	add_number(o, "direct_pages", e->direct_pages);
	add_number(o, "dropped_pages", e->dropped_pages);
	add_number(o, "left_zero_pages", e->left_zero_pages);
	return o;
}

static struct mfd_latency_sum latency(const Mfd__SessionLatency *m)
{
	struct mfd_latency_sum l = { 0 };

	if (m)
		mfd_latency_load(&l, m->count, m->n_count, m->sum_us, m->max_us);
	return l;
}

static void add_latency(struct json_object *o, const char *key, const Mfd__SessionLatency *m)
{
	struct mfd_latency_sum l = latency(m);

	json_object_object_add(o, key, mfd_latency_json(&l));
}

void mfd_status_figures_json(struct json_object *o, const Mfd__SessionEntry *e)
{
	struct mfd_event v[EVENTS];
	size_t n = events(e, v);

	json_object_object_add(o, "max_bandwidth",
			       e->has_max_bandwidth ? json_object_new_uint64(e->max_bandwidth) :
						      NULL);
	add_channels(o, e);
	json_object_object_add(o, "pager", pager_json(e));
	add_latency(o, "fault_latency", e->waited);
	add_latency(o, "fault_network", e->network);
	json_object_object_add(o, "timeline", mfd_timeline_json(v, n, e->started_us));
}

/* ---- people ---- */

const char *mfd_status_ms(uint64_t us, char *buf, size_t len)
{
	snprintf(buf, len, "%.1f ms", (double)us / 1000.0);
	return buf;
}

static void print_channels(const Mfd__SessionEntry *e)
{
	char bytes[32], ms[32], name[24];

	printf("    %-8s %10s %8s %9s %7s %12s\n", "CHANNEL", "BYTES", "PACKETS", "PAGES", "STALLS",
	       "STALLED");
	for (size_t i = 0; i < e->n_channel; i++) {
		const Mfd__SessionChannel *c = e->channel[i];

		snprintf(name, sizeof(name), "%zu", i);
		printf("    %-8s %10s %8" PRIu64 " %9" PRIu64 " %7" PRIu64 " %12s\n",
		       c->urgent ? "urgent" : name,
		       mfd_words_bytes(c->wire_bytes, bytes, sizeof(bytes)), c->packets,
		       c->pages + c->zero_pages, c->stalls,
		       mfd_status_ms(c->stall_us, ms, sizeof(ms)));
	}
}

static void print_pager(const Mfd__SessionEntry *e)
{
	char bytes[32];

	printf("    %-8s %10s %8s %9s\n", "PAGER", "INSTALLED", "CHUNKS", "FAULTS");
	for (size_t i = 0; i < e->n_pager_thread; i++) {
		const Mfd__SessionPagerThread *t = e->pager_thread[i];

		printf("    %-8zu %10s %8" PRIu64 " %9" PRIu64 "\n", i,
		       mfd_words_bytes(t->pages * MFD_STATUS_PAGE, bytes, sizeof(bytes)), t->chunks,
		       t->faults);
	}
	if (e->direct_pages)
		printf("    %-8s %10s\n", "channels",
		       mfd_words_bytes(e->direct_pages * MFD_STATUS_PAGE, bytes, sizeof(bytes)));
}

static void print_latency(const char *name, const Mfd__SessionLatency *m)
{
	struct mfd_latency_sum l = latency(m);
	char ms[4][32];

	if (!mfd_latency_count(&l))
		return;
	printf("    %-8s %8" PRIu64 " %12s %12s %12s %12s\n", name, mfd_latency_count(&l),
	       mfd_status_ms(mfd_latency_average(&l), ms[0], sizeof(ms[0])),
	       mfd_status_ms(mfd_latency_percentile(&l, 50), ms[1], sizeof(ms[1])),
	       mfd_status_ms(mfd_latency_percentile(&l, 99), ms[2], sizeof(ms[2])),
	       mfd_status_ms(l.max_us, ms[3], sizeof(ms[3])));
}

static void print_latencies(const Mfd__SessionEntry *e)
{
	if (!e->waited)
		return;
	printf("    %-8s %8s %12s %12s %12s %12s\n", "WAITED", "PAGES", "AVERAGE", "P50", "P99",
	       "LONGEST");
	print_latency("faults", e->waited);
	print_latency("network", e->network);
}

static void print_times(const Mfd__SessionEntry *e)
{
	struct mfd_event v[EVENTS];
	size_t n = events(e, v);
	char ms[32];

	mfd_timeline_sort(v, n);
	for (size_t i = 0; i < n; i++)
		if (v[i].us)
			printf("    %-12s %12s\n", v[i].name,
			       mfd_status_ms(v[i].us > e->started_us ? v[i].us - e->started_us : 0,
					     ms, sizeof(ms)));
}

void mfd_status_figures_print(const Mfd__SessionEntry *e)
{
	char rate[32];

	if (e->has_max_bandwidth)
		printf("    max-bandwidth %s\n",
		       mfd_rate_text(e->max_bandwidth, rate, sizeof(rate)));
	if (e->n_channel)
		print_channels(e);
	if (e->n_pager_thread)
		print_pager(e);
	print_latencies(e);
	print_times(e);
}
