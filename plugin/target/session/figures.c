// SPDX-License-Identifier: GPL-2.0-only
/* What a session has counted and when it got how far, as session.img tells it. */
#include <string.h>

#include "assert.h"
#include "figures.h"
#include "session.h"

/* ---- channels ---- */

static void add_counts(struct mfd_totals *t, const struct mfd_counts *n)
{
	t->packets += mfd_counter_get(&n->packets);
	t->pages += mfd_counter_get(&n->pages);
	t->zero_pages += mfd_counter_get(&n->zero_pages);
	t->file_bytes += mfd_counter_get(&n->file_bytes);
	t->checksum += mfd_counter_get(&n->checksum);
	t->wire_bytes += mfd_counter_get(&n->wire_bytes);
	t->stalls += mfd_counter_get(&n->stalls);
	t->stall_us += mfd_counter_get(&n->stall_us);
	t->receive_us += mfd_counter_get(&n->receive_us);
}

void mfd_session_totals(struct mfd_session *s, struct mfd_totals *t)
{
	memset(t, 0, sizeof(*t));
	for (unsigned i = 0; i < s->limits.channels; i++)
		add_counts(t, &s->link.channels[i].n);
}

void mfd_figures_keep(struct mfd_session *s)
{
	for (unsigned i = 0; i <= MFD_SESSION_URGENT; i++) {
		add_counts(&s->figures.past[i], &s->link.channels[i].n);
		memset(&s->link.channels[i].n, 0, sizeof(s->link.channels[i].n));
	}
}

static void fill_channel(Mfd__SessionChannel *c, const struct mfd_totals *t, int urgent)
{
	mfd__session_channel__init(c);
	c->has_urgent = urgent;
	c->urgent = urgent;
	c->has_packets = c->has_pages = c->has_zero_pages = c->has_wire_bytes = c->has_file_bytes =
		1;
	c->has_stalls = c->has_stall_us = c->has_receive_us = 1;
	c->packets = t->packets;
	c->pages = t->pages;
	c->zero_pages = t->zero_pages;
	c->wire_bytes = t->wire_bytes;
	c->file_bytes = t->file_bytes;
	c->stalls = t->stalls;
	c->stall_us = t->stall_us;
	c->receive_us = t->receive_us;
}

/* The sums are made of the same reading as the parts, so that they agree. */
static void entry_channels(struct mfd_session *s, Mfd__SessionEntry *e)
{
	struct mfd_figures *f = &s->figures;

	e->has_pages = e->has_zero_pages = e->has_wire_bytes = e->has_file_bytes = 1;
	e->channel = f->channels;
	for (unsigned i = 0; i <= MFD_SESSION_URGENT; i++) {
		struct mfd_totals t = s->figures.past[i];

		if (i == MFD_SESSION_URGENT ? !s->plan->follow : i >= s->limits.channels)
			continue;
		add_counts(&t, &s->link.channels[i].n);
		e->pages += t.pages;
		e->zero_pages += t.zero_pages;
		e->wire_bytes += t.wire_bytes;
		e->file_bytes += t.file_bytes;
		f->channels[e->n_channel] = &f->channel[e->n_channel];
		fill_channel(f->channels[e->n_channel++], &t, i == MFD_SESSION_URGENT);
	}
}

/* ---- the pager ---- */

/* Counts stay where they are. */
static Mfd__SessionLatency *fill_latency(Mfd__SessionLatency *m, struct mfd_latency_sum *l)
{
	mfd__session_latency__init(m);
	return mfd_latency_fill(m, l);
}

struct mfd_pager_stats *mfd_figures_pager(struct mfd_session *s)
{
	struct mfd_pager *pager = atomic_load_explicit(&s->pager, memory_order_acquire);

	if (pager)
		mfd_pager_get_stats(pager, &s->figures.pager);
	return &s->figures.pager;
}

static void entry_pager(struct mfd_session *s, Mfd__SessionEntry *e)
{
	struct mfd_pager_stats *st = mfd_figures_pager(s);
	struct mfd_figures *f = &s->figures;

	e->has_installed_pages = e->has_faults = e->has_remote_faults = 1;
	e->installed_pages = st->installed_pages;
	e->faults = st->faults;
	e->remote_faults = st->remote_faults;
	e->has_left_zero_pages = e->has_dropped_pages = e->has_direct_pages = st->threads > 0;
	e->left_zero_pages = st->zero_pages;
	e->dropped_pages = st->dropped_pages;
	e->direct_pages = st->direct_pages;
	e->waited = fill_latency(&f->waited, &st->waited);
	e->network = fill_latency(&f->network, &st->network);
	e->pager_thread = f->threads;
	e->n_pager_thread = st->threads;
	for (unsigned i = 0; i < st->threads; i++) {
		Mfd__SessionPagerThread *t = f->threads[i] = &f->thread[i];

		mfd__session_pager_thread__init(t);
		t->has_pages = t->has_chunks = t->has_faults = 1;
		t->pages = st->thread[i].pages;
		t->chunks = st->thread[i].chunks;
		t->faults = st->thread[i].faults;
	}
}

/* ---- times ---- */

void mfd_figures_time(uint64_t *at)
{
	if (!*at)
		*at = mfd_clean_now_us();
}

void mfd_figures_first(_Atomic uint64_t *at)
{
	uint64_t never = 0;

	atomic_compare_exchange_strong_explicit(at, &never, mfd_clean_now_us(),
						memory_order_relaxed, memory_order_relaxed);
}

static void entry_times(struct mfd_session *s, Mfd__SessionEntry *e)
{
	const struct mfd_times *t = &s->times;
	const struct {
		uint64_t from, *to;
		protobuf_c_boolean *has;
	} all[] = {
		{ s->times.started_us, &e->started_us, &e->has_started_us },
		{ t->joined_us, &e->joined_us, &e->has_joined_us },
		{ atomic_load(&t->streaming_us), &e->streaming_us, &e->has_streaming_us },
		{ t->images_us, &e->images_us, &e->has_images_us },
		{ t->restorable_us, &e->restorable_us, &e->has_restorable_us },
		{ t->running_us, &e->running_us, &e->has_running_us },
		{ t->sent_us, &e->sent_us, &e->has_sent_us },
		{ s->times.ready_us, &e->ready_us, &e->has_ready_us },
		{ atomic_load(&t->restored_us), &e->restored_us, &e->has_restored_us },
		{ s->times.committed_us, &e->committed_us, &e->has_committed_us },
		{ t->installed_us, &e->installed_us, &e->has_installed_us },
		{ s->times.done_us, &e->done_us, &e->has_done_us },
		{ mfd_clean_now_us(), &e->updated_us, &e->has_updated_us },
	};

	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
		*all[i].to = all[i].from;
		*all[i].has = all[i].from > 0;
	}
}

void mfd_figures_entry(struct mfd_session *s, Mfd__SessionEntry *e)
{
	entry_times(s, e);
	entry_channels(s, e);
	entry_pager(s, e);
	e->has_files = 1;
	e->files = mfd_filesink_files(&s->files);
	e->has_lazy_pages = !!s->lazy_pages;
	e->lazy_pages = s->lazy_pages;
}

/* ---- from disk ---- */

/* A file of a server that did not count by channel: then it all was the first one's. */
static void load_channels(struct mfd_session *s, const Mfd__SessionEntry *e)
{
	unsigned data = 0;

	if (!e->n_channel)
		s->figures.past[0] = (struct mfd_totals){ .pages = e->pages,
							  .zero_pages = e->zero_pages,
							  .wire_bytes = e->wire_bytes,
							  .file_bytes = e->file_bytes };
	for (size_t i = 0; i < e->n_channel; i++) {
		const Mfd__SessionChannel *c = e->channel[i];
		unsigned at = c->urgent ? MFD_SESSION_URGENT : data++;

		if (at >= s->limits.channels && !c->urgent)
			continue;
		s->figures.past[at] = (struct mfd_totals){ .packets = c->packets,
							   .pages = c->pages,
							   .zero_pages = c->zero_pages,
							   .file_bytes = c->file_bytes,
							   .wire_bytes = c->wire_bytes,
							   .stalls = c->stalls,
							   .stall_us = c->stall_us,
							   .receive_us = c->receive_us };
	}
}

void mfd_figures_load(struct mfd_session *s, const Mfd__SessionEntry *e)
{
	mfd_assert(s->plan);
	mfd_assert(!atomic_load(&s->thread));
	load_channels(s, e);
	s->lazy_pages = e->lazy_pages;
	s->files.files = e->files;
	s->times = (struct mfd_times){ .started_us = e->started_us,
				       .ready_us = e->ready_us,
				       .committed_us = e->committed_us,
				       .joined_us = e->joined_us,
				       .images_us = e->images_us,
				       .restorable_us = e->restorable_us,
				       .running_us = e->running_us,
				       .sent_us = e->sent_us,
				       .streaming_us = e->streaming_us,
				       .restored_us = e->restored_us,
				       .installed_us = e->installed_us };
}
