// SPDX-License-Identifier: GPL-2.0-only
/* In doubt, and no sender runs: what is left, and what to type. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "freezer.h"
#include "heldgroup.h"
#include "life.h"
#include "procfile.h"
#include "source_file.h"
#include "status_left.h"

/* By enum source_state: what may be so, and the decisions that can be asked for. */
static const struct left {
	const char *state, *why;
	const char *run, *discard; /* what that would do; NULL: not to be advised */
} lefts[] = {
	[MFD__SOURCE_STATE__UNTOLD] = { "untold",
					"the tasks run on here, and the target, which may hold the "
					"session complete, was not told so",
					"tells it", "gives that up" },
	[MFD__SOURCE_STATE__RUNS] = { "running",
				      "the tasks may run on the target; they are frozen here",
				      "lets the tasks here go on: only if you know that nothing runs there",
				      "ends the tasks here: only if you know that the target has every page" },
	[MFD__SOURCE_STATE__UNDOING] = { "undone",
					 "nothing runs on the target, and the tasks here were "
					 "about to be let go",
					 "lets them go", NULL },
	[MFD__SOURCE_STATE__GATE] = { "releasing",
				      "criu was let end the tasks here; what became of them is not "
				      "known yet",
				      "looks, and tells the target", NULL },
	[MFD__SOURCE_STATE__ENDS] = { "ending",
				      "the target has everything, and what is left of "
				      "the tasks here was being ended",
				      NULL, "ends them, and tells the target" },
	[MFD__SOURCE_STATE__GONE] = { "released",
				      "the tasks are gone here, and the target, which has the only "
				      "copy, was not told so",
				      NULL, "has the target told once more, then gives that up" },
	[MFD__SOURCE_STATE__FREEZING] = { "freezing",
					  "criu ended while it froze the tasks, unless they were "
					  "frozen since; the target has not what could run there",
					  "thaws them, and they run on here", NULL },
};

static const char gone_here[] =
	"no task of it lives here any more (was this host started anew?); its copy may run on the "
	"target, and lacks for good what it had not been sent";
static const char none_lives[] = "no task of it lives here any more, and the target may hold the "
				 "only copy, which decides there";

static unsigned alive(const Mfd__SourceEntry *e)
{
	unsigned n = 0;

	for (size_t i = 0; i < e->n_task; i++)
		n += mfd_life((pid_t)e->task[i]->pid, e->task[i]->start_time) != MFD_LIFE_OVER;
	return n;
}

static void add_text(struct json_object *j, const char *key, const char *text)
{
	json_object_object_add(j, key, text ? json_object_new_string(text) : NULL);
}

static void add_number(struct json_object *j, const char *key, uint64_t n)
{
	json_object_object_add(j, key, json_object_new_uint64(n));
}

/* NULL: by nothing. */
static const char *held_by(const Mfd__SourceEntry *e, char *buf, size_t len)
{
	const char *group = e->has_hold ? e->group : e->freezer;

	if (!e->has_hold && !group)
		return NULL;
	if (group)
		snprintf(buf, len, "the frozen control group %s", group);
	else
		snprintf(buf, len, "SIGSTOP");
	return buf;
}

static void add_way(char *text, size_t len, const char *dir, const char *flag, const char *does)
{
	size_t used = strlen(text);

	if (does)
		snprintf(text + used, len - used, " criu-multifd resolve --source %.300s --%s %s.",
			 dir, flag, does);
}

/* After another boot, or on another host, the pids are those of others. */
static int is_here(const Mfd__SourceEntry *e)
{
	char boot[MFD_LIFE_BOOT];

	return !mfd_life_boot(boot) && !strcmp(boot, e->boot_id);
}

/* Whether its tasks live can be seen from here.  Elsewhere nothing of it is settled (kept.c). */
static int is_in_sight(const Mfd__SourceEntry *e)
{
	char boot[MFD_LIFE_BOOT], host[HOST_NAME_MAX + 1] = "";

	gethostname(host, sizeof(host) - 1);
	if (mfd_life_boot(boot) || strcmp(host, e->host))
		return 0;
	if (strcmp(boot, e->boot_id)) /* of this machine: what lived in that boot is over */
		return mfd_life_is_machine(e->machine);
	return !e->has_pidns || e->pidns == mfd_procfile_own_namespace("pid");
}

/* CRIU had told of no task yet. */
static int is_freezing(const Mfd__SourceEntry *e)
{
	return e->state == MFD__SOURCE_STATE__FREEZING;
}

/* Not of what cannot be seen from here. */
static int is_thawed(const Mfd__SourceEntry *e)
{
	return is_freezing(e) && (!is_here(e) || !e->freezer || !mfd_freezer_is_frozen(e->freezer));
}

/* While CRIU lives, it thaws what it has frozen. */
static int is_criu_at_work(const Mfd__SourceEntry *e)
{
	return is_freezing(e) && mfd_life((pid_t)e->criu, e->criu_start) == MFD_LIFE_ALIVE;
}

/*
 * The file goes, or a person's own freeze would be taken for CRIU's later.  With the lock, and
 * looked at anew: a sender may have begun meanwhile.
 */
static void forget(int dirfd)
{
	int lock = openat(dirfd, MFD_SOURCE_FILE_LOCK, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	Mfd__SourceEntry *e = NULL;

	if (lock < 0)
		return;
	if (!mfd_source_file_lock(lock) && !mfd_source_file_load(dirfd, &e, NULL) && is_thawed(e))
		unlinkat(dirfd, MFD_SOURCE_FILE_NAME, 0);
	mfd_source_file_free(e);
	close(lock);
}

static void say_tasks(const Mfd__SourceEntry *e, unsigned n, char *buf, size_t len)
{
	char held[600];
	const char *by = n || is_freezing(e) ? held_by(e, held, sizeof(held)) : NULL;

	if (is_freezing(e))
		snprintf(buf, len, "they are held by %s%s", by,
			 mfd_freezer_is_frozen(e->freezer) < 0 ?
				 ", if it is frozen, which cannot be seen from here" :
				 "");
	else
		snprintf(buf, len, "%u of %zu tasks exist here%s%s", n, e->n_task,
			 by ? ", held by " : "", by ? by : "");
}

static const char *why(const Mfd__SourceEntry *e, unsigned alive_here)
{
	if (alive_here)
		return lefts[e->state].why;
	return e->state == MFD__SOURCE_STATE__UNTOLD ? none_lives :
	       e->state == MFD__SOURCE_STATE__RUNS   ? gone_here :
						       lefts[e->state].why;
}

static void add_out_of_sight(struct json_object *j, const Mfd__SourceEntry *e, const char *dir)
{
	char text[1200];

	snprintf(text, sizeof(text),
		 "no sender runs any more: %s (its tasks cannot be seen from here)",
		 lefts[e->state].why);
	add_text(j, "doubt", text);
	snprintf(
		text, sizeof(text),
		"It was sent from host %.100s, or from other namespaces of it: ask there, and settle it "
		"there, by criu-multifd status --source %.300s.",
		e->host, dir);
	add_text(j, "advice", text);
	json_object_object_add(j, "held_by", NULL);
	json_object_object_add(j, "tasks_alive", NULL);
}

static void add_doubt(struct json_object *j, const Mfd__SourceEntry *e, const char *dir)
{
	const struct left *l = &lefts[e->state];
	char text[1200], tasks[700], held[600];
	unsigned n = is_here(e) ? alive(e) : 0;

	if (!is_in_sight(e)) {
		add_out_of_sight(j, e, dir);
		return;
	}
	say_tasks(e, n, tasks, sizeof(tasks));
	snprintf(text, sizeof(text), "no sender runs any more: %s (%s)", why(e, n), tasks);
	add_text(j, "doubt", text);
	snprintf(text, sizeof(text), "A sender is started again by:");
	add_way(text, sizeof(text), dir, "retry", "decides nothing");
	if (n || e->state != MFD__SOURCE_STATE__RUNS) {
		add_way(text, sizeof(text), dir, "run", l->run);
		add_way(text, sizeof(text), dir, "discard", l->discard);
	} else {
		add_way(text, sizeof(text), dir, "discard", "tells the target that they are dead");
	}
	if (!is_freezing(e))
		snprintf(text + strlen(text), sizeof(text) - strlen(text),
			 " It asks the target first, and goes on with the session if it can.");
	add_text(j, "advice", text);
	add_text(j, "held_by", n || is_freezing(e) ? held_by(e, held, sizeof(held)) : NULL);
	add_number(j, "tasks_alive", n);
}

static struct json_object *describe(const Mfd__SourceEntry *e, const char *dir)
{
	struct json_object *j = json_object_new_object();

	add_text(j, "session", e->session);
	add_text(j, "result", "in-doubt");
	add_text(j, "phase", lefts[e->state].state);
	add_text(j, "target", e->target);
	add_text(j, "mode", e->postcopy ? "postcopy" : "safe");
	add_number(j, "tasks", e->n_task);
	json_object_object_add(j, "sender", json_object_new_boolean(0));
	json_object_object_add(j, "connected", json_object_new_boolean(0));
	json_object_object_add(j, "in_doubt", json_object_new_boolean(1));
	add_doubt(j, e, dir);
	return j;
}

/* ---- what cannot be read ---- */

const char *mfd_status_left_unread(int ret, const char *dir, char *buf, size_t len)
{
	if (ret == -EPROTO)
		snprintf(
			buf, len,
			"A newer criu-multifd wrote it, and settles it: with that one, criu-multifd "
			"status --source %.300s. Until then let go or end none of its tasks by hand; "
			"'criu-multifd status' on the target says what runs there.",
			dir);
	else if (ret == -EACCES || ret == -EPERM)
		snprintf(buf, len, "Only root may read it: type it as root.");
	else if (mfd_life_cannot_tell(ret) && ret != -EIO)
		snprintf(buf, len,
			 "This program lacks something (memory, descriptors): try again.");
	else
		snprintf(
			buf, len,
			"Look at the target ('criu-multifd status' there). Tasks that are held here are in "
			"a control group (find /sys/fs/cgroup -name '" MFD_HELDGROUP_NAME
			"*') or stopped by SIGSTOP. If nothing runs there, let them go on: echo 0 to its "
			"cgroup.freeze, or kill -CONT; else end them. Then criu-multifd resolve --source "
			"%.300s --discard forgets what cannot be read, and does nothing else.",
			dir);
	return buf;
}

static struct json_object *describe_unread(int ret, const char *reason, const char *dir)
{
	struct json_object *j = json_object_new_object();
	char text[1200];

	add_text(j, "result", "in-doubt");
	add_text(j, "phase", "unreadable");
	json_object_object_add(j, "sender", json_object_new_boolean(0));
	json_object_object_add(j, "in_doubt", json_object_new_boolean(1));
	snprintf(text, sizeof(text),
		 "no sender runs any more, and what it has left here cannot be read: %.300s",
		 reason);
	add_text(j, "doubt", text);
	add_text(j, "advice", mfd_status_left_unread(ret, dir, text, sizeof(text)));
	return j;
}

struct json_object *mfd_status_left(const char *dir)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct json_object *j = NULL;
	Mfd__SourceEntry *e = NULL;
	const char *reason = NULL;
	char path[PATH_MAX];
	int ret;

	if (fd < 0)
		return NULL;
	ret = mfd_source_file_is_locked(fd) ? -ENOENT : mfd_source_file_load(fd, &e, &reason);
	dir = realpath(dir, path) ? path : dir;
	if (ret && ret != -ENOENT)
		j = describe_unread(ret, reason ? reason : strerror(-ret), dir);
	else if (!ret && is_thawed(e) && !is_criu_at_work(e))
		forget(fd);
	else if (!ret && !is_criu_at_work(e))
		j = describe(e, dir);
	mfd_source_file_free(e);
	close(fd);
	return j;
}
