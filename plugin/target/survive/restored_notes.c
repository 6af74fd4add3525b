// SPDX-License-Identifier: GPL-2.0-only
/* What a session notes of its restored tasks, and killing them by it. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "cgroup.h"
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

#define LOCK_TRIES    200 /* a second in all */
#define LOCK_PAUSE_US 5000

/*
 * Where the next line begins.  What is not ended by a newline was never said to be there: the
 * process that wrote it has died meanwhile, or had no room; no other line must be glued to it.
 */
static off_t last_end(int fd)
{
	off_t end = lseek(fd, 0, SEEK_END);
	char c;

	while (end > 0 && pread(fd, &c, 1, end - 1) == 1 && c != '\n')
		end--;
	return end;
}

/* Nonzero: no other thread writes.  The lock of one that was killed may live on in its heir. */
static int lock_notes(int fd)
{
	for (unsigned i = 0; i < LOCK_TRIES; i++) {
		if (!flock(fd, LOCK_EX | LOCK_NB))
			return 1;
		if (errno != EWOULDBLOCK && errno != EINTR)
			return 0;
		usleep(LOCK_PAUSE_US);
	}
	return 0;
}

static int add_line(int dirfd, const char *line)
{
	int locked, ret = 0,
		    fd = openat(dirfd, MFD_NOTES_FILE,
				O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	off_t end;

	if (fd < 0)
		return -errno;
	locked = lock_notes(fd);
	end = last_end(fd);
	if (end < 0 || (locked && ftruncate(fd, end)))
		ret = -errno;
	ret = ret ? ret : mfd_io_write_all(fd, line, strlen(line));
	if (ret && end >= 0 && locked && ftruncate(fd, end))
		mfd_log_warn("%s: a line of it is not whole", MFD_NOTES_FILE);
	if (locked)
		flock(fd, LOCK_UN); /* the file may be open in another process, too */
	close(fd);
	return ret;
}

int mfd_notes_add(int dirfd, enum mfd_note note)
{
	char line[16];

	snprintf(line, sizeof(line), "%s\n", notes[note]);
	return add_line(dirfd, line);
}

/* Empty: it is also this server's, or no group at all, and tells nothing of a process. */
static void group_of(int pid, char group[MFD_CGROUP_PATH])
{
	char own[MFD_CGROUP_PATH];

	if (mfd_cgroup_of(pid, pid, group) || !group[1] ||
	    (!mfd_cgroup_of(getpid(), getpid(), own) && !strcmp(group, own)))
		group[0] = 0;
}

/*
 * What finds a task's children when it has ended: its pid namespace, or in that of the server its
 * session and its control group, and when it began.
 */
static void write_kin(int pid, char *line, size_t len)
{
	struct mfd_procfile_stat st;
	char group[MFD_CGROUP_PATH];
	ino_t ns = mfd_procfile_namespace(pid, "pid");

	if (mfd_procfile_stat(pid, &st) || !ns)
		return;
	if (ns != mfd_procfile_namespace(getpid(), "pid"))
		snprintf(line, len, "space %llu %d %llu\n", (unsigned long long)ns, st.session,
			 (unsigned long long)st.start_time);
	else if (st.session > 0) {
		group_of(pid, group);
		snprintf(line, len, "session %d %llu %s\n", st.session,
			 (unsigned long long)st.start_time, group);
	}
}

int mfd_notes_mark(int dirfd, uint32_t task, int pid)
{
	char line[256 + MFD_CGROUP_PATH], boot[MFD_LIFE_BOOT];
	int n;

	mfd_life_boot(boot);
	n = snprintf(line, sizeof(line), "%s %u %d %llu\n", boot[0] ? boot : "-", task, pid,
		     (unsigned long long)(pid ? mfd_procfile_start_time(pid) : 0));
	if (task && pid > 1)
		write_kin(pid, line + n, sizeof(line) - (size_t)n);
	return add_line(dirfd, line);
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

/* A line of write_kin. */
struct kin {
	unsigned long long space, start; /* space 0: `session`, `group` */
	int session;
	char group[MFD_CGROUP_PATH]; /* empty: it tells nothing */
};

static int read_kin(const char *line, struct kin *k)
{
	*k = (struct kin){ 0 };
	return sscanf(line, "space %llu %d %llu", &k->space, &k->session, &k->start) == 3 ||
	       sscanf(line, "session %d %llu %511[^\n]", &k->session, &k->start, k->group) >= 2;
}

static int note_of(const char *line)
{
	for (unsigned i = 0; i < sizeof(notes) / sizeof(*notes); i++)
		if (!strcmp(line, notes[i]))
			return (int)i;
	return -1;
}

static int is_known(const char *line)
{
	struct noted n;
	struct kin k;

	return note_of(line) >= 0 || read_line(line, &n) || read_kin(line, &k);
}

/*
 * -EBADMSG: a line means nothing, so that one may be missing.  The last one, if it is not whole, is
 * cut off: see last_end.
 */
static int check_text(char *text, size_t len)
{
	char *line = text, *end = memrchr(text, '\n', len);

	*(end ? end + 1 : text) = 0;
	if (strlen(text) != (end ? (size_t)(end + 1 - text) : 0))
		return -EBADMSG;
	for (; (end = strchr(line, '\n')); line = end + 1) {
		*end = 0;
		if (!is_known(line))
			return -EBADMSG;
		*end = '\n';
	}
	*line = 0;
	return 0;
}

/* 0 with *text, NULL if there are none; or -errno, and nothing is known. */
static int read_text(int dirfd, char **text)
{
	uint64_t since = 0;
	size_t len = 0;
	int ret;

	do {
		*text = NULL;
		ret = mfd_io_read_file(dirfd, MFD_NOTES_FILE, 16 << 20, text, &len);
	} while (ret && mfd_life_look_again(ret, &since));
	if (!ret)
		ret = check_text(*text, len);
	if (ret) {
		free(*text);
		*text = NULL;
	}
	return ret == -ENOENT ? 0 : ret;
}

int mfd_notes_are_broken(int dirfd)
{
	char *text;
	int ret = read_text(dirfd, &text);

	free(text);
	return ret == -EIO || (ret && !mfd_life_cannot_tell(ret)) ? ret : 0;
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
		found |= note_of(line) >= 0 ? 1U << note_of(line) : 0;
	free(text);
	return found;
}

int mfd_notes_restored(int dirfd)
{
	return (read_notes(dirfd) & (UNREADABLE | 1U << MFD_NOTE_RESTORED)) != 0;
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

/*
 * Of a session that is not the task's own and that none of its children can have begun: its leader
 * is outside of the server's pid namespace (session 0), or began before the task did, as that of
 * the namespace's init.
 */
static int is_stranger(const struct mfd_procfile_stat *st, const struct kin *k)
{
	struct mfd_procfile_stat leader;

	if (st->session == k->session)
		return 0;
	return !st->session ||
	       (!mfd_procfile_stat(st->session, &leader) && leader.start_time < k->start);
}

static int is_in(pid_t pid, const char *group)
{
	char own[MFD_CGROUP_PATH];

	return !mfd_cgroup_of(pid, pid, own) && !strcmp(own, group);
}

/*
 * CRIU and the namespace's init began before; what comes into it from elsewhere later, by a session
 * of its own, counts as well: it cannot be told from a child.
 */
static int is_kin(pid_t pid, const struct kin *k)
{
	struct mfd_procfile_stat st;
	int ret = mfd_procfile_stat(pid, &st);

	if (ret)
		return mfd_life_cannot_tell(ret);
	if (mfd_procfile_is_over(&st) || st.start_time < k->start)
		return 0;
	if (!k->space)
		return st.session == k->session ||
		       (k->group[0] && is_in(pid, k->group) && !is_stranger(&st, k));
	return mfd_procfile_namespace(pid, "pid") == k->space && !is_stranger(&st, k);
}

/* A process that a task has left behind, by fork and exec. */
static int has_kin(const struct kin *k)
{
	DIR *d = opendir("/proc");
	struct dirent *e;
	int found = !d; /* unknown is not dead */

	while (!found && (e = readdir(d)))
		if (isdigit((unsigned char)e->d_name[0]))
			found = is_kin((pid_t)strtol(e->d_name, NULL, 10), k);
	if (d)
		closedir(d);
	return found;
}

enum mfd_notes_fate mfd_notes_fate(int dirfd)
{
	char *text, *line, *save, boot[MFD_LIFE_BOOT];
	enum mfd_notes_fate fate = MFD_NOTES_NONE;
	struct noted n = { .boot = "" };
	struct kin k;

	if (read_text(dirfd, &text))
		return MFD_NOTES_ALIVE;
	if (!text)
		return MFD_NOTES_NONE;
	mfd_life_boot(boot);
	for (line = strtok_r(text, "\n", &save); line && fate != MFD_NOTES_ALIVE;
	     line = strtok_r(NULL, "\n", &save))
		if (read_kin(line, &k))
			fate = !strcmp(n.boot, boot) && has_kin(&k) ? MFD_NOTES_ALIVE : fate;
		else if (read_line(line, &n) && n.task)
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

/* Put the task that the line names at the head of the list, if it names one, and that lives. */
static int parse(const char *line, const char *boot, const char *session, struct mfd_deposit **list)
{
	enum mfd_life life;
	struct mfd_deposit *h;
	struct noted n;
	int pidfd;

	if (!read_line(line, &n) || strcmp(n.boot, boot) || n.pid <= 1 || !n.start)
		return 0;
	pidfd = pidfd_open(n.pid, 0);
	if (pidfd < 0)
		return errno == ESRCH || errno == EINVAL ? 0 : -errno;
	/* Same boot, same pid, same start time: the same process. */
	life = mfd_life(n.pid, n.start);
	h = life == MFD_LIFE_ALIVE ? calloc(1, sizeof(*h)) : NULL;
	if (!h) {
		close(pidfd);
		return life == MFD_LIFE_OVER ? 0 : life == MFD_LIFE_UNKNOWN ? -EAGAIN : -ENOMEM;
	}
	h->task = n.task ? n.task : MFD_DEPOSIT_UNKNOWN;
	h->uffd = h->book = -1;
	h->pidfd = pidfd;
	mfd_deposit_give(h, session);
	h->next = *list;
	*list = h;
	return 0;
}

pid_t mfd_notes_warden(int dirfd)
{
	char *text, *line, *save, boot[MFD_LIFE_BOOT];
	struct noted n;
	pid_t found = 0;
	int ret = read_text(dirfd, &text);

	if (ret || !text)
		return ret;
	mfd_life_boot(boot);
	for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		if (read_line(line, &n) && !n.task && n.pid > 1 && n.start && lives(&n, boot))
			found = n.pid;
	free(text);
	return found;
}

/* All of them that live, or -errno: it cannot be told of one.  Text becomes lines. */
static int find_all(char *text, const char *session, struct mfd_deposit **list, int *restored)
{
	char *line, *save, boot[MFD_LIFE_BOOT];
	uint64_t since = 0;
	int ret;

	do
		ret = mfd_life_boot(boot);
	while (ret && mfd_life_look_again(ret, &since));
	for (line = strtok_r(text, "\n", &save); line && !ret; line = strtok_r(NULL, "\n", &save)) {
		*restored |= !strcmp(line, notes[MFD_NOTE_RESTORED]);
		do
			ret = parse(line, boot, session, list);
		while (ret && mfd_life_look_again(ret, &since));
	}
	return ret;
}

int mfd_notes_kill(int dirfd, const char *session)
{
	struct mfd_deposit *list = NULL;
	int restored = 0, begun, ret;
	char *text;

	ret = read_text(dirfd, &text);
	if (ret || !text)
		return ret;
	ret = find_all(text, session, &list, &restored);
	free(text);
	begun = !ret;
	if (list && begun)
		ret = mfd_holder_kill(list, session);
	if (ret)
		mfd_log_error("%s: its restored tasks are not all killed: %s", session,
			      strerror(-ret));
	while (list)
		mfd_deposit_drop(&list);
	if (!ret && !restored)
		unlinkat(dirfd, MFD_NOTES_FILE, 0);
	/* No later worker may take them for tasks that live. */
	if (begun && restored && mfd_notes_add(dirfd, MFD_NOTE_KILLED))
		mfd_log_error("%s cannot be written", MFD_NOTES_FILE);
	return ret ? ret : restored;
}
