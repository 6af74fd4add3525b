// SPDX-License-Identifier: GPL-2.0-only
/* /proc/PID/stat and /proc/PID/status. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "io.h"
#include "procfile.h"

#define STAT_MAX   4096
#define STATUS_MAX (1 << 16)

static int read_file(pid_t pid, const char *name, size_t max, char **text)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	return mfd_io_read_file(AT_FDCWD, path, max, text, NULL);
}

/* ---- stat ---- */

/* From the last ')' on: the name in front of it may hold anything. */
int mfd_procfile_parse_stat(const char *text, struct mfd_procfile_stat *st)
{
	const char *p = strrchr(text, ')');
	uint64_t user = 0, system = 0;
	int n;

	*st = (struct mfd_procfile_stat){ 0 };
	n = p ? sscanf(p + 1,
		       " %c %d %*d %d %u %*d %u %*u %*u %*u %*u %" SCNu64 " %" SCNu64
		       " %*d %*d %*d %*d %*d %*d %" SCNu64,
		       &st->state, &st->ppid, &st->session, &st->tty, &st->flags, &user, &system,
		       &st->start_time) :
		0;
	st->ticks = user + system;
	return n == 8 ? 0 : -EIO;
}

int mfd_procfile_stat(pid_t pid, struct mfd_procfile_stat *st)
{
	char *text = NULL;
	int ret = read_file(pid, "stat", STAT_MAX, &text);

	if (!ret)
		ret = mfd_procfile_parse_stat(text, st);
	free(text);
	return ret;
}

int mfd_procfile_is_over(const struct mfd_procfile_stat *st)
{
	return st->state == 'Z' || st->state == 'X';
}

uint64_t mfd_procfile_start_time(pid_t pid)
{
	struct mfd_procfile_stat st;

	return mfd_procfile_stat(pid, &st) ? 0 : st.start_time;
}

pid_t mfd_procfile_parent(pid_t pid)
{
	struct mfd_procfile_stat st;

	return mfd_procfile_stat(pid, &st) ? 0 : st.ppid;
}

/* ---- status ---- */

int mfd_procfile_status(pid_t pid, char **text)
{
	return read_file(pid, "status", STATUS_MAX, text);
}

/* What follows "KEY:" at the start of a line. */
static const char *find(const char *status, const char *key)
{
	size_t len = strlen(key);
	const char *p;

	for (p = status; p; p = (p = strchr(p, '\n')) ? p + 1 : NULL)
		if (!strncmp(p, key, len) && p[len] == ':')
			return p + len + 1;
	return NULL;
}

/* The next number of the line that *p is in; nonzero: there was one. */
static int next_number(const char **p, int base, uint64_t *value)
{
	const char *start = *p + strspn(*p, " \t");
	char *end;
	uint64_t v;

	if (*start == '\n')
		return 0;
	v = strtoull(start, &end, base);
	if (end == start)
		return 0;
	*p = end;
	*value = v;
	return 1;
}

int mfd_procfile_first(const char *status, const char *key, int base, uint64_t *value)
{
	const char *p = find(status, key);

	return p && next_number(&p, base, value) ? 0 : -ENOENT;
}

int mfd_procfile_last(const char *status, const char *key, int base, uint64_t *value)
{
	const char *p = find(status, key);
	int n = 0;

	while (p && next_number(&p, base, value))
		n++;
	return n ? 0 : -ENOENT;
}

int mfd_procfile_number(pid_t pid, const char *key, int base, uint64_t *value)
{
	char *text = NULL;
	int ret = mfd_procfile_status(pid, &text);

	if (!ret)
		ret = mfd_procfile_first(text, key, base, value);
	if (ret)
		*value = 0;
	free(text);
	return ret;
}

uint32_t mfd_procfile_inner_pid(pid_t pid)
{
	uint64_t inner = 0;
	char *text = NULL;

	if (!mfd_procfile_status(pid, &text) && mfd_procfile_last(text, "NSpid", 10, &inner))
		inner = 0;
	free(text);
	return (uint32_t)inner;
}

uint64_t mfd_procfile_switches(pid_t pid)
{
	uint64_t own = 0, forced = 0;
	char *text = NULL;

	if (!mfd_procfile_status(pid, &text)) {
		mfd_procfile_first(text, "voluntary_ctxt_switches", 10, &own);
		mfd_procfile_first(text, "nonvoluntary_ctxt_switches", 10, &forced);
	}
	free(text);
	return own + forced;
}

/* ---- others ---- */

/* The kernel writes "Pid:" with -1 for one that has ended, and that may be reaped after poll(). */
pid_t mfd_procfile_of_pidfd(int pidfd)
{
	struct pollfd ended = { .fd = pidfd, .events = POLLIN };
	char path[64], *text = NULL;
	uint64_t pid = 0;

	if (pidfd < 0 || poll(&ended, 1, 0))
		return 0;
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", pidfd);
	if (mfd_io_read_file(AT_FDCWD, path, STAT_MAX, &text, NULL))
		return 0;
	if (mfd_procfile_first(text, "Pid", 10, &pid) || pid > INT32_MAX)
		pid = 0;
	free(text);
	return (pid_t)pid;
}

static ino_t inode(const char *path)
{
	struct stat st;

	return stat(path, &st) ? 0 : st.st_ino;
}

ino_t mfd_procfile_namespace(pid_t pid, const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/ns/%s", (int)pid, name);
	return inode(path);
}

ino_t mfd_procfile_own_namespace(const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/ns/%s", name);
	return inode(path);
}
