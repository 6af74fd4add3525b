// SPDX-License-Identifier: GPL-2.0-only
/*
 * Terminals whose other end is outside the tree.  One that is a foreign session's is a job's: that
 * needs --shell-job, and a terminal to be restored on.
 */
#include "looks.h"
#include "terminals.h"

static void look_at(struct mfd_check *c, const struct mfd_terminals *t, size_t i)
{
	const struct mfd_terminals_end *e = &t->v[i];
	char task[MFD_LOOK_NAME];
	int session;

	if (e->which != MFD_TERMINALS_SLAVE || mfd_terminals_done_before(t, i) ||
	    mfd_terminals_has_master(t, e))
		return;
	mfd_look_name(e->pid, task);
	mfd_check_add(c, MFD_FOUND_TERMINAL, 0, "process %s, descriptor %d: /dev/pts/%u", task,
		      e->fd, e->index);
	session = mfd_terminals_foreign_session(t, e);
	if (session && !c->found[MFD_FOUND_JOB].count)
		mfd_check_add(c, MFD_FOUND_JOB, 0,
			      "process %s, descriptor %d: the terminal of session %d", task, e->fd,
			      session);
}

int mfd_look_terminals(struct mfd_check *c)
{
	struct mfd_terminals t = { 0 };
	int ret = mfd_terminals_find(c->root, &t);

	for (size_t i = 0; i < t.n && !ret; i++)
		look_at(c, &t, i);
	mfd_terminals_free(&t);
	return ret;
}
