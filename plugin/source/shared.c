// SPDX-License-Identifier: GPL-2.0-only
/*
 * The tasks of the dump as both processes of the sender know them: pid, pid inside, and whether
 * still alive.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io.h"
#include "shared.h"

/*
 * State letter, the kernel's PF_* flags and start time; the name in field 2 may hold spaces and
 * parentheses, so count from its last ')'.
 */
static int read_stat(pid_t pid, char *state, unsigned *flags, uint64_t *starttime)
{
	char path[40], *text, *p;
	size_t len;
	int ret;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	ret = mfd_io_read_file(AT_FDCWD, path, 4096, &text, &len);
	if (ret)
		return ret;
	p = strrchr(text, ')');
	ret = -EIO;
	if (p && sscanf(p + 1, " %c %*d %*d %*d %*d %*d %u", state, flags) == 2) {
		for (int field = 2; p && field < 22; field++)
			p = strchr(p + 1, ' ');
		if (p && sscanf(p, "%lu", starttime) == 1)
			ret = 0;
	}
	free(text);
	return ret;
}

static int read_vpid(pid_t pid, uint32_t *vpid)
{
	char path[40], *text, *p, *save = NULL;
	size_t len;
	int ret;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	ret = mfd_io_read_file(AT_FDCWD, path, 1 << 16, &text, &len);
	if (ret)
		return ret;
	ret = -EIO;
	p = strstr(text, "\nNSpid:");
	for (p = p ? strtok_r(p + 7, " \t\n", &save) : NULL; p && *p >= '0' && *p <= '9';
	     p = strtok_r(NULL, " \t", &save)) {
		*vpid = (uint32_t)strtoul(p, NULL, 10);
		ret = 0;
		if (strchr(p, '\n'))
			break;
	}
	free(text);
	return ret;
}

int mfd_shared_task_fill(struct mfd_shared_task *t, pid_t pid)
{
	unsigned flags;
	char state;
	int ret;

	t->pid = pid;
	ret = read_stat(pid, &state, &flags, &t->starttime);
	return ret ? ret : read_vpid(pid, &t->vpid);
}

#define PF_EXITING 0x4 /* linux/sched.h; field 9 of /proc/PID/stat */

/* Traced, or with SIGKILL on its way to it. */
static int is_held(pid_t pid)
{
	static const char *const pending[] = { "\nSigPnd:", "\nShdPnd:" };
	char path[40], *text, *p;
	int held;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	if (mfd_io_read_file(AT_FDCWD, path, 1 << 16, &text, NULL))
		return 0;
	p = strstr(text, "\nTracerPid:");
	held = p && strtol(p + 11, NULL, 10) > 0;
	for (unsigned i = 0; i < 2 && !held; i++) {
		p = strstr(text, pending[i]);
		held = p && strtoull(p + 8, NULL, 16) & 1ULL << (SIGKILL - 1);
	}
	free(text);
	return held;
}

static int is_ended(char state)
{
	return state == 'Z' || state == 'X';
}

/* Every thread is exiting, or, with `ended`, has nothing of the process any more. */
static int all_threads_exit(pid_t pid, int ended)
{
	char path[40];
	struct dirent *e;
	int over = 1;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	d = opendir(path);
	if (!d)
		return 0;
	while (over && (e = readdir(d))) {
		unsigned flags;
		uint64_t start;
		char state;

		if (e->d_name[0] != '.' &&
		    !read_stat((pid_t)strtol(e->d_name, NULL, 10), &state, &flags, &start))
			over = is_ended(state) || (!ended && flags & PF_EXITING);
	}
	closedir(d);
	return over;
}

enum mfd_task_fate mfd_shared_task_fate(const struct mfd_shared_task *t)
{
	unsigned flags = 0;
	uint64_t start = 0;
	char state = 0;
	int ret = read_stat(t->pid, &state, &flags, &start);

	if (ret == -ENOENT || ret == -ESRCH || (!ret && (start != t->starttime || is_ended(state))))
		return MFD_TASK_GONE;
	/*
	 * Giving back a large memory takes a dying process a while, in which no thread of it can
	 * run its program any more.
	 */
	if (!ret && flags & PF_EXITING && all_threads_exit(t->pid, 0))
		return MFD_TASK_GONE;
	if (!ret && (flags & PF_EXITING || is_held(t->pid)))
		return MFD_TASK_HELD;
	return MFD_TASK_ALIVE;
}

unsigned mfd_shared_tasks_alive(const struct mfd_shared *s)
{
	unsigned n = atomic_load(&s->ntasks), alive = 0;

	for (unsigned i = 0; i < n; i++)
		alive += mfd_shared_task_fate(&s->task[i]) != MFD_TASK_GONE;
	return alive;
}

unsigned mfd_shared_tasks_settle(const struct mfd_shared *s)
{
	unsigned n = atomic_load(&s->ntasks);

	for (unsigned pause = 1000;; pause += pause < 50000 ? 1000 : 0) {
		unsigned count[3] = { 0 };

		for (unsigned i = 0; i < n; i++)
			count[mfd_shared_task_fate(&s->task[i])]++;
		if (!count[MFD_TASK_HELD])
			return count[MFD_TASK_ALIVE];
		usleep(pause);
	}
}

static int is_closed(const struct mfd_shared_task *t)
{
	unsigned flags;
	uint64_t start;
	char state;

	return read_stat(t->pid, &state, &flags, &start) || start != t->starttime ||
	       all_threads_exit(t->pid, 1);
}

void mfd_shared_tasks_close(const struct mfd_shared *s, unsigned timeout_ms)
{
	uint64_t end = mfd_io_now_ms() + timeout_ms;
	unsigned n = atomic_load(&s->ntasks);

	for (unsigned i = 0; i < n; i++)
		while (!is_closed(&s->task[i]) && mfd_io_now_ms() < end)
			usleep(200);
}

void mfd_shared_tasks_signal(const struct mfd_shared *s, int sig)
{
	unsigned n = atomic_load(&s->ntasks);

	for (unsigned i = 0; i < n; i++)
		if (mfd_shared_task_fate(&s->task[i]) != MFD_TASK_GONE)
			kill(s->task[i].pid, sig);
}
