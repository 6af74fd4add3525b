// SPDX-License-Identifier: GPL-2.0-only
/* Mapping the file of a page store. */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storemap.h"

#define BLOCK	   MFD_STOREMAP_BLOCK
#define STEP	   MFD_STOREMAP_STEP
#define STEP_PAGES MFD_STOREMAP_STEP_PAGES
#define STEPS	   MFD_STOREMAP_STEPS

void mfd_storemap_init(struct mfd_storemap *m)
{
	pthread_mutex_init(&m->grow, NULL);
}

int mfd_storemap_released(struct mfd_storemap *m, uint64_t index, uint16_t n)
{
	const uint64_t pages = BLOCK / 4096;
	_Atomic uint16_t *block = &m->freed[index / STEP_PAGES][index % STEP_PAGES / pages];

	/*
	 * acq_rel: the thread that punches comes after every thread that released a page of the
	 * block.
	 */
	return atomic_fetch_add_explicit(block, n, memory_order_acq_rel) + n == pages;
}

/* Address space that begins at a border of huge pages: those need offset and address to agree. */
static char *reserve(uint64_t bytes)
{
	char *m = mmap(NULL, bytes + BLOCK, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		       -1, 0);
	uint64_t skip;

	if (m == MAP_FAILED)
		return NULL;
	skip = -(uintptr_t)m % BLOCK;
	if (skip)
		munmap(m, skip);
	munmap(m + skip + bytes, BLOCK - skip);
	return m + skip;
}

static int map_file(int fd, unsigned i, char *to)
{
	uint64_t at = i * STEP;
	struct stat st;

	if (fstat(fd, &st))
		return -errno;
	if ((uint64_t)st.st_size < at + STEP && ftruncate(fd, (off_t)(at + STEP)))
		return -errno;
	if (mmap(to, STEP, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED | MAP_NORESERVE, fd,
		 (off_t)at) == MAP_FAILED)
		return -errno;
	madvise(to, STEP, MADV_HUGEPAGE); /* refused where the kernel has none */
	return 0;
}

/* grow held, or no other thread knows the store. */
static int map_step(struct mfd_storemap *m, int fd, unsigned i)
{
	char *to = i * STEP < m->whole_bytes ? m->whole + i * STEP : reserve(STEP);
	int ret = to ? 0 : -ENOMEM;

	if (!ret && !(m->freed[i] = calloc(STEP / BLOCK, sizeof(*m->freed[i]))))
		ret = -ENOMEM;
	if (!ret)
		ret = map_file(fd, i, to);
	if (ret && to && i * STEP >= m->whole_bytes)
		munmap(to, STEP);
	if (ret) {
		free(m->freed[i]);
		m->freed[i] = NULL;
	} else {
		atomic_store_explicit(&m->step[i], to, memory_order_release);
	}
	return ret;
}

int mfd_storemap_need(struct mfd_storemap *m, int fd, uint64_t index)
{
	unsigned i = (unsigned)(index / STEP_PAGES);
	int ret = 0;

	if (atomic_load_explicit(&m->step[i], memory_order_acquire))
		return 0;
	pthread_mutex_lock(&m->grow);
	if (!atomic_load_explicit(&m->step[i], memory_order_relaxed))
		ret = map_step(m, fd, i);
	pthread_mutex_unlock(&m->grow);
	return ret;
}

/*
 * A store that was filled before: also by a version that had it in one piece, where pages that
 * follow one another may lie on both sides of a border.
 */
int mfd_storemap_whole(struct mfd_storemap *m, int fd, uint64_t pages)
{
	uint64_t bytes = (pages * 4096 + STEP - 1) / STEP * STEP;
	int ret = 0;

	if (bytes > MFD_STOREMAP_PAGES * 4096)
		return -EFBIG;
	if (!bytes)
		return 0;
	m->whole = reserve(bytes);
	if (!m->whole)
		return -ENOMEM;
	m->whole_bytes = bytes;
	for (unsigned i = 0; !ret && i < bytes / STEP; i++)
		ret = map_step(m, fd, i);
	return ret;
}

void mfd_storemap_free(struct mfd_storemap *m)
{
	for (unsigned i = 0; i < STEPS; i++) {
		char *at = atomic_load_explicit(&m->step[i], memory_order_relaxed);

		if (at && i * STEP >= m->whole_bytes)
			munmap(at, STEP);
		free(m->freed[i]);
	}
	if (m->whole)
		munmap(m->whole, m->whole_bytes);
	pthread_mutex_destroy(&m->grow);
}
