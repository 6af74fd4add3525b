// SPDX-License-Identifier: GPL-2.0-only
/* Pipes of which a process outside the tree has an end, too. */
#include <inttypes.h>

#include "looks.h"
#include "outside.h"

static int look_at(void *ctx, const struct mfd_outside *s)
{
	char task[MFD_LOOK_NAME], holder[MFD_LOOK_NAME];

	if (s->what == MFD_OUTSIDE_PIPE)
		mfd_check_add(ctx, MFD_FOUND_PIPE_OUTSIDE, 0,
			      "process %s, descriptor %d: pipe:[%" PRIu64
			      "], process %s has it open, too",
			      mfd_look_name(s->pid, task), s->fd, s->ino,
			      mfd_look_name(s->holder, holder));
	return 0;
}

int mfd_look_outside(struct mfd_check *c)
{
	return c->cpr_off ? 0 : mfd_outside_each(c->root, look_at, c);
}
