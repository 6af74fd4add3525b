// SPDX-License-Identifier: GPL-2.0-only
/* The userfaultfd calls the pager makes, and what their errors mean. */
#include <errno.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "uffd.h"

#define PAGE 4096ULL

/* One system call: bytes installed (> 0) or -errno. A NULL source asks for zero pages. */
static int64_t install(int uffd, uint64_t dst, const void *src, uint64_t len)
{
	/* The kernel writes the last field only sometimes when it fails, so it must start at 0. */
	struct uffdio_copy copy = { .dst = dst, .src = (uintptr_t)src, .len = len };
	struct uffdio_zeropage zero = { .range = { dst, len } };
	int64_t part;

	if (!ioctl(uffd, src ? UFFDIO_COPY : UFFDIO_ZEROPAGE, src ? (void *)&copy : (void *)&zero))
		return (int64_t)len;
	part = src ? copy.copy : zero.zeropage;
	return part > 0 ? part : -errno;
}

/*
 * A request that reaches over the end of one mapping fails as a whole with ENOENT (mprotect of a
 * part splits a mapping at any time), so it is tried again in halves before its first page is
 * believed to be unregistered.
 */
static int fill(int uffd, uint64_t dst, const char *src, uint64_t len, uint64_t *done)
{
	uint64_t piece = len;

	for (*done = 0; *done < len;) {
		uint64_t left = len - *done, ask = piece < left ? piece : left;
		int64_t n = install(uffd, dst + *done, src ? src + *done : NULL, ask);

		if (n > 0) {
			*done += (uint64_t)n;
			piece = piece < len ? piece * 2 : len;
		} else if (n == -EEXIST) {
			*done += PAGE;
		} else if (n == -ENOENT && ask > PAGE) {
			piece = ask / 2 & ~(PAGE - 1);
		} else {
			/* ENOSPC: how kernels before 4.14 said ESRCH */
			return n == -ENOSPC ? -ESRCH : (int)n;
		}
	}
	return 0;
}

int mfd_uffd_copy(int uffd, uint64_t dst, const void *src, uint64_t len, uint64_t *done)
{
	return fill(uffd, dst, src, len, done);
}

int mfd_uffd_zero(int uffd, uint64_t dst, uint64_t len, uint64_t *done)
{
	return fill(uffd, dst, NULL, len, done);
}

int mfd_uffd_wake(int uffd, uint64_t start, uint64_t len)
{
	struct uffdio_range r = { start, len };

	return ioctl(uffd, UFFDIO_WAKE, &r) ? -errno : 0;
}

/*
 * A range that reaches over the end of the address space is refused as a whole, and where that is
 * depends on machine and kernel.
 */
int mfd_uffd_wake_all(int uffd)
{
	uint64_t start;
	int ret = -EINVAL;

	for (unsigned shift = 57; ret == -EINVAL && shift > 30; shift--) {
		/* vm.mmap_min_addr: nothing is mapped below, and ranges there are refused. */
		for (start = PAGE; ret == -EINVAL && start <= 1 << 16; start <<= 1) {
			ret = mfd_uffd_wake(uffd, start, (1ULL << shift) - start);
			if (ret == -EINVAL)
				ret = mfd_uffd_wake(uffd, start, (1ULL << shift) - PAGE - start);
		}
	}
	return ret;
}

int mfd_uffd_unregister(int uffd, uint64_t start, uint64_t len)
{
	struct uffdio_range r = { start, len };

	if (!ioctl(uffd, UFFDIO_UNREGISTER, &r))
		return 0;
	/* ENOMEM: what this call says of a task that is gone */
	return errno == ENOMEM ? -ESRCH : -errno;
}

int mfd_uffd_read(int uffd, struct uffd_msg *msgs, int max)
{
	ssize_t n;

	do
		n = read(uffd, msgs, (size_t)max * sizeof(*msgs));
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? 0 : -errno;
	return (int)((size_t)n / sizeof(*msgs));
}

/*
 * No task can have anything mapped at the top of its address space, so this copies nothing: it only
 * asks for the memory map.
 */
int mfd_uffd_ended(int uffd)
{
	static char page[4096] __attribute__((aligned(4096)));
	struct uffdio_copy c = { .dst = 0x7fffffffe000ULL,
				 .src = (uintptr_t)page,
				 .len = sizeof(page) };

	return ioctl(uffd, UFFDIO_COPY, &c) < 0 && errno == ESRCH;
}
