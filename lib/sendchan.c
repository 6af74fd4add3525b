// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a channel does with a payload: read, pack, compress, hash, send.  The order is in
 * sendchan.h.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "assert.h"
#include "io.h"
#include "sendchan.h"

#define TABLE_MAX (MFD_WIRE_MAX_RUNS * sizeof(struct mfd_wire_run))

static void *buffer_at(struct mfd_sendchan *c, unsigned i)
{
	return c->memory + (size_t)i * c->lim.packet_size;
}

static void *table_of(struct mfd_sendchan *c)
{
	return c->memory + (size_t)c->buffers * c->lim.packet_size;
}

int mfd_sendchan_init(struct mfd_sendchan *c, unsigned id, struct mfd_conn *conn,
		      const struct mfd_wire_limits *lim, enum mfd_tristate zerocopy,
		      unsigned stall_ms)
{
	int ret;

	mfd_assert(lim->packet_size);
	*c = (struct mfd_sendchan){ .lim = *lim, .stall_ms = stall_ms, .id = id };
	mfd_conn_move(&c->conn, conn);
	ret = mfd_conn_zerocopy(&c->conn, &c->zc, zerocopy);
	if (ret) {
		mfd_error_sys(&c->err, ret, "channel %u: zerocopy = on, but the kernel refuses it",
			      id);
		goto err;
	}
	c->buffers = c->zc.mode == MFD_OFF ? 1 : MFD_SENDCHAN_BUFFERS;
	mfd_assert(c->buffers <= MFD_SENDCHAN_BUFFERS);
	c->memory_len = (size_t)c->buffers * lim->packet_size + TABLE_MAX;
	c->memory = mmap(NULL, c->memory_len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			 -1, 0);
	if (c->memory == MAP_FAILED) {
		c->memory = NULL;
		ret = mfd_error_sys(&c->err, -errno, "channel %u: %zu bytes of buffers", id,
				    c->memory_len);
		goto err;
	}
	return 0;
err:
	mfd_sendchan_close(c);
	return ret;
}

void mfd_sendchan_close(struct mfd_sendchan *c)
{
	mfd_assert(!c->memory || c->memory_len);
	mfd_assert(!c->memory || c->buffers);
	mfd_conn_close(&c->conn);
	mfd_compress_free(c->compress);
	c->compress = NULL;
	if (c->memory)
		munmap(c->memory, c->memory_len);
	c->memory = NULL;
}

/* Wait for a buffer that no send in flight refers to. */
static int take_buffer(struct mfd_sendchan *c, unsigned *index)
{
	unsigned i = c->next_buffer;

	mfd_assert(i < c->buffers);
	mfd_assert(!c->flight[i].in_flight || c->buffers > 1); /* only zero-copy leaves any */
	if (c->flight[i].in_flight) {
		int ret, wait = (int32_t)(c->zc.done - c->flight[i].ticket) <= 0;
		uint64_t t0 = wait ? mfd_io_now_us() : 0;

		ret = mfd_conn_zerocopy_wait(&c->conn, c->flight[i].ticket, c->stall_ms);
		if (wait) {
			mfd_counter_add(&c->st.reclaims, 1);
			mfd_counter_add(&c->st.reclaims_us, mfd_io_now_us() - t0);
		}
		if (ret)
			return mfd_error_sys(&c->err, ret,
					     "channel %u: waiting for zero-copy completions",
					     c->id);
		c->flight[i].in_flight = 0;
	}
	/* Once zero-copy has turned itself off, one buffer that stays in the cache is the best. */
	c->next_buffer = c->zc.mode == MFD_OFF ? i : (i + 1) % c->buffers;
	*index = i;
	return 0;
}

/*
 * Count how often this thread has slept: a thread that waits in a system call gives the processor
 * up of its own accord.  So waits for the socket are seen without another way of sending.
 */
static long sleeps(void)
{
	struct rusage r;

	return getrusage(RUSAGE_THREAD, &r) ? 0 : r.ru_nvcsw;
}

struct piece {
	struct iovec iov[3]; /* header and table, of the first; payload */
	int n;
};

static int send_piece(struct mfd_sendchan *c, struct piece *p, unsigned buf, int zero_copy)
{
	struct iovec *data = &p->iov[p->n - 1];
	int ret = 0;

	mfd_assert(p->n == 1 || p->n == 3);
	mfd_assert(buf < c->buffers);
	if (!zero_copy)
		return mfd_conn_sendv(&c->conn, p->iov, data->iov_len ? p->n : p->n - 1, 0);
	if (p->n > 1)
		ret = mfd_conn_sendv(&c->conn, p->iov, p->n - 1, 1);
	if (ret)
		return ret;
	ret = mfd_conn_zerocopy_send(&c->conn, data->iov_base, data->iov_len,
				     &c->flight[buf].ticket);
	c->flight[buf].in_flight = !ret && (int32_t)(c->flight[buf].ticket - c->zc.done) >= 0;
	return ret;
}

/* Wait until the limit lets `bytes` through.  Return the microseconds that took. */
static uint64_t obey(struct mfd_sendchan *c, size_t bytes)
{
	if (c->limit && c->urgent)
		mfd_ratelimit_charge(c->limit, bytes);
	return c->limit && !c->urgent ? mfd_ratelimit_wait(c->limit, bytes) : 0;
}

/*
 * Send the packet in one piece, or in as many as the limit asks for: what any second brings counts,
 * not whether a packet fits into it.  The header is on-wire already.
 */
static int send_pieces(struct mfd_sendchan *c, struct mfd_wire_packet *h, void *table, char *data,
		       unsigned buf, int zero_copy)
{
	size_t left = le32toh(h->payload_len), head = sizeof(*h) + le32toh(h->table_len), now;
	struct piece p = { { { h, sizeof(*h) }, { table, head - sizeof(*h) }, { data, 0 } }, 3 };
	uint64_t limited = 0, blocked = 0;
	int ret;

	do {
		uint64_t t0;
		long before;

		now = c->limit && !c->urgent ? mfd_ratelimit_piece(c->limit, left) : left;
		limited += obey(c, head + now);
		p.iov[p.n - 1] = (struct iovec){ data, now };
		before = sleeps();
		t0 = mfd_io_now_us();
		ret = send_piece(c, &p, buf, zero_copy);
		if (sleeps() != before)
			blocked += mfd_io_now_us() - t0 + 1;
		/* By piece: a packet may be on its way for seconds, while status reads this. */
		mfd_counter_add(&c->st.wire_bytes, ret ? 0 : head + now);
		data += now;
		head = 0;
		p.n = 1;
		left -= now;
	} while (!ret && left);
	mfd_counter_add(&c->st.blocked, blocked > 0);
	mfd_counter_add(&c->st.blocked_us, blocked);
	mfd_counter_add(&c->st.limited, limited > 0);
	mfd_counter_add(&c->st.limited_us, limited);
	return ret;
}

/* The header is in host order before and on-wire after. */
static int send_packet(struct mfd_sendchan *c, struct mfd_wire_packet *h, void *table, unsigned buf)
{
	uint64_t t0 = mfd_io_now_us();
	void *data = buffer_at(c, buf);
	uint16_t packed = 0;
	size_t small = mfd_compress_run(c->compress, data, h->raw_len, &data, &packed);
	int zero_copy = c->zc.mode != MFD_OFF && h->payload_len >= 4 * MFD_WIRE_PAGE_SIZE;
	int ret;

	mfd_assert(h->raw_len <= c->lim.packet_size && h->table_len <= TABLE_MAX);
	mfd_assert(small <= h->raw_len);
	h->flags |= packed;
	if (small)
		h->payload_len = (uint32_t)small;
	if (c->lim.checksum) {
		h->flags |= MFD_WIRE_PACKET_HASHED;
		h->hash = mfd_wire_hash(table, h->table_len, data, h->payload_len);
	}
	mfd_wire_packet_seal(h);
	ret = send_pieces(c, h, table, data, buf, zero_copy);
	if (ret)
		return mfd_error_sys(&c->err, ret, "channel %u: sending", c->id);
	mfd_counter_add(&c->st.packets, 1);
	mfd_counter_add(&c->st.compressed, small > 0);
	mfd_counter_add(&c->st.checksum, le64toh(h->header_hash));
	t0 = mfd_io_now_us() - t0;
	mfd_counter_add(&c->st.send_us, t0);
	mfd_compress_took(c->compress, le32toh(h->raw_len), small > 0, t0);
	return 0;
}

struct packing {
	struct mfd_wire_run *out;
	uint32_t n;
	uint32_t kept; /* pages that stay in the buffer */
	uint32_t zero;
};

/* Add one page to the table, lengthening the last run where it fits. */
static void add_page(struct packing *k, uint64_t vaddr, uint32_t flags)
{
	struct mfd_wire_run *last = k->n ? &k->out[k->n - 1] : NULL;
	if (last && last->flags == flags &&
	    last->vaddr + (uint64_t)last->pages * MFD_WIRE_PAGE_SIZE == vaddr)
		last->pages++;
	else
		k->out[k->n++] =
			(struct mfd_wire_run){ .vaddr = vaddr, .pages = 1, .flags = flags };
}

/*
 * Build the run table and close the gaps that zero pages leave in the buffer.  Pages are moved only
 * once the first zero page has been met, and then in one memmove per stretch, so memory without
 * zero pages is only read.
 */
static void pack_pages(struct packing *k, const struct mfd_payload *p, char *data)
{
	char *src = data, *stretch = data, *dst = data;

	for (uint32_t r = 0; r < p->pages.nruns; r++) {
		uint64_t vaddr = p->pages.runs[r].vaddr;

		for (uint64_t i = 0; i < p->pages.runs[r].pages; i++, vaddr += MFD_WIRE_PAGE_SIZE) {
			int zero = mfd_pageread_is_zero(src);

			add_page(k, vaddr, zero ? MFD_WIRE_RUN_ZERO : 0);
			if (zero) {
				if (dst != stretch)
					memmove(dst, stretch, (size_t)(src - stretch));
				dst += src - stretch;
				stretch = src + MFD_WIRE_PAGE_SIZE;
				k->zero++;
			} else {
				k->kept++;
			}
			src += MFD_WIRE_PAGE_SIZE;
		}
	}
	if (dst != stretch)
		memmove(dst, stretch, (size_t)(src - stretch));
}

/* The pages lie at `data` one after the other; while they are in the cache. */
static int note_pages(const struct mfd_payload *p, const char *data)
{
	int ret = 0;

	for (uint32_t i = 0; p->sent && i < p->pages.nruns && !ret; i++) {
		const struct mfd_run *r = &p->pages.runs[i];

		ret = mfd_sentpages_note(p->sent, r->vaddr, r->pages, p->round,
					 p->hash ? data : NULL);
		data += r->pages * MFD_WIRE_PAGE_SIZE;
	}
	return ret;
}

static int send_pages(struct mfd_sendchan *c, struct mfd_payload *p)
{
	struct mfd_wire_packet h = { .type = MFD_WIRE_PACKET_PAGES,
				     .sequence = p->sequence,
				     .task = p->pages.task };
	struct packing k = { .out = table_of(c) };
	uint64_t t0 = mfd_io_now_us();
	unsigned buf;
	int ret;

	mfd_assert(p->pages.nruns && p->pages.npages);
	mfd_assert((uint64_t)p->pages.npages * MFD_WIRE_PAGE_SIZE <= c->lim.packet_size);
	ret = take_buffer(c, &buf);
	if (ret)
		return ret;
	ret = mfd_pageread_runs(p->pages.reader, p->pages.runs, p->pages.nruns, buffer_at(c, buf));
	if (ret)
		return mfd_error_blame(&c->err, MFD_ERROR_OWN,
				       mfd_error_sys(&c->err, ret,
						     "reading memory of task %d at %#llx",
						     p->pages.reader->pid,
						     (unsigned long long)p->pages.runs[0].vaddr));
	ret = note_pages(p, buffer_at(c, buf));
	if (ret)
		return mfd_error_blame(&c->err, MFD_ERROR_OWN,
				       mfd_error_sys(&c->err, ret, "noting what was sent"));
	pack_pages(&k, p, buffer_at(c, buf));
	mfd_assert(k.n <= MFD_WIRE_MAX_RUNS && k.kept + k.zero == p->pages.npages);
	mfd_counter_add(&c->st.read_us, mfd_io_now_us() - t0);
	mfd_counter_add(&c->st.pages, k.kept);
	mfd_counter_add(&c->st.zero_pages, k.zero);
	h.entries = k.n;
	h.table_len = k.n * (uint32_t)sizeof(*k.out);
	h.payload_len = h.raw_len = k.kept * MFD_WIRE_PAGE_SIZE;
	mfd_wire_runs_seal(k.out, k.n);
	ret = send_packet(c, &h, k.out, buf);
	if (!mfd_counter_get(&c->st.first_us))
		mfd_counter_add(&c->st.first_us, t0);
	mfd_counter_add(&c->st.last_us, mfd_io_now_us() - mfd_counter_get(&c->st.last_us));
	return ret;
}

/* Addresses alone. */
static int send_stale(struct mfd_sendchan *c, struct mfd_payload *p)
{
	struct mfd_wire_packet h = { .type = MFD_WIRE_PACKET_PAGES,
				     .sequence = p->sequence,
				     .task = p->pages.task,
				     .entries = p->pages.nruns,
				     .table_len = p->pages.nruns *
						  (uint32_t)sizeof(struct mfd_wire_run) };
	struct mfd_wire_run *out;
	unsigned buf;
	int ret;

	mfd_assert(p->pages.nruns && p->pages.nruns <= MFD_WIRE_MAX_RUNS);
	mfd_assert(c->lim.precopy);
	ret = take_buffer(c, &buf);
	if (ret)
		return ret;
	out = table_of(c);
	for (uint32_t i = 0; i < p->pages.nruns; i++)
		out[i] = (struct mfd_wire_run){ .vaddr = p->pages.runs[i].vaddr,
						.pages = (uint32_t)p->pages.runs[i].pages,
						.flags = MFD_WIRE_RUN_STALE };
	mfd_wire_runs_seal(out, h.entries);
	return send_packet(c, &h, out, buf);
}

static int send_file(struct mfd_sendchan *c, struct mfd_payload *p)
{
	struct mfd_wire_packet h = { .type = MFD_WIRE_PACKET_FILE,
				     .sequence = p->sequence,
				     .entries = 1 };
	struct mfd_wire_file f = { .offset = p->file.offset,
				   .size = p->file.size,
				   .mode = p->file.mode };
	unsigned buf;
	int ret;

	mfd_assert(p->file.len <= c->lim.packet_size);
	mfd_assert(p->file.offset + p->file.len <= p->file.size);
	ret = take_buffer(c, &buf);
	if (ret)
		return ret;
	ret = mfd_io_pread_all(p->file.fd, buffer_at(c, buf), p->file.len, p->file.offset);
	if (ret)
		return mfd_error_blame(&c->err, MFD_ERROR_OWN,
				       mfd_error_sys(&c->err, ret, "reading image %s at %llu",
						     p->file.name,
						     (unsigned long long)p->file.offset));
	h.table_len = mfd_wire_file_seal(table_of(c), &f, p->file.name);
	h.payload_len = h.raw_len = p->file.len;
	mfd_counter_add(&c->st.file_bytes, p->file.len);
	mfd_counter_add(&c->st.files, p->file.offset == 0);
	return send_packet(c, &h, table_of(c), buf);
}

/* How a payload of each type is sent. */
static const struct kind {
	int (*send)(struct mfd_sendchan *c, struct mfd_payload *p);
	int gives_way; /* to CRIU, while c->gentle says so */
} kinds[] = {
	[MFD_PAYLOAD_NONE] = { NULL, .gives_way = 0 },
	[MFD_PAYLOAD_PAGES] = { send_pages, .gives_way = 1 },
	[MFD_PAYLOAD_FILE] = { send_file, .gives_way = 0 },
	[MFD_PAYLOAD_STALE] = { send_stale, .gives_way = 0 },
};

static const struct kind *kind_of(const struct mfd_payload *p)
{
	mfd_assert(p->type < sizeof(kinds) / sizeof(kinds[0]));
	return &kinds[p->type];
}

int mfd_sendchan_send(void *chan, struct mfd_payload *p)
{
	struct mfd_sendchan *c = chan;

	const struct kind *kind = kind_of(p);

	mfd_gentle_be(&c->manners, kind->gives_way && c->gentle ?
					   (enum mfd_gentle_degree)atomic_load_explicit(
						   c->gentle, memory_order_relaxed) :
					   MFD_GENTLE_NOT);
	return kind->send ? kind->send(c, p) : 0;
}

void mfd_sendchan_stats_add(struct mfd_sendchan_stats *to, const struct mfd_sendchan_stats *st)
{
	uint64_t *sum = (uint64_t *)to, first = to->first_us, last = to->last_us;
	const uint64_t *more = (const uint64_t *)st;

	_Static_assert(sizeof(*to) % sizeof(*sum) == 0, "nothing but numbers");
	for (size_t i = 0; i < sizeof(*to) / sizeof(*sum); i++)
		sum[i] += more[i];
	to->first_us = !first || (st->first_us && st->first_us < first) ? st->first_us : first;
	to->last_us = st->last_us > last ? st->last_us : last;
}

void mfd_sendchan_stats(const struct mfd_sendchan *c, struct mfd_sendchan_stats *st)
{
	const struct mfd_sendchan_counters *n = &c->st;

	mfd_sendchan_stats_add(st,
			       &(struct mfd_sendchan_stats){
				       .packets = mfd_counter_get(&n->packets),
				       .pages = mfd_counter_get(&n->pages),
				       .zero_pages = mfd_counter_get(&n->zero_pages),
				       .files = mfd_counter_get(&n->files),
				       .file_bytes = mfd_counter_get(&n->file_bytes),
				       .wire_bytes = mfd_counter_get(&n->wire_bytes),
				       .compressed = mfd_counter_get(&n->compressed),
				       .checksum = mfd_counter_get(&n->checksum),
				       .blocked = mfd_counter_get(&n->blocked),
				       .blocked_us = mfd_counter_get(&n->blocked_us),
				       .reclaims = mfd_counter_get(&n->reclaims),
				       .reclaims_us = mfd_counter_get(&n->reclaims_us),
				       .limited = mfd_counter_get(&n->limited),
				       .limited_us = mfd_counter_get(&n->limited_us),
				       .read_us = mfd_counter_get(&n->read_us),
				       .send_us = mfd_counter_get(&n->send_us),
				       .first_us = mfd_counter_get(&n->first_us),
				       .last_us = mfd_counter_get(&n->last_us),
				       .zerocopy_sent = mfd_counter_get(&c->zc.sends),
				       .zerocopy_completed = mfd_counter_get(&c->zc.completions),
				       .zerocopy_copied = mfd_counter_get(&c->zc.copied),
				       .zerocopy_waits = mfd_counter_get(&c->zc.flush_waits),
			       });
}

int mfd_sendchan_sync(void *chan, uint64_t number)
{
	struct mfd_sendchan *c = chan;
	struct mfd_wire_packet h = { .type = MFD_WIRE_PACKET_SYNC, .sequence = number };
	int ret;

	mfd_assert(number > 0);
	mfd_wire_packet_seal(&h);
	ret = mfd_conn_send(&c->conn, &h, sizeof(h), 0);
	if (ret)
		return mfd_error_sys(&c->err, ret, "channel %u: sending sync %llu", c->id,
				     (unsigned long long)number);
	mfd_counter_add(&c->st.wire_bytes, sizeof(h));
	ret = mfd_conn_zerocopy_flush(&c->conn, c->stall_ms);
	if (ret)
		return mfd_error_sys(&c->err, ret, "channel %u: flushing zero-copy sends", c->id);
	mfd_assert(c->zc.done == c->zc.next);
	return 0;
}
