// SPDX-License-Identifier: GPL-2.0-only
/*
 * A CPR table to and from cpr-fds.img.  images/cpr_image.c alone knows what the file looks like.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cpr_store.h"
#include "life.h"
#include "why.h"

int mfd_cpr_save_item(struct mfd_cpr *t, const struct mfd_cpr_image_item *item)
{
	struct mfd_cpr_record *r = mfd_cpr_record_new(&item->record);
	int ret = r ? mfd_cpr_add(t, item->name, item->id, MFD_CPR_NO_FD, r) : -ENOMEM;

	if (ret)
		free(r);
	return ret;
}

/* ---- in the order of the image ---- */

struct sorted {
	struct mfd_cpr_entry *entries;
	size_t n, next;
	const char **why;
};

static int collect(void *ctx, const struct mfd_cpr_entry *e)
{
	struct sorted *s = ctx;

	s->entries[s->n++] = *e;
	return 0;
}

/* Equal names are one string in the table. */
static int by_key(const void *a, const void *b)
{
	const struct mfd_cpr_entry *x = a, *y = b;

	return x->name == y->name ? (x->id > y->id) - (x->id < y->id) : strcmp(x->name, y->name);
}

int mfd_cpr_sorted(struct mfd_cpr *t, struct mfd_cpr_entry **list, size_t *n)
{
	struct sorted s = { .entries = calloc(mfd_cpr_count(t) + 1, sizeof(*s.entries)) };

	*list = s.entries;
	*n = 0;
	if (!s.entries)
		return -ENOMEM;
	mfd_cpr_walk_fd(t, collect, &s);
	qsort(s.entries, s.n, sizeof(*s.entries), by_key);
	*n = s.n;
	return 0;
}

/* ---- headers ---- */

static int copy_text(const char **to, const char *from)
{
	*to = from ? strdup(from) : NULL;
	return from && !*to ? -ENOMEM : 0;
}

/* The boot id of this host, to be freed; NULL: not known. */
static char *boot_id(void)
{
	char id[MFD_LIFE_BOOT];

	return mfd_life_boot(id) ? NULL : strdup(id);
}

int mfd_cpr_header_now(struct mfd_cpr_image_header *header, const char *session)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	*header = (struct mfd_cpr_image_header){
		.created_us = (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000,
		.boot_id = boot_id(),
	};
	return copy_text(&header->session, session);
}

int mfd_cpr_header_same_boot(const struct mfd_cpr_image_header *header)
{
	char *ours = header->boot_id ? boot_id() : NULL;
	int same = ours && !strcmp(ours, header->boot_id);

	free(ours);
	return same;
}

void mfd_cpr_header_release(struct mfd_cpr_image_header *header)
{
	free((char *)header->boot_id);
	free((char *)header->session);
	*header = (struct mfd_cpr_image_header){ 0 };
}

/* ---- out and in ---- */

static int next_item(void *ctx, struct mfd_cpr_image_item *item)
{
	struct sorted *s = ctx;
	const struct mfd_cpr_entry *e = &s->entries[s->next];

	if (s->next == s->n)
		return 0;
	if (!e->record)
		return mfd_image_why(s->why, -EINVAL, "%s: nothing is known about (%.100s, %llu)",
				     MFD_CPR_IMAGE_NAME, e->name, (unsigned long long)e->id);
	item->name = e->name;
	item->id = e->id;
	item->record = *(const struct mfd_cpr_record *)e->record;
	s->next++;
	return 1;
}

int mfd_cpr_store(struct mfd_cpr *t, int dirfd, const struct mfd_cpr_image_header *header,
		  const char **why)
{
	struct mfd_cpr_image_header h = header ? *header : (struct mfd_cpr_image_header){ 0 };
	struct sorted s = { .why = why };
	int ret;

	h.count = mfd_cpr_count(t);
	ret = mfd_cpr_sorted(t, &s.entries, &s.n);
	if (ret)
		return mfd_image_why(why, ret, "%s: no memory for %llu entries", MFD_CPR_IMAGE_NAME,
				     (unsigned long long)h.count);
	ret = mfd_cpr_image_write(dirfd, &h, next_item, &s, why);
	free(s.entries);
	return ret;
}

struct load {
	struct mfd_cpr *t;
	struct mfd_cpr_image_header *header;
	const char *name;
	const char **why;
};

static int load_begin(void *ctx, const struct mfd_cpr_image_header *h)
{
	struct load *l = ctx;
	int ret = mfd_cpr_reserve(l->t, h->count);

	if (ret || !l->header)
		return ret;
	l->header->count = h->count;
	l->header->created_us = h->created_us;
	ret = copy_text(&l->header->boot_id, h->boot_id);
	return ret ? ret : copy_text(&l->header->session, h->session);
}

static int load_each(void *ctx, const struct mfd_cpr_image_item *item)
{
	struct load *l = ctx;
	int ret = mfd_cpr_save_item(l->t, item);

	if (ret == -EEXIST)
		ret = mfd_image_why(l->why, -EBADMSG, "%s: (%.100s, %llu) occurs twice", l->name,
				    item->name, (unsigned long long)item->id);
	return ret;
}

int mfd_cpr_load(int dirfd, const char *name, const struct mfd_cpr_options *o, struct mfd_cpr **t,
		 struct mfd_cpr_image_header *header, const char **why)
{
	struct load l = { .t = mfd_cpr_new(o), .header = header, .name = name, .why = why };
	int ret = -ENOMEM;

	*t = NULL;
	if (header)
		*header = (struct mfd_cpr_image_header){ 0 };
	if (l.t)
		ret = mfd_cpr_image_read(dirfd, name, load_begin, load_each, &l, why);
	if (ret == -ENOMEM)
		mfd_image_why(why, ret, "%s: no memory for its entries", name);
	if (ret) {
		mfd_cpr_free(l.t);
		if (header)
			mfd_cpr_header_release(header);
		return ret;
	}
	*t = l.t;
	return 0;
}
