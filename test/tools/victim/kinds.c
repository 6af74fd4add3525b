// SPDX-License-Identifier: GPL-2.0-only
/* The mappings that the victim can have, one kind each: a new one is a row and a function. */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "victim.h"

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif
#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT 21
#endif

uint8_t *stack_area;

static const char *make_plain(const struct kind *kind, size_t pages)
{
	region_fill(region_private(kind->name, pages));
	return NULL;
}

static const char *make_heap(const struct kind *kind, size_t pages)
{
	uintptr_t at = (uintptr_t)sbrk(0);

	if (sbrk(-at % PAGE + pages * PAGE) == (void *)-1)
		return "sbrk failed";
	region_fill(region_add(kind->name, (void *)(at + -at % PAGE), pages));
	return NULL;
}

static const char *make_protnone(const struct kind *kind, size_t pages)
{
	struct region *r = region_private(kind->name, pages);

	region_fill(r);
	region_protect(r, PROT_NONE);
	return NULL;
}

static const char *make_readonly(const struct kind *kind, size_t pages)
{
	struct region *r = region_private(kind->name, pages);

	region_fill(r);
	region_protect(r, PROT_READ);
	return NULL;
}

static const char *make_guard(const struct kind *kind, size_t pages)
{
	void *p = region_map(pages, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	size_t third = pages / 3;
	struct region *r;

	if (madvise(p, PAGE, MADV_GUARD_INSTALL)) {
		munmap(p, pages * PAGE);
		return "kernel lacks MADV_GUARD_INSTALL";
	}
	r = region_add(kind->name, p, pages);
	r->owner[0] = OWNER_NONE;
	region_fill(r);
	if (madvise(r->addr + third * PAGE, third * PAGE, MADV_GUARD_INSTALL))
		return "kernel lacks MADV_GUARD_INSTALL over pages";
	region_set_owner(r, third, 2 * third, OWNER_NONE, false);
	return NULL;
}

static const char *make_thp(const struct kind *kind, size_t pages)
{
	size_t len = (pages * PAGE + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1);
	uint8_t *p = region_map((len + HUGE_PAGE) / PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	size_t skip = -(uintptr_t)p % HUGE_PAGE;

	if (skip)
		munmap(p, skip);
	munmap(p + skip + len, HUGE_PAGE - skip);
	if (madvise(p + skip, len, MADV_HUGEPAGE)) {
		munmap(p + skip, len);
		return "kernel lacks transparent huge pages";
	}
	region_fill(region_add(kind->name, p + skip, len / PAGE));
	return NULL;
}

static const char *make_exec(const struct kind *kind, size_t pages)
{
	struct region *r = region_private(kind->name, pages);
	bool writable = !strcmp(kind->name, "execrw");

	r->code = true;
	region_fill(r);
	region_protect(r, PROT_READ | PROT_EXEC | (writable ? PROT_WRITE : 0));
	return NULL;
}

static const char *make_locked(const struct kind *kind, size_t pages)
{
	void *p = region_map(pages, PROT_READ | PROT_WRITE, MAP_PRIVATE);

	if (mlock(p, pages * PAGE)) {
		munmap(p, pages * PAGE);
		return "mlock is not permitted";
	}
	region_fill(region_add(kind->name, p, pages));
	return NULL;
}

static const char *make_sparse(const struct kind *kind, size_t pages)
{
	struct region *r = region_private(kind->name, pages);
	size_t i;

	for (i = 0; i < pages; i++)
		if (i % 7)
			r->owner[i] = OWNER_ZERO;
	region_fill(r);
	return NULL;
}

/* Mapped far beyond what is ever used: 16 pages of each 256. */
static const char *make_reserve(const struct kind *kind, size_t pages)
{
	void *p = region_map(pages, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE);
	struct region *r = region_add(kind->name, p, pages);
	size_t i;

	madvise(p, pages * PAGE, MADV_NOHUGEPAGE);
	for (i = 0; i < pages; i++)
		if (i % 256 >= 16)
			r->owner[i] = OWNER_UNUSED;
	region_fill(r);
	return NULL;
}

/* Empty in each child of its task. */
static const char *make_wiped(const struct kind *kind, size_t pages)
{
	struct region *r;

	if (opt.tree) /* before there is one, which would be verified */
		return "the children of a tree would find it empty";
	r = region_private(kind->name, pages);
	if (madvise(r->addr, pages * PAGE, MADV_WIPEONFORK))
		return "kernel lacks MADV_WIPEONFORK";
	region_fill(r);
	return NULL;
}

static const char *make_stack(const struct kind *kind, size_t pages)
{
	region_fill(region_add(kind->name, stack_area, pages));
	return NULL;
}

static struct region *make_file(const char *name, const char *path, size_t pages, int flags)
{
	int fd = path ? open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600) :
			memfd_create(name, MFD_CLOEXEC);
	struct region *r;
	void *p;

	if (fd < 0 || ftruncate(fd, pages * PAGE))
		fail("%s: %s", path ? path : name, strerror(errno));
	p = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		fail("mmap %s: %s", name, strerror(errno));
	r = region_add(name, p, pages);
	r->shared = true;
	region_fill(r);
	if (flags & MAP_PRIVATE) {
		p = mmap(p, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, fd, 0);
		if (p == MAP_FAILED)
			fail("mmap %s: %s", name, strerror(errno));
		r->shared = false;
	}
	close(fd);
	return r;
}

static const char *make_tmpfs(const struct kind *kind, size_t pages)
{
	make_file(kind->name, "map.shared", pages, MAP_SHARED);
	return NULL;
}

static const char *make_memfd(const struct kind *kind, size_t pages)
{
	make_file(kind->name, NULL, pages, MAP_SHARED);
	return NULL;
}

static const char *make_file_private(const struct kind *kind, size_t pages)
{
	struct region *r = make_file(kind->name, "map.private", pages, MAP_PRIVATE);
	size_t i;

	for (i = 0; i < pages; i += 3)
		region_set_owner(r, i, i + 1, OWNER_AGAIN, true);
	return NULL;
}

static const char *make_shared(const struct kind *kind, size_t pages)
{
	struct region *r = region_add(kind->name,
				      region_map(pages, PROT_READ | PROT_WRITE, MAP_SHARED), pages);

	r->shared = true;
	region_fill(r);
	return NULL;
}

static const char *make_hugetlb(const struct kind *kind, size_t pages)
{
	size_t len = (pages * PAGE + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1);
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB,
		       -1, 0);

	if (p == MAP_FAILED)
		return "no huge pages are reserved (vm.nr_hugepages, vm.nr_overcommit_hugepages)";
	region_fill(region_add(kind->name, p, len / PAGE));
	return NULL;
}

/* Moved, and 16 untouched pages longer than before. */
static const char *make_remapped(const struct kind *kind, size_t pages)
{
	struct region *r = region_private(kind->name, pages);
	void *to = region_map(pages + 16, PROT_NONE, MAP_PRIVATE | MAP_NORESERVE);
	size_t old = pages - 16;

	region_set_owner(r, old, pages, OWNER_ZERO, false);
	region_fill(r);
	munmap(r->addr + old * PAGE, 16 * PAGE);
	r->addr = mremap(r->addr, old * PAGE, pages * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to);
	if (r->addr == MAP_FAILED)
		fail("mremap: %s", strerror(errno));
	return NULL;
}

/* VMAs of one to three pages with changing protections, and a hole at each tenth. */
static const char *make_many(const struct kind *kind, size_t pages)
{
	static const int prots[] = { PROT_READ, PROT_READ | PROT_WRITE, PROT_READ | PROT_EXEC };
	struct region *r = region_private(kind->name, pages);
	size_t i, n, k;

	region_fill(r);
	for (i = 0, k = 0; i < pages; i += n, k++) {
		n = 1 + k % 3;
		if (n > pages - i)
			n = pages - i;
		if (k % 10 == 9) {
			munmap(r->addr + i * PAGE, n * PAGE);
			region_set_owner(r, i, i + n, OWNER_NONE, false);
		} else if (mprotect(r->addr + i * PAGE, n * PAGE, prots[(k + k / 3) % 3])) {
			fail("mprotect: %s", strerror(errno));
		}
	}
	r->prot = PROT_READ;
	r->mixed = true;
	return NULL;
}

static const char *make_swapped(const struct kind *kind, size_t pages)
{
	FILE *f = fopen("/proc/swaps", "re");
	int c, lines = 0;
	struct region *r;

	while (f && (c = getc(f)) != EOF)
		lines += c == '\n';
	if (f)
		fclose(f);
	if (lines < 2)
		return "no swap is on";
	r = region_private(kind->name, pages);
	region_fill(r);
	if (madvise(r->addr, pages * PAGE, MADV_PAGEOUT))
		say("note MADV_PAGEOUT: %s", strerror(errno));
	return NULL;
}

const struct kind kinds[] = {
	{ "plain", 257, make_plain },
	{ "heap", 131, make_heap },
	{ "protnone", 67, make_protnone },
	{ "guard", 99, make_guard },
	{ "thp", 1024, make_thp },
	{ "exec", 19, make_exec },
	{ "execrw", 23, make_exec },
	{ "locked", 61, make_locked },
	{ "readonly", 71, make_readonly },
	{ "sparse", 1501, make_sparse },
	{ "stack", 257, make_stack },
	{ "tmpfs", 65, make_tmpfs },
	{ "memfd", 66, make_memfd },
	{ "shared-anon", 129, make_shared },
	{ "file-private", 130, make_file_private },
	{ "hugetlb", 1024, make_hugetlb },
	{ "remapped", 150, make_remapped },
	{ "many", 600, make_many },
	{ "swapped", 256, make_swapped },
	{ "wiped", 77, make_wiped },
	{ "reserve", 2048, make_reserve },
};

const size_t nr_kinds = sizeof(kinds) / sizeof(kinds[0]);

static const struct kind *kind_find(const char *name)
{
	size_t i;

	for (i = 0; i < nr_kinds; i++)
		if (!strcmp(kinds[i].name, name))
			return &kinds[i];
	return NULL;
}

static void make_main(void)
{
	size_t pages = opt.size_mb * MB_PAGES;
	struct region *r;

	if (!pages)
		return;
	r = region_private("main", pages);
	r->fill = opt.fill;
	if (opt.huge && madvise(r->addr, pages * PAGE, MADV_HUGEPAGE))
		say("note MADV_HUGEPAGE: %s", strerror(errno));
	region_fill(r);
}

void kinds_make(void)
{
	uint32_t k;
	int i;

	make_main();
	for (i = 0; i < opt.nr_maps; i++) {
		const struct map_request *m = &opt.maps[i];
		const struct kind *kind = kind_find(m->kind);
		const char *why = kind->make(kind, m->pages ? m->pages : kind->pages);

		if (why)
			say("skipped %s %s", kind->name, why);
	}
	threads_make_dirty();
	for (k = 0; k < table.nr; k++)
		say("map %s %p %zu", table.r[k].name, table.r[k].addr, table.r[k].pages);
	if (dirty.pages)
		say("map dirty %p %zu", dirty.addr, dirty.pages);
	table_seal();
}
