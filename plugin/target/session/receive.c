// SPDX-License-Identifier: GPL-2.0-only
/*
 * The thread of one data channel: header, table, payload.  The payload of pages goes straight into
 * the page store, or, once there are restored tasks, into those.  The kinds of packets are rows of
 * a table below; their way on the source is told in lib/multifd.h.
 *
 * Per packet of 1 MiB this is three receives, one write of journal records and no lock.  Order of
 * publication: payload checked, then page table words (release), then the journal, then the pager
 * is told.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "assert.h"
#include "compress.h"
#include "gentle.h"
#include "io.h"
#include "log.h"
#include "memory.h"
#include "pace.h"
#include "places.h"
#include "session.h"
#include "space.h"
#include "threadname.h"

#define TABLE_BYTES (MFD_WIRE_MAX_RUNS * sizeof(struct mfd_wire_run))
_Static_assert(TABLE_BYTES >= sizeof(struct mfd_wire_file) + MFD_WIRE_MAX_NAME,
	       "a file table fits");

/* Private to the thread. */
struct receiver {
	struct mfd_session *s;
	struct mfd_peer *p;
	unsigned channel;
	struct mfd_counts *n;
	uint32_t task; /* whose table `table` is; tasks come in long runs */
	struct mfd_pagetable *pages;
	struct mfd_gentle manners;
	/* MFD_WIRE_MAX_PACKET bytes each, mapped when first needed */
	void *buf;    /* a payload that does not go into the store */
	void *packed; /* a compressed payload as it came */
	struct mfd_wire_run runs[MFD_WIRE_MAX_RUNS];
	struct mfd_pagestore_record records[MFD_WIRE_MAX_RUNS];
	struct mfd_places *places; /* precopy; else NULL */
	struct iovec iov[MFD_WIRE_MAX_RUNS];
	uint8_t table[TABLE_BYTES]; /* as on the wire, for the hash */
};

static void count(mfd_counter *c, uint64_t n)
{
	mfd_counter_add(c, n);
}

static int fail(struct receiver *r, int code, const char *why)
{
	if (r->channel == MFD_SESSION_URGENT)
		return mfd_session_fail(r->s, code, "urgent channel: %s", why);
	return mfd_session_fail(r->s, code, "channel %u: %s", r->channel, why);
}

/* Which file system, and how large it is. */
static int full(struct receiver *r)
{
	char text[MFD_SPACE_TEXT], why[MFD_SPACE_TEXT + 32];

	snprintf(why, sizeof(why), "page store is full (%s)",
		 mfd_space_text(-ENOSPC, mfd_pagestore_fd(r->s->store), 0, text));
	return fail(r, -ENOSPC, why);
}

/* receive_v modifies iov. */
static int receive_v(struct receiver *r, struct iovec *iov, unsigned n)
{
	uint64_t start = mfd_io_now_us();
	int ret = n ? mfd_conn_recvv(&r->p->control.conn, iov, (int)n) : 0;

	count(&r->n->receive_us, mfd_io_now_us() - start);
	return ret == -EFAULT || ret == -ENOSPC ? full(r) : ret;
}

static int receive(struct receiver *r, void *buf, size_t len)
{
	struct iovec iov = { buf, len };

	return receive_v(r, &iov, len ? 1 : 0);
}

static int need_buf(struct receiver *r, void **buf)
{
	void *m;

	if (*buf)
		return 0;
	m = mmap(NULL, MFD_WIRE_MAX_PACKET, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		 0);
	if (m == MAP_FAILED)
		return fail(r, -ENOMEM, "no memory");
	*buf = m;
	return 0;
}

static int check_hash(struct receiver *r, const struct mfd_wire_packet *h, const void *payload)
{
	if (!(h->flags & MFD_WIRE_PACKET_HASHED))
		return 0;
	if (mfd_wire_hash(r->table, h->table_len, payload, h->payload_len) == h->hash)
		return 0;
	return fail(r, -EBADMSG, "wrong checksum");
}

/* Receive the payload, check it and undo the compression: raw_len bytes at dst. */
static int receive_payload(struct receiver *r, const struct mfd_wire_packet *h, void *dst)
{
	int packed = h->flags & (MFD_WIRE_PACKET_ZSTD | MFD_WIRE_PACKET_LZ4);
	int ret = packed ? need_buf(r, &r->packed) : 0;
	void *to = packed ? r->packed : dst;

	mfd_pace_wait(r->s->pace, h->payload_len, r->channel == MFD_SESSION_URGENT);
	ret = ret ? ret : receive(r, to, h->payload_len);
	ret = ret ? ret : check_hash(r, h, to);
	if (!ret && packed && mfd_compress_undo(h->flags, to, h->payload_len, dst, h->raw_len))
		ret = fail(r, -EBADMSG, "a compressed payload does not hold what it says");
	return ret;
}

/* Copy what was received into `buf` as a whole to its places. */
static void scatter(const struct mfd_places *p, const char *buf)
{
	for (unsigned i = 0; i < p->n; buf += p->piece[i++].iov_len)
		if (p->spot[i].kind != MFD_SPOT_DROP)
			memcpy(p->piece[i].iov_base, buf, p->piece[i].iov_len);
}

/* The same, to the places that were found for the packet's pages. */
static int receive_places(struct receiver *r, const struct mfd_wire_packet *h)
{
	int packed = h->flags & (MFD_WIRE_PACKET_ZSTD | MFD_WIRE_PACKET_LZ4), ret;
	struct mfd_places *p = r->places;

	if (p->n == 1)
		return receive_payload(r, h, p->piece[0].iov_base);
	if (packed) {
		ret = receive_payload(r, h, r->buf);
		if (!ret)
			scatter(p, r->buf);
		return ret;
	}
	mfd_pace_wait(r->s->pace, h->payload_len, r->channel == MFD_SESSION_URGENT);
	memcpy(r->iov, p->piece, p->n * sizeof(*r->iov));
	ret = receive_v(r, r->iov, p->n);
	if (!ret && h->flags & MFD_WIRE_PACKET_HASHED &&
	    mfd_wire_hash_pieces(r->table, h->table_len, p->piece, p->n) != h->hash)
		ret = fail(r, -EBADMSG, "wrong checksum");
	return ret;
}

static int find_table(struct receiver *r, uint32_t task)
{
	int ret = 0;

	if (!r->pages || r->task != task)
		ret = mfd_tables_get(&r->s->tables, task, &r->pages);
	if (ret)
		return fail(r, ret, ret == -EMFILE ? "too many tasks" : "no memory");
	r->task = task;
	return 0;
}

/* Make the runs known: words and journal records; stored pages lie in order from `index`. */
static int publish(struct receiver *r, const struct mfd_wire_packet *h, int direct, uint64_t index)
{
	uint64_t pages = 0, zero = 0;
	uint32_t i;
	int ret = 0;

	for (i = 0; !ret && i < h->entries; i++) {
		const struct mfd_wire_run *w = &r->runs[i];
		enum mfd_page_state st = direct ? MFD_PAGE_DIRECT : MFD_PAGE_STORED;
		uint64_t at = direct ? 0 : index + pages;

		if (w->flags & MFD_WIRE_RUN_ZERO) {
			st = MFD_PAGE_ZERO;
			at = 0;
			zero += w->pages;
		} else {
			pages += w->pages;
		}
		ret = mfd_pagetable_set(r->pages, w->vaddr >> MFD_WIRE_PAGE_SHIFT, w->pages,
					mfd_page_word(st, at));
		mfd_pagestore_record_fill(&r->records[i], h->task, w->vaddr, w->pages, st, at);
	}
	if (ret)
		return fail(r, ret, "no memory for page tables");
	ret = mfd_pagestore_append(r->s->store, r->records, h->entries);
	if (ret)
		return ret == -ENOSPC ? full(r) :
					fail(r, ret, "page store journal cannot be written");
	count(&r->n->pages, pages);
	count(&r->n->zero_pages, zero);
	return 0;
}

static void tell_pager(struct receiver *r, const struct mfd_wire_packet *h)
{
	struct mfd_pager *pager;

#if defined(__SANITIZE_THREAD__) && !defined(__clang__)
/* gcc warns that TSan does not see fences; there is no report because of it */
#pragma GCC diagnostic ignored "-Wtsan"
#endif
	/* Partner: the store of s->pager.  This thread sees it, or the pager sees the words. */
	atomic_thread_fence(memory_order_seq_cst);
	pager = atomic_load_explicit(&r->s->pager, memory_order_acquire);
	if (pager) /* the pager reports its own failure */
		mfd_pager_arrived(pager, h->task, r->runs, h->entries, NULL);
}

/*
 * Between enter and leave a packet's pages are made known.  Partner: mfd_verify_end, which sets
 * `sealed`, then waits until no receiver is between the two: a late answer to a fault does not
 * change what it has verified.  0: drop the packet.
 */
static int enter(struct receiver *r)
{
	atomic_fetch_add(&r->s->arriving, 1);
	if (!atomic_load(&r->s->sealed))
		return 1;
	atomic_fetch_sub(&r->s->arriving, 1);
	return 0;
}

static void leave(struct receiver *r)
{
	atomic_fetch_sub(&r->s->arriving, 1);
}

/* ---- precopy: the same with rounds ---- */

static int set_places(struct receiver *r, const struct mfd_wire_packet *h)
{
	if (!r->places && !(r->places = calloc(1, sizeof(*r->places))))
		return fail(r, -ENOMEM, "no memory");
	r->places->store = r->s->store;
	r->places->table = r->pages;
	r->places->task = h->task;
	r->places->round = atomic_load(&r->s->rounds.now);
	r->places->runs = r->runs;
	r->places->n_runs = h->entries;
	r->places->n = 0;
	r->places->imaged = mfd_rounds_enter(&r->s->rounds);
	mfd_rounds_leave(&r->s->rounds);
	return need_buf(r, &r->buf);
}

static void count_runs(struct receiver *r, const struct mfd_wire_packet *h)
{
	for (uint32_t i = 0; i < h->entries; i++) {
		if (!r->runs[i].flags)
			count(&r->n->pages, r->runs[i].pages);
		else if (r->runs[i].flags & MFD_WIRE_RUN_ZERO)
			count(&r->n->zero_pages, r->runs[i].pages);
	}
}

static int append_news(struct receiver *r)
{
	const struct mfd_places *p = r->places;
	int ret;

	if (!p->n_news)
		return 0;
	for (unsigned i = 0; i < p->n_news; i++)
		mfd_pagestore_record_word(&r->records[i], p->task,
					  p->news[i].page << MFD_WIRE_PAGE_SHIFT, p->news[i].pages,
					  p->news[i].word);
	ret = mfd_pagestore_append(r->s->store, r->records, p->n_news);
	return ret ? fail(r, ret, "page store journal cannot be written") : 0;
}

/* IMAGES may be taken while a packet is received: what was found before is looked at again. */
static int publish_round(struct receiver *r, const struct mfd_wire_packet *h,
			 enum mfd_page_state state)
{
	struct mfd_places *p = r->places;
	int ret;

	p->imaged = mfd_rounds_enter(&r->s->rounds);
	ret = mfd_places_publish(p, state);
	ret = ret ? fail(r, ret, "no memory for page tables") : append_news(r);
	mfd_rounds_leave(&r->s->rounds);
	mfd_memory_give(r->s, mfd_memory_cost_pages(r->s, p->freed << MFD_WIRE_PAGE_SHIFT, 0, 0));
	if (!ret)
		count_runs(r, h);
	return ret;
}

static int has_stale(const struct receiver *r, const struct mfd_wire_packet *h)
{
	for (uint32_t i = 0; i < h->entries; i++)
		if (r->runs[i].flags & MFD_WIRE_RUN_STALE)
			return 1;
	return 0;
}

static int places_stored(struct receiver *r, const struct mfd_wire_packet *h)
{
	int ret = mfd_places_find(r->places, r->buf);

	if (ret)
		return ret == -ENOSPC ? full(r) : fail(r, ret, "page store cannot grow");
	ret = r->places->n ? receive_places(r, h) : 0;
	if (!ret && enter(r)) {
		ret = publish_round(r, h, MFD_PAGE_STORED);
		if (!ret && r->s->plan->follow)
			tell_pager(r, h);
		leave(r);
		return ret;
	}
	mfd_places_give_up(r->places);
	return ret;
}

/* Install pages straight into the task, which may wait for this copy. */
static int pages_direct(struct receiver *r, const struct mfd_wire_packet *h,
			struct mfd_pager *pager)
{
	int ret = need_buf(r, &r->buf);

	ret = ret ? ret : receive_payload(r, h, r->buf);
	if (ret)
		return ret;
	if (!enter(r))
		return 0;
	ret = r->s->limits.precopy ? publish_round(r, h, MFD_PAGE_DIRECT) : publish(r, h, 1, 0);
	if (!ret && (ret = mfd_pager_arrived(pager, h->task, r->runs, h->entries, r->buf)))
		ret = fail(r, ret, "a page cannot be installed");
	leave(r);
	return ret;
}

static int pages_stored(struct receiver *r, const struct mfd_wire_packet *h)
{
	uint64_t index = 0;
	void *mem = NULL;
	int ret = 0;

	if (h->raw_len) {
		ret = mfd_pagestore_reserve(r->s->store, h->raw_len >> MFD_WIRE_PAGE_SHIFT, &index,
					    &mem);
		if (ret)
			return ret == -ENOSPC ? full(r) : fail(r, ret, "page store cannot grow");
	}
	ret = receive_payload(r, h, mem);
	if (ret || !enter(r))
		return ret;
	ret = publish(r, h, 0, index);
	if (!ret && r->s->plan->follow)
		tell_pager(r, h);
	leave(r);
	return ret;
}

/* What the packet's runs add to the table; a table that has nothing yet counts as well. */
static uint64_t table_cost(const struct receiver *r, const struct mfd_wire_packet *h)
{
	uint64_t before = UINT64_MAX, bytes = 0, root = mfd_pagetable_bytes(r->pages);
	uint32_t i;

	for (i = 0; r->s->memory.counted && i < h->entries; i++)
		bytes += mfd_pagetable_cost(r->pages, r->runs[i].vaddr >> MFD_WIRE_PAGE_SHIFT,
					    r->runs[i].pages, &before);
	return bytes + (root < 2 * MFD_PAGETABLE_ROOT ? MFD_PAGETABLE_ROOT : 0);
}

static int may_store(struct receiver *r, const struct mfd_wire_packet *h)
{
	uint64_t raw = r->s->limits.precopy ? mfd_places_missing(r->places) << MFD_WIRE_PAGE_SHIFT :
					      h->raw_len;

	return mfd_memory_take(r->s, &r->p->control.conn, h->task,
			       mfd_memory_cost_pages(r->s, raw, table_cost(r, h), h->entries),
			       r->channel == MFD_SESSION_URGENT ? MFD_MEMORY_URGENT :
								  MFD_MEMORY_PAGES);
}

static int on_pages(struct receiver *r, const struct mfd_wire_packet *h)
{
	struct mfd_pager *pager;
	const char *why = NULL;
	int ret;

	memcpy(r->runs, r->table, h->table_len);
	ret = mfd_wire_runs_open(r->runs, h->entries, h->raw_len, &r->s->limits, &why);
	if (ret)
		return fail(r, ret, why);
	ret = find_table(r, h->task);
	if (!ret && r->s->limits.precopy)
		ret = set_places(r, h);
	if (ret)
		return ret;
	if (r->s->limits.precopy && r->places->imaged && has_stale(r, h))
		return fail(r, -EPROTO, "stale pages behind the images");
	pager = r->s->plan->follow ? atomic_load_explicit(&r->s->pager, memory_order_acquire) :
				     NULL;
	if (pager && mfd_pager_direct(pager, h->task))
		return pages_direct(r, h, pager);
	ret = may_store(r, h);
	if (ret > 0)
		return pages_direct(r, h, atomic_load_explicit(&r->s->pager, memory_order_acquire));
	if (ret)
		return ret;
	return r->s->limits.precopy ? places_stored(r, h) : pages_stored(r, h);
}

static int on_file(struct receiver *r, const struct mfd_wire_packet *h)
{
	char name[MFD_WIRE_MAX_NAME + 1];
	struct mfd_error err = { 0 };
	struct mfd_wire_file f;
	const char *why = NULL;
	int ret = mfd_wire_file_open(r->table, h->table_len, h->raw_len, &f, name, &why);

	if (ret)
		return fail(r, ret, why);
	ret = mfd_memory_take(r->s, &r->p->control.conn, 0, mfd_memory_cost_file(r->s, h->raw_len),
			      MFD_MEMORY_FILE);
	ret = ret ? ret : need_buf(r, &r->buf);
	ret = ret ? ret : receive_payload(r, h, r->buf);
	if (ret)
		return ret;
	ret = mfd_filesink_write(&r->s->files, &f, name, r->buf, h->raw_len, &err);
	if (ret)
		return fail(r, ret, mfd_error_text(&err));
	count(&r->n->file_bytes, h->raw_len);
	return 0;
}

static int on_sync(struct receiver *r, const struct mfd_wire_packet *h)
{
	mfd_session_synced(r->s, r->channel, h->sequence);
	return 0;
}

/* What is done with a packet of each kind; its header and the table's length were checked. */
static const struct kind {
	/* The table is in r->table; the function receives the payload and stores it. */
	int (*take)(struct receiver *r, const struct mfd_wire_packet *h);
	int counted;	  /* in END's packets and checksum */
	int gives_way;	  /* to CRIU, until the restore has finished */
	int when_sealed;  /* taken also after everything was verified */
	int late_answers; /* after that, dropped if it comes on the urgent channel */
} kinds[] = {
	[MFD_WIRE_PACKET_PAGES] = { on_pages, .counted = 1, .gives_way = 1, .late_answers = 1 },
	[MFD_WIRE_PACKET_FILE] = { on_file, .counted = 1 },
	[MFD_WIRE_PACKET_SYNC] = { on_sync, .when_sealed = 1 },
};

/* mfd_wire_packet_open lets no other type through. */
static const struct kind *kind_of(const struct mfd_wire_packet *h)
{
	mfd_assert(h->type < sizeof(kinds) / sizeof(kinds[0]) && kinds[h->type].take);
	return &kinds[h->type];
}

/*
 * The urgent channel takes part in no SYNC: its answer to a fault may be overtaken by the same
 * pages and by END.
 */
static int drop_late(struct receiver *r, const struct mfd_wire_packet *h)
{
	int ret;

	if (r->channel != MFD_SESSION_URGENT || !kind_of(h)->late_answers)
		return fail(r, -EPROTO, "a packet came after everything was verified");
	ret = receive(r, r->table, h->table_len);
	ret = ret ? ret : need_buf(r, &r->buf);
	return ret ? ret : receive_payload(r, h, r->buf);
}

static int on_packet(struct receiver *r, const struct mfd_wire_packet *h)
{
	const struct kind *kind = kind_of(h);
	int ret;

	if (h->table_len > sizeof(r->table) || h->payload_len > MFD_WIRE_MAX_PACKET ||
	    h->raw_len > MFD_WIRE_MAX_PACKET)
		return fail(r, -EPROTO,
			    "packet too long"); /* packet_open has refused this already */
	if (!kind->when_sealed && atomic_load_explicit(&r->s->sealed, memory_order_acquire))
		return drop_late(r, h);
	ret = receive(r, r->table, h->table_len);
	ret = ret ? ret : kind->take(r, h);
	if (ret)
		return ret;
	if (kind->counted) {
		count(&r->n->packets, 1);
		count(&r->n->checksum, h->header_hash);
	}
	count(&r->n->wire_bytes, sizeof(*h) + h->table_len + h->payload_len);
	return 0;
}

static const char *ended(int ret)
{
	switch (ret) {
	case -ECONNRESET:
		return "closed by the source";
	case -EPIPE:
		return "closed by the source inside a packet";
	default:
		return strerror(-ret);
	}
}

/*
 * Until the restore has finished, the bulk of the pages gives way to CRIU; its images and the pages
 * that tasks wait for do not.
 */
static void mind_manners(struct receiver *r, const struct mfd_wire_packet *h)
{
	mfd_gentle_be(&r->manners,
		      r->s->plan->follow && r->channel != MFD_SESSION_URGENT &&
			      kind_of(h)->gives_way &&
			      !atomic_load_explicit(&r->s->restored, memory_order_relaxed));
}

/*
 * A header that is not there yet counts as a stall of the channel, except before the first packet
 * and after the last.
 */
static int receive_header(struct receiver *r, struct mfd_wire_packet *h)
{
	int stalled = mfd_counter_get(&r->n->wire_bytes) &&
		      mfd_conn_wait(&r->p->control.conn, 0) == 0;
	uint64_t before = mfd_counter_get(&r->n->receive_us);
	int ret = receive(r, h, sizeof(*h));

	if (!ret && stalled) {
		count(&r->n->stalls, 1);
		count(&r->n->stall_us, mfd_counter_get(&r->n->receive_us) - before);
	}
	return ret;
}

static int receive_packet(struct receiver *r)
{
	struct mfd_wire_packet h;
	const char *why = NULL;
	int ret = receive_header(r, &h);

	if (ret)
		return ret;
	if (!mfd_counter_get(&r->n->wire_bytes))
		mfd_figures_first(&r->s->times.streaming_us);
	ret = mfd_wire_packet_open(&h, &r->s->limits, &why);
	if (ret)
		return fail(r, ret, why);
	mind_manners(r, &h);
	ret = on_packet(r, &h);
	mfd_session_heard(r->s, mfd_io_now_ms());
	return ret;
}

void mfd_receive_all(struct mfd_session *s, struct mfd_peer *p, unsigned channel)
{
	struct receiver *r = calloc(1, sizeof(*r));
	int ret = -ENOMEM;

	if (r) {
		r->s = s;
		r->p = p;
		r->channel = channel;
		r->n = &s->link.channels[channel].n;
		if (channel == MFD_SESSION_URGENT)
			mfd_gentle_first();
		mfd_threadname_set(channel == MFD_SESSION_URGENT ? "urgent" : "recv", channel);
		do
			ret = receive_packet(r);
		while (!ret);
		free(r->places);
		if (r->buf)
			munmap(r->buf, MFD_WIRE_MAX_PACKET);
		if (r->packed)
			munmap(r->packed, MFD_WIRE_MAX_PACKET);
		free(r);
	}
	mfd_session_leave(s, channel, ended(ret));
}
