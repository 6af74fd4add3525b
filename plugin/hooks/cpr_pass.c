// SPDX-License-Identifier: GPL-2.0-only
/* What a restore passes to CRIU as if by --inherit-fd. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cpr_inherit.h"
#include "cpr_pass.h"
#include "cpr_tty.h"
#include "host.h"
#include "keeper_client.h"

static int pass_from_keeper(const struct mfd_restoring *r, const char *name, uint64_t id, char *key,
			    struct mfd_error *err)
{
	int fd = mfd_keeper_get(r->keeper, r->session, name, id);

	return fd < 0 ? mfd_error_sys(err, fd, "%s from the keeper", name) :
			mfd_inherit_pass(fd, key, err);
}

static int pass_own_terminal(const struct mfd_cpr_entry *e, char *key, struct mfd_error *err)
{
	int fd = mfd_tty_own(mfd_host_image_dir(), mfd_loaded_record(e)->inherit_id);

	if (fd < 0)
		return mfd_error_sys(err, fd, "%s from standard input", e->name);
	mfd_host_info("%s becomes this restore's own terminal", e->name);
	return mfd_inherit_pass(fd, key, err);
}

/* Under `key`: the inherit_id of `e`, or that of a /dev/tty that `e` serves for. */
static int pass_entry(const struct mfd_restoring *r, const struct mfd_cpr_entry *e, char *key,
		      struct mfd_error *err)
{
	switch (mfd_ways_of(e)) {
	case MFD_WAY_INHERIT:
		return pass_from_keeper(r, e->name, e->id, key, err);
	case MFD_WAY_ANY_TERMINAL:
		return pass_from_keeper(r, MFD_KEEPER_TERMINAL, MFD_KEEPER_ANY_ID, key, err);
	case MFD_WAY_OWN_TERMINAL:
		return pass_own_terminal(e, key, err);
	case MFD_WAY_SAME_TERMINAL:
		return pass_entry(r, mfd_loaded_terminal(&r->loaded, e), key, err);
	default:
		return 0;
	}
}

int mfd_pass_entries(const struct mfd_restoring *r, struct mfd_error *err)
{
	int ret = 0;

	for (size_t i = 0; i < r->loaded.n && !ret; i++) {
		const struct mfd_cpr_entry *e = &r->loaded.list[i];

		ret = pass_entry(r, e, (char *)mfd_loaded_record(e)->inherit_id, err);
	}
	return ret;
}

/* ---- offers that no entry asks for ---- */

struct offers {
	const struct mfd_restoring *r;
	char **v;
	size_t n;
};

static int collect(void *ctx, const struct mfd_keeper_msg *m)
{
	struct offers *o = ctx;
	char **more;

	if (!(m->flags & MFD_KEEPER_OFFERED) || m->id != MFD_KEEPER_ANY_ID ||
	    !strcmp(m->name, MFD_KEEPER_TERMINAL) || mfd_cpr_has_name(o->r->loaded.table, m->name))
		return 0;
	more = realloc(o->v, (o->n + 1) * sizeof(*more));
	if (!more)
		return -ENOMEM;
	o->v = more;
	o->v[o->n] = strdup(m->name);
	return o->v[o->n++] ? 0 : -ENOMEM;
}

/* CRIU knows paths without their first slash. */
static int pass_offer(const struct mfd_restoring *r, char *name, struct mfd_error *err)
{
	int ret = pass_from_keeper(r, name, MFD_KEEPER_ANY_ID, name + (*name == '/'), err);

	if (!ret)
		mfd_host_info("%s is taken from what was offered", name);
	return ret;
}

int mfd_pass_offers(const struct mfd_restoring *r, struct mfd_error *err)
{
	struct offers o = { .r = r };
	int ret = r->keeper < 0 ? 0 : mfd_keeper_list(r->keeper, r->session, collect, &o);

	if (ret)
		mfd_error_sys(err, ret, "list of the keeper");
	for (size_t i = 0; i < o.n; i++) {
		if (!ret)
			ret = pass_offer(r, o.v[i], err);
		free(o.v[i]);
	}
	free(o.v);
	return ret;
}
