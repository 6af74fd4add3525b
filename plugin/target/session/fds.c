// SPDX-License-Identifier: GPL-2.0-only
/*
 * A session's inherited descriptors, as the server sees them: before it promises anything to the
 * source, everything in cpr-fds.img must be in reach; and when the session is over, the keeper lets
 * go.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cpr_store.h"
#include "io.h"
#include "keeper_client.h"
#include "log.h"
#include "session.h"

struct reach {
	struct mfd_session *s;
	int keeper, same_boot;
	char *text;
	size_t len;
};

static int take_header(void *ctx, const struct mfd_cpr_image_header *h)
{
	struct reach *r = ctx;

	r->same_boot = mfd_cpr_header_same_boot(h);
	return 0;
}

/*
 * CRIU restores these by itself, if not as the same; and a path may exist in the tasks' mounts
 * alone.
 */
static int has_fallback(const struct mfd_cpr_record *r)
{
	return !r->inherit_id && (r->path || !(r->has & MFD_CPR_HAS_CRIU_ID));
}

/*
 * runc notes where standard input, output and error went, and its restore gives CRIU pipes of its
 * own for those.
 */
static int given_by_runc(struct mfd_session *s, const char *inherit_id)
{
	char *text, quoted[64];
	int found;

	if (!inherit_id || mfd_io_read_file(s->dirfd, "descriptors.json", 1 << 16, &text, NULL))
		return 0;
	snprintf(quoted, sizeof(quoted), "\"%s\"", inherit_id);
	found = strstr(text, quoted) != NULL;
	free(text);
	return found;
}

static int has(const struct reach *r, const char *name, uint64_t id)
{
	return r->keeper >= 0 && mfd_keeper_has(r->keeper, r->s->name, name, id) > 0;
}

/*
 * A restore that the server does not start may be started on a terminal; the plugin looks then,
 * before CRIU makes a task.
 */
static int has_terminal(const struct reach *r, uint64_t id)
{
	return !r->s->plan->confirm || has(r, MFD_KEEPER_TERMINAL, id);
}

/*
 * What was kept on this very host may be with another keeper, which the restore will be told about.
 */
static int look_for(void *ctx, const struct mfd_cpr_image_item *item)
{
	struct reach *r = ctx;

	if (has_fallback(&item->record) || (item->record.how == MFD__CPR_HOW__KEPT && r->same_boot))
		return 0;
	if (given_by_runc(r->s, item->record.inherit_id) ||
	    mfd_cpr_record_is_dev_tty(&item->record))
		return 0;
	if (has(r, item->name, item->id) ||
	    (item->record.kind == MFD__CPR_KIND__TTY && has_terminal(r, item->id)))
		return 0;
	snprintf(
		r->text, r->len,
		"descriptor %.200s (%llu) cannot be had here: offer one with 'criu-multifd cpr offer %.64s %.64s', or leave it out of "
		"option cpr",
		item->name, (unsigned long long)item->id, r->s->name, item->name);
	return -ENOENT;
}

int mfd_cpr_in_reach(struct mfd_session *s, char *text, size_t len)
{
	struct reach r = { .s = s, .text = text, .len = len };
	const char *why = NULL;
	int ret;

	r.keeper = mfd_keeper_connect_at(s->server->dirfd, MFD_KEEPER_SOCKET);
	text[0] = 0;
	ret = mfd_cpr_image_read(s->dirfd, MFD_CPR_IMAGE_NAME, take_header, look_for, &r, &why);
	mfd_io_close(&r.keeper);
	if (faccessat(s->dirfd, MFD_CPR_IMAGE_NAME, F_OK, 0))
		return 0;
	if (ret && !*text)
		snprintf(text, len, "%s", why ? why : strerror(-ret));
	return ret;
}

void mfd_cpr_ended(struct mfd_session *s)
{
	int keeper = mfd_keeper_connect_at(s->server->dirfd, MFD_KEEPER_SOCKET);

	if (keeper < 0)
		return;
	/* Offers outlive a session that was aborted: the next attempt of that name wants them. */
	mfd_keeper_drop(keeper, s->name, NULL, 0,
			MFD_KEEPER_KEPT | (s->over == MFD_OVER_DONE ? MFD_KEEPER_OFFERED : 0));
	close(keeper);
}
