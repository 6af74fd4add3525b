/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a data channel makes of bytes: header, then run table or file table.
 *
 * The header's hash is set right before it is opened, since no fuzzer would get past it; one bit of
 * the first byte of input says whether it is left as it is.  Input: 1 byte of switches, 64 bytes of
 * header, table.
 */
#include <endian.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int ok)
{
	if (!ok)
		abort();
}

static void pages(const struct mfd_wire_packet *p, const struct mfd_wire_limits *lim,
		  const uint8_t *table)
{
	struct mfd_wire_run *runs = malloc(p->table_len);
	uint64_t data = 0, all = 0;
	const char *why = NULL;
	uint32_t i;

	must(p->table_len == p->entries * sizeof(*runs) && p->entries <= MFD_WIRE_MAX_RUNS && runs);
	memcpy(runs, table, p->table_len);
	if (mfd_wire_runs_open(runs, p->entries, p->raw_len, lim, &why)) {
		must(why != NULL);
	} else {
		for (i = 0; i < p->entries; i++) {
			must(runs[i].vaddr + (uint64_t)runs[i].pages * MFD_WIRE_PAGE_SIZE <=
			     MFD_WIRE_MAX_VADDR);
			all += runs[i].pages;
			must(lim->precopy || !(runs[i].flags & MFD_WIRE_RUN_STALE));
			data += runs[i].flags ? 0 : runs[i].pages;
		}
		must(all * MFD_WIRE_PAGE_SIZE <= lim->packet_size &&
		     data * MFD_WIRE_PAGE_SIZE == p->raw_len);
	}
	free(runs);
}

static void file(const struct mfd_wire_packet *p, const uint8_t *table)
{
	uint8_t *copy = malloc(p->table_len); /* exact, so that reading beyond is seen */
	char name[MFD_WIRE_MAX_NAME + 1];
	struct mfd_wire_file f;
	const char *why = NULL;

	must(copy != NULL);
	memcpy(copy, table, p->table_len);
	if (mfd_wire_file_open(copy, p->table_len, p->raw_len, &f, name, &why)) {
		must(why != NULL);
	} else {
		must(mfd_wire_name_ok(name, strlen(name)) && strlen(name) == f.name_len);
		must(f.offset <= f.size && p->raw_len <= f.size - f.offset);
	}
	free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mfd_wire_limits lim = { .channels = 4, .packet_size = MFD_WIRE_MIN_PACKET };
	struct mfd_wire_packet p;
	const char *why = NULL;

	if (size < 1 + sizeof(p))
		return 0;
	lim.checksum = data[0] & 1;
	lim.compress = data[0] >> 1 & 3;
	if (data[0] & 8)
		lim.packet_size = MFD_WIRE_MAX_PACKET;
	lim.precopy = data[0] >> 5 & 1;
	memcpy(&p, data + 1, sizeof(p));
	if (!(data[0] & 16))
		p.header_hash = htole64(
			mfd_wire_hash(&p, offsetof(struct mfd_wire_packet, header_hash), NULL, 0));
	data += 1 + sizeof(p);
	size -= 1 + sizeof(p);

	if (mfd_wire_packet_open(&p, &lim, &why)) {
		must(why != NULL);
		return 0;
	}
	must(p.raw_len <= lim.packet_size && p.payload_len <= p.raw_len);
	if (p.table_len > size)
		return 0;
	if (p.type == MFD_WIRE_PACKET_PAGES)
		pages(&p, &lim, data);
	else if (p.type == MFD_WIRE_PACKET_FILE)
		file(&p, data);
	else
		must(!p.table_len && !p.payload_len);
	return 0;
}
