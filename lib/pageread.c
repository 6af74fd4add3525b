/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Pages of a frozen task.
 *
 * process_vm_readv takes many runs in one call and copies straight from the task's pages; it stops
 * at the first page it may not read and says how many bytes it had copied until then.  The rest of
 * that run is read through /proc/PID/mem, which may read PROT_NONE mappings (a debugger's rights)
 * but copies twice, then the fast way goes on.
 *
 * It pins what it reads, and the kernel pins no page that several processes share by copy-on-write:
 * it first makes the task a copy of its own. A tree of processes would grow by all that it shares,
 * only by being looked at (measured: 512 MiB for 512 MiB, and 0.25 s instead of 0.09). So
 * /proc/PID/pagemap is asked first, and a run with shared pages is read through /proc/PID/mem,
 * which pins nothing.  It is asked about some pages of a long run only: an answer takes the kernel
 * 60 ns a page, 3 % of the source's time if asked about all.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "io.h"
#include "pageread.h"
#include "wire.h"

#define PAGE	  ((uint64_t)MFD_WIRE_PAGE_SIZE)
#define LOOK_ALL  32U /* pages of a run that are all looked at; one of so many in longer runs: */
#define LOOK_STEP 32U
#define PRESENT	  (1ULL << 63) /* Documentation/admin-guide/mm/pagemap.rst */
#define SWAPPED	  (1ULL << 62)
#define GUARD	  (1ULL << 58)
#define EXCLUSIVE (1ULL << 56)

int mfd_pageread_open(struct mfd_pageread *r, pid_t pid, struct mfd_error *err)
{
	char path[64];

	*r = (struct mfd_pageread){ .pid = pid, .pagemap_fd = -1 };
	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	r->mem_fd = open(path, O_RDONLY | O_CLOEXEC);
	if (r->mem_fd < 0)
		return mfd_error_sys(err, -errno, "cannot open %s", path);
	snprintf(path, sizeof(path), "/proc/%d/pagemap", pid);
	r->pagemap_fd = open(path, O_RDONLY | O_CLOEXEC);
	return 0;
}

void mfd_pageread_close(struct mfd_pageread *r)
{
	mfd_io_close(&r->mem_fd);
	mfd_io_close(&r->pagemap_fd);
}

/* Return 1 if one of n pages from vaddr on is there and mapped by another process, too. */
static int any_shared(const struct mfd_pageread *r, uint64_t vaddr, uint64_t n)
{
	uint64_t entry[LOOK_ALL];
	ssize_t got = pread(r->pagemap_fd, entry, n * sizeof(*entry),
			    (off_t)(vaddr / PAGE * sizeof(*entry)));

	/* the read that follows finds out what is wrong */
	for (ssize_t i = 0; i < got / (ssize_t)sizeof(*entry); i++)
		if ((entry[i] & (PRESENT | EXCLUSIVE)) == PRESENT)
			return 1;
	return 0;
}

/*
 * A few pages of a long run stand for the others: what a fork shares comes in long runs, too, and
 * missing one costs one page of memory.
 */
static int is_shared(const struct mfd_pageread *r, uint64_t vaddr, uint64_t pages)
{
	if (pages <= LOOK_ALL)
		return any_shared(r, vaddr, pages);
	for (uint64_t i = LOOK_STEP / 2; i < pages; i += LOOK_STEP)
		if (any_shared(r, vaddr + i * PAGE, 1))
			return 1;
	return any_shared(r, vaddr, 1) || any_shared(r, vaddr + (pages - 1) * PAGE, 1);
}

/* How far reading has come: `done` bytes of runs[at] are in, buf is where the next go. */
struct place {
	unsigned at;
	uint64_t done;
	char *buf;
};

static void advance(struct place *p, const struct mfd_run *runs, uint64_t bytes)
{
	p->buf += bytes;
	p->done += bytes;
	while (p->done && p->done >= runs[p->at].pages * PAGE) {
		p->done -= runs[p->at].pages * PAGE;
		p->at++;
	}
}

/*
 * Return the number of bytes copied, a multiple of the page size; 0 if the first page cannot be
 * read in this way; -ESRCH.
 */
static ssize_t read_fast(const struct mfd_pageread *r, const struct mfd_run *runs, unsigned n,
			 const struct place *p)
{
	struct iovec remote[IOV_MAX], local = { .iov_base = p->buf };
	unsigned i, count = n - p->at < IOV_MAX ? n - p->at : IOV_MAX;
	uint64_t skip = p->done;
	ssize_t ret;

	for (i = 0; i < count; i++) {
		if (is_shared(r, runs[p->at + i].vaddr + skip, runs[p->at + i].pages - skip / PAGE))
			break;
		remote[i].iov_base = (void *)(uintptr_t)(runs[p->at + i].vaddr + skip);
		remote[i].iov_len = runs[p->at + i].pages * PAGE - skip;
		local.iov_len += remote[i].iov_len;
		skip = 0;
	}
	if (!i)
		return 0;
	ret = process_vm_readv(r->pid, &local, 1, remote, i, 0);
	if (ret < 0)
		return errno == ESRCH ? -ESRCH : 0;
	return ret - ret % (ssize_t)PAGE;
}

static int read_slow(const struct mfd_pageread *r, uint64_t vaddr, uint64_t len, char *buf)
{
	int ret = mfd_io_pread_all(r->mem_fd, buf, len, vaddr);

	if (ret == -ENODATA) /* the end of this file: there is no memory map any more */
		return -ESRCH;
	return ret == -EIO ? -EFAULT : ret;
}

/* Nonzero: as far as can be told. */
static int is_there(const struct mfd_pageread *r, uint64_t vaddr)
{
	uint64_t entry;
	ssize_t got =
		pread(r->pagemap_fd, &entry, sizeof(entry), (off_t)(vaddr / PAGE * sizeof(entry)));

	if (!got) /* there is no memory map any more */
		return 0;
	return got != sizeof(entry) || (entry & (PRESENT | SWAPPED) && !(entry & GUARD));
}

/*
 * What is gone is absent after the failure, too: whatever appears there later is new, and a tracker
 * finds it.  A page that is there, and cannot be read for now, it would call clean.
 */
static void read_or_zero(const struct mfd_pageread *r, uint64_t vaddr, char *buf)
{
	if (!read_slow(r, vaddr, PAGE, buf))
		return;
	if (is_there(r, vaddr)) { /* it may have come back in this moment */
		if (!read_slow(r, vaddr, PAGE, buf))
			return;
		if (r->unread)
			atomic_store(r->unread, 1);
	}
	memset(buf, 0, PAGE);
}

/* What is there, and zeros for what is not. */
static int read_running(const struct mfd_pageread *r, uint64_t vaddr, uint64_t len, char *buf)
{
	for (uint64_t i = 0; i < len; i += PAGE)
		read_or_zero(r, vaddr + i, buf + i);
	return 0;
}

static int read_rest(const struct mfd_pageread *r, uint64_t vaddr, uint64_t len, char *buf)
{
	int ret = read_slow(r, vaddr, len, buf);

	return ret && r->running ? read_running(r, vaddr, len, buf) : ret;
}

int mfd_pageread_runs(const struct mfd_pageread *r, const struct mfd_run *runs, unsigned n,
		      void *buf)
{
	struct place p = { .buf = buf };

	while (p.at < n) {
		uint64_t rest = runs[p.at].pages * PAGE - p.done;
		ssize_t got;
		int ret;

		if (!rest) { /* an empty run */
			p.at++;
			continue;
		}
		got = read_fast(r, runs, n, &p);
		if (got < 0 && !r->running)
			return (int)got;
		if (got <= 0) {
			ret = read_rest(r, runs[p.at].vaddr + p.done, rest, p.buf);
			if (ret)
				return ret;
			got = (ssize_t)rest;
		}
		advance(&p, runs, (uint64_t)got);
	}
	return 0;
}

typedef uint64_t word __attribute__((aligned(1), may_alias));
/* 64 bytes: four SSE2 registers, or one of AVX-512 where the compiler may use it. */
typedef uint64_t chunk __attribute__((vector_size(64), aligned(1), may_alias));

int mfd_pageread_is_zero(const void *page)
{
	const word *words = page;
	const chunk *c = page;
	unsigned i, j;

	/* Most pages that hold something show it here. */
	if (words[0] | words[1] | words[256] | words[511])
		return 0;
	for (i = 0; i < MFD_WIRE_PAGE_SIZE / sizeof(chunk); i += 4) {
		chunk sum = c[i] | c[i + 1] | c[i + 2] | c[i + 3];
		uint64_t any = 0;

		for (j = 0; j < 8; j++)
			any |= sum[j];
		if (any)
			return 0;
	}
	return 1;
}
