// SPDX-License-Identifier: GPL-2.0-only
/* The frozen control group, or SIGSTOP. Theory in hold.h. */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/mount.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "assert.h"
#include "heldgroup.h"
#include "hold.h"
#include "io.h"
#include "log.h"
#include "procfile.h"
#include "shared.h"

#define REMOVE_MS 1000 /* what has been killed leaves its group a moment later */
#define TICKS_OFF 2    /* clock ticks that a signal and the like may cost a held task */

/* ---- the hierarchy ---- */

static int open_mounted(void)
{
	static const char *const usual[] = { "/sys/fs/cgroup", "/sys/fs/cgroup/unified" };
	struct statfs fs;

	for (size_t i = 0; i < sizeof(usual) / sizeof(*usual); i++) {
		int fd = open(usual[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		if (fd >= 0 && !fstatfs(fd, &fs) && fs.f_type == CGROUP2_SUPER_MAGIC)
			return fd;
		if (fd >= 0)
			close(fd);
	}
	return -ENOENT;
}

/* A mount of its own without a mount point, which ends with the descriptor. */
static int mount_hierarchy(void)
{
	int fs = (int)syscall(SYS_fsopen, "cgroup2", FSOPEN_CLOEXEC), mnt = -1, root = -1;

	if (fs >= 0 && !syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0))
		mnt = (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, 0);
	if (mnt >= 0)
		root = openat(mnt, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	mfd_io_close(&mnt);
	mfd_io_close(&fs);
	return root;
}

/* `group` as /proc/PID/cgroup has it, relative to root. */
static int open_file(int root, const char *group, const char *file, int flags)
{
	char path[MFD_HOLD_PATH + 32];

	snprintf(path, sizeof(path), ".%s/%s", group, file);
	return openat(root, path, flags | O_CLOEXEC);
}

static int write_file(int root, const char *group, const char *file, const char *text)
{
	int fd = open_file(root, group, file, O_WRONLY), ret = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

/* A task that has died meanwhile needs no group. */
static int move(int root, const char *group, pid_t pid)
{
	char text[16];
	int ret;

	snprintf(text, sizeof(text), "%d", pid);
	ret = write_file(root, group, "cgroup.procs", text);
	return ret == -ESRCH ? 0 : ret;
}

static int group_of(pid_t pid, char *group)
{
	char path[40], *text, *line, *end;
	int ret;

	snprintf(path, sizeof(path), "/proc/%d/cgroup", pid);
	ret = mfd_io_read_file(AT_FDCWD, path, 1 << 16, &text, NULL);
	if (ret)
		return ret;
	line = !strncmp(text, "0::", 3) ? text : strstr(text, "\n0::");
	line = line ? strchr(line, '/') : NULL;
	end = line ? strchr(line, '\n') : NULL;
	/* "/..": outside of this process's cgroup namespace */
	if (!end || end - line >= MFD_HOLD_PATH - 64 || !strncmp(line, "/..", 3))
		ret = -EXDEV;
	else
		snprintf(group, MFD_HOLD_PATH, "%.*s", (int)(end - line), line);
	free(text);
	return ret;
}

/*
 * Root of the hierarchy.  The mounted one, if it shows this process's own group: a new mount would
 * set the options (nsdelegate ...) of the whole hierarchy anew.
 */
static int open_hierarchy(void)
{
	int root = open_mounted();
	char own[MFD_HOLD_PATH];

	if (root >= 0 && !group_of(getpid(), own)) {
		int file = open_file(root, own, "cgroup.procs", O_RDONLY);

		if (file >= 0) {
			close(file);
			return root;
		}
	}
	mfd_io_close(&root);
	return mount_hierarchy();
}

/* ---- the tasks ---- */

static uint64_t ticks_of(pid_t pid)
{
	struct mfd_procfile_stat st;

	return mfd_procfile_stat(pid, &st) ? 0 : st.ticks;
}

/* Number of the group that the task is in. */
static int note_origin(struct mfd_hold *h, struct mfd_shared_task *t)
{
	char group[MFD_HOLD_PATH];
	int ret = group_of(t->pid, group);
	unsigned i;

	if (ret)
		return ret;
	for (i = 0; i < h->norigins && strcmp(h->origin[i], group); i++)
		;
	if (i == MFD_HOLD_ORIGINS)
		return -E2BIG;
	if (i == h->norigins)
		memcpy(h->origin[h->norigins++], group, sizeof(group));
	t->origin = i;
	return 0;
}

static int note_tasks(struct mfd_shared *sh)
{
	unsigned n = atomic_load(&sh->ntasks);
	int ret = 0;

	mfd_assert(sh->hold.kind == MFD_HOLD_NONE);
	mfd_assert(n > 0);
	sh->hold.norigins = 0;
	for (unsigned i = 0; i < n && !ret; i++) {
		struct mfd_shared_task *t = &sh->task[i];

		t->ticks = ticks_of(t->pid);
		t->origin = MFD_HOLD_ORIGINS;
		if (mfd_shared_task_fate(t) != MFD_TASK_GONE)
			ret = note_origin(&sh->hold, t);
		if (ret == -ENOENT || ret == -ESRCH)
			ret = 0;
	}
	return ret || sh->hold.norigins ? ret : -ESRCH;
}

/* Those that have an origin, into the group or back. */
static int move_all(struct mfd_shared *sh, int root, int back)
{
	unsigned n = atomic_load(&sh->ntasks);
	int ret = 0;

	for (unsigned i = 0; i < n; i++) {
		const struct mfd_shared_task *t = &sh->task[i];
		int one;

		if (t->origin >= sh->hold.norigins || mfd_shared_task_fate(t) == MFD_TASK_GONE)
			continue;
		one = move(root, back ? sh->hold.origin[t->origin] : sh->hold.group, t->pid);
		if (one && !back)
			return one;
		ret = ret ? ret : one;
	}
	return ret;
}

/* ---- the group ---- */

static void remove_group(struct mfd_shared *sh, int root)
{
	unlinkat(root, sh->hold.group + 1, AT_REMOVEDIR);
}

/* What keeps a hold before it holds. */
struct keeping {
	int (*keep)(void *arg);
	void *arg;
	int failed; /* with its own error */
};

static int keep_it(struct keeping *k)
{
	int ret = k->keep ? k->keep(k->arg) : 0;

	k->failed = ret != 0;
	return ret;
}

/* Below `parent`: 0, or -errno with everything as before. */
static int try_group(struct mfd_shared *sh, int root, const char *parent, struct keeping *k)
{
	int ret;

	mfd_assert(sh->hold.kind == MFD_HOLD_NONE);
	mfd_assert(sh->hold.norigins);
	snprintf(sh->hold.group, sizeof(sh->hold.group),
		 "%s/" MFD_HELDGROUP_NAME ".%02x%02x%02x%02x", strcmp(parent, "/") ? parent : "",
		 sh->id[0], sh->id[1], sh->id[2], sh->id[3]);
	if (mkdirat(root, sh->hold.group + 1, 0755) && errno != EEXIST)
		return -errno;
	/* From here on the sender's other process undoes it, if this one dies. */
	sh->hold.kind = MFD_HOLD_GROUP;
	ret = keep_it(k);
	if (!ret)
		ret = move_all(sh, root, 0);
	if (!ret)
		ret = write_file(root, sh->hold.group, "cgroup.freeze", "1");
	if (ret) {
		move_all(sh, root, 1);
		remove_group(sh, root);
		sh->hold.kind = MFD_HOLD_NONE;
	}
	return ret;
}

/* A group whose parent is "threaded" can have no processes: then the root is the parent. */
static int begin_group(struct mfd_shared *sh, struct keeping *k)
{
	int root = open_hierarchy(), ret;

	if (root < 0)
		return root;
	ret = note_tasks(sh);
	if (!ret)
		ret = try_group(sh, root, sh->hold.origin[0], k);
	if (!k->failed && (ret == -EOPNOTSUPP || ret == -EAGAIN || ret == -EBUSY))
		ret = try_group(sh, root, "/", k);
	close(root);
	return ret;
}

static void freeze_again(const struct mfd_shared *sh)
{
	int root = open_hierarchy();

	if (root < 0)
		return;
	write_file(root, sh->hold.group, "cgroup.freeze", "1");
	close(root);
}

/* ---- for the sender's processes ---- */

static int begin_signal(struct mfd_shared *sh, struct keeping *k)
{
	int ret;

	mfd_assert(sh->hold.kind == MFD_HOLD_NONE);
	mfd_assert(atomic_load(&sh->ntasks) > 0);
	sh->hold.kind = MFD_HOLD_SIGNAL;
	ret = keep_it(k);
	if (ret)
		sh->hold.kind = MFD_HOLD_NONE;
	else
		mfd_shared_tasks_signal(sh, SIGSTOP);
	return ret;
}

int mfd_hold_begin(struct mfd_shared *sh, int (*keep)(void *arg), void *arg, struct mfd_error *err)
{
	struct keeping k = { keep, arg, 0 };
	int ret;

	if (sh->hold.kind != MFD_HOLD_NONE) {
		mfd_hold_look(sh);
		return 0;
	}
	mfd_assert(atomic_load(&sh->ntasks) > 0);
	mfd_assert(sh->connected); /* the session's id is part of the group's name */
	ret = begin_group(sh, &k);
	if (!ret || k.failed)
		return ret;
	if (ret == -ESRCH)
		return mfd_error_set(err, ret, "no task is left to be held");
	mfd_log_warn("no frozen control group for the tasks (%s): SIGSTOP holds them instead, "
		     "which any SIGCONT undoes",
		     strerror(-ret));
	return begin_signal(sh, &k);
}

static void leave_group(struct mfd_shared *sh)
{
	int root = open_hierarchy();

	if (root >= 0 && !move_all(sh, root, 1)) {
		remove_group(sh, root);
	} else {
		if (root >= 0)
			write_file(root, sh->hold.group, "cgroup.freeze", "0");
		mfd_log_error("the tasks could not be taken out of the control group %s",
			      sh->hold.group);
	}
	mfd_io_close(&root);
}

void mfd_hold_release(struct mfd_shared *sh)
{
	mfd_assert(sh->hold.kind <= MFD_HOLD_SIGNAL);
	mfd_assert(sh->hold.kind != MFD_HOLD_GROUP || sh->hold.norigins);
	if (sh->hold.kind == MFD_HOLD_SIGNAL)
		mfd_shared_tasks_signal(sh, SIGCONT);
	if (sh->hold.kind == MFD_HOLD_GROUP)
		leave_group(sh);
	sh->hold.kind = MFD_HOLD_NONE; /* last: if this process dies, the other one goes on */
}

void mfd_hold_remove(struct mfd_shared *sh)
{
	uint64_t end = mfd_io_now_ms() + REMOVE_MS;
	int root;

	mfd_assert(sh->hold.kind <= MFD_HOLD_SIGNAL);
	mfd_assert(sh->hold.kind != MFD_HOLD_GROUP || sh->hold.norigins);
	if (sh->hold.kind != MFD_HOLD_GROUP)
		return;
	sh->hold.kind = MFD_HOLD_NONE;
	root = open_hierarchy();
	while (root >= 0 && unlinkat(root, sh->hold.group + 1, AT_REMOVEDIR) && errno == EBUSY &&
	       mfd_io_now_ms() < end)
		usleep(2000);
	mfd_io_close(&root);
}

/* Stopped, traced, or in the group: a held task is never seen running, nor uses the processor. */
static int has_run(const struct mfd_shared *sh, const struct mfd_shared_task *t)
{
	struct mfd_procfile_stat st;

	if (mfd_shared_task_fate(t) == MFD_TASK_GONE || mfd_procfile_stat(t->pid, &st))
		return 0;
	if (st.start_time != t->starttime)
		return 0;
	return st.ticks > t->ticks + TICKS_OFF ||
	       (sh->hold.kind == MFD_HOLD_SIGNAL && !strchr("tTZX", st.state));
}

int mfd_hold_look(struct mfd_shared *sh)
{
	unsigned n = atomic_load(&sh->ntasks);
	pid_t before = sh->hold.ran;

	mfd_assert(sh->hold.kind <= MFD_HOLD_SIGNAL);
	mfd_assert(sh->hold.kind == MFD_HOLD_NONE || n > 0);
	if (sh->hold.kind == MFD_HOLD_NONE)
		return 0;
	for (unsigned i = 0; i < n && !sh->hold.ran; i++)
		if (has_run(sh, &sh->task[i]))
			sh->hold.ran = sh->task[i].pid;
	if (sh->hold.kind == MFD_HOLD_GROUP)
		freeze_again(sh);
	else if (sh->hold.ran && !before)
		mfd_shared_tasks_signal(sh, SIGSTOP);
	return sh->hold.ran && !before;
}

const char *mfd_hold_text(const struct mfd_shared *sh, char *buf, size_t len)
{
	if (sh->hold.kind == MFD_HOLD_GROUP)
		snprintf(buf, len, "the frozen control group %s", sh->hold.group);
	else
		snprintf(buf, len, "%s", sh->hold.kind == MFD_HOLD_SIGNAL ? "SIGSTOP" : "CRIU");
	return buf;
}
