// SPDX-License-Identifier: GPL-2.0-only
/* What HELLO asks for, one row for each key that must permit it. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "permit.h"

/* Each: 1, or 0 with `what` filled. */
static int may_open(const struct mfd_right *r, const Mfd__Hello *h, char *what, size_t len)
{
	snprintf(what, len, "open a session of this name ('%.80s')", h->session);
	return mfd_right_session(r, h->session);
}

static int may_mode(const struct mfd_right *r, const Mfd__Hello *h, char *what, size_t len)
{
	snprintf(what, len, "use mode %s", h->postcopy ? "postcopy" : "safe");
	return mfd_right_mode(r, h->postcopy ? MFD_RIGHTS_POSTCOPY : MFD_RIGHTS_SAFE);
}

static int may_restore(const struct mfd_right *r, const Mfd__Hello *h, char *what, size_t len)
{
	snprintf(what, len, "have its sessions restored there");
	return !h->confirm_restore || r->restore;
}

static int may_options(const struct mfd_right *r, const Mfd__Hello *h, char *what, size_t len)
{
	for (size_t i = 0; i < h->n_restore_option; i++) {
		snprintf(what, len, "use restore option '%.64s'", h->restore_option[i]);
		if (!mfd_right_restore_option(r, h->restore_option[i]))
			return 0;
	}
	return 1;
}

static int may_addresses(const struct mfd_right *r, const Mfd__Hello *h, char *what, size_t len)
{
	for (size_t i = 0; i < h->n_move_address; i++) {
		snprintf(what, len, "move address %.80s there", h->move_address[i]);
		if (!mfd_right_address(r, h->move_address[i]))
			return 0;
	}
	return 1;
}

static const struct {
	const char *key; /* of the block */
	int (*may)(const struct mfd_right *r, const Mfd__Hello *h, char *what, size_t len);
} asked[] = {
	{ "sessions", may_open },	{ "mode", may_mode },
	{ "restore", may_restore },	{ "restore-options", may_options },
	{ "addresses", may_addresses },
};

int mfd_permit_probe(const struct mfd_owner *o, struct mfd_error *err)
{
	if (!o->rights || o->right)
		return 0;
	return mfd_error_set(err, -EPERM,
			     "%s may do nothing on this restore server: its operator can permit it "
			     "by a block 'peer' in %.200s there",
			     o->identity[0] ? o->identity : "a source without an identity",
			     mfd_rights_path(o->rights));
}

int mfd_permit_is_root(const struct mfd_owner *o)
{
	return !o->rights || (o->right && o->right->restore && !o->right->user_namespace);
}

int mfd_permit_hello(const struct mfd_owner *o, const Mfd__Hello *h, struct mfd_error *err)
{
	char what[160];
	int ret = mfd_permit_probe(o, err);

	if (ret || !o->rights)
		return ret;
	for (size_t i = 0; i < sizeof(asked) / sizeof(*asked); i++)
		if (!asked[i].may(o->right, h, what, sizeof(what)))
			return mfd_error_set(
				err, -EPERM,
				"%s may not %s: the operator of the restore server can "
				"permit it by '%s' in %.120s there",
				mfd_owner_text(o), what, asked[i].key, mfd_rights_path(o->rights));
	return 0;
}

int mfd_permit_is_of_another(const struct mfd_owner *o, const Mfd__SessionEntry *e)
{
	return e->identity && strcmp(e->identity, o->identity);
}

int mfd_permit_offer(const struct mfd_owner *o, const char *name)
{
	return !o->rights || (o->right && mfd_right_cpr_offer(o->right, name));
}

int mfd_permit_wants_user_namespace(const struct mfd_owner *o)
{
	return o->right && o->right->user_namespace;
}
