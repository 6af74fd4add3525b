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
#include <sys/syscall.h>
#include <unistd.h>

#include "io.h"
#include "procfile.h"
#include "shared.h"

int mfd_shared_task_fill(struct mfd_shared_task *t, pid_t pid)
{
	struct mfd_procfile_stat st;
	int ret = mfd_procfile_stat(pid, &st);

	if (ret)
		return ret;
	t->pid = pid;
	t->starttime = st.start_time;
	t->vpid = mfd_procfile_inner_pid(pid);
	return t->vpid ? 0 : -EIO;
}

#define PF_EXITING 0x4 /* linux/sched.h; field 9 of /proc/PID/stat */

static int is_traced(const char *status)
{
	uint64_t value;

	return !mfd_procfile_first(status, "TracerPid", 10, &value) && value > 0;
}

/* SIGKILL is on its way to it. */
static int is_killed(const char *status)
{
	static const char *const pending[] = { "SigPnd", "ShdPnd" };
	uint64_t value;

	for (unsigned i = 0; i < 2; i++)
		if (!mfd_procfile_first(status, pending[i], 16, &value) &&
		    value & 1ULL << (SIGKILL - 1))
			return 1;
	return 0;
}

/* Traced or killed; -errno: cannot be told. */
static int is_held(pid_t pid)
{
	char *text;
	int held = mfd_procfile_status(pid, &text);

	if (held)
		return held;
	held = is_traced(text) || is_killed(text);
	free(text);
	return held;
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
		struct mfd_procfile_stat st;

		if (e->d_name[0] != '.' &&
		    !mfd_procfile_stat((pid_t)strtol(e->d_name, NULL, 10), &st))
			over = mfd_procfile_is_over(&st) || (!ended && st.flags & PF_EXITING);
	}
	closedir(d);
	return over;
}

enum mfd_task_fate mfd_shared_task_fate(const struct mfd_shared_task *t)
{
	struct mfd_procfile_stat st;
	int ret = mfd_procfile_stat(t->pid, &st), held;

	if (ret == -ENOENT || ret == -ESRCH)
		return MFD_TASK_GONE;
	if (ret)
		return MFD_TASK_UNKNOWN;
	if (st.start_time != t->starttime || mfd_procfile_is_over(&st))
		return MFD_TASK_GONE;
	/*
	 * Giving back a large memory takes a dying process a while, in which no thread of it can
	 * run its program any more.
	 */
	if (st.flags & PF_EXITING)
		return all_threads_exit(t->pid, 0) ? MFD_TASK_GONE : MFD_TASK_HELD;
	held = is_held(t->pid);
	if (held < 0)
		return MFD_TASK_UNKNOWN;
	return held ? MFD_TASK_HELD : MFD_TASK_ALIVE;
}

int mfd_shared_task_is_dying(const struct mfd_shared_task *t)
{
	struct mfd_procfile_stat st;
	char *text;
	int dying;

	if (mfd_shared_task_fate(t) == MFD_TASK_GONE)
		return 1;
	if (!mfd_procfile_stat(t->pid, &st) && st.flags & PF_EXITING)
		return 1;
	if (mfd_procfile_status(t->pid, &text))
		return 0;
	dying = is_killed(text);
	free(text);
	return dying;
}

unsigned mfd_shared_tasks_dying(const struct mfd_shared *s)
{
	unsigned n = atomic_load(&s->ntasks), dying = 0;

	for (unsigned i = 0; i < n; i++)
		dying += mfd_shared_task_is_dying(&s->task[i]) != 0;
	return dying;
}

int mfd_shared_tasks_let_go(const struct mfd_shared *s)
{
	unsigned n = atomic_load(&s->ntasks);

	for (unsigned i = 0; i < n; i++)
		if (mfd_shared_task_fate(&s->task[i]) == MFD_TASK_ALIVE)
			return 1;
	return 0;
}

unsigned mfd_shared_tasks_alive(const struct mfd_shared *s)
{
	unsigned n = atomic_load(&s->ntasks), alive = 0;

	for (unsigned i = 0; i < n; i++)
		alive += mfd_shared_task_fate(&s->task[i]) != MFD_TASK_GONE;
	return alive;
}

void mfd_shared_tasks_fates(const struct mfd_shared *s, unsigned count[MFD_TASK_FATES])
{
	unsigned n = atomic_load(&s->ntasks);

	memset(count, 0, MFD_TASK_FATES * sizeof(*count));
	for (unsigned i = 0; i < n; i++)
		count[mfd_shared_task_fate(&s->task[i])]++;
}

static int is_closed(const struct mfd_shared_task *t)
{
	return mfd_procfile_start_time(t->pid) != t->starttime || all_threads_exit(t->pid, 1);
}

void mfd_shared_tasks_await_closed(const struct mfd_shared *s, unsigned timeout_ms)
{
	uint64_t end = mfd_io_now_ms() + timeout_ms;
	unsigned n = atomic_load(&s->ntasks);

	for (unsigned i = 0; i < n; i++)
		while (!is_closed(&s->task[i]) && mfd_io_now_ms() < end)
			usleep(200);
}

/*
 * The pidfd is taken first: what it names is compared after that, and cannot change any more.  What
 * cannot be compared, for want of a descriptor or of memory, may be another process by now.
 */
int mfd_shared_task_signal(const struct mfd_shared_task *t, int sig)
{
	int pidfd = (int)syscall(SYS_pidfd_open, t->pid, 0), ret;
	struct mfd_procfile_stat st;

	if (pidfd < 0)
		return errno == ESRCH ? 0 : -errno;
	ret = mfd_procfile_stat(t->pid, &st);
	if (!ret && st.start_time == t->starttime &&
	    syscall(SYS_pidfd_send_signal, pidfd, sig, NULL, 0) && errno != ESRCH)
		ret = -errno;
	close(pidfd);
	return ret == -ENOENT || ret == -ESRCH ? 0 : ret;
}

int mfd_shared_tasks_signal(const struct mfd_shared *s, int sig)
{
	unsigned n = atomic_load(&s->ntasks);
	int ret = 0;

	for (unsigned i = 0; i < n; i++) {
		int one = mfd_shared_task_signal(&s->task[i], sig);

		ret = ret ? ret : one;
	}
	return ret;
}
