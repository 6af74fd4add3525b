// SPDX-License-Identifier: GPL-2.0-only
/*
 * What earlier runs have left: below the drain's folder each session has one, with the log and the
 * events of its migrate and, while that runs or if it ended in doubt, the folder of its sender.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "drain.h"
#include "io.h"
#include "life.h"
#include "ours.h"
#include "source_file.h"
#include "status_left.h"

#define SENDER_DIR "criu-multifd." /* as migrate names it */

static int make_dir(const char *path, struct mfd_error *err)
{
	if (mkdir(path, 0700) && errno != EEXIST)
		return mfd_error_sys(err, -errno, "--dir %s", path);
	return mfd_ours_path(path, err);
}

int mfd_drain_left_open(struct mfd_drain *d, struct mfd_error *err)
{
	int lock, ret;

	d->dirfd = make_dir(d->dir, err);
	if (d->dirfd < 0)
		return d->dirfd;
	lock = mfd_ours_file(d->dirfd, ".lock", O_RDWR | O_CREAT, 0600);
	if (lock < 0)
		return mfd_error_sys(err, lock, "%s/.lock", d->dir);
	if (!flock(lock, LOCK_EX | LOCK_NB))
		return 0; /* held until this program ends; a child does not inherit it */
	ret = -errno;
	close(lock);
	return ret == -EWOULDBLOCK ?
		       mfd_error_set(err, -EBUSY,
				     "another drain is at work in %s (--dir DIR for a second one)",
				     d->dir) :
		       mfd_error_sys(err, ret, "%s/.lock", d->dir);
}

static const char *text_of(struct json_object *j, const char *key)
{
	struct json_object *v;

	return json_object_object_get_ex(j, key, &v) && v ? json_object_get_string(v) : "";
}

static struct mfd_drain_item *item_of(struct mfd_drain *d, const char *session)
{
	const char *dot = strrchr(session, '.');
	pid_t pid = dot ? atoi(dot + 1) : 0;
	struct mfd_drain_item *it;

	for (size_t i = 0; i < d->n; i++)
		if (!strcmp(d->items[i].session, session))
			return &d->items[i];
	it = mfd_drain_item_add(d, pid);
	if (it) {
		snprintf(it->session, sizeof(it->session), "%.199s", session);
		snprintf(it->name, sizeof(it->name), "%.63s", session);
	}
	return it;
}

/* The tasks of what is in doubt, under whichever name they are meant now. */
static void mark_tasks(struct mfd_drain *d, const struct mfd_drain_item *of, int dirfd)
{
	Mfd__SourceEntry *e = NULL;

	if (mfd_source_file_load(dirfd, &e, NULL))
		return;
	for (size_t t = 0; t < e->n_task; t++)
		for (size_t i = 0; i < d->n; i++)
			if (&d->items[i] != of && d->items[i].pid == (pid_t)e->task[t]->pid &&
			    d->items[i].start == e->task[t]->start_time)
				mfd_drain_set(&d->items[i], of->state, "%s", of->why);
	mfd_source_file_free(e);
}

static int not_known(struct mfd_drain_item *it, const char *path, int ret)
{
	mfd_drain_set(it, MFD_DRAIN_DOUBT, "what a sender has left in %s cannot be read: %s", path,
		      strerror(-ret));
	return 1;
}

/* 1: something is left in the sender's folder, or that cannot be known; the item says so. */
static int judge_folder(struct mfd_drain *d, struct mfd_drain_item *it, const char *path,
			int has_ended)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW), found = 1, ret;
	Mfd__SourceEntry *e = NULL;
	struct json_object *j;

	if (fd < 0)
		return errno == ENOENT ? 0 : not_known(it, path, -errno);
	ret = mfd_source_file_load(fd, &e, NULL);
	mfd_source_file_free(e);
	/* A sender that ends after its migrate, and owes nothing. */
	if (has_ended && ret == -ENOENT) {
		close(fd);
		return 0;
	}
	j = mfd_status_left(path);
	if (j)
		mfd_drain_set(it, MFD_DRAIN_DOUBT, "%s. %s", text_of(j, "doubt"),
			      text_of(j, "advice"));
	else if (!faccessat(fd, MFD_SOURCE_FILE_LOCK, F_OK, 0) && mfd_source_file_is_locked(fd))
		mfd_drain_set(it, MFD_DRAIN_BUSY,
			      "a sender is at work: criu-multifd status --source %s", path);
	else
		found = ret && ret != -ENOENT ? not_known(it, path, ret) : 0;
	json_object_put(j);
	if (found)
		mark_tasks(d, it, fd);
	close(fd);
	return found;
}

/* Each sender's folder in the session's: 1 if one of them has something; -errno. */
static int each_sender(const char *dir, int (*each)(void *arg, const char *path), void *arg)
{
	DIR *folder = opendir(dir);
	struct dirent *e;
	char path[4096];
	int found = 0;

	if (!folder)
		return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
	while ((e = readdir(folder))) {
		if (strncmp(e->d_name, SENDER_DIR, strlen(SENDER_DIR)) ||
		    snprintf(path, sizeof(path), "%s/%s", dir, e->d_name) >= (int)sizeof(path))
			continue;
		found |= each(arg, path);
	}
	closedir(folder);
	return found;
}

struct judged {
	struct mfd_drain *d;
	struct mfd_drain_item *it;
	int has_ended; /* bool: its migrate */
};

static int judge_one(void *arg, const char *path)
{
	struct judged *j = arg;

	return judge_folder(j->d, j->it, path, j->has_ended);
}

/* Is anything there?  Asked first: only then there is an item. */
static int has_something(void *arg, const char *path)
{
	struct mfd_drain_item none = { 0 };
	struct mfd_drain empty = { 0 };

	(void)arg;
	return judge_folder(&empty, &none, path, 0);
}

int mfd_drain_left_look(struct mfd_drain *d, struct mfd_drain_item *it, int has_ended)
{
	struct judged j = { .d = d, .it = it, .has_ended = has_ended };
	char path[4096], why[sizeof(it->why)];
	int ret;

	snprintf(why, sizeof(why), "%s", it->why);
	snprintf(path, sizeof(path), "%s/%s", d->dir, it->session);
	ret = each_sender(path, judge_one, &j);
	if (ret < 0)
		ret = not_known(it, path, ret);
	if (ret && *why) {
		char now[sizeof(it->why)];

		snprintf(now, sizeof(now), "%s", it->why);
		mfd_drain_set(it, MFD_DRAIN_DOUBT, "%.400s; %.480s", why, now);
	}
	return ret;
}

static DIR *open_folder(const struct mfd_drain *d)
{
	int fd = openat(d->dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *folder = fd >= 0 ? fdopendir(fd) : NULL;

	if (!folder)
		mfd_io_close(&fd);
	return folder;
}

int mfd_drain_left_knows(const struct mfd_drain *d, pid_t pid)
{
	DIR *folder = open_folder(d);
	struct dirent *e;
	int known = 0;

	while (folder && !known && (e = readdir(folder))) {
		const char *dot = strrchr(e->d_name, '.');

		known = dot && dot != e->d_name && atoi(dot + 1) == pid;
	}
	if (folder)
		closedir(folder);
	return known;
}

int mfd_drain_left(struct mfd_drain *d, struct mfd_error *err)
{
	DIR *folder = open_folder(d);
	struct dirent *e;
	char path[4096];

	if (!folder)
		return mfd_error_sys(err, -errno, "%s", d->dir);
	while ((e = readdir(folder))) {
		struct mfd_drain_item *it;

		if (e->d_name[0] == '.' ||
		    snprintf(path, sizeof(path), "%s/%s", d->dir, e->d_name) >= (int)sizeof(path))
			continue;
		if (!each_sender(path, has_something, NULL))
			continue;
		it = item_of(d, e->d_name);
		if (it)
			mfd_drain_left_look(d, it, 0);
	}
	closedir(folder);
	return 0;
}

void mfd_drain_left_judge(struct mfd_drain *d, struct mfd_drain_item *it)
{
	if (mfd_drain_left_look(d, it, 0))
		return;
	if (mfd_life(it->pid, it->start) != MFD_LIFE_OVER)
		mfd_drain_set(it, MFD_DRAIN_FAILED, "its migrate was killed; it runs on here");
	else
		mfd_drain_set(it, MFD_DRAIN_DOUBT,
			      "its migrate was killed, and it is gone here: look for session %s on "
			      "%s with criu-multifd status",
			      it->session,
			      it->target >= 0 ? d->targets[it->target].to : "its target");
}
