// SPDX-License-Identifier: GPL-2.0-only
/* Inherited descriptors: can each be had here, and the end of those that the keeper holds. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cpr_reach.h"
#include "cpr_runtime.h"
#include "cpr_store.h"
#include "io.h"
#include "keeper_client.h"
#include "permit.h"
#include "session.h"

struct reach {
	struct mfd_session *s;
	int keeper, same_boot;
	char *text;
	size_t len;
};

/*
 * CRIU restores these by itself, if not as the same; and a path may exist in the tasks' mounts
 * alone.
 */
static int has_fallback(const struct mfd_cpr_record *r)
{
	return !r->inherit_id && (r->path || !(r->has & MFD_CPR_HAS_CRIU_ID));
}

static int has(const struct reach *r, const char *name, uint64_t id)
{
	int what = r->keeper < 0 ? 0 : mfd_keeper_has(r->keeper, r->s->name, name, id);

	if (what == MFD_KEEPER_OFFERED && !mfd_permit_offer(&r->s->owner, name))
		return 0;
	return what > 0;
}

/*
 * A restore that the server does not start may be started on a terminal; the plugin looks then,
 * before CRIU makes a task.
 */
static int has_terminal(const struct reach *r, uint64_t id)
{
	return !r->s->plan->confirm || has(r, MFD_KEEPER_TERMINAL, id);
}

static int is_given(const struct reach *r, const char *inherit_id)
{
	return inherit_id && mfd_cpr_runtime_gives(r->s->dirfd, inherit_id);
}

/*
 * What was kept on this very host may be with another keeper, which the restore will be told about.
 */
static int is_in_reach(const struct reach *r, const struct mfd_cpr_entry *e)
{
	const struct mfd_cpr_record *record = e->record;

	if (has_fallback(record) || (record->how == MFD__CPR_HOW__KEPT && r->same_boot))
		return 1;
	if (is_given(r, record->inherit_id) || mfd_cpr_record_is_dev_tty(record))
		return 1;
	return has(r, e->name, e->id) ||
	       (record->kind == MFD__CPR_KIND__TTY && has_terminal(r, e->id));
}

static int say_out_of_reach(const struct reach *r, const struct mfd_cpr_entry *e)
{
	snprintf(
		r->text, r->len,
		"descriptor %.200s (%llu) cannot be had here: offer one with 'criu-multifd cpr offer %.64s %.64s', or leave it out of "
		"option cpr",
		e->name, (unsigned long long)e->id, r->s->name, e->name);
	return -ENOENT;
}

/* In the order of the image: the first that is missing is named. */
static int look_for_all(const struct reach *r, struct mfd_cpr *table)
{
	struct mfd_cpr_entry *list = NULL;
	size_t n = 0;
	int ret = mfd_cpr_sorted(table, &list, &n);

	if (ret)
		snprintf(r->text, r->len, "%s", strerror(-ret));
	for (size_t i = 0; !ret && i < n; i++)
		if (!is_in_reach(r, &list[i]))
			ret = say_out_of_reach(r, &list[i]);
	free(list);
	return ret;
}

int mfd_cpr_reach_check(struct mfd_session *s, char *text, size_t len)
{
	struct reach r = { .s = s, .text = text, .len = len };
	struct mfd_cpr_image_header header;
	struct mfd_cpr *table = NULL;
	const char *why = NULL;
	int ret;

	text[0] = 0;
	if (faccessat(s->dirfd, MFD_CPR_IMAGE_NAME, F_OK, 0))
		return 0;
	ret = mfd_cpr_load(s->dirfd, MFD_CPR_IMAGE_NAME, NULL, &table, &header, &why);
	if (ret) {
		snprintf(text, len, "%s", why ? why : strerror(-ret));
		return ret;
	}
	r.same_boot = mfd_cpr_header_same_boot(&header);
	r.keeper = mfd_keeper_connect_at(s->server->dirfd, MFD_KEEPER_SOCKET);
	ret = look_for_all(&r, table);
	mfd_io_close(&r.keeper);
	mfd_cpr_header_release(&header);
	mfd_cpr_free(table);
	return ret;
}

void mfd_cpr_reach_drop(struct mfd_session *s)
{
	int keeper = mfd_keeper_connect_at(s->server->dirfd, MFD_KEEPER_SOCKET);

	if (keeper < 0)
		return;
	/* Offers outlive a session that was aborted: the next attempt of that name wants them. */
	mfd_keeper_drop(keeper, s->name, NULL, 0,
			MFD_KEEPER_KEPT | (s->over == MFD_OVER_DONE ? MFD_KEEPER_OFFERED : 0));
	close(keeper);
}
