// SPDX-License-Identifier: GPL-2.0-only
/* From /proc, by the fates of shared.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cgroup.h"
#include "dying.h"
#include "procfile.h"
#include "shared.h"

static void held_text(pid_t pid, char *buf, size_t len)
{
	struct mfd_procfile_stat st;
	uint64_t tracer;
	/* of version 1, whose freezer alone keeps SIGKILL away; in its root nothing is frozen */
	char *freezer;

	mfd_procfile_number(pid, "TracerPid", 10, &tracer);
	mfd_cgroup_path(pid, pid, ":freezer:", &freezer);

	if (mfd_procfile_stat(pid, &st))
		snprintf(buf, len, "process %d is about to end", pid);
	else if (strchr("Dt", st.state) && freezer && freezer[1])
		snprintf(
			buf, len,
			"process %d is being ended and cannot die: it is in the freezer control group "
			"%.200s; if that is frozen (a paused container), thaw it",
			pid, freezer);
	else if (tracer)
		snprintf(buf, len,
			 "process %d is traced by process %llu, which has to let go of it", pid,
			 (unsigned long long)tracer);
	else
		snprintf(buf, len, "process %d has been killed and is not dead yet: state %c", pid,
			 st.state);
	free(freezer);
}

const char *mfd_dying_text(const struct mfd_shared *sh, char *buf, size_t len)
{
	unsigned n = atomic_load(&sh->ntasks);

	buf[0] = 0;
	for (unsigned i = 0; i < n && !buf[0]; i++) {
		pid_t pid = sh->task[i].pid;

		switch (mfd_shared_task_fate(&sh->task[i])) {
		case MFD_TASK_HELD:
			held_text(pid, buf, len);
			break;
		case MFD_TASK_UNKNOWN:
			snprintf(
				buf, len,
				"process %d cannot be looked at: no descriptor or memory is left for it",
				pid);
			break;
		case MFD_TASK_ALIVE:
			snprintf(buf, len, "process %d is alive", pid);
			break;
		default:
			break;
		}
	}
	return buf;
}
