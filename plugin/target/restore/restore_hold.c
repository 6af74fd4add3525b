// SPDX-License-Identifier: GPL-2.0-only
/* The frozen control group of restored tasks, or SIGSTOP; see restore_hold.h. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "assert.h"
#include "frozen.h"
#include "held.h"
#include "io.h"
#include "log.h"
#include "procfile.h"
#include "restore_hold.h"

#define REMOVE_MS 1000 /* what has been killed leaves its group a moment later */
#define STOP_MS	  1000 /* a task that gets SIGSTOP stops */
/*
 * Clock ticks that signals and the like may cost a frozen task: so many, and one for each WAKES of
 * its switches, each of which is a signal that wakes it into the freezer again.
 */
#define TICKS_OFF 2
#define WAKES	  100
#define FILE_MAX  (16U << 20)

void mfd_restore_hold_name(char name[17])
{
	uint64_t word;

	if (getrandom(&word, sizeof(word), 0) != sizeof(word))
		word = (uint64_t)getpid() << 32 | (uint64_t)mfd_io_now_ms();
	snprintf(name, 17, "%016llx", (unsigned long long)word);
}

/* ---- what they have used ---- */

/* From the file: what is known of them since they were held first. */
static void read_notes(struct mfd_restore_hold *h, int dirfd)
{
	char *text = NULL, *line, *save;

	if (mfd_io_read_file(dirfd, MFD_HELD_FILE, FILE_MAX, &text, NULL))
		return;
	for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		struct mfd_restore_held_task t;
		unsigned long long start, ticks, switches;

		if (sscanf(line, "ran %d", &h->ran) == 1 ||
		    sscanf(line, "task %d %llu %llu %llu", &t.pid, &start, &ticks, &switches) != 4)
			continue;
		for (size_t i = 0; i < h->n; i++)
			if (h->task[i].pid == t.pid && h->task[i].start == start) {
				h->task[i].ticks = ticks;
				h->task[i].switches = switches;
			}
	}
	free(text);
}

/* "ran", and the task; a file that cannot be written leaves only the next worker without it. */
static void note_ran(struct mfd_restore_hold *h, int dirfd, pid_t pid)
{
	char line[32];

	h->ran = pid;
	snprintf(line, sizeof(line), "ran %d\n", pid);
	if (mfd_held_note(dirfd, line))
		mfd_log_warn("%s cannot be written", MFD_HELD_FILE);
}

static void note_task(const struct mfd_restore_held_task *t, int dirfd)
{
	char line[128];

	snprintf(line, sizeof(line), "task %d %llu %llu %llu\n", t->pid,
		 (unsigned long long)t->start, (unsigned long long)t->ticks,
		 (unsigned long long)t->switches);
	if (mfd_held_note(dirfd, line))
		mfd_log_warn("%s cannot be written", MFD_HELD_FILE);
}

static int is_stopped(const struct mfd_procfile_stat *st)
{
	return strchr("tTZX", st->state) != NULL;
}

/* CRIU has sent it SIGSTOP, or something else has let it go on since. */
static void await_stop(pid_t pid)
{
	struct mfd_procfile_stat st;

	for (int ms = 0; ms < STOP_MS && !mfd_procfile_stat(pid, &st) && !is_stopped(&st); ms++) {
		if (ms == STOP_MS / 2)
			kill(pid, SIGSTOP);
		usleep(1000);
	}
}

static void measure(struct mfd_restore_held_task *t, pid_t pid)
{
	struct mfd_procfile_stat st;

	*t = (struct mfd_restore_held_task){ .pid = pid };
	if (mfd_procfile_stat(pid, &st))
		return;
	t->start = st.start_time;
	t->ticks = st.ticks;
	t->switches = mfd_procfile_switches(pid);
}

static int has_run(const struct mfd_restore_hold *h, const struct mfd_restore_held_task *t)
{
	struct mfd_procfile_stat st;
	uint64_t woken;

	if (!t->start || mfd_procfile_stat(t->pid, &st) || st.start_time != t->start ||
	    mfd_procfile_is_over(&st))
		return 0;
	woken = mfd_procfile_switches(t->pid);
	woken = woken > t->switches ? woken - t->switches : 0;
	if (h->kind == MFD_RESTORE_HOLD_SIGNAL)
		return !is_stopped(&st) || woken || st.ticks > t->ticks + TICKS_OFF;
	return st.ticks > t->ticks + TICKS_OFF + woken / WAKES;
}

/* ---- the hold ---- */

/* 0: all of them are in the group. */
static int hold_by_group(struct mfd_restore_hold *h, int dirfd, const pid_t *pids, size_t n)
{
	char name[17];
	struct mfd_held held;
	int ret = mfd_held_open(&held, dirfd);

	mfd_restore_hold_name(name);
	for (size_t i = 0; i < n && !ret; i++)
		ret = mfd_held_add(&held, name, pids[i]);
	snprintf(h->group, sizeof(h->group), "%s", held.group);
	mfd_held_close(&held);
	return ret;
}

static void take_group(struct mfd_restore_hold *h, int dirfd, const char *session,
		       const pid_t *pids, size_t n)
{
	int ret = hold_by_group(h, dirfd, pids, n);

	h->kind = ret ? MFD_RESTORE_HOLD_SIGNAL : MFD_RESTORE_HOLD_GROUP;
	if (ret)
		mfd_log_warn("%s: no frozen control group for the restored tasks (%s): SIGSTOP "
			     "holds them instead, which any SIGCONT undoes",
			     session, strerror(-ret));
}

void mfd_restore_hold_take(struct mfd_restore_hold *h, int dirfd, const char *session,
			   const pid_t *pids, size_t n)
{
	int known = !faccessat(dirfd, MFD_HELD_FILE, F_OK, AT_SYMLINK_NOFOLLOW);

	mfd_assert(h->kind == MFD_RESTORE_HOLD_NONE);
	mfd_assert(!h->task && !h->n);
	take_group(h, dirfd, session, pids, n);
	h->task = calloc(n + 1, sizeof(*h->task));
	for (size_t i = 0; h->task && i < n; i++) {
		if (h->kind == MFD_RESTORE_HOLD_SIGNAL)
			await_stop(pids[i]);
		measure(&h->task[h->n++], pids[i]);
	}
	if (known)
		read_notes(h, dirfd);
	for (size_t i = 0; i < h->n; i++)
		note_task(&h->task[i], dirfd);
}

static void hold_again(const struct mfd_restore_hold *h)
{
	int root = -1;

	if (h->kind == MFD_RESTORE_HOLD_SIGNAL) {
		for (size_t i = 0; i < h->n; i++)
			if (mfd_procfile_start_time(h->task[i].pid) == h->task[i].start)
				kill(h->task[i].pid, SIGSTOP);
		return;
	}
	root = mfd_frozen_open();
	if (root >= 0)
		mfd_frozen_set(root, h->group, 1);
	mfd_io_close(&root);
}

int mfd_restore_hold_look(struct mfd_restore_hold *h, int dirfd)
{
	pid_t ran = 0;

	mfd_assert(h->kind <= MFD_RESTORE_HOLD_SIGNAL);
	mfd_assert(h->task || !h->n);
	if (h->kind == MFD_RESTORE_HOLD_NONE)
		return 0;
	for (size_t i = 0; i < h->n && !ran; i++)
		ran = has_run(h, &h->task[i]) ? h->task[i].pid : 0;
	if (ran || h->kind == MFD_RESTORE_HOLD_GROUP)
		hold_again(h);
	if (!ran || h->ran)
		return 0;
	note_ran(h, dirfd, ran);
	return 1;
}

void mfd_restore_hold_forget(struct mfd_restore_hold *h)
{
	mfd_assert(h->task || !h->n);
	mfd_assert(h->kind <= MFD_RESTORE_HOLD_SIGNAL);
	free(h->task);
	*h = (struct mfd_restore_hold){ .ran = h->ran };
}

int mfd_restore_hold_release(struct mfd_restore_hold *h, int dirfd)
{
	mfd_restore_hold_forget(h);
	return mfd_held_release(dirfd);
}

void mfd_restore_hold_remove(struct mfd_restore_hold *h, int dirfd)
{
	int ret = mfd_held_remove(dirfd, REMOVE_MS);

	if (ret)
		mfd_log_warn("the control group of tasks that are dead is left: %s",
			     strerror(-ret));
	mfd_restore_hold_forget(h);
}

const char *mfd_restore_hold_text(const struct mfd_restore_hold *h, char *buf, size_t len)
{
	if (h->kind == MFD_RESTORE_HOLD_GROUP)
		snprintf(buf, len, "the frozen control group %s", h->group);
	else
		snprintf(buf, len, "SIGSTOP, which any SIGCONT undoes");
	return buf;
}
