// SPDX-License-Identifier: GPL-2.0-only
/* What a session notes of its restored tasks, and killing them by it. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "restored_notes.h"
#include "io.h"
#include "log.h"
#include "session.h"

int mfd_attached_note(int dirfd, const char *line)
{
	int ret, fd = openat(dirfd, MFD_SESSION_ATTACHED,
			     O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return -errno;
	ret = mfd_io_write_all(fd, line, strlen(line));
	close(fd);
	return ret;
}

/* "": it cannot be read. */
static void read_boot(char boot[64])
{
	char *text = NULL;

	boot[0] = 0;
	if (!mfd_io_read_file(AT_FDCWD, "/proc/sys/kernel/random/boot_id", 63, &text, NULL))
		snprintf(boot, 64, "%.36s", text);
	free(text);
}

int mfd_attached_mark(int dirfd, uint32_t task, int pid)
{
	char line[128], boot[64];

	read_boot(boot);
	snprintf(line, sizeof(line), "%s %u %d %llu\n", boot[0] ? boot : "-", task, pid,
		 (unsigned long long)(pid ? mfd_holder_start_time(pid) : 0));
	return mfd_attached_note(dirfd, line);
}

enum mfd_attached mfd_attached_left(int dirfd)
{
	int restored = 0, killed = 0, complete = 0;
	char *text = NULL, *line, *save;

	if (mfd_io_read_file(dirfd, MFD_SESSION_ATTACHED, 16 << 20, &text, NULL))
		return MFD_ATTACHED_NOTHING;
	for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		restored |= !strcmp(line, MFD_SESSION_RESTORED_LINE);
		killed |= !strcmp(line, MFD_SESSION_KILLED_LINE);
		complete |= !strcmp(line, MFD_SESSION_COMPLETE_LINE);
	}
	free(text);
	if (!restored || killed)
		return MFD_ATTACHED_NOTHING;
	return complete ? MFD_ATTACHED_COMPLETE : MFD_ATTACHED_RESTORED;
}

/* NULL: the line names no task, or the task has ended. */
static struct mfd_holder *parse(const char *line, const char *boot, const char *session)
{
	struct mfd_holder *h;
	unsigned long long start;
	char id[40];
	unsigned task;
	int pid, pidfd;

	if (sscanf(line, "%39s %u %d %llu", id, &task, &pid, &start) != 4 || strcmp(id, boot) ||
	    pid <= 1 || !start)
		return NULL;
	pidfd = pidfd_open(pid, 0);
	if (pidfd < 0)
		return NULL;
	/* Same boot, same pid, same start time: the same process. */
	h = mfd_holder_start_time(pid) == start ? calloc(1, sizeof(*h)) : NULL;
	if (!h) {
		close(pidfd);
		return NULL;
	}
	h->task = task ? task : MFD_HOLDER_UNKNOWN;
	h->uffd = h->book = -1;
	h->pidfd = pidfd;
	snprintf(h->session, sizeof(h->session), "%s", session);
	return h;
}

int mfd_attached_kill(int dirfd, const char *session)
{
	char *text = NULL, *line, *save, boot[64];
	struct mfd_holder *list = NULL, *h;
	int restored = 0;

	if (mfd_io_read_file(dirfd, MFD_SESSION_ATTACHED, 16 << 20, &text, NULL))
		return 0;
	read_boot(boot);
	for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		restored |= !strcmp(line, MFD_SESSION_RESTORED_LINE);
		h = parse(line, boot, session);
		if (!h)
			continue;
		h->next = list;
		list = h;
	}
	free(text);
	if (list)
		mfd_holder_kill(list, session);
	while ((h = list)) {
		list = h->next;
		close(h->pidfd);
		free(h);
	}
	if (!restored)
		unlinkat(dirfd, MFD_SESSION_ATTACHED, 0);
	else if (mfd_attached_note(dirfd, MFD_SESSION_KILLED_LINE
				   "\n")) /* no later worker may take them for tasks that live */
		mfd_log_error("%s cannot be written", MFD_SESSION_ATTACHED);
	return restored;
}
