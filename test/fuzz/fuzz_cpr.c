// SPDX-License-Identifier: GPL-2.0-only
/*
 * cpr-fds.img over arbitrary bytes: what can be read can be written, and is the same when read
 * again; what is refused is refused with a sentence.  The CPR table holds what was read, and then
 * takes the same bytes as a list of calls, in step with a plain array.
 *
 * Input: an image.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cpr_store.h"
#include "image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char dir[] = "/tmp/fuzz_cpr.XXXXXX";
static int dirfd = -1, in = -1, out = -1;

static void clean_up(void)
{
	unlinkat(dirfd, "in", 0);
	unlinkat(dirfd, MFD_CPR_IMAGE_NAME, 0);
	rmdir(dir);
}

static void must(int ok)
{
	if (!ok)
		abort();
}

static void set_up(void)
{
	must(mkdtemp(dir) != NULL);
	dirfd = open(dir, O_RDONLY | O_DIRECTORY);
	in = openat(dirfd, "in", O_RDWR | O_CREAT, 0600);
	out = memfd_create("json", 0);
	must(in >= 0 && out >= 0);
	atexit(clean_up);
}

static int compare(void *ctx, const struct mfd_cpr_entry *e)
{
	const struct mfd_cpr_record *a = e->record, *b;
	struct mfd_cpr_entry other;

	must(!mfd_cpr_get(ctx, e->name, e->id, &other));
	b = other.record;
	must(a->kind == b->kind && a->how == b->how && a->has == b->has && a->flags == b->flags &&
	     a->position == b->position && a->n_owners == b->n_owners);
	must(!a->path == !b->path && (!a->path || !strcmp(a->path, b->path)));
	must(!a->n_owners || !memcmp(a->owners, b->owners, a->n_owners * sizeof(*a->owners)));
	return 0;
}

static int delete_it(void *ctx, const struct mfd_cpr_entry *e)
{
	must(e->id % 2 || !mfd_cpr_delete_fd(ctx, e->name, e->id));
	return 0;
}

static void image(void)
{
	struct mfd_cpr *t, *again;
	struct mfd_cpr_image_header h;
	const char *why = NULL;
	int ret;

	must(!ftruncate(out, 0) && !lseek(out, 0, SEEK_SET));
	mfd_image_show(dirfd, "in", out, &why);
	why = NULL;
	ret = mfd_cpr_load(dirfd, "in", NULL, &t, &h, &why);
	must(!ret == !!t && !ret == !why);
	if (ret)
		return;
	must(!mfd_cpr_store(t, dirfd, &h, &why));
	mfd_cpr_header_release(&h);
	must(!mfd_cpr_load(dirfd, MFD_CPR_IMAGE_NAME, NULL, &again, NULL, &why));
	must(mfd_cpr_count(t) == mfd_cpr_count(again));
	must(!mfd_cpr_walk_fd(t, compare, again));
	must(!mfd_cpr_walk_fd(t, delete_it, t));
	mfd_cpr_free(t);
	mfd_cpr_free(again);
}

/* Two bytes a call: what, and the key. */
static void calls(const uint8_t *data, size_t size)
{
	struct mfd_cpr *t = mfd_cpr_new(&(struct mfd_cpr_options){ .seed = 1 });
	int fds[256];
	char name[8];

	must(t != NULL);
	memset(fds, -1, sizeof(fds));
	for (size_t i = 0; i + 1 < size; i += 2) {
		uint8_t key = data[i + 1];
		int fd = data[i] >> 2, had = fds[key];

		snprintf(name, sizeof(name), "n%u", key % 16);
		switch (data[i] & 3) {
		case 0:
			must(mfd_cpr_save_fd(t, name, key, fd) == (had < 0 ? 0 : -EEXIST));
			fds[key] = had < 0 ? fd : had;
			break;
		case 1:
			must(mfd_cpr_delete_fd(t, name, key) == (had < 0 ? -ENOENT : 0));
			fds[key] = -1;
			break;
		case 2:
			must(mfd_cpr_resave_fd(t, name, key, fd) ==
			     (had < 0 || had == fd ? 0 : -EEXIST));
			fds[key] = had < 0 ? fd : had;
			break;
		default:
			must(mfd_cpr_find_fd(t, name, key) == (had < 0 ? -ENOENT : had));
		}
	}
	mfd_cpr_free(t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (dirfd < 0)
		set_up();
	must(!ftruncate(in, 0) && pwrite(in, data, size, 0) == (ssize_t)size);
	image();
	calls(data, size);
	return 0;
}
