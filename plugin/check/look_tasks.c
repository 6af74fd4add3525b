// SPDX-License-Identifier: GPL-2.0-only
/* The tasks themselves: what keeps CRIU from seizing them, or from reading what it must. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "error.h"
#include "heldgroup.h"
#include "looks.h"
#include "procfile.h"

#define ELF_CLASS    4
#define ELF_CLASS_32 1

struct threads {
	struct mfd_check *c;
	pid_t pid;
};

static int look_at_tracer(void *ctx, int tid)
{
	struct threads *t = ctx;
	char task[MFD_LOOK_NAME], tracer[MFD_LOOK_NAME];
	uint64_t by;

	if (mfd_procfile_number(tid, "TracerPid", 10, &by) || !by)
		return 0;
	mfd_check_add(t->c, MFD_FOUND_TRACED, 0, "process %s is traced by process %s",
		      mfd_look_name(t->pid, task), mfd_look_name((pid_t)by, tracer));
	return 1;
}

static void look_at_threads(struct mfd_check *c, pid_t pid)
{
	struct threads t = { c, pid };
	struct mfd_procfile_stat st;
	char path[40];
	uint64_t threads;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	mfd_walk_numbers(path, look_at_tracer, &t);
	if (!mfd_procfile_stat(pid, &st) && mfd_procfile_is_over(&st) &&
	    !mfd_procfile_number(pid, "Threads", 10, &threads) && threads > 1)
		mfd_check_add(c, MFD_FOUND_NO_LEADER, 0, "process %d", pid);
}

static void look_at_group(struct mfd_check *c, pid_t pid)
{
	struct mfd_error err = { 0 };

	if (mfd_heldgroup_refuse(pid, &err) || mfd_heldgroup_refuse_frozen(pid, &err))
		mfd_check_add(c, MFD_FOUND_HELD, 0, "%.300s", mfd_error_text(&err));
}

/* By the same call as CRIU's. */
static void look_at_limits(struct mfd_check *c, pid_t pid)
{
	char task[MFD_LOOK_NAME];
	struct rlimit r;

	if (syscall(SYS_prlimit64, pid, RLIMIT_CPU, NULL, &r) && errno == EPERM)
		mfd_check_add(c, MFD_FOUND_LIMITS, 0, "process %s", mfd_look_name(pid, task));
}

static void look_at_program(struct mfd_check *c, pid_t pid)
{
	unsigned char ident[ELF_CLASS + 1];
	char path[40], task[MFD_LOOK_NAME];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/exe", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return;
	if (sizeof(void *) == 8 && pread(fd, ident, sizeof(ident), 0) == sizeof(ident) &&
	    ident[0] == 0x7f && ident[ELF_CLASS] == ELF_CLASS_32)
		mfd_check_add(c, MFD_FOUND_32_BIT, 0, "process %s", mfd_look_name(pid, task));
	close(fd);
}

/*
 * CRIU looks at the first process alone: if that is a session's leader, so is every other leader
 * in the tree.
 */
static void look_at_session(struct mfd_check *c)
{
	struct mfd_procfile_stat st;
	char task[MFD_LOOK_NAME], leader[MFD_LOOK_NAME];

	if (!mfd_procfile_stat(c->root, &st) && st.session && st.session != c->root)
		mfd_check_add(c, MFD_FOUND_JOB, 0, "process %s, its session is that of %s",
			      mfd_look_name(c->root, task), mfd_look_name(st.session, leader));
}

int mfd_look_tasks(struct mfd_check *c)
{
	look_at_session(c);
	for (size_t i = 0; i < c->tree.n; i++) {
		look_at_threads(c, c->tree.v[i]);
		look_at_group(c, c->tree.v[i]);
		look_at_limits(c, c->tree.v[i]);
		look_at_program(c, c->tree.v[i]);
	}
	return 0;
}
