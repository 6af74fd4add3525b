// SPDX-License-Identifier: GPL-2.0-only
/* What a channel does with a payload: read, find zero pages, hash, send. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

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

int mfd_sendchan_init(struct mfd_sendchan *c, unsigned id, struct mfd_conn *conn, const struct mfd_wire_limits *lim,
		      enum mfd_tristate zerocopy, unsigned stall_ms)
{
	int ret;

	*c = (struct mfd_sendchan){ .conn = *conn, .lim = *lim, .stall_ms = stall_ms, .id = id };
	*conn = (struct mfd_conn){ .fd = -1 };
	if (c->conn.tls)
		zerocopy = MFD_OFF;
	ret = mfd_zerocopy_init(&c->zc, c->conn.fd, zerocopy);
	if (ret) {
		mfd_error_sys(&c->err, ret, "channel %u: zerocopy = on, but the kernel refuses it", id);
		goto err;
	}
	c->buffers = c->zc.mode == MFD_OFF ? 1 : MFD_SENDCHAN_BUFFERS;
	c->memory_len = (size_t)c->buffers * lim->packet_size + TABLE_MAX;
	c->memory = mmap(NULL, c->memory_len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (c->memory == MAP_FAILED) {
		c->memory = NULL;
		ret = mfd_error_sys(&c->err, -errno, "channel %u: %zu bytes of buffers", id, c->memory_len);
		goto err;
	}
	return 0;
err:
	mfd_sendchan_close(c);
	return ret;
}

void mfd_sendchan_close(struct mfd_sendchan *c)
{
	mfd_conn_close(&c->conn);
	mfd_compress_free(c->compress);
	c->compress = NULL;
	if (c->memory)
		munmap(c->memory, c->memory_len);
	c->memory = NULL;
}

/* A buffer that no send in flight refers to. */
static int take_buffer(struct mfd_sendchan *c, unsigned *index)
{
	unsigned i = c->next_buffer;

	if (c->flight[i].in_flight) {
		int ret;

		c->st.stalls += (int32_t)(c->zc.done - c->flight[i].ticket) <= 0;
		ret = mfd_zerocopy_wait(&c->zc, c->flight[i].ticket, c->stall_ms);
		if (ret)
			return mfd_error_sys(&c->err, ret, "channel %u: waiting for zero-copy completions", c->id);
		c->flight[i].in_flight = 0;
	}
	/* Once zero-copy has turned itself off, one buffer that stays in the cache is the best. */
	c->next_buffer = c->zc.mode == MFD_OFF ? i : (i + 1) % c->buffers;
	*index = i;
	return 0;
}

static int send_plain(struct mfd_sendchan *c, struct mfd_wire_packet *h, const void *table, void *data)
{
	struct iovec iov[3] = {
		{ h, sizeof(*h) },
		{ (void *)table, le32toh(h->table_len) },
		{ data, le32toh(h->payload_len) },
	};

	return mfd_conn_sendv(&c->conn, iov, iov[2].iov_len ? 3 : 2, 0);
}

static int send_zerocopy(struct mfd_sendchan *c, struct mfd_wire_packet *h, const void *table, void *data, unsigned buf)
{
	struct iovec iov[2] = { { h, sizeof(*h) }, { (void *)table, le32toh(h->table_len) } };
	int ret = mfd_conn_sendv(&c->conn, iov, 2, 1);

	if (ret)
		return ret;
	ret = mfd_zerocopy_send(&c->zc, data, le32toh(h->payload_len), &c->flight[buf].ticket);
	c->flight[buf].in_flight = !ret && (int32_t)(c->flight[buf].ticket - c->zc.done) >= 0;
	return ret;
}

/* Header fields are in host order before, on-wire after. */
static int send_packet(struct mfd_sendchan *c, struct mfd_wire_packet *h, const void *table, unsigned buf)
{
	uint64_t t0 = mfd_io_now_us(), wire;
	void *data = buffer_at(c, buf);
	uint16_t packed = 0;
	size_t small = mfd_compress_run(c->compress, data, h->raw_len, &data, &packed);
	int zero_copy = c->zc.mode != MFD_OFF && h->payload_len >= 4 * MFD_WIRE_PAGE_SIZE;
	int ret;

	h->flags |= packed;
	if (small)
		h->payload_len = (uint32_t)small;
	if (c->lim.checksum) {
		h->flags |= MFD_WIRE_PACKET_HASHED;
		h->hash = mfd_wire_hash(table, h->table_len, data, h->payload_len);
	}
	wire = sizeof(*h) + h->table_len + h->payload_len;
	mfd_wire_packet_seal(h);
	if (c->limit)
		mfd_ratelimit_wait(c->limit, wire);
	ret = zero_copy ? send_zerocopy(c, h, table, data, buf) : send_plain(c, h, table, data);
	if (ret)
		return mfd_error_sys(&c->err, ret, "channel %u: sending", c->id);
	c->st.packets++;
	c->st.compressed += small > 0;
	c->st.checksum += le64toh(h->header_hash);
	c->st.wire_bytes += wire;
	t0 = mfd_io_now_us() - t0;
	c->st.send_us += t0;
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

	if (last && last->flags == flags && last->vaddr + (uint64_t)last->pages * MFD_WIRE_PAGE_SIZE == vaddr)
		last->pages++;
	else
		k->out[k->n++] = (struct mfd_wire_run){ .vaddr = vaddr, .pages = 1, .flags = flags };
}

/*
 * Build the run table and close the gaps that zero pages leave in the buffer.  Pages are moved only once the first zero
 * page has been met, and then in one memmove per stretch, so memory without zero pages is only read.
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

static int send_pages(struct mfd_sendchan *c, struct mfd_payload *p)
{
	struct mfd_wire_packet h = { .type = MFD_WIRE_PACKET_PAGES, .sequence = p->sequence, .task = p->pages.task };
	struct packing k = { .out = table_of(c) };
	uint64_t t0 = mfd_io_now_us();
	unsigned buf;
	int ret;

	ret = take_buffer(c, &buf);
	if (ret)
		return ret;
	ret = mfd_pageread_runs(p->pages.reader, p->pages.runs, p->pages.nruns, buffer_at(c, buf));
	if (ret)
		return mfd_error_sys(&c->err, ret, "reading memory of task %d at %#llx", p->pages.reader->pid,
				     (unsigned long long)p->pages.runs[0].vaddr);
	pack_pages(&k, p, buffer_at(c, buf));
	c->st.read_us += mfd_io_now_us() - t0;
	c->st.pages += k.kept;
	c->st.zero_pages += k.zero;
	h.entries = k.n;
	h.table_len = k.n * (uint32_t)sizeof(*k.out);
	h.payload_len = h.raw_len = k.kept * MFD_WIRE_PAGE_SIZE;
	mfd_wire_runs_seal(k.out, k.n);
	ret = send_packet(c, &h, k.out, buf);
	if (!c->st.first_us)
		c->st.first_us = t0;
	c->st.last_us = mfd_io_now_us();
	return ret;
}

static int send_file(struct mfd_sendchan *c, struct mfd_payload *p)
{
	struct mfd_wire_packet h = { .type = MFD_WIRE_PACKET_FILE, .sequence = p->sequence, .entries = 1 };
	struct mfd_wire_file f = { .offset = p->file.offset, .size = p->file.size, .mode = p->file.mode };
	unsigned buf;
	int ret;

	ret = take_buffer(c, &buf);
	if (ret)
		return ret;
	ret = mfd_io_pread_all(p->file.fd, buffer_at(c, buf), p->file.len, p->file.offset);
	if (ret)
		return mfd_error_sys(&c->err, ret, "reading image %s at %llu", p->file.name,
				     (unsigned long long)p->file.offset);
	h.table_len = mfd_wire_file_seal(table_of(c), &f, p->file.name);
	h.payload_len = h.raw_len = p->file.len;
	c->st.file_bytes += p->file.len;
	c->st.files += p->file.offset == 0;
	return send_packet(c, &h, table_of(c), buf);
}

int mfd_sendchan_send(void *chan, struct mfd_payload *p)
{
	struct mfd_sendchan *c = chan;

	mfd_gentle_be(&c->manners, p->type == MFD_PAYLOAD_PAGES && c->gentle &&
					   atomic_load_explicit(c->gentle, memory_order_relaxed));
	switch (p->type) {
	case MFD_PAYLOAD_PAGES:
		return send_pages(c, p);
	case MFD_PAYLOAD_FILE:
		return send_file(c, p);
	default:
		return 0;
	}
}

int mfd_sendchan_sync(void *chan, uint64_t number)
{
	struct mfd_sendchan *c = chan;
	struct mfd_wire_packet h = { .type = MFD_WIRE_PACKET_SYNC, .sequence = number };
	int ret;

	mfd_wire_packet_seal(&h);
	ret = mfd_conn_send(&c->conn, &h, sizeof(h), 0);
	if (ret)
		return mfd_error_sys(&c->err, ret, "channel %u: sending sync %llu", c->id, (unsigned long long)number);
	c->st.wire_bytes += sizeof(h);
	ret = mfd_zerocopy_flush(&c->zc, c->stall_ms);
	if (ret)
		return mfd_error_sys(&c->err, ret, "channel %u: flushing zero-copy sends", c->id);
	return 0;
}
