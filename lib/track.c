// SPDX-License-Identifier: GPL-2.0-only
/* Write tracking by userfaultfd and PAGEMAP_SCAN. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "assert.h"
#include "io.h"
#include "procfile.h"
#include "track.h"
#include "wire.h"

/* linux/userfaultfd.h has these from 6.4 and 6.7 on. */
#define WP_UNPOPULATED (1ULL << 13)
#define WP_ASYNC       (1ULL << 15)
#define USER_MODE      1
#define THREAD	       O_EXCL /* PIDFD_THREAD */
#define PIECE	       (64ULL << 20)

/* ---- the userfaultfd ---- */

static int enable(int fd)
{
	struct uffdio_api api = { .api = UFFD_API, .features = WP_ASYNC | WP_UNPOPULATED };

	return ioctl(fd, UFFDIO_API, &api) ? -errno : 0;
}

static int can_scan(void)
{
	struct mfd_error err = { 0 };
	struct mfd_pagescan *s = NULL;
	struct mfd_run run;
	uint64_t pos = 0;
	int ret = mfd_pagescan_open(getpid(), 0, &s, &err);

	if (!ret)
		ret = mfd_pagescan_look(s, MFD_LOOK_WRITTEN, 0);
	if (!ret)
		ret = mfd_pagescan_next(s, &pos, MFD_WIRE_PAGE_SIZE, &run, 1);
	mfd_pagescan_close(s);
	return ret < 0 ? ret : 0;
}

int mfd_track_supported(void)
{
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | USER_MODE);
	int thread = (int)syscall(SYS_pidfd_open, gettid(), THREAD);
	int ret = fd < 0 || thread < 0 ? -errno : enable(fd);

	if (!ret)
		ret = can_scan();
	mfd_io_close(&fd);
	mfd_io_close(&thread);
	return ret;
}

static int change(int fd, const struct mfd_vma *v)
{
	struct uffdio_register r = { .range = { v->start, v->end - v->start },
				     .mode = UFFDIO_REGISTER_MODE_WP };

	return ioctl(fd, UFFDIO_REGISTER, &r) ? -errno : 0;
}

/* ---- attaching ---- */

/* In the order of their usefulness to a reader; the first that fits. */
static const struct {
	int code;
	const char *why;
} reasons[] = {
	{ -EBUSY, "another program tracks it, or a process that shares its memory" },
	{ -EPERM, "it is traced by another program, or out of reach" },
	{ -EMFILE, "it has no descriptor left" },
	{ -ESRCH, "it has ended" },
	{ -ETIMEDOUT, "no thread of it stops: it is frozen, or waits for a device" },
	{ -ENOSYS, "this processor is not supported" },
};

static void untracked(struct mfd_track *t, int code, const char *step)
{
	const char *why = strerror(-code);

	for (size_t i = 0; i < sizeof(reasons) / sizeof(*reasons); i++)
		if (reasons[i].code == code)
			why = reasons[i].why;
	mfd_io_close(&t->fd);
	if (code == -ENOEXEC) /* the step says all */
		snprintf(t->why, sizeof(t->why), "%.60s", step);
	else
		snprintf(t->why, sizeof(t->why), "%.70s (%.20s)", why, step);
}

/* Nonzero: a userfaultfd of the process's own, which may track the same pages. */
static int has_userfaultfd(pid_t pid)
{
	char path[40], name[64];
	struct dirent *e;
	int found = 0;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	d = opendir(path);
	while (d && !found && (e = readdir(d))) {
		ssize_t n = readlinkat(dirfd(d), e->d_name, name, sizeof(name) - 1);

		name[n > 0 ? n : 0] = 0;
		found = !strcmp(name, "anon_inode:[userfaultfd]");
	}
	if (d)
		closedir(d);
	return found;
}

static int finds_any(struct mfd_pagescan *s, const struct mfd_vma *v)
{
	uint64_t pos = v->start;
	struct mfd_run run;
	int n;

	do
		n = mfd_pagescan_next(s, &pos, v->end, &run, 1);
	while (!n && pos < v->end);
	return n;
}

/*
 * -EBUSY: pages of it are tracked before anything of it was registered here.  Its userfaultfd is
 * with another program, or belongs to a process that it shares its memory with (vfork): of two that
 * protect the same pages each finds only what was written since the other's look.
 */
static int is_free(pid_t pid, const struct mfd_vmas *vmas)
{
	struct mfd_pagescan *s = NULL;
	int ret = mfd_pagescan_open(pid, 0, &s, NULL);

	if (!ret)
		ret = mfd_pagescan_look(s, MFD_LOOK_TRACKED, 0);
	for (size_t i = 0; i < vmas->n && !ret; i++)
		ret = finds_any(s, &vmas->v[i]);
	mfd_pagescan_close(s);
	return ret > 0 ? -EBUSY : ret;
}

/*
 * All there is.  What refuses stays untracked, but for what is another's: a mapping has one
 * userfaultfd at most, so that of two that come at the same moment one at least meets -EBUSY.
 */
static int register_all(int fd, pid_t pid)
{
	struct mfd_vmas vmas;
	int ret = enable(fd);

	if (ret || (ret = mfd_pagescan_vmas(pid, &vmas, NULL)))
		return ret;
	ret = is_free(pid, &vmas);
	for (size_t i = 0; i < vmas.n && !ret; i++)
		if (change(fd, &vmas.v[i]) == -EBUSY)
			ret = -EBUSY;
	mfd_pagescan_vmas_free(&vmas);
	return ret;
}

struct early {
	pid_t pid;
	int done, ret;
};

/*
 * With one thread: while that stands still, so that no mapping can grow between the look at it and
 * its registration, which would cut it in two.
 */
static void register_early(int fd, void *arg)
{
	struct early *e = arg;

	e->done = 1;
	e->ret = register_all(fd, e->pid);
}

static void attach(struct mfd_track *t)
{
	struct early early = { .pid = t->pid };
	struct mfd_inject in;
	int ret;

	mfd_assert(t->fd < 0);
	t->why[0] = 0;
	if (has_userfaultfd(t->pid)) {
		untracked(t, -ENOEXEC, "it has a userfaultfd of its own");
		return;
	}
	ret = mfd_inject_userfaultfd(t->pid, register_early, &early, &in);
	if (in.stopped > t->stopped_us)
		t->stopped_us = in.stopped;
	if (ret) {
		untracked(t, ret, in.why);
		return;
	}
	t->fd = in.fd;
	ret = early.done ? early.ret : register_all(t->fd, t->pid);
	if (ret)
		untracked(t, ret, "userfaultfd");
}

void mfd_track_attach(struct mfd_track *t, pid_t pid)
{
	*t = (struct mfd_track){ .pid = pid, .fd = -1, .start_time = mfd_procfile_start_time(pid) };
	attach(t);
}

static void end_round(struct mfd_track *t)
{
	mfd_pagescan_close(t->scan);
	t->scan = NULL;
	mfd_pagescan_vmas_free(&t->vmas);
	t->vma = 0;
}

static void give_back(int fd, const struct mfd_vma *v)
{
	for (uint64_t at = v->start; at < v->end; at += PIECE) {
		uint64_t left = v->end - at;
		struct uffdio_writeprotect w = { .range = { at, left < PIECE ? left : PIECE } };

		if (ioctl(fd, UFFDIO_WRITEPROTECT, &w))
			return; /* not registered: nothing of it is protected */
	}
}

void mfd_track_detach(struct mfd_track *t)
{
	struct mfd_vmas vmas;

	end_round(t);
	if (t->fd >= 0 && !mfd_pagescan_vmas(t->pid, &vmas, NULL)) {
		for (size_t i = 0; i < vmas.n; i++)
			give_back(t->fd, &vmas.v[i]);
		mfd_pagescan_vmas_free(&vmas);
	}
	mfd_io_close(&t->fd);
}

void mfd_track_give_up(struct mfd_track *t, int code, const char *step)
{
	mfd_assert(code < 0);
	mfd_track_detach(t);
	untracked(t, code, step);
}

/* ---- rounds ---- */

/*
 * Of what was just registered all is taken, and protected: as it is "written" then.  Before Linux
 * 6.13 a page that mremap() has moved here carries the protection of where it was, and can be
 * written to nonetheless: a scan for written ones would pass it over for ever.
 */
static void make_fresh(const struct mfd_track *t, struct mfd_vma *v)
{
	give_back(t->fd, v);
	v->look = MFD_LOOK_TRACKED;
}

/*
 * Register a mapping if pages of it are not tracked.  -ESRCH: the userfaultfd is one of a memory
 * map that has ended.  -EBUSY: another's userfaultfd has it.
 */
static int look_for_new(struct mfd_track *t, struct mfd_vma *v)
{
	int ret = mfd_pagescan_look(t->scan, MFD_LOOK_UNTRACKED, 0);

	if (!ret)
		ret = finds_any(t->scan, v);
	v->look = MFD_LOOK_WRITTEN;
	if (ret <= 0)
		return ret;
	ret = change(t->fd, v);
	if (!ret)
		make_fresh(t, v);
	if (ret == -EBUSY)
		return ret;
	return ret == -ENOMEM || ret == -ESRCH ? -ESRCH : 0;
}

static int open_round(struct mfd_track *t)
{
	int ret = mfd_pagescan_vmas(t->pid, &t->vmas, NULL);

	if (!ret)
		ret = mfd_pagescan_open(t->pid, 0, &t->scan, NULL);
	for (size_t i = 0; i < t->vmas.n && !ret; i++)
		ret = look_for_new(t, &t->vmas.v[i]);
	t->vma = 0;
	t->pos = t->vmas.n ? t->vmas.v[0].start : 0;
	return ret;
}

/* After attaching: nothing that was tracked before is taken for tracked. */
static void all_is_fresh(struct mfd_track *t)
{
	for (size_t i = 0; i < t->vmas.n; i++)
		make_fresh(t, &t->vmas.v[i]);
}

void mfd_track_begin(struct mfd_track *t)
{
	int ret, first = !t->rounds++;

	end_round(t);
	if (t->fd < 0)
		return;
	if (has_userfaultfd(t->pid)) {
		untracked(t, -ENOEXEC, "it has a userfaultfd of its own");
		return;
	}
	ret = open_round(t);
	if (ret && ret != -EBUSY) { /* a new program, or the end */
		end_round(t);
		mfd_io_close(&t->fd);
		attach(t);
		first = 1;
		ret = t->fd < 0 ? 0 : open_round(t);
	}
	if (ret)
		untracked(t, ret, "scanning");
	if (t->fd < 0)
		end_round(t);
	else if (first)
		all_is_fresh(t);
}

int mfd_track_next(struct mfd_track *t, struct mfd_run *runs, int max)
{
	int n = 0;

	while (t->scan && !n && t->vma < t->vmas.n) {
		const struct mfd_vma *v = &t->vmas.v[t->vma];

		if (t->pos < v->end) {
			n = mfd_pagescan_look(t->scan, (enum mfd_look)v->look, 1);
			if (!n)
				n = mfd_pagescan_next(t->scan, &t->pos, v->end, runs, max);
		} else if (++t->vma < t->vmas.n) {
			t->pos = t->vmas.v[t->vma].start;
		}
	}
	if (n < 0)
		mfd_track_give_up(t, n, "scanning");
	else if (!n)
		end_round(t);
	return n < 0 ? 0 : n;
}

static uint64_t count_in(struct mfd_pagescan *s, const struct mfd_vma *v)
{
	struct mfd_run runs[256];
	uint64_t sum = 0;
	int n = 0;

	for (uint64_t pos = v->start; pos < v->end && n >= 0;) {
		n = mfd_pagescan_next(s, &pos, v->end, runs, 256);
		for (int r = 0; r < n; r++)
			sum += runs[r].pages;
	}
	return sum;
}

uint64_t mfd_track_count(const struct mfd_track *t)
{
	struct mfd_pagescan *s = NULL;
	struct mfd_vmas vmas;
	uint64_t sum = 0;

	if (mfd_pagescan_vmas(t->pid, &vmas, NULL))
		return 0;
	if (!mfd_track_stopped(t, &vmas, 0) && !mfd_pagescan_open(t->pid, 0, &s, NULL))
		for (size_t i = 0; i < vmas.n; i++)
			if (!mfd_pagescan_look(s, (enum mfd_look)vmas.v[i].look, 0))
				sum += count_in(s, &vmas.v[i]);
	mfd_pagescan_close(s);
	mfd_pagescan_vmas_free(&vmas);
	return sum;
}

int mfd_track_stopped(const struct mfd_track *t, struct mfd_vmas *vmas, int clean)
{
	static const enum mfd_look looks[] = { MFD_LOOK_WRITTEN, MFD_LOOK_UNTRACKED,
					       MFD_LOOK_CLEAN };
	size_t n = clean ? 3 : 2;
	struct mfd_vma *v;

	if (t->fd < 0 || has_userfaultfd(t->pid) ||
	    t->start_time != mfd_procfile_start_time(t->pid) || !vmas->n)
		return 0;
	v = reallocarray(vmas->v, vmas->n, n * sizeof(*v));
	if (!v)
		return -ENOMEM;
	for (size_t l = n; l--;)
		for (size_t i = 0; i < vmas->n; i++) {
			v[l * vmas->n + i] = v[i];
			v[l * vmas->n + i].look = looks[l];
		}
	vmas->v = v;
	vmas->n *= n;
	return 0;
}
