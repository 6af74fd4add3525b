// SPDX-License-Identifier: GPL-2.0-only
/* The frozen control group, or SIGSTOP. Theory in hold.h. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "assert.h"
#include "cgroup.h"
#include "heldgroup.h"
#include "hold.h"
#include "io.h"
#include "log.h"
#include "procfile.h"
#include "shared.h"

#define LEAVE_MS  1000
#define LOOK_MS	  50
#define REMOVE_MS 1000 /* what has been killed leaves its group a moment later */
#define TICKS_OFF 2    /* clock ticks that a signal and the like may cost a held task */

/* ---- the tasks ---- */

static uint64_t ticks_of(pid_t pid)
{
	struct mfd_procfile_stat st;

	return mfd_procfile_stat(pid, &st) ? 0 : st.ticks;
}

/* The number of a group among the origins, or -E2BIG. */
static int origin_of(struct mfd_hold *h, const char *group)
{
	unsigned i;

	for (i = 0; i < h->norigins && strcmp(h->origin[i], group); i++)
		;
	if (i == MFD_HOLD_ORIGINS)
		return -E2BIG;
	if (i == h->norigins)
		snprintf(h->origin[h->norigins++], MFD_HOLD_PATH, "%s", group);
	return (int)i;
}

static int note_thread(struct mfd_hold *h, pid_t tid, const char *group)
{
	int origin = origin_of(h, group);

	if (origin < 0)
		return origin;
	if (h->nthreads == MFD_HOLD_THREADS)
		return -E2BIG;
	h->thread[h->nthreads++] = (struct mfd_hold_thread){ tid, (unsigned)origin };
	return 0;
}

/* Threads that are not in the domain of their process, with all else in it. */
static int note_threads(struct mfd_hold *h, pid_t pid, const char *domain)
{
	char path[40], group[MFD_HOLD_PATH];
	struct dirent *e;
	int ret = 0;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	d = opendir(path);
	while (d && !ret && (e = readdir(d))) {
		pid_t tid = (pid_t)strtol(e->d_name, NULL, 10);

		if (tid > 0 && !mfd_cgroup_of(pid, tid, group) && strcmp(group, domain))
			ret = note_thread(h, tid, group);
	}
	if (d)
		closedir(d);
	return ret;
}

static int note_origin(struct mfd_hold *h, int root, struct mfd_shared_task *t)
{
	char domain[MFD_HOLD_PATH];
	int ret = mfd_cgroup_of(t->pid, t->pid, domain);

	if (ret)
		return ret;
	while (mfd_cgroup_is_threaded(root, domain) && mfd_cgroup_up(domain))
		;
	ret = origin_of(h, domain);
	if (ret < 0)
		return ret;
	t->origin = (unsigned)ret;
	return note_threads(h, t->pid, domain);
}

static int note_tasks(struct mfd_shared *sh, int root)
{
	unsigned n = atomic_load(&sh->ntasks);
	int ret = 0;

	mfd_assert(sh->hold.kind == MFD_HOLD_NONE);
	mfd_assert(n > 0);
	sh->hold.norigins = sh->hold.nthreads = 0;
	for (unsigned i = 0; i < n && !ret; i++) {
		struct mfd_shared_task *t = &sh->task[i];

		t->ticks = ticks_of(t->pid);
		t->origin = MFD_HOLD_ORIGINS;
		if (mfd_shared_task_fate(t) != MFD_TASK_GONE)
			ret = note_origin(&sh->hold, root, t);
		if (ret == -ENOENT || ret == -ESRCH)
			ret = 0;
	}
	return ret || sh->hold.norigins ? ret : -ESRCH;
}

/* Those that have an origin, into the group. */
static int move_in(struct mfd_shared *sh, int root)
{
	unsigned n = atomic_load(&sh->ntasks);
	int ret = 0;

	for (unsigned i = 0; i < n && !ret; i++)
		if (sh->task[i].origin < sh->hold.norigins &&
		    mfd_shared_task_fate(&sh->task[i]) != MFD_TASK_GONE)
			ret = mfd_cgroup_move(root, sh->hold.group, sh->task[i].pid);
	return ret;
}

/* Its number may be another thread's by now. */
static int is_thread_of(const struct mfd_shared *sh, pid_t tid)
{
	unsigned n = atomic_load(&sh->ntasks);
	uint64_t pid;

	if (mfd_procfile_number(tid, "Tgid", 10, &pid))
		return 0;
	for (unsigned i = 0; i < n; i++)
		if ((uint64_t)sh->task[i].pid == pid)
			return mfd_shared_task_fate(&sh->task[i]) != MFD_TASK_GONE;
	return 0;
}

/* ... and back; all that can be, whatever fails. */
static int move_back(struct mfd_shared *sh, int root)
{
	unsigned n = atomic_load(&sh->ntasks);
	int ret = 0;

	for (unsigned i = 0; i < n; i++) {
		const struct mfd_shared_task *t = &sh->task[i];
		int one;

		if (t->origin >= sh->hold.norigins || mfd_shared_task_fate(t) == MFD_TASK_GONE)
			continue;
		one = mfd_cgroup_move(root, sh->hold.origin[t->origin], t->pid);
		ret = ret ? ret : one;
	}
	for (unsigned i = 0; i < sh->hold.nthreads; i++)
		if (is_thread_of(sh, sh->hold.thread[i].tid))
			mfd_cgroup_move_thread(root, sh->hold.origin[sh->hold.thread[i].origin],
					       sh->hold.thread[i].tid);
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
		ret = move_in(sh, root);
	if (!ret)
		ret = mfd_cgroup_write(root, sh->hold.group, "cgroup.freeze", "1");
	if (ret) {
		move_back(sh, root);
		remove_group(sh, root);
		sh->hold.kind = MFD_HOLD_NONE;
	}
	return ret;
}

/*
 * Below a domain whose tasks are spread over threaded groups there is no other domain: then it lies
 * as near above as it can.
 */
static int begin_group(struct mfd_shared *sh, struct keeping *k)
{
	char parent[MFD_HOLD_PATH];
	int root = mfd_cgroup_open(), ret;

	if (root < 0)
		return root;
	ret = note_tasks(sh, root);
	if (!ret) {
		memcpy(parent, sh->hold.origin[0], sizeof(parent));
		do
			ret = try_group(sh, root, parent, k);
		while (!k->failed && (ret == -EOPNOTSUPP || ret == -EAGAIN || ret == -EBUSY) &&
		       mfd_cgroup_up(parent));
	}
	close(root);
	return ret;
}

/* Nonzero: neither stopped nor traced, so nothing keeps it from running. */
static int is_free(pid_t pid)
{
	struct mfd_procfile_stat st;

	return !mfd_procfile_stat(pid, &st) && !strchr("tTZX", st.state);
}

/* By what is not the sender a task may have been moved out: it has run there if it could. */
static void move_in_again(struct mfd_shared *sh, int root)
{
	unsigned n = atomic_load(&sh->ntasks);
	char group[MFD_HOLD_PATH];

	mfd_assert(sh->hold.kind == MFD_HOLD_GROUP);
	mfd_assert(sh->hold.norigins);
	for (unsigned i = 0; i < n; i++) {
		const struct mfd_shared_task *t = &sh->task[i];

		if (t->origin >= sh->hold.norigins || mfd_shared_task_is_dying(t) ||
		    mfd_cgroup_of(t->pid, t->pid, group) || !strcmp(group, sh->hold.group))
			continue;
		mfd_log_warn("process %d was moved from the control group that holds it to %s: it "
			     "is moved back",
			     t->pid, group);
		if (!sh->hold.ran && is_free(t->pid))
			sh->hold.ran = t->pid;
		mfd_cgroup_move(root, sh->hold.group, t->pid);
	}
}

static void freeze_again(struct mfd_shared *sh)
{
	int root = mfd_cgroup_open();

	if (root < 0)
		return;
	mfd_cgroup_write(root, sh->hold.group, "cgroup.freeze", "1");
	move_in_again(sh, root);
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
	if (ret) {
		sh->hold.kind = MFD_HOLD_NONE;
		return ret;
	}
	ret = mfd_shared_tasks_signal(sh, SIGSTOP);
	if (ret)
		mfd_hold_release(sh);
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
	ret = begin_signal(sh, &k);
	return ret && !k.failed ? mfd_error_sys(err, ret, "the tasks cannot be stopped") : ret;
}

/* 0, or -errno: all that can run does, if it may be in the group still. */
static int leave_group(struct mfd_shared *sh)
{
	int root = mfd_cgroup_open(), ret;

	if (root < 0)
		return root;
	ret = move_back(sh, root);
	if (ret)
		mfd_cgroup_write(root, sh->hold.group, "cgroup.freeze", "0");
	else
		remove_group(sh, root);
	close(root);
	return ret;
}

/* A stop of the user's own, of before the dump, stays one. */
static int let_go_on(struct mfd_shared *sh)
{
	unsigned n = atomic_load(&sh->ntasks);
	int ret = 0;

	mfd_assert(sh->hold.kind == MFD_HOLD_SIGNAL);
	mfd_assert(n > 0);
	for (unsigned i = 0; i < n; i++) {
		int one = sh->task[i].stopped ? 0 : mfd_shared_task_signal(&sh->task[i], SIGCONT);

		ret = ret ? ret : one;
	}
	return ret;
}

static int try_release(struct mfd_shared *sh)
{
	if (sh->hold.kind == MFD_HOLD_SIGNAL)
		return let_go_on(sh);
	return sh->hold.kind == MFD_HOLD_GROUP ? leave_group(sh) : 0;
}

/* A want of descriptors or memory may pass. */
int mfd_hold_release(struct mfd_shared *sh)
{
	uint64_t end = mfd_io_now_ms() + LEAVE_MS;
	char how[MFD_HOLD_PATH + 64];
	int ret;

	mfd_assert(sh->hold.kind <= MFD_HOLD_SIGNAL);
	mfd_assert(sh->hold.kind != MFD_HOLD_GROUP || sh->hold.norigins);
	while ((ret = try_release(sh)) && mfd_io_now_ms() < end)
		usleep(LOOK_MS * 1000);
	if (!ret)
		sh->hold.kind = MFD_HOLD_NONE; /* last: if this process dies, the other goes on */
	else
		mfd_log_error("tasks may be held by %s still (%s): criu-multifd resolve --source "
			      "DIR --run tries it again",
			      mfd_hold_text(sh, how, sizeof(how)), strerror(-ret));
	return ret;
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
	root = mfd_cgroup_open();
	while (root >= 0 && unlinkat(root, sh->hold.group + 1, AT_REMOVEDIR) && errno == EBUSY &&
	       mfd_io_now_ms() < end)
		usleep(2000);
	mfd_io_close(&root);
}

/*
 * Stopped, traced, or in the group: a held task is never seen running, nor uses the processor.  To
 * give back its memory a dying one does; it is looked at last, since it may have been killed while
 * the rest was read.
 */
static int has_run(const struct mfd_shared *sh, const struct mfd_shared_task *t)
{
	struct mfd_procfile_stat st;

	if (mfd_procfile_stat(t->pid, &st) || st.start_time != t->starttime)
		return 0;
	if (st.ticks <= t->ticks + TICKS_OFF &&
	    (sh->hold.kind != MFD_HOLD_SIGNAL || strchr("tTZX", st.state)))
		return 0;
	return !mfd_shared_task_is_dying(t);
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
