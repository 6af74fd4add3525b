// SPDX-License-Identifier: GPL-2.0-only
/* What a session notes of its restored tasks, and killing them by it. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "holder.h"
#include "io.h"
#include "log.h"
#include "procfile.h"
#include "restored_notes.h"

static const char *const notes[] = {
	[MFD_NOTE_RESTORED] = "restored",
	[MFD_NOTE_KILLED] = "killed",
	[MFD_NOTE_COMPLETE] = "complete",
};

static int add_line(int dirfd, const char *line)
{
	int ret, fd = openat(dirfd, MFD_NOTES_FILE,
			     O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return -errno;
	ret = mfd_io_write_all(fd, line, strlen(line));
	close(fd);
	return ret;
}

int mfd_notes_add(int dirfd, enum mfd_note note)
{
	char line[16];

	snprintf(line, sizeof(line), "%s\n", notes[note]);
	return add_line(dirfd, line);
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

int mfd_notes_mark(int dirfd, uint32_t task, int pid)
{
	char line[128], boot[64];

	read_boot(boot);
	snprintf(line, sizeof(line), "%s %u %d %llu\n", boot[0] ? boot : "-", task, pid,
		 (unsigned long long)(pid ? mfd_procfile_start_time(pid) : 0));
	return add_line(dirfd, line);
}

enum mfd_notes_left mfd_notes_left(int dirfd)
{
	int restored = 0, killed = 0, complete = 0;
	char *text = NULL, *line, *save;

	if (mfd_io_read_file(dirfd, MFD_NOTES_FILE, 16 << 20, &text, NULL))
		return MFD_NOTES_NOTHING;
	for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		restored |= !strcmp(line, notes[MFD_NOTE_RESTORED]);
		killed |= !strcmp(line, notes[MFD_NOTE_KILLED]);
		complete |= !strcmp(line, notes[MFD_NOTE_COMPLETE]);
	}
	free(text);
	if (!restored || killed)
		return MFD_NOTES_NOTHING;
	return complete ? MFD_NOTES_COMPLETE : MFD_NOTES_RESTORED;
}

/* NULL: the line names no task, or the task has ended. */
static struct mfd_deposit *parse(const char *line, const char *boot, const char *session)
{
	struct mfd_deposit *h;
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
	h = mfd_procfile_start_time(pid) == start ? calloc(1, sizeof(*h)) : NULL;
	if (!h) {
		close(pidfd);
		return NULL;
	}
	h->task = task ? task : MFD_DEPOSIT_UNKNOWN;
	h->uffd = h->book = -1;
	h->pidfd = pidfd;
	mfd_deposit_give(h, session);
	return h;
}

pid_t mfd_notes_warden(int dirfd)
{
	char *text = NULL, *line, *save;
	pid_t found = 0;

	if (mfd_io_read_file(dirfd, MFD_NOTES_FILE, 16 << 20, &text, NULL))
		return 0;
	for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		unsigned long long start;
		unsigned task;
		int pid;

		if (sscanf(line, "%*s %u %d %llu", &task, &pid, &start) == 3 && !task && pid > 1 &&
		    start && mfd_procfile_start_time(pid) == start)
			found = pid;
	}
	free(text);
	return found;
}

int mfd_notes_kill(int dirfd, const char *session)
{
	char *text = NULL, *line, *save, boot[64];
	struct mfd_deposit *list = NULL, *h;
	int restored = 0;

	if (mfd_io_read_file(dirfd, MFD_NOTES_FILE, 16 << 20, &text, NULL))
		return 0;
	read_boot(boot);
	for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		restored |= !strcmp(line, notes[MFD_NOTE_RESTORED]);
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
		unlinkat(dirfd, MFD_NOTES_FILE, 0);
	else if (mfd_notes_add(
			 dirfd,
			 MFD_NOTE_KILLED)) /* no later worker may take them for tasks that live */
		mfd_log_error("%s cannot be written", MFD_NOTES_FILE);
	return restored;
}
