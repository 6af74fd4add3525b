// SPDX-License-Identifier: GPL-2.0-only
/* The table of regions: which memory there is, and which process wrote each page last. */
#include <errno.h>
#include <sys/mman.h>

#include "victim.h"

struct table table;

uint64_t table_sum(void)
{
	uint64_t sum = mix(table.nr + SALT);
	uint32_t k;
	size_t i;

	for (k = 0; k < table.nr; k++) {
		const struct region *r = &table.r[k];

		for (i = 0; i < sizeof(r->name); i++)
			sum = (sum ^ (uint8_t)r->name[i]) * GOLDEN;
		sum = mix(sum ^ r->seed) + (uintptr_t)r->addr;
		sum = mix(sum ^ r->pages) + r->first;
		sum = mix(sum ^ r->fill) + r->prot + r->shared * 256 + r->code * 512 +
		      r->mixed * 1024;
		for (i = 0; i < r->pages; i++)
			sum = (sum ^ r->owner[i]) * GOLDEN + (sum >> 47);
	}
	return sum;
}

void table_seal(void)
{
	table.sum = table_sum();
}

void *region_map(size_t pages, int prot, int flags)
{
	void *p = mmap(NULL, pages * PAGE, prot, flags | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		fail("mmap of %zu pages: %s", pages, strerror(errno));
	return p;
}

struct region *region_add(const char *name, void *addr, size_t pages)
{
	struct region *r;

	if (table.nr == MAX_REGIONS)
		fail("too many regions");
	r = &table.r[table.nr];
	memset(r, 0, sizeof(*r));
	snprintf(r->name, sizeof(r->name), "%s", name);
	r->seed = mix(opt.seed * GOLDEN + table.nr + 1);
	r->addr = addr;
	r->pages = pages;
	r->prot = PROT_READ | PROT_WRITE;
	r->owner = region_map((pages * 2 + PAGE - 1) / PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	table.nr++;
	return r;
}

struct region *region_private(const char *name, size_t pages)
{
	return region_add(name, region_map(pages, PROT_READ | PROT_WRITE, MAP_PRIVATE), pages);
}

void region_write_page(const struct region *r, size_t i)
{
	uint64_t *p = (uint64_t *)(r->addr + i * PAGE);
	uint64_t seed = page_seed(r, i);

	page_write(seed, page_fill(r, i), p);
	if (r->code) {
		page_code(seed, p);
		__builtin___clear_cache((char *)p, (char *)(p + CODE_WORDS));
	}
}

void region_fill(const struct region *r)
{
	size_t i;

	for (i = 0; i < r->pages; i++)
		if (r->owner[i] < OWNER_AGAIN)
			region_write_page(r, i);
}

void region_protect(struct region *r, int prot)
{
	if (mprotect(r->addr, r->pages * PAGE, prot))
		fail("mprotect %s: %s", r->name, strerror(errno));
	r->prot = prot;
}

void region_set_owner(struct region *r, size_t from, size_t to, uint16_t owner, bool write)
{
	size_t i;

	for (i = from; i < to; i++) {
		r->owner[i] = owner;
		if (write)
			region_write_page(r, i);
	}
}

uint32_t region_split(uint32_t k, size_t pages)
{
	struct region *r = &table.r[k], *rest;

	if (table.nr == MAX_REGIONS)
		fail("too many regions");
	rest = &table.r[table.nr];
	*rest = *r;
	r->pages = pages;
	rest->addr += pages * PAGE;
	rest->pages -= pages;
	rest->first += pages;
	rest->owner += pages;
	return table.nr++;
}

void region_drop(uint32_t k)
{
	table.r[k] = table.r[--table.nr];
	memset(&table.r[table.nr], 0, sizeof(table.r[0]));
}
