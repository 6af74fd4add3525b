// SPDX-License-Identifier: GPL-2.0-only
/*
 * Inherited descriptors: can each be had here, may the peer have it, and the end of those that the
 * keeper holds.
 */
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

/* ---- may its peer have them? ---- */

static int refuse_offer(void *ctx, const struct mfd_keeper_msg *m)
{
	const struct reach *r = ctx;

	if (!(m->flags & MFD_KEEPER_OFFERED) || mfd_permit_offer(&r->s->owner, m->name))
		return 0;
	snprintf(r->text, r->len,
		 "%s may not have descriptor %.200s, which is offered there for session %.64s: the "
		 "operator of the restore server can permit it by 'cpr-offers' in %.120s there, or "
		 "take it back by 'criu-multifd cpr drop'",
		 mfd_owner_text(&r->s->owner), m->name, r->s->name,
		 mfd_rights_path(r->s->owner.rights));
	return -EPERM;
}

/*
 * A restore gives its tasks whatever is offered for its session, whether or not an entry asks for
 * it: some image of CRIU may.  So each offer must be permitted.
 */
static int check_offers(const struct reach *r)
{
	int ret = r->keeper;

	if (!r->s->owner.rights || ret == -ENOENT || ret == -ECONNREFUSED) /* there is no keeper */
		return 0;
	if (ret >= 0)
		ret = mfd_keeper_list(r->keeper, r->s->name, refuse_offer, (void *)r);
	if (ret && !r->text[0])
		snprintf(r->text, r->len, "the keeper of the restore server: %s", strerror(-ret));
	return ret;
}

/* The restore asks the keeper for what is of the session that the image names. */
static int check_session(const struct reach *r, const struct mfd_cpr_image_header *h)
{
	if (!r->s->owner.rights || !h->session || !strcmp(h->session, r->s->name))
		return 0;
	snprintf(r->text, r->len, MFD_CPR_IMAGE_NAME " is of session '%.64s', not of this one",
		 h->session);
	return -EPERM;
}

/* ---- all of it ---- */

static int check_image(struct reach *r)
{
	struct mfd_cpr_image_header header;
	struct mfd_cpr *table = NULL;
	const char *why = NULL;
	int ret = mfd_cpr_load(r->s->dirfd, MFD_CPR_IMAGE_NAME, NULL, &table, &header, &why);

	if (ret) {
		snprintf(r->text, r->len, "%s", why ? why : strerror(-ret));
		return ret;
	}
	r->same_boot = mfd_cpr_header_same_boot(&header);
	ret = check_session(r, &header);
	ret = ret ? ret : look_for_all(r, table);
	mfd_cpr_header_release(&header);
	mfd_cpr_free(table);
	return ret;
}

int mfd_cpr_reach_check(struct mfd_session *s, char *text, size_t len)
{
	struct reach r = { .s = s, .text = text, .len = len };
	int ret;

	text[0] = 0;
	r.keeper = mfd_keeper_connect_at(s->server->dirfd, MFD_KEEPER_SOCKET);
	ret = check_offers(&r);
	if (!ret && !faccessat(s->dirfd, MFD_CPR_IMAGE_NAME, F_OK, 0))
		ret = check_image(&r);
	mfd_io_close(&r.keeper);
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
