// SPDX-License-Identifier: GPL-2.0-only
/* The two files by which a control group is frozen; see freezer.h. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "freezer.h"
#include "io.h"

/* In the order in which CRIU looks for them. */
static const struct {
	const char *file, *thawed;
} versions[] = {
	{ "freezer.state", "THAWED" },
	{ "cgroup.freeze", "0" },
};
#define VERSIONS (sizeof(versions) / sizeof(*versions))

static int is_seen(const char *group, const char *file)
{
	char path[PATH_MAX + 32];

	snprintf(path, sizeof(path), "%s/%s", group, file);
	return !access(path, F_OK);
}

/* The index of its version; -ENOENT: the group is not there. */
static int version_of(const char *group)
{
	for (size_t i = 0; i < VERSIONS; i++)
		if (is_seen(group, versions[i].file))
			return (int)i;
	return -ENOENT;
}

/* Nonzero: what is left of the path is in a hierarchy of groups, which the group has left. */
static int is_removed(const char *group)
{
	char above[PATH_MAX], *slash;

	snprintf(above, sizeof(above), "%s", group);
	while ((slash = strrchr(above, '/')) && slash != above) {
		*slash = 0;
		if (!access(above, F_OK))
			return is_seen(above, "cgroup.procs");
	}
	return 0;
}

int mfd_freezer_is_frozen(const char *group)
{
	char path[PATH_MAX + 32], *text;
	int version = version_of(group), ret;

	if (version < 0)
		return is_removed(group) ? 0 : version;
	snprintf(path, sizeof(path), "%s/%s", group, versions[version].file);
	ret = mfd_io_read_file(AT_FDCWD, path, 64, &text, NULL);
	if (ret)
		return ret;
	ret = strncmp(text, versions[version].thawed, strlen(versions[version].thawed)) != 0;
	free(text);
	return ret;
}

int mfd_freezer_thaw(const char *group)
{
	int version = version_of(group), fd, ret;
	char path[PATH_MAX + 32];

	if (version < 0)
		return version;
	snprintf(path, sizeof(path), "%s/%s", group, versions[version].file);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	ret = mfd_io_write_all(fd, versions[version].thawed, strlen(versions[version].thawed));
	close(fd);
	return ret;
}
