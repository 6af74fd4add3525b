/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Which mappings and which of their pages travel.
 *
 * Mappings.  CRIU calls a page lazy when its mapping is MAP_PRIVATE|MAP_ANONYMOUS and neither
 * locked, hugetlb nor one of the kernel's own (vma_entry_can_be_lazy).  All but "locked" shows in
 * /proc/PID/maps: no file means device and inode 0 (hugetlb and /dev/zero mappings have one), and
 * names in brackets tell the kernel's own from [heap], [stack] and [anon:...].  "Locked" is in
 * smaps only, which walks every page table; it is read only when /proc/PID/status counts locked
 * memory.
 *
 * Limits: MAP_DROPPABLE mappings show in smaps only as well, and the page a thread's stack pointer
 * is in is not known here; CRIU keeps both in its own images.  We may send such a page, too; the
 * target has no lazy range for it and drops it. Too many is harmless, too few would be refused by
 * the target's verification.
 *
 * Pages.  As CRIU's pagemap-cache.c: present or swapped, but no zero page, no file page, no guard
 * region. PAGEMAP_SCAN (Linux 6.7) lets the kernel choose; else the 64-bit words of
 * /proc/PID/pagemap are looked at, where the zero page is known only to a reader that may see page
 * frame numbers.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "io.h"
#include "maps.h"
#include "pagemap_scan.h"
#include "pagescan.h"
#include "procfile.h"
#include "wire.h"

#define PAGE ((uint64_t)MFD_WIRE_PAGE_SIZE)

/* ---- mappings ---- */

static const char *const kernels_own[] = { "[vdso]", "[vsyscall]", "[vectors]", "[sigpage]",
					   "[uprobes]" };

static int is_kernels_own(const char *name)
{
	size_t i;

	for (i = 0; i < sizeof(kernels_own) / sizeof(kernels_own[0]); i++)
		if (!strcmp(name, kernels_own[i]))
			return 1;
	return !strncmp(name, "[vvar", 5); /* [vvar_vclock] and whatever comes */
}

struct list {
	struct mfd_vmas *out;
	size_t room;
};

static int vmas_add(struct list *l, const struct mfd_vma *v)
{
	struct mfd_vmas *vmas = l->out;

	if (vmas->n == l->room) {
		size_t more = l->room ? l->room * 2 : 256;
		struct mfd_vma *bigger = reallocarray(vmas->v, more, sizeof(*bigger));

		if (!bigger)
			return -ENOMEM;
		vmas->v = bigger;
		l->room = more;
	}
	vmas->v[vmas->n++] = *v;
	vmas->bytes += v->end - v->start;
	return 0;
}

static int add_if_lazy(const struct mfd_map *m, void *list)
{
	if (!mfd_maps_is_private_anonymous(m) || m->locked || m->hugetlb || m->droppable ||
	    m->end > MFD_WIRE_MAX_VADDR || is_kernels_own(m->name))
		return 0;
	return vmas_add(
		list, &(struct mfd_vma){
			      .start = m->start, .end = m->end, .read = m->read, .exec = m->exec });
}

static int has_locked(pid_t pid, int *locked)
{
	uint64_t kib = 0;
	char *text;
	int ret = mfd_procfile_status(pid, &text);

	if (ret)
		return ret;
	*locked = !mfd_procfile_first(text, "VmLck", 10, &kib) && kib > 0;
	free(text);
	return 0;
}

int mfd_pagescan_vmas(pid_t pid, struct mfd_vmas *out, struct mfd_error *err)
{
	struct list list = { .out = out };
	int locked, ret;

	memset(out, 0, sizeof(*out));
	ret = has_locked(pid, &locked);
	if (ret)
		return mfd_error_sys(err, ret, "cannot read /proc/%d/status", pid);
	ret = mfd_maps_each(pid, locked ? MFD_SMAPS : MFD_MAPS, add_if_lazy, &list);
	if (!ret)
		return 0;
	mfd_pagescan_vmas_free(out);
	return mfd_error_sys(err, ret, "cannot %s /proc/%d/%s",
			     ret == -EPROTO ? "understand" : "read", pid,
			     locked ? "smaps" : "maps");
}

void mfd_pagescan_vmas_free(struct mfd_vmas *vmas)
{
	free(vmas->v);
	memset(vmas, 0, sizeof(*vmas));
}

/* ---- pages ---- */

#define SCAN_REGIONS 1024
#define SCAN_PAGES   16384 /* at most, in one call */

/* Documentation/admin-guide/mm/pagemap.rst */
#define PM_PRESENT (1ULL << 63)
#define PM_SWAP	   (1ULL << 62)
#define PM_FILE	   (1ULL << 61)
#define PM_GUARD   (1ULL << 58)
#define PM_PFN	   ((1ULL << 55) - 1)
#define PM_WORDS   (64U << 10) /* 512 KiB, that is 256 MiB of address space a read */

struct mfd_pagescan {
	int fd;		  /* /proc/PID/pagemap */
	uint64_t exclude; /* MFD_PAGEMAP_* that a page must not have; 0: no PAGEMAP_SCAN */
	enum mfd_look look;
	int protect;
	struct mfd_pagemap_region *regions; /* SCAN_REGIONS */
	/* PM_WORDS; words of the pages from words_start on, n_words of them are good */
	uint64_t *words;
	uint64_t words_start, n_words;
	/* where a caller that goes on will be; anywhere else, the words are stale */
	uint64_t next;
	uint64_t zero_pfn; /* 0 = not known */
};

static int scan_supported(int fd, uint64_t exclude)
{
	struct mfd_pagemap_scan arg = { .size = sizeof(arg),
					.category_inverted = exclude,
					.category_mask = exclude };

	return ioctl(fd, MFD_PAGEMAP_SCAN, &arg) == 0;
}

static uint64_t probe_scan(int fd)
{
	/*
	 * Not "file", too, which takes a look at each page: the mappings of mfd_pagescan_vmas have
	 * none.
	 */
	uint64_t exclude = MFD_PAGEMAP_PFNZERO;

	if (scan_supported(fd, exclude | MFD_PAGEMAP_GUARD))
		return exclude | MFD_PAGEMAP_GUARD;
	return scan_supported(fd, exclude) ? exclude : 0;
}

/* A page that was only read from is the zero page; the kernel shows its number to CAP_SYS_ADMIN. */
static uint64_t find_zero_pfn(void)
{
	volatile char *page = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t word = 0;
	int fd;

	if (page == MAP_FAILED)
		return 0;
	(void)page[0];
	fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		if (mfd_io_pread_all(fd, &word, sizeof(word),
				     (uintptr_t)page / PAGE * sizeof(word)))
			word = 0;
		close(fd);
	}
	munmap((void *)(uintptr_t)page, PAGE);
	return word & PM_PRESENT ? word & PM_PFN : 0;
}

static int alloc_buffers(struct mfd_pagescan *s)
{
	if (s->exclude)
		s->regions = malloc(SCAN_REGIONS * sizeof(*s->regions));
	else
		s->words = malloc(PM_WORDS * sizeof(*s->words));
	return s->regions || s->words ? 0 : -ENOMEM;
}

int mfd_pagescan_open(pid_t pid, int force_pagemap, struct mfd_pagescan **out,
		      struct mfd_error *err)
{
	struct mfd_pagescan *s = calloc(1, sizeof(*s));
	char path[64];
	int ret;

	snprintf(path, sizeof(path), "/proc/%d/pagemap", pid);
	if (!s)
		return mfd_error_sys(err, -ENOMEM, "cannot scan %s", path);
	s->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (s->fd < 0) {
		ret = mfd_error_sys(err, -errno, "cannot open %s", path);
		goto err;
	}
	s->exclude = force_pagemap ? 0 : probe_scan(s->fd);
	if (!s->exclude)
		s->zero_pfn = find_zero_pfn();
	ret = alloc_buffers(s);
	if (ret) {
		mfd_error_sys(err, ret, "cannot scan %s", path);
		goto err;
	}
	*out = s;
	return 0;
err:
	mfd_pagescan_close(s);
	return ret;
}

void mfd_pagescan_close(struct mfd_pagescan *s)
{
	if (!s)
		return;
	mfd_io_close(&s->fd);
	free(s->regions);
	free(s->words);
	free(s);
}

/*
 * Return how far the scan has come.  walk_end alone would not do: the kernel (6.7 to 6.18 at least)
 * works in rounds of 512 regions and leaves walk_end at the end of the last round that was cut
 * short, although a later one returned regions beyond it.  A caller that went on from there would
 * see those twice.  Regions come in order, so all before the last one's end has been walked.
 */
static uint64_t walked(const struct mfd_pagemap_scan *arg, const struct mfd_pagemap_region *regions,
		       int n)
{
	return n && regions[n - 1].end > arg->walk_end ? regions[n - 1].end : arg->walk_end;
}

/*
 * All of them ask for "present or swapped", too: without that a protecting scan puts a marker into
 * each hole, which from then on passes for a page.  "Tracked" is asked for because a page that was
 * moved to a mapping that is not tracked may still carry the protection.
 */
static const struct {
	uint64_t mask, inverted;
} looks[MFD_LOOKS] = {
	[MFD_LOOK_ALL] = { 0, 0 },
	[MFD_LOOK_WRITTEN] = { MFD_PAGEMAP_WPALLOWED | MFD_PAGEMAP_WRITTEN, 0 },
	[MFD_LOOK_TRACKED] = { MFD_PAGEMAP_WPALLOWED, 0 },
	[MFD_LOOK_CLEAN] = { MFD_PAGEMAP_WPALLOWED | MFD_PAGEMAP_WRITTEN, MFD_PAGEMAP_WRITTEN },
	[MFD_LOOK_UNTRACKED] = { MFD_PAGEMAP_WPALLOWED, MFD_PAGEMAP_WPALLOWED },
	[MFD_LOOK_OWN] = { MFD_PAGEMAP_FILE, MFD_PAGEMAP_FILE },
};

int mfd_pagescan_look(struct mfd_pagescan *s, enum mfd_look look, int protect)
{
	if (!s->exclude && (look != MFD_LOOK_ALL || protect))
		return -EOPNOTSUPP;
	s->look = look;
	s->protect = protect;
	return 0;
}

static int next_by_scan(struct mfd_pagescan *s, uint64_t *pos, uint64_t end, struct mfd_run *runs,
			int max)
{
	struct mfd_pagemap_scan arg = {
		.size = sizeof(arg),
		.start = *pos,
		.end = end,
		.vec = (uintptr_t)s->regions,
		.vec_len = (uint64_t)(max < SCAN_REGIONS ? max : SCAN_REGIONS),
		.flags = s->protect ? MFD_PAGEMAP_PROTECT : 0,
		.category_inverted = s->exclude | looks[s->look].inverted,
		.category_mask = s->exclude | looks[s->look].mask,
		.category_anyof_mask = MFD_PAGEMAP_PRESENT | MFD_PAGEMAP_SWAPPED,
		.return_mask = 0, /* present and swapped neighbours make one region */
		/*
		 * So that what is found can be on its way while the rest is looked for: a gigabyte
		 * takes 12 ms.
		 */
		.max_pages = SCAN_PAGES,
	};
	uint64_t walk_end;
	int n, i;

	do
		n = ioctl(s->fd, MFD_PAGEMAP_SCAN, &arg);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	walk_end = walked(&arg, s->regions, n);
	if (walk_end <= *pos || walk_end > end || n > max)
		return -EIO;
	for (i = 0; i < n; i++) {
		runs[i].vaddr = s->regions[i].start;
		runs[i].pages = (s->regions[i].end - s->regions[i].start) / PAGE;
	}
	*pos = walk_end;
	return n;
}

static int word_counts(const struct mfd_pagescan *s, uint64_t word)
{
	if (!(word & (PM_PRESENT | PM_SWAP)) || word & (PM_FILE | PM_GUARD))
		return 0;
	return !(word & PM_PRESENT) || !s->zero_pfn || (word & PM_PFN) != s->zero_pfn;
}

static int words_fill(struct mfd_pagescan *s, uint64_t pos, uint64_t end)
{
	uint64_t want = (end - pos) / PAGE;
	ssize_t n;

	if (pos == s->next && pos >= s->words_start && (pos - s->words_start) / PAGE < s->n_words)
		return 0;
	if (want > PM_WORDS)
		want = PM_WORDS;
	do
		n = pread(s->fd, s->words, want * sizeof(*s->words),
			  (off_t)(pos / PAGE * sizeof(*s->words)));
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	s->words_start = pos;
	s->n_words = (uint64_t)n / sizeof(*s->words);
	return s->n_words ? 0 : -ESRCH; /* the end of the file: there is no memory map any more */
}

static int next_by_words(struct mfd_pagescan *s, uint64_t *pos, uint64_t end, struct mfd_run *runs,
			 int max)
{
	uint64_t i, limit, vaddr;
	int n = 0, ret;

	ret = words_fill(s, *pos, end);
	if (ret)
		return ret;
	i = (*pos - s->words_start) / PAGE;
	limit = i + (end - *pos) / PAGE;
	if (limit > s->n_words)
		limit = s->n_words;
	for (; i < limit; i++) {
		if (!word_counts(s, s->words[i]))
			continue;
		vaddr = s->words_start + i * PAGE;
		if (n && runs[n - 1].vaddr + runs[n - 1].pages * PAGE == vaddr) {
			runs[n - 1].pages++;
			continue;
		}
		if (n == max)
			break;
		runs[n++] = (struct mfd_run){ .vaddr = vaddr, .pages = 1 };
	}
	*pos = s->words_start + i * PAGE;
	s->next = *pos == end ? UINT64_MAX : *pos;
	return n;
}

int mfd_pagescan_next(struct mfd_pagescan *s, uint64_t *pos, uint64_t end, struct mfd_run *runs,
		      int max)
{
	if (max <= 0 || *pos % PAGE || end % PAGE || *pos > end)
		return -EINVAL;
	if (*pos == end)
		return 0;
	return s->exclude ? next_by_scan(s, pos, end, runs, max) :
			    next_by_words(s, pos, end, runs, max);
}

int mfd_pagescan_count(struct mfd_pagescan *s, uint64_t start, uint64_t end, uint64_t *pages)
{
	enum mfd_look look = s->look;
	struct mfd_run runs[64];
	int n = 0;

	*pages = 0;
	if (s->exclude) /* words tell it by themselves */
		s->look = MFD_LOOK_OWN;
	while (start < end && n >= 0) {
		n = mfd_pagescan_next(s, &start, end, runs, 64);
		for (int i = 0; i < n; i++)
			*pages += runs[i].pages;
	}
	s->look = look;
	return n < 0 ? n : 0;
}
