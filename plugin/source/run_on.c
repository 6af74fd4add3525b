// SPDX-License-Identifier: GPL-2.0-only
/* What keeps tasks from running on, undone; see run_on.h. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "assert.h"
#include "freezer.h"
#include "hold.h"
#include "io.h"
#include "kept.h"
#include "log.h"
#include "procfile.h"
#include "run_on.h"
#include "shared.h"
#include "unlock.h"

#define THAW_MS 1000 /* a want of descriptors may pass */
#define LOOK_MS 50

int mfd_run_on_freezes(struct mfd_shared *sh, const struct mfd_options *o, const char *group,
		       struct mfd_error *err)
{
	int frozen = mfd_freezer_is_frozen(group);
	struct mfd_error kept = { 0 };

	mfd_assert(!sh->freezer[0]);
	mfd_assert(atomic_load(&sh->ntasks) == 0);
	if (frozen == -ENOENT)
		return 0; /* CRIU will say so */
	if (frozen < 0)
		return mfd_error_sys(err, frozen, "the control group %s, which criu is to freeze",
				     group);
	if (frozen)
		return 0;
	snprintf(sh->freezer, sizeof(sh->freezer), "%s", group);
	/* For the case that every process of the sender dies as well as CRIU. */
	if (mfd_kept_save(sh, o, MFD__SOURCE_STATE__FREEZING, &kept))
		mfd_log_warn("%s", mfd_error_text(&kept));
	return 0;
}

void mfd_run_on_thawed(struct mfd_shared *sh, const struct mfd_options *o)
{
	if (!sh->freezer[0])
		return;
	mfd_assert(sh->hold.kind == MFD_HOLD_NONE);
	mfd_assert(sh->kept == MFD__SOURCE_STATE__FREEZING || sh->kept == MFD_KEPT_NOTHING);
	sh->freezer[0] = 0;
	mfd_kept_save(sh, o, MFD_KEPT_NOTHING, NULL);
}

/* 1: it was frozen and is not any more; 0: it was not. */
static int try_thaw(const char *group)
{
	int ret = mfd_freezer_is_frozen(group);

	if (ret > 0)
		ret = mfd_freezer_thaw(group);
	else
		return ret;
	return ret ? ret : 1;
}

static void thaw(struct mfd_shared *sh)
{
	uint64_t end = mfd_io_now_ms() + THAW_MS;
	int ret;

	mfd_assert(sh->freezer[0]);
	mfd_assert(sh->hold.kind <= MFD_HOLD_SIGNAL);
	while ((ret = try_thaw(sh->freezer)) < 0 && mfd_io_now_ms() < end)
		usleep(LOOK_MS * 1000);
	if (ret < 0) {
		mfd_log_error("criu may have left the tasks frozen by the control group %s, which "
			      "cannot be thawed (%s): criu-multifd resolve --source DIR --run "
			      "tries it again",
			      sh->freezer, strerror(-ret));
		return;
	}
	if (ret)
		mfd_log_warn("criu has ended and left the tasks frozen by the control group %s: it "
			     "is thawed again",
			     sh->freezer);
	sh->freezer[0] = 0;
}

/* compel maps its parasite so. */
static int has_parasite(pid_t pid)
{
	char path[32], line[512];
	int found = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	f = fopen(path, "re");
	while (f && !found && fgets(line, sizeof(line), f))
		found = strstr(line, "/memfd:CRIUMFD") != NULL;
	if (f)
		fclose(f);
	return found;
}

static void say_left(const struct mfd_shared *sh)
{
	unsigned n = atomic_load(&sh->ntasks);

	if (mfd_procfile_start_time(sh->criu) == sh->criu_start)
		return;
	for (unsigned i = 0; i < n; i++)
		if (mfd_shared_task_fate(&sh->task[i]) == MFD_TASK_GONE)
			mfd_log_error(
				"process %d is not there any more: it has died with criu, or since",
				sh->task[i].pid);
		else if (has_parasite(sh->task[i].pid))
			mfd_log_warn("criu has ended and left its code mapped in process %d, which "
				     "runs on",
				     sh->task[i].pid);
}

void mfd_run_on(struct mfd_shared *sh)
{
	struct mfd_unlock u;

	mfd_assert(sh->hold.kind <= MFD_HOLD_SIGNAL);
	mfd_assert(memchr(sh->freezer, 0, sizeof(sh->freezer)));
	mfd_unlock_network(&u, sh);
	mfd_hold_release(sh);
	if (sh->freezer[0])
		thaw(sh);
	mfd_unlock_end(&u, sh);
	say_left(sh);
}
