// SPDX-License-Identifier: GPL-2.0-only
/* The rights in force, and how others take their place. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "assert.h"
#include "rights_now.h"

void mfd_rights_now_init(struct mfd_rights_now *n, const char *file)
{
	*n = (struct mfd_rights_now){ .file = file };
	pthread_mutex_init(&n->lock, NULL);
}

static const char *path_of(const struct mfd_rights_now *n)
{
	return n->file ? n->file : MFD_RIGHTS_FILE;
}

struct mfd_rights *mfd_rights_now(struct mfd_rights_now *n)
{
	struct mfd_rights *r;

	pthread_mutex_lock(&n->lock);
	r = mfd_rights_get(n->rights);
	pthread_mutex_unlock(&n->lock);
	return r;
}

static void replace(struct mfd_rights_now *n, struct mfd_rights *r)
{
	struct mfd_rights *old;

	mfd_assert(r);
	pthread_mutex_lock(&n->lock);
	old = n->rights;
	n->rights = r;
	pthread_mutex_unlock(&n->lock);
	mfd_rights_put(old);
}

/* Nothing says that there is a file, and there is none. */
static int is_without(struct mfd_rights_now *n)
{
	struct mfd_rights *old = mfd_rights_now(n);

	mfd_rights_put(old);
	return !old && !n->file &&
	       faccessat(AT_FDCWD, MFD_RIGHTS_FILE, F_OK, AT_SYMLINK_NOFOLLOW) && errno == ENOENT;
}

int mfd_rights_now_read(struct mfd_rights_now *n, struct mfd_error *err)
{
	struct mfd_rights *r = NULL;
	int ret;

	if ((n->file && !strcmp(n->file, "off")) || is_without(n))
		return 0;
	ret = mfd_rights_read(&r, path_of(n), err);
	if (!ret)
		replace(n, r);
	return ret;
}

void mfd_rights_now_close(struct mfd_rights_now *n)
{
	struct mfd_rights *none = mfd_rights_new(path_of(n));

	if (none)
		replace(n, none);
}
