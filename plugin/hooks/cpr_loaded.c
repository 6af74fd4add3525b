// SPDX-License-Identifier: GPL-2.0-only
/* cpr-fds.img of a restore in a CPR table, and the index of what CRIU asks for. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "cpr_loaded.h"

#define EXT_FILE "ext-file"
#define UNIX_SK	 "unix-sk"
#define TERMINAL "terminal"

/* What the index points to belongs to the list. */
static void keep(void *record)
{
	(void)record;
}

/* Of several entries with one key the first one counts. */
static int add(struct mfd_loaded *l, const char *kind, uint64_t id, const struct mfd_cpr_entry *e)
{
	int ret = mfd_cpr_add(l->index, kind, id, MFD_CPR_NO_FD, (void *)e);

	return ret == -EEXIST ? 0 : ret;
}

static int index_one(struct mfd_loaded *l, const struct mfd_cpr_entry *e)
{
	const struct mfd_cpr_record *r = e->record;
	int ret = 0;

	if (r->has & MFD_CPR_HAS_CRIU_ID)
		ret = add(l, mfd_cpr_record_family(r) == AF_UNIX ? UNIX_SK : EXT_FILE, r->criu_id,
			  e);
	if (!ret && r->kind == MFD__CPR_KIND__TTY && r->inherit_id && !mfd_cpr_record_is_dev_tty(r))
		ret = add(l, TERMINAL, e->id, e);
	return ret;
}

static int load_table(struct mfd_loaded *l, int dirfd, const char **why)
{
	int ret = mfd_cpr_load(dirfd, MFD_CPR_IMAGE_NAME, NULL, &l->table, &l->header, why);

	if (ret != -ENOENT)
		return ret;
	*why = NULL;
	l->table = mfd_cpr_new(NULL);
	return l->table ? 0 : -ENOMEM;
}

int mfd_loaded_read(struct mfd_loaded *l, int dirfd, const char **why)
{
	const struct mfd_cpr_options o = { .release = keep };
	int ret;

	*l = (struct mfd_loaded){ 0 };
	ret = load_table(l, dirfd, why);
	if (!ret)
		ret = mfd_cpr_sorted(l->table, &l->list, &l->n);
	l->index = ret ? NULL : mfd_cpr_new(&o);
	if (!ret && !l->index)
		ret = -ENOMEM;
	for (size_t i = 0; i < l->n && !ret; i++)
		ret = index_one(l, &l->list[i]);
	if (ret)
		mfd_loaded_free(l);
	return ret;
}

void mfd_loaded_free(struct mfd_loaded *l)
{
	mfd_cpr_free(l->index);
	free(l->list);
	mfd_cpr_free(l->table);
	mfd_cpr_header_release(&l->header);
	*l = (struct mfd_loaded){ 0 };
}

static const struct mfd_cpr_entry *look_up(const struct mfd_loaded *l, const char *kind,
					   uint64_t id)
{
	struct mfd_cpr_entry found;

	return l->index && !mfd_cpr_get(l->index, kind, id, &found) ? found.record : NULL;
}

const struct mfd_cpr_entry *mfd_loaded_asked(const struct mfd_loaded *l, bool is_unix,
					     uint32_t criu_id)
{
	return look_up(l, is_unix ? UNIX_SK : EXT_FILE, criu_id);
}

int mfd_loaded_will_ask(struct mfd_loaded *l, const struct mfd_cpr_entry *e, uint32_t criu_id)
{
	struct mfd_cpr_record *r = mfd_loaded_record(e);

	r->criu_id = criu_id;
	r->has |= MFD_CPR_HAS_CRIU_ID;
	return add(l, EXT_FILE, criu_id, e);
}

const struct mfd_cpr_entry *mfd_loaded_terminal(const struct mfd_loaded *l,
						const struct mfd_cpr_entry *e)
{
	return mfd_cpr_record_is_dev_tty(e->record) ? look_up(l, TERMINAL, e->id) : NULL;
}
