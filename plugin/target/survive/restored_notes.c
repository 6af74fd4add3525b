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
#include "life.h"
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

/* 0 with *text, which is NULL if there are none, or -errno: nothing is known. */
static int read_text(int dirfd, char **text)
{
	uint64_t since = 0;
	int ret;

	do {
		*text = NULL;
		ret = mfd_io_read_file(dirfd, MFD_NOTES_FILE, 16 << 20, text, NULL);
	} while (ret && mfd_life_look_again(ret, &since));
	return ret == -ENOENT ? 0 : ret;
}

#define UNREADABLE (1U << 31)

/* Bits 1 << enum mfd_note, or UNREADABLE. */
static unsigned read_notes(int dirfd)
{
	char *text, *line, *save;
	unsigned found = 0;

	if (read_text(dirfd, &text))
		return UNREADABLE;
	if (!text)
		return 0;
	for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		for (unsigned i = 0; i < sizeof(notes) / sizeof(*notes); i++)
			found |= (unsigned)!strcmp(line, notes[i]) << i;
	free(text);
	return found;
}

int mfd_notes_restored(int dirfd)
{
	return (read_notes(dirfd) & (UNREADABLE | 1U << MFD_NOTE_RESTORED)) != 0;
}

/* A line of a process, as mfd_notes_mark writes it. */
struct noted {
	char boot[40];
	unsigned task; /* 0: the warden */
	int pid;       /* 0: it was not known */
	unsigned long long start;
};

static int read_line(const char *line, struct noted *n)
{
	return sscanf(line, "%39s %u %d %llu", n->boot, &n->task, &n->pid, &n->start) == 4;
}

/* 0: of another boot, another process under that number, or a zombie. */
static int lives(const struct noted *n, const char *boot)
{
	if (boot[0] && strcmp(n->boot, "-") && strcmp(n->boot, boot))
		return 0;
	if (n->pid <= 1 || !n->start)
		return 1;
	return mfd_life(n->pid, n->start) != MFD_LIFE_OVER;
}

enum mfd_notes_fate mfd_notes_fate(int dirfd)
{
	char *text, *line, *save, boot[64];
	enum mfd_notes_fate fate = MFD_NOTES_NONE;
	struct noted n;

	if (read_text(dirfd, &text))
		return MFD_NOTES_ALIVE;
	if (!text)
		return MFD_NOTES_NONE;
	read_boot(boot);
	for (line = strtok_r(text, "\n", &save); line && fate != MFD_NOTES_ALIVE;
	     line = strtok_r(NULL, "\n", &save))
		if (read_line(line, &n) && n.task)
			fate = lives(&n, boot) ? MFD_NOTES_ALIVE : MFD_NOTES_DEAD;
	free(text);
	return fate;
}

enum mfd_notes_left mfd_notes_left(int dirfd)
{
	unsigned found = read_notes(dirfd);

	if (found & UNREADABLE)
		return MFD_NOTES_UNREADABLE;
	if (!(found & 1U << MFD_NOTE_RESTORED) || found & 1U << MFD_NOTE_KILLED)
		return MFD_NOTES_NOTHING;
	return found & 1U << MFD_NOTE_COMPLETE ? MFD_NOTES_COMPLETE : MFD_NOTES_RESTORED;
}

/* NULL: the line names no task, or the task has ended. */
static struct mfd_deposit *parse(const char *line, const char *boot, const char *session)
{
	struct mfd_deposit *h;
	struct noted n;
	int pidfd;

	if (!read_line(line, &n) || strcmp(n.boot, boot) || n.pid <= 1 || !n.start)
		return NULL;
	pidfd = pidfd_open(n.pid, 0);
	if (pidfd < 0)
		return NULL;
	/* Same boot, same pid, same start time: the same process. */
	h = mfd_procfile_start_time(n.pid) == n.start ? calloc(1, sizeof(*h)) : NULL;
	if (!h) {
		close(pidfd);
		return NULL;
	}
	h->task = n.task ? n.task : MFD_DEPOSIT_UNKNOWN;
	h->uffd = h->book = -1;
	h->pidfd = pidfd;
	mfd_deposit_give(h, session);
	return h;
}

pid_t mfd_notes_warden(int dirfd)
{
	char *text, *line, *save, boot[64];
	struct noted n;
	pid_t found = 0;

	if (read_text(dirfd, &text) || !text)
		return 0;
	read_boot(boot);
	for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		if (read_line(line, &n) && !n.task && n.pid > 1 && n.start && lives(&n, boot))
			found = n.pid;
	free(text);
	return found;
}

int mfd_notes_kill(int dirfd, const char *session)
{
	char *text, *line, *save, boot[64];
	struct mfd_deposit *list = NULL, *h;
	int restored = 0, ret = read_text(dirfd, &text);

	if (ret || !text)
		return ret;
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
