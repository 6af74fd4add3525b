// SPDX-License-Identifier: GPL-2.0-only
/* Free places of a page store; see storefree.h. */
#include <errno.h>
#include <stdlib.h>

#include "storefree.h"

#define FIRST_ROOM 64

void mfd_storefree_init(struct mfd_storefree *f)
{
	pthread_mutex_init(&f->lock, NULL);
}

void mfd_storefree_free(struct mfd_storefree *f)
{
	free(f->run);
	pthread_mutex_destroy(&f->lock);
}

/* lock held: the place for one more run, or NULL. */
static struct mfd_storefree_run *push(struct mfd_storefree *f)
{
	size_t room = f->room ? 2 * f->room : FIRST_ROOM;
	struct mfd_storefree_run *run;

	if (f->n == f->room) {
		run = reallocarray(f->run, room, sizeof(*run));
		if (!run)
			return NULL;
		f->run = run;
		f->room = room;
	}
	return &f->run[f->n++];
}

int mfd_storefree_add(struct mfd_storefree *f, uint64_t index, uint64_t pages)
{
	struct mfd_storefree_run *r;
	int ret = 0;

	pthread_mutex_lock(&f->lock);
	r = f->n ? &f->run[f->n - 1] : NULL;
	if (r && r->index + r->pages == index) {
		r->pages += pages;
	} else {
		r = push(f);
		if (r)
			*r = (struct mfd_storefree_run){ index, pages };
		else
			ret = -ENOMEM;
	}
	pthread_mutex_unlock(&f->lock);
	return ret;
}

uint32_t mfd_storefree_take(struct mfd_storefree *f, uint32_t max, uint64_t *index)
{
	struct mfd_storefree_run *r;
	uint32_t n = 0;

	pthread_mutex_lock(&f->lock);
	if (f->n && max) {
		r = &f->run[f->n - 1];
		n = r->pages < max ? (uint32_t)r->pages : max;
		*index = r->index;
		r->index += n;
		r->pages -= n;
		f->n -= !r->pages;
	}
	pthread_mutex_unlock(&f->lock);
	return n;
}
