// SPDX-License-Identifier: GPL-2.0-only
/* How a restore has each descriptor that came along. */
#include <errno.h>
#include <unistd.h>

#include "cpr_inherit.h"
#include "cpr_tty.h"
#include "cpr_ways.h"
#include "host.h"
#include "keeper_client.h"

#define MOST_LINES 20

static uint32_t owner_pid(const struct mfd_cpr_record *r)
{
	return r->n_owners ? r->owners[0].pid : 0;
}

static uint32_t owner_fd(const struct mfd_cpr_record *r)
{
	return r->n_owners ? r->owners[0].fd : 0;
}

/* MFD_KEEPER_KEPT, MFD_KEEPER_OFFERED or 0. */
static int keeper_has(const struct mfd_restoring *r, const char *name, uint64_t id)
{
	int ret = r->keeper < 0 ? 0 : mfd_keeper_has(r->keeper, r->session, name, id);

	return ret > 0 ? ret : 0;
}

/* A path in the tasks' mounts: only inside a task it shows whether the path is there. */
static int may_reopen(const struct mfd_restoring *r, const struct mfd_cpr_record *rec)
{
	return rec->path && !rec->inherit_id && !(rec->how == MFD__CPR_HOW__KEPT && r->same_boot);
}

/* An offered end of a pipe may be either one: CRIU opens it again the way that is needed. */
static enum mfd_way pipe_way(const struct mfd_restoring *r, const struct mfd_cpr_entry *e)
{
	int has = keeper_has(r, e->name, e->id);

	if (mfd_inherit_given(mfd_loaded_record(e)->inherit_id))
		return MFD_WAY_LEAVE;
	return has == MFD_KEEPER_KEPT ? MFD_WAY_FETCH : has ? MFD_WAY_INHERIT : MFD_WAY_NOWHERE;
}

/* The restore's own terminal, as with --shell-job. */
static enum mfd_way own_terminal_way(const struct mfd_cpr_entry *e)
{
	int own = mfd_tty_own(mfd_host_image_dir(), mfd_loaded_record(e)->inherit_id);

	if (own == -EPERM)
		mfd_host_warn(
			"%s is the terminal of a whole session; this one has a session already and is not taken for it",
			e->name);
	if (own < 0)
		return MFD_WAY_NOWHERE;
	close(own);
	return MFD_WAY_OWN_TERMINAL;
}

/*
 * Kept or offered under its name, offered for all terminals, or the restore's own.  Never one of
 * the same path: that is another session's.
 */
static enum mfd_way terminal_way(const struct mfd_restoring *r, const struct mfd_cpr_entry *e)
{
	const struct mfd_cpr_entry *same = mfd_loaded_terminal(&r->loaded, e);

	if (mfd_inherit_given(mfd_loaded_record(e)->inherit_id))
		return MFD_WAY_LEAVE;
	if (keeper_has(r, e->name, e->id))
		return MFD_WAY_INHERIT;
	if (same && !mfd_inherit_given(mfd_loaded_record(same)->inherit_id))
		return MFD_WAY_SAME_TERMINAL;
	if (keeper_has(r, MFD_KEEPER_TERMINAL, e->id))
		return MFD_WAY_ANY_TERMINAL;
	return own_terminal_way(e);
}

static enum mfd_way find_way(const struct mfd_restoring *r, const struct mfd_cpr_entry *e)
{
	const struct mfd_cpr_record *rec = e->record;

	if (rec->inherit_id)
		return rec->kind == MFD__CPR_KIND__TTY ? terminal_way(r, e) : pipe_way(r, e);
	if (keeper_has(r, e->name, e->id))
		return MFD_WAY_FETCH;
	if (!(rec->has & MFD_CPR_HAS_CRIU_ID))
		return MFD_WAY_LEAVE; /* CRIU's own image of it serves; it is shared no more */
	return may_reopen(r, rec) ? MFD_WAY_REOPEN : MFD_WAY_NOWHERE;
}

static void explain(const struct mfd_restoring *r, const struct mfd_cpr_entry *e,
		    struct mfd_error *err)
{
	const struct mfd_cpr_record *rec = e->record;

	if (rec->kind == MFD__CPR_KIND__TTY)
		mfd_error_set(
			err, -ENOENT,
			"terminal %s of process %u, descriptor %u, cannot be restored: the keeper has none for session %s, "
			"and standard input does not serve (criu-multifd cpr offer %s '%s' <TERMINAL)",
			e->name, owner_pid(rec), owner_fd(rec), r->session, r->session, e->name);
	else if (r->keeper < 0)
		mfd_error_set(
			err, -ENOENT,
			"descriptor %s (%llu) of process %u cannot be restored: there is no keeper that holds it",
			e->name, (unsigned long long)e->id, owner_pid(rec));
	else
		mfd_error_set(
			err, -ENOENT,
			"descriptor %s (%llu) cannot be restored: the keeper has none of that name for session %s "
			"(criu-multifd cpr offer %s '%s' <descriptor)",
			e->name, (unsigned long long)e->id, r->session, r->session, e->name);
}

static void complain(const struct mfd_restoring *r, const struct mfd_cpr_entry *e, unsigned missing,
		     struct mfd_error *err)
{
	if (!missing)
		explain(r, e, err);
	if (missing < MOST_LINES)
		mfd_host_error("%s (%llu) is not to be had", e->name, (unsigned long long)e->id);
}

int mfd_ways_find(struct mfd_restoring *r, struct mfd_error *err)
{
	unsigned missing = 0;

	for (size_t i = 0; i < r->loaded.n; i++) {
		const struct mfd_cpr_entry *e = &r->loaded.list[i];
		struct mfd_cpr_record *rec = mfd_loaded_record(e);

		rec->mark = find_way(r, e);
		if (rec->mark == MFD_WAY_NOWHERE)
			complain(r, e, missing++, err);
		else if (rec->mark == MFD_WAY_LEAVE && !rec->inherit_id)
			mfd_host_warn(
				"%s is restored as CRIU does; no other process shares it any more",
				e->name);
	}
	return missing ? err->code : 0;
}
