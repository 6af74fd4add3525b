// SPDX-License-Identifier: GPL-2.0-only
/* The sum over the images' lazy pages. */
#include <errno.h>
#include <stdlib.h>

#include "freshness.h"
#include "image.h"
#include "sentpages.h"
#include "wire.h"

#define PAGE MFD_WIRE_PAGE_SIZE

static uint64_t sum_of(const struct mfd_task *k, uint64_t vaddr, uint64_t pages)
{
	uint64_t sum = 0;

	for (uint64_t i = 0; i < pages; i++) {
		uint64_t at = vaddr + i * PAGE, word = mfd_pagetable_get(k->sent, at / PAGE);

		if (word)
			sum += mfd_wire_freshness(k->id->vpid, at, 1, mfd_sentpages_round(word));
	}
	return sum;
}

static int add_task(const struct mfd_task *k, int dirfd, uint64_t *sum, struct mfd_error *err)
{
	struct mfd_lazy_range *ranges = NULL;
	const char *why = "";
	size_t n = 0;
	int ret = mfd_image_lazy_ranges(dirfd, k->id->vpid, &ranges, &n, &why);

	if (ret == -ENOENT) /* no memory */
		return 0;
	if (ret)
		return mfd_error_sys(err, ret, "reading the images of task %u: %s", k->id->vpid,
				     why);
	for (size_t i = 0; i < n; i++)
		*sum += sum_of(k, ranges[i].start, ranges[i].pages);
	free(ranges);
	return 0;
}

int mfd_freshness(const struct mfd_tasks *t, int dirfd, uint64_t *sum, struct mfd_error *err)
{
	int ret = 0;

	*sum = 0;
	for (unsigned i = 0; i < t->n && !ret; i++)
		if (t->task[i]->sent)
			ret = add_task(t->task[i], dirfd, sum, err);
	return ret;
}
