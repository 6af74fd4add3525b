// SPDX-License-Identifier: GPL-2.0-only
/* The looks in their order. */
#include <stdlib.h>

#include "looks.h"

static int (*const looks[])(struct mfd_check *c) = {
	mfd_look_tasks,	 mfd_look_namespaces, mfd_look_files,	mfd_look_mounts,
	mfd_look_locks,	 mfd_look_sockets,    mfd_look_outside, mfd_look_terminals,
	mfd_look_memory, mfd_look_standstill, mfd_look_wants,	mfd_look_limits,
};

int mfd_check_run(struct mfd_check *c)
{
	int ret = mfd_walk_tree(c->root, &c->tree);

	for (size_t i = 0; i < sizeof(looks) / sizeof(*looks) && !ret; i++)
		ret = looks[i](c);
	return ret;
}

void mfd_check_free(struct mfd_check *c)
{
	free(c->tree.v);
	mfd_wants_free(&c->wants);
	c->tree = (struct mfd_walk_pids){ 0 };
}
