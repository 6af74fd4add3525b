// SPDX-License-Identifier: GPL-2.0-only
/* From /proc, by the fates of shared.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>

#include "dying.h"
#include "io.h"
#include "procfile.h"
#include "shared.h"

/* The group of the task in the freezer of cgroup v1, the only one that keeps SIGKILL away. */
static int freezer_of(pid_t pid, char *group, size_t len)
{
	char path[40], *text, *line, *end;
	int found = 0;

	snprintf(path, sizeof(path), "/proc/%d/cgroup", pid);
	if (mfd_io_read_file(AT_FDCWD, path, 1 << 16, &text, NULL))
		return 0;
	line = strstr(text, ":freezer:/");
	end = line ? strchr(line, '\n') : NULL;
	if (end) {
		line += strlen(":freezer:");
		found = end - line > 1;
		snprintf(group, len, "%.*s", (int)(end - line), line);
	}
	free(text);
	return found;
}

static uint64_t tracer_of(pid_t pid)
{
	uint64_t tracer = 0;
	char *text;

	if (mfd_procfile_status(pid, &text))
		return 0;
	if (mfd_procfile_first(text, "TracerPid", 10, &tracer))
		tracer = 0;
	free(text);
	return tracer;
}

static void held_text(pid_t pid, char *buf, size_t len)
{
	struct mfd_procfile_stat st;
	uint64_t tracer = tracer_of(pid);
	char group[200];

	if (mfd_procfile_stat(pid, &st))
		snprintf(buf, len, "process %d is about to end", pid);
	else if (strchr("Dt", st.state) && freezer_of(pid, group, sizeof(group)))
		snprintf(
			buf, len,
			"process %d is being ended and cannot die: it is in the freezer control group "
			"%s; if that is frozen (a paused container), thaw it",
			pid, group);
	else if (tracer)
		snprintf(buf, len,
			 "process %d is traced by process %llu, which has to let go of it", pid,
			 (unsigned long long)tracer);
	else
		snprintf(buf, len, "process %d has been killed and is not dead yet: state %c", pid,
			 st.state);
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
