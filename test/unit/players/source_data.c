// SPDX-License-Identifier: GPL-2.0-only
/* A source played by hand: packets of pages and of files. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <endian.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "compress.h"
#include "disk.h"
#include "images.h"
#include "io.h"
#include "source.h"

static void send_packet(struct source *s, unsigned ch, struct mfd_wire_packet *p, const void *table,
			const void *payload)
{
	struct mfd_conn *c = &s->ch[ch];
	struct iovec iov[3];

	p->sequence = p->type == MFD_WIRE_PACKET_SYNC ? s->sync : s->seq++;
	if (p->type != MFD_WIRE_PACKET_SYNC && !p->hash) {
		p->flags |= MFD_WIRE_PACKET_HASHED;
		p->hash = mfd_wire_hash(table, p->table_len, payload, p->payload_len);
	}
	mfd_wire_packet_seal(p);
	if (p->type != MFD_WIRE_PACKET_SYNC && ch != MAXCH) {
		s->end.packets++;
		s->end.checksum += le64toh(p->header_hash);
	}
	iov[0] = (struct iovec){ p, sizeof(*p) };
	iov[1] = (struct iovec){ (void *)table, le32toh(p->table_len) };
	iov[2] = (struct iovec){ (void *)payload, le32toh(p->payload_len) };
	mfd_conn_sendv(c, iov, 3, 0);
}

uint64_t source_content;

void source_fill_page(uint8_t *p, uint32_t task, uint64_t vaddr)
{
	unsigned i;

	/* What is written in rounds can be compressed. */
	for (i = 0; i < PAGE / 8; i++)
		((uint64_t *)p)[i] =
			vaddr * 31 + task + (source_content ? i / 64 : i) + source_content;
}

void source_runs(struct source *s, unsigned ch, uint32_t task, const struct mfd_wire_run *runs,
		 unsigned n, int zstd)
{
	struct mfd_wire_packet p = { .type = MFD_WIRE_PACKET_PAGES,
				     .task = task,
				     .entries = n,
				     .table_len = n * (uint32_t)sizeof(*runs) };
	struct mfd_wire_run *table = malloc(p.table_len);
	uint8_t *buf = malloc(1 << 20), *at = buf;
	struct mfd_compress *c = NULL;
	void *payload = buf;
	uint16_t flags = 0;

	memcpy(table, runs, p.table_len);
	for (unsigned i = 0; i < n; i++) {
		s->end.pages += runs[i].flags ? 0 : runs[i].pages;
		s->end.zero_pages += runs[i].flags == MFD_WIRE_RUN_ZERO ? runs[i].pages : 0;
		for (unsigned k = 0; !runs[i].flags && k < runs[i].pages; k++, at += PAGE)
			source_fill_page(at, task, runs[i].vaddr + (uint64_t)k * PAGE);
	}
	p.payload_len = p.raw_len = (uint32_t)(at - buf);
	if (zstd) {
		assert_int_equal(mfd_compress_new(MFD_COMPRESS_ZSTD, 1, 0, &c), 0);
		p.payload_len = (uint32_t)mfd_compress_run(c, buf, p.raw_len, &payload, &flags);
		p.flags = flags;
		assert_true(p.payload_len > 0 || p.raw_len < 16 * PAGE);
		if (!p.payload_len) {
			p.payload_len = p.raw_len;
			payload = buf;
		}
	}
	mfd_wire_runs_seal(table, n);
	send_packet(s, ch, &p, table, payload);
	mfd_compress_free(c);
	free(table);
	free(buf);
}

/* One packet of one run; zero: without payload. */
void source_run(struct source *s, unsigned ch, uint32_t task, uint64_t vaddr, unsigned pages,
		int zero, uint64_t hash)
{
	struct mfd_wire_run run = { .vaddr = vaddr,
				    .pages = pages,
				    .flags = zero ? MFD_WIRE_RUN_ZERO : 0 };
	struct mfd_wire_packet p = {
		.type = MFD_WIRE_PACKET_PAGES, .task = task, .entries = 1, .table_len = sizeof(run)
	};
	uint8_t *buf = malloc((size_t)pages * PAGE);
	unsigned i;

	for (i = 0; i < pages; i++)
		source_fill_page(buf + (size_t)i * PAGE, task, vaddr + (uint64_t)i * PAGE);
	p.payload_len = p.raw_len = zero ? 0 : pages * PAGE;
	p.hash = hash;
	p.flags = hash ? MFD_WIRE_PACKET_HASHED : 0;
	mfd_wire_runs_seal(&run, 1);
	send_packet(s, ch, &p, &run, buf);
	free(buf);
	if (ch == MAXCH)
		return;
	if (zero)
		s->end.zero_pages += pages;
	else
		s->end.pages += pages;
}

void source_pages(struct source *s, unsigned ch, uint32_t task, uint64_t vaddr, unsigned pages)
{
	source_run(s, ch, task, vaddr, pages, 0, 0);
}

void source_file_part(struct source *s, unsigned ch, const char *name, const void *data, size_t len,
		      uint64_t off, uint64_t size)
{
	uint8_t table[sizeof(struct mfd_wire_file) + 255 + 1];
	struct mfd_wire_file f = { .offset = htole64(off),
				   .size = htole64(size),
				   .mode = htole32(04640) };
	struct mfd_wire_packet p = { .type = MFD_WIRE_PACKET_FILE, .entries = 1 };

	/* By hand: mfd_wire_file_seal does not make bad names. */
	f.name_len = htole16((uint16_t)strlen(name));
	memcpy(table, &f, sizeof(f));
	memcpy(table + sizeof(f), name, strlen(name));
	p.table_len = (uint32_t)(sizeof(f) + strlen(name));
	p.payload_len = p.raw_len = (uint32_t)len;
	send_packet(s, ch, &p, table, data);
	s->file_bytes += len;
}

void source_file(struct source *s, unsigned ch, const char *name, const void *data, size_t len)
{
	source_file_part(s, ch, name, data, len, 0, len);
	s->files++;
}

static uint64_t source_sync(struct source *s)
{
	unsigned i;

	s->sync++;
	for (i = 0; i < s->channels; i++) {
		struct mfd_wire_packet p = { .type = MFD_WIRE_PACKET_SYNC };

		send_packet(s, i, &p, NULL, NULL);
	}
	return s->sync;
}

void source_round(struct source *s, uint32_t n, uint64_t pages)
{
	Mfd__Round m = MFD__ROUND__INIT;

	m.n = n;
	m.pages = pages;
	m.sync = source_sync(s);
	assert_int_equal(mfd_control_send(&s->c, MFD_WIRE_ROUND, &m.base), 0);
}

void source_images_done(struct source *s)
{
	Mfd__Images m = MFD__IMAGES__INIT;

	m.files = s->files;
	m.bytes = s->file_bytes;
	m.sync = source_sync(s);
	assert_int_equal(mfd_control_send(&s->c, MFD_WIRE_IMAGES, &m.base), 0);
}

void source_end(struct source *s)
{
	s->end.files = s->files;
	s->end.file_bytes = s->file_bytes;
	s->end.sync = source_sync(s);
	mfd_control_send(&s->c, MFD_WIRE_END, &s->end.base);
}

void source_image(struct source *s, unsigned ch, const char *name)
{
	char path[256], *data;
	size_t len;

	snprintf(path, sizeof(path), "%s/%s", images_dir, name);
	assert_int_equal(mfd_io_read_file(AT_FDCWD, path, 1 << 20, &data, &len), 0);
	source_file(s, ch, name, data, len);
	free(data);
}

void source_images(struct source *s, uint32_t task, uint64_t vaddr, unsigned pages)
{
	char name[40];

	images_make(task, vaddr, pages);
	source_image(s, 0, "pstree.img");
	snprintf(name, sizeof(name), "pagemap-%u.img", task);
	source_image(s, 1 % s->channels, name);
	snprintf(name, sizeof(name), "mm-%u.img", task);
	source_image(s, 0, name);
	source_images_done(s);
}

void source_to_ready(struct source *s, const char *name)
{
	Mfd__Ready *r;

	source_open(s, name, 0);
	source_pages(s, 0, 7, BASE, 8);
	source_run(s, 1, 7, BASE + 8 * PAGE, 4, 1, 0);
	source_pages(s, 1, 7, BASE + 12 * PAGE, 4);
	source_images(s, 7, BASE, 16);
	source_end(s);
	r = (Mfd__Ready *)source_expect(s, MFD_WIRE_READY);
	assert_int_equal(r->pages, 16);
	protobuf_c_message_free_unpacked(&r->base, NULL);
	assert_int_equal(disk_state(name, NULL, 0), MFD__SESSION_STATE__READY);
}
