// SPDX-License-Identifier: GPL-2.0-only
/* By /proc/PID/cgroup. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "heldgroup.h"
#include "io.h"

int mfd_heldgroup_refuse(pid_t pid, struct mfd_error *err)
{
	char path[40], *text, *line, *end;
	int ret = 0;

	snprintf(path, sizeof(path), "/proc/%d/cgroup", pid);
	if (mfd_io_read_file(AT_FDCWD, path, 1 << 16, &text, NULL))
		return 0;
	line = !strncmp(text, "0::", 3) ? text : strstr(text, "\n0::");
	line = line ? strchr(line, '/') : NULL;
	end = line ? strchr(line, '\n') : NULL;
	if (end)
		*end = 0;
	if (end && strstr(line, "/" MFD_HELDGROUP_NAME "."))
		ret = mfd_error_set(
			err, -EBUSY,
			"process %d is held frozen in %s by a session that is in doubt: it may run on its "
			"target.  First settle that: criu-multifd resolve --source DIR, with the folder "
			"of its images",
			pid, line);
	free(text);
	return ret;
}
