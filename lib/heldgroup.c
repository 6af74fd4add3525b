// SPDX-License-Identifier: GPL-2.0-only
/* By the group's name, and by its files. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cgroup.h"
#include "error.h"
#include "held.h"
#include "heldgroup.h"
#include "io.h"

/* Where the hierarchies usually are; one that is elsewhere is not looked at. */
static const struct {
	const char *hierarchy, *mount, *file, *frozen;
} usual[] = {
	{ "0::", "/sys/fs/cgroup", "cgroup.events", "frozen 1" },
	{ "0::", "/sys/fs/cgroup/unified", "cgroup.events", "frozen 1" },
	{ ":freezer:", "/sys/fs/cgroup/freezer", "freezer.state", "FROZEN" },
};

static int says(const char *mount, const char *group, const char *file, const char *word)
{
	char path[4200], *text;
	int found;

	snprintf(path, sizeof(path), "%s%s/%s", mount, group, file);
	if (mfd_io_read_file(AT_FDCWD, path, 4096, &text, NULL))
		return 0;
	found = strstr(text, word) != NULL;
	free(text);
	return found;
}

/* A hold of which the group alone is left: what is in it runs. */
static int is_thawed(const char *group)
{
	return says(usual[0].mount, group, "cgroup.freeze", "0") ||
	       says(usual[1].mount, group, "cgroup.freeze", "0");
}

int mfd_heldgroup_refuse(pid_t pid, struct mfd_error *err)
{
	char *group;
	int ret = 0;

	if (mfd_cgroup_path(pid, pid, "0::", &group))
		return 0;
	if (strstr(group, "/" MFD_HELD_GROUP "."))
		ret = mfd_error_set(
			err, -EBUSY,
			"process %d is held frozen in %s: it is restored, and its source "
			"has not let go.  First settle that: criu-multifd resolve --dir "
			"DIR SESSION",
			pid, group);
	else if (strstr(group, "/" MFD_HELDGROUP_NAME ".") && !is_thawed(group))
		ret = mfd_error_set(
			err, -EBUSY,
			"process %d is held frozen in %s by a session that is in doubt: it may run on its "
			"target.  First settle that: criu-multifd resolve --source DIR, with the folder "
			"of its images",
			pid, group);
	free(group);
	return ret;
}

int mfd_heldgroup_refuse_frozen(pid_t pid, struct mfd_error *err)
{
	char *group;
	int ret = 0;

	for (size_t i = 0; i < sizeof(usual) / sizeof(*usual) && !ret; i++) {
		if (mfd_cgroup_path(pid, pid, usual[i].hierarchy, &group))
			continue;
		if (says(usual[i].mount, group, usual[i].file, usual[i].frozen))
			ret = mfd_error_set(
				err, -EBUSY,
				"process %d is frozen by its control group %s%s (a paused container?), "
				"so that CRIU would wait for it: thaw it first",
				pid, usual[i].mount, group);
		free(group);
	}
	return ret;
}
