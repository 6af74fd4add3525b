// SPDX-License-Identifier: GPL-2.0-only
/* Theory in pagecold.h. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/uio.h>
#include <unistd.h>

#include "io.h"
#include "pagecold.h"

/* a huge page of x86-64 and of arm64 with 4 KiB pages; larger ones are split at worst */
#define BLOCK ((uint64_t)2 << 20)

/* Documentation/admin-guide/mm/multigen_lru.rst: bit 0 is the main switch. */
static int sorts_by_generations(void)
{
	char *text;
	int on = 0;

	if (!mfd_io_read_file(AT_FDCWD, "/sys/kernel/mm/lru_gen/enabled", 64, &text, NULL)) {
		on = strtoul(text, NULL, 16) & 1;
		free(text);
	}
	return on;
}

void mfd_pagecold_open(struct mfd_pagecold *c, pid_t pid)
{
	*c = (struct mfd_pagecold){ .pidfd = sorts_by_generations() ? -1 : pidfd_open(pid, 0) };
}

void mfd_pagecold_close(struct mfd_pagecold *c)
{
	mfd_io_close(&c->pidfd);
}

void mfd_pagecold_upto(struct mfd_pagecold *c, uint64_t start, uint64_t end, uint64_t pos)
{
	uint64_t from = (start + BLOCK - 1) / BLOCK * BLOCK,
		 to = (pos < end ? pos : end) / BLOCK * BLOCK;

	if (c->start == start && from < c->done)
		from = c->done;
	c->start = start;
	if (c->pidfd < 0 || to <= from)
		return;
	process_madvise(c->pidfd, &(struct iovec){ (void *)(uintptr_t)from, to - from }, 1,
			MADV_COLD, 0);
	c->done = to;
}
