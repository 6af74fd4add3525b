// SPDX-License-Identifier: GPL-2.0-only
/* Stands in until pager.c is there: every symbol is weak. Remove then. */
#include <errno.h>
#include <string.h>

#include "pager.h"

#pragma weak mfd_pager_start
#pragma weak mfd_pager_stop
#pragma weak mfd_pager_direct
#pragma weak mfd_pager_install
#pragma weak mfd_pager_arrived
#pragma weak mfd_pager_complete
#pragma weak mfd_pager_want_again
#pragma weak mfd_pager_get_stats

int mfd_pager_start(int dirfd, struct mfd_pagestore *store, int postcopy, unsigned threads, const struct mfd_pager_ops *ops,
		    void *arg, struct mfd_pager **p, struct mfd_error *err)
{
	static int dummy;

	(void)dirfd, (void)store, (void)postcopy, (void)threads, (void)ops, (void)arg, (void)err;
	*p = (struct mfd_pager *)&dummy;
	return 0;
}

void mfd_pager_stop(struct mfd_pager *p)
{
	(void)p;
}

int mfd_pager_direct(struct mfd_pager *p, uint32_t task)
{
	(void)p, (void)task;
	return 0;
}

int mfd_pager_install(struct mfd_pager *p, uint32_t task, uint64_t vaddr, uint64_t pages, const void *src)
{
	(void)p, (void)task, (void)vaddr, (void)pages, (void)src;
	return -ENOSYS;
}

void mfd_pager_arrived(struct mfd_pager *p, uint32_t task, uint64_t vaddr, uint64_t pages)
{
	(void)p, (void)task, (void)vaddr, (void)pages;
}

void mfd_pager_complete(struct mfd_pager *p)
{
	(void)p;
}

void mfd_pager_want_again(struct mfd_pager *p)
{
	(void)p;
}

void mfd_pager_get_stats(struct mfd_pager *p, struct mfd_pager_stats *st)
{
	(void)p;
	memset(st, 0, sizeof(*st));
}
