// SPDX-License-Identifier: GPL-2.0-only
/*
 * Namespaces: CRIU dumps those of the first process, and of the others only mount, network and
 * control group namespaces of their own.
 */
#include <stdlib.h>

#include "looks.h"
#include "procfile.h"

static const char *const whole[] = { "uts", "ipc", "user", "pid", "time" };
#define WHOLE (sizeof(whole) / sizeof(*whole))

struct allowed {
	ino_t ours[WHOLE], roots[WHOLE];
};

static void look_at(struct mfd_check *c, pid_t pid, const struct allowed *a)
{
	char task[MFD_LOOK_NAME];

	for (size_t i = 0; i < WHOLE; i++) {
		ino_t ns = mfd_procfile_namespace(pid, whole[i]);

		if (ns && ns != a->ours[i] && ns != a->roots[i])
			mfd_check_add(c, MFD_FOUND_NAMESPACE, 0, "process %s has a %s namespace",
				      mfd_look_name(pid, task), whole[i]);
	}
}

/* A process may be in one time namespace and make its children in another. */
static void look_at_time(struct mfd_check *c, pid_t pid)
{
	ino_t own = mfd_procfile_namespace(pid, "time"),
	      childrens = mfd_procfile_namespace(pid, "time_for_children");
	char task[MFD_LOOK_NAME];

	if (own && childrens && own != childrens)
		mfd_check_add(c, MFD_FOUND_NAMESPACE, 0,
			      "process %s is not in the time namespace of its children",
			      mfd_look_name(pid, task));
}

static void look_at_session(struct mfd_check *c, pid_t pid)
{
	uint64_t inner;
	char task[MFD_LOOK_NAME], *status;

	if (mfd_procfile_status(pid, &status))
		return;
	if (!mfd_procfile_last(status, "NSsid", 10, &inner) && !inner)
		mfd_check_add(c, MFD_FOUND_SESSION, 0, "process %s", mfd_look_name(pid, task));
	free(status);
}

int mfd_look_namespaces(struct mfd_check *c)
{
	struct allowed a;

	for (size_t i = 0; i < WHOLE; i++) {
		a.ours[i] = mfd_procfile_own_namespace(whole[i]);
		a.roots[i] = mfd_procfile_namespace(c->root, whole[i]);
	}
	for (size_t i = 0; i < c->tree.n; i++) {
		look_at(c, c->tree.v[i], &a);
		look_at_time(c, c->tree.v[i]);
		look_at_session(c, c->tree.v[i]);
	}
	return 0;
}
