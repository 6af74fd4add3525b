/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The hash over what a packet carries: XXH3-64, by the widest vectors that the processor has.
 *
 * Compiled inline by gcc 12 for the baseline of x86-64 it hashes 5 GB/s, which is a fifth of all
 * time of both ends; the library's own choice at run time hashes more than 90.  Not every build of
 * the library has that choice, so the symbol is weak.
 */
#define XXH_STATIC_LINKING_ONLY /* the state on the stack: its layout is fixed since 0.8 */
#include <endian.h>
#include <xxhash.h>

#include "wire.h"

XXH_errorcode XXH3_64bits_update_dispatch(XXH3_state_t *state, const void *input, size_t len)
	__attribute__((weak));

static void add(XXH3_state_t *state, const void *data, size_t len)
{
	if (!len)
		return;
	if (XXH3_64bits_update_dispatch)
		XXH3_64bits_update_dispatch(state, data, len);
	else
		XXH3_64bits_update(state, data, len);
}

uint64_t mfd_wire_hash(const void *table, size_t table_len, const void *payload, size_t payload_len)
{
	XXH3_state_t state;

	XXH3_INITSTATE(&state);
	XXH3_64bits_reset(&state);
	add(&state, table, table_len);
	add(&state, payload, payload_len);
	return XXH3_64bits_digest(&state);
}

uint64_t mfd_wire_hash_pieces(const void *table, size_t table_len, const struct iovec *iov,
			      unsigned n)
{
	XXH3_state_t state;

	XXH3_INITSTATE(&state);
	XXH3_64bits_reset(&state);
	add(&state, table, table_len);
	for (; n; n--, iov++)
		add(&state, iov->iov_base, iov->iov_len);
	return XXH3_64bits_digest(&state);
}

uint64_t mfd_wire_freshness(uint32_t task, uint64_t vaddr, uint64_t pages, uint32_t round)
{
	struct {
		uint32_t task, round;
		uint64_t vaddr;
	} __attribute__((packed)) of = { .task = htole32(task), .round = htole32(round) };
	uint64_t sum = 0;

	for (; pages; pages--, vaddr += MFD_WIRE_PAGE_SIZE) {
		of.vaddr = htole64(vaddr);
		sum += XXH3_64bits(&of, sizeof(of));
	}
	return sum;
}
