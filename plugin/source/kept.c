// SPDX-License-Identifier: GPL-2.0-only
/* .multifd-send.img, written and read. Theory in kept.h. */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "assert.h"
#include "freezer.h"
#include "io.h"
#include "kept.h"
#include "life.h"
#include "log.h"
#include "ours.h"
#include "procfile.h"
#include "source_file.h"

#define HOST	256
#define LOCK_MS 3000
#define LOOK_MS 20
#define NO_TIME UINT64_MAX /* a start time that no process has */

/*
 * The namespaces that what is kept is meant in.  In another one, a target that only seems to be out
 * of reach would be decided about without its evidence, a live task would be taken for a dead one,
 * and a group would be another one.
 */
static const struct {
	const char *name, *what;
	size_t has, inode; /* fields of the entry */
} namespaces[] = {
#define FIELD(f) offsetof(Mfd__SourceEntry, has_##f), offsetof(Mfd__SourceEntry, f)
	{ "net", "network", FIELD(netns) },
	{ "pid", "pid", FIELD(pidns) },
	{ "time", "time", FIELD(timens) },
	{ "cgroup", "cgroup", FIELD(cgroupns) },
#undef FIELD
};

/* ---- the lock ---- */

/* Nonzero: the file of that name is the open one, which no sender has removed meanwhile. */
static int is_current(int lock)
{
	struct stat a, b;

	return !fstat(lock, &a) && !lstat(MFD_SOURCE_FILE_LOCK, &b) && a.st_dev == b.st_dev &&
	       a.st_ino == b.st_ino;
}

/*
 * It stays open to the end of the process, and is closed on exec.  A sender that has settled
 * everything holds it for a moment longer, while it gives back memory.
 */
static int take_lock(struct mfd_error *err)
{
	uint64_t end = mfd_io_now_ms() + LOCK_MS;
	int lock, ret;

	do {
		lock = mfd_ours_file(AT_FDCWD, MFD_SOURCE_FILE_LOCK, O_RDWR | O_CREAT, 0600);
		if (lock < 0)
			return mfd_error_sys(err, lock,
					     "criu's work directory: " MFD_SOURCE_FILE_LOCK);
		ret = mfd_source_file_lock(lock);
		if (!ret && is_current(lock))
			return 0;
		close(lock);
		if (ret)
			usleep(LOOK_MS * 1000);
	} while (!ret || (ret == -EAGAIN && mfd_io_now_ms() < end));
	if (ret != -EAGAIN)
		return mfd_error_sys(err, ret, MFD_SOURCE_FILE_LOCK);
	return mfd_error_set(err, -EBUSY, "another sender is at work in this folder");
}

/* ---- writing ---- */

static char *options_text(const struct mfd_options *o)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	if (f && mfd_options_write(o, f)) {
		fclose(f);
		free(text);
		return NULL;
	}
	if (f)
		fclose(f);
	return text;
}

static void fill_task(Mfd__SourceTask *to, const struct mfd_shared_task *t)
{
	mfd__source_task__init(to);
	to->pid = (uint32_t)t->pid;
	to->vpid = t->vpid;
	to->start_time = t->starttime;
	to->has_origin = to->has_ticks = 1;
	to->origin = t->origin;
	to->ticks = t->ticks;
	to->has_stopped = 1;
	to->stopped = t->stopped;
}

struct writing {
	Mfd__SourceTask *task;
	Mfd__SourceTask **list;
	Mfd__SourceThread thread[MFD_HOLD_THREADS], *threads[MFD_HOLD_THREADS];
	char *options, *origin[MFD_HOLD_ORIGINS], boot[MFD_LIFE_BOOT], host[HOST],
		machine[MFD_LIFE_MACHINE];
};

static void fill_hold(Mfd__SourceEntry *e, struct mfd_hold *h, struct writing *w)
{
	e->has_hold = h->kind != MFD_HOLD_NONE;
	e->hold = h->kind;
	if (h->kind != MFD_HOLD_GROUP)
		return;
	for (unsigned i = 0; i < h->norigins; i++)
		w->origin[i] = h->origin[i];
	for (unsigned i = 0; i < h->nthreads; i++) {
		mfd__source_thread__init(&w->thread[i]);
		w->thread[i].tid = (uint32_t)h->thread[i].tid;
		w->thread[i].origin = h->thread[i].origin;
		w->threads[i] = &w->thread[i];
	}
	e->group = h->group;
	e->origin = w->origin;
	e->n_origin = h->norigins;
	e->thread = w->threads;
	e->n_thread = h->nthreads;
}

static int fill_tasks(Mfd__SourceEntry *e, struct writing *w, const struct mfd_shared *sh)
{
	unsigned n = atomic_load(&sh->ntasks);

	w->task = calloc(n + 1, sizeof(*w->task));
	w->list = calloc(n + 1, sizeof(*w->list));
	if (!w->task || !w->list)
		return -ENOMEM;
	for (unsigned i = 0; i < n; i++) {
		fill_task(&w->task[i], &sh->task[i]);
		w->list[i] = &w->task[i];
	}
	e->task = w->list;
	e->n_task = n;
	return 0;
}

/* NULL: not known. */
static void fill_place(Mfd__SourceEntry *e, struct writing *w)
{
	for (size_t i = 0; i < sizeof(namespaces) / sizeof(*namespaces); i++) {
		uint64_t inode = mfd_procfile_own_namespace(namespaces[i].name);

		*(protobuf_c_boolean *)((char *)e + namespaces[i].has) = 1;
		*(uint64_t *)(void *)((char *)e + namespaces[i].inode) = inode;
	}
	gethostname(w->host, sizeof(w->host) - 1);
	mfd_life_machine(w->machine);
	e->host = w->host;
	e->boot_id = w->boot;
	e->machine = w->machine[0] ? w->machine : NULL;
}

static int fill(Mfd__SourceEntry *e, struct writing *w, struct mfd_shared *sh,
		const struct mfd_options *o)
{
	int ret = mfd_life_boot(w->boot);

	w->options = options_text(o);
	if (!ret && !w->options)
		ret = -ENOMEM;
	if (ret)
		return ret;
	e->session = sh->session;
	e->target = sh->target.text;
	e->session_id = (ProtobufCBinaryData){ sizeof(sh->id), sh->id };
	e->secret = (ProtobufCBinaryData){ sizeof(sh->secret), sh->secret };
	fill_place(e, w);
	e->options = w->options;
	e->has_criu = e->has_criu_start = e->has_postcopy = 1;
	e->criu = (uint32_t)sh->criu;
	e->criu_start = sh->criu_start;
	e->postcopy = o->mode == MFD_MODE_POSTCOPY;
	e->has_settings = e->has_max_bandwidth = 1;
	e->settings = sh->settings;
	e->criu_run = sh->criu_run;
	e->max_bandwidth = atomic_load(&sh->max_bandwidth);
	fill_hold(e, &sh->hold, w);
	e->freezer = sh->freezer[0] ? sh->freezer : NULL;
	return fill_tasks(e, w, sh);
}

static int store(struct mfd_shared *sh, const struct mfd_options *o, int left)
{
	Mfd__SourceEntry e = MFD__SOURCE_ENTRY__INIT;
	struct writing *w = calloc(1, sizeof(*w));
	int ret = w ? fill(&e, w, sh, o) : -ENOMEM;

	e.state = (Mfd__SourceState)left;
	if (!ret)
		ret = mfd_source_file_store(AT_FDCWD, &e);
	if (w) {
		free(w->options);
		free(w->task);
		free(w->list);
	}
	free(w);
	return ret;
}

/* A hold that is tried below another parent is another one. */
static int is_kept_hold(const struct mfd_shared *sh)
{
	return sh->kept_hold == sh->hold.kind &&
	       (sh->hold.kind != MFD_HOLD_GROUP || !strcmp(sh->kept_group, sh->hold.group));
}

static void note_kept_hold(struct mfd_shared *sh)
{
	mfd_assert(sh->hold.kind <= MFD_HOLD_SIGNAL);
	mfd_assert(sh->hold.kind != MFD_HOLD_GROUP || sh->hold.norigins);
	sh->kept_hold = sh->hold.kind;
	memcpy(sh->kept_group, sh->hold.group, sizeof(sh->kept_group));
}

int mfd_kept_save(struct mfd_shared *sh, const struct mfd_options *o, int left,
		  struct mfd_error *err)
{
	int ret;

	mfd_assert(left >= MFD_KEPT_NOTHING && left <= MFD__SOURCE_STATE__FREEZING);
	mfd_assert(left == MFD_KEPT_NOTHING || !sh->keeps || sh->connected);
	if (!sh->keeps || (sh->kept == left && is_kept_hold(sh)))
		return 0;
	if (left == MFD_KEPT_NOTHING)
		ret = unlink(MFD_SOURCE_FILE_NAME) && errno != ENOENT ? -errno : 0;
	else
		ret = store(sh, o, left);
	if (ret)
		return mfd_error_sys(err, ret,
				     "what another sender would need cannot be kept in criu's work "
				     "directory: " MFD_SOURCE_FILE_NAME);
	sh->kept = left;
	note_kept_hold(sh);
	return 0;
}

void mfd_kept_aborted(struct mfd_shared *sh, const struct mfd_options *o, int told)
{
	int left = told ? MFD_KEPT_NOTHING : MFD__SOURCE_STATE__UNTOLD;

	mfd_assert(sh->hold.kind == MFD_HOLD_NONE || sh->connected);
	mfd_assert(sh->kept != MFD__SOURCE_STATE__GONE); /* those tasks are dead */
	if (sh->hold.kind != MFD_HOLD_NONE)
		left = MFD__SOURCE_STATE__UNDOING;
	else if (sh->freezer[0])
		left = MFD__SOURCE_STATE__FREEZING;
	mfd_kept_save(sh, o, left, NULL);
}

/* ---- reading ---- */

static int take_options(struct mfd_options *o, const char *text, struct mfd_error *err)
{
	int fd = memfd_create("criu-multifd.conf", MFD_CLOEXEC), ret;
	char path[40];

	if (fd < 0)
		return mfd_error_sys(err, -errno, "configuration");
	fchmod(fd, 0600); /* a memfd begins with 0777, which would be refused */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	ret = write(fd, text, strlen(text)) == (ssize_t)strlen(text) && !lseek(fd, 0, SEEK_SET) ?
		      0 :
		      -EIO;
	ret = ret ? mfd_error_sys(err, ret, "configuration") : mfd_options_from_file(o, path, err);
	close(fd);
	return ret;
}

static int take_threads(struct mfd_hold *h, const Mfd__SourceEntry *e)
{
	if (e->n_thread > MFD_HOLD_THREADS)
		return -EBADMSG;
	for (unsigned i = 0; i < e->n_thread; i++) {
		if (e->thread[i]->origin >= h->norigins)
			return -EBADMSG;
		h->thread[i].tid = (pid_t)e->thread[i]->tid;
		h->thread[i].origin = e->thread[i]->origin;
	}
	h->nthreads = (unsigned)e->n_thread;
	return 0;
}

static int take_hold(struct mfd_hold *h, const Mfd__SourceEntry *e)
{
	if (!e->has_hold)
		return 0;
	if (e->hold > MFD_HOLD_SIGNAL || e->n_origin > MFD_HOLD_ORIGINS)
		return -EBADMSG;
	h->kind = (enum mfd_hold_kind)e->hold;
	if (h->kind != MFD_HOLD_GROUP)
		return 0;
	if (!e->group || !e->n_origin || strlen(e->group) >= sizeof(h->group))
		return -EBADMSG;
	strcpy(h->group, e->group);
	for (unsigned i = 0; i < e->n_origin; i++) {
		if (strlen(e->origin[i]) >= sizeof(h->origin[i]))
			return -EBADMSG;
		strcpy(h->origin[i], e->origin[i]);
	}
	h->norigins = (unsigned)e->n_origin;
	return take_threads(h, e);
}

/* `same_boot`: else its number is another process's, if any's. */
static void take_tasks(struct mfd_shared *sh, const Mfd__SourceEntry *e, int same_boot)
{
	mfd_assert(e->n_task <= MFD_SHARED_MAX_TASKS);
	mfd_assert(atomic_load(&sh->ntasks) == 0);
	for (unsigned i = 0; i < e->n_task; i++)
		sh->task[i] = (struct mfd_shared_task){
			.pid = (pid_t)e->task[i]->pid,
			.vpid = e->task[i]->vpid,
			.starttime = same_boot ? e->task[i]->start_time : NO_TIME,
			.origin = e->task[i]->origin,
			.ticks = e->task[i]->ticks,
			.stopped = e->task[i]->stopped,
		};
	atomic_store(&sh->ntasks, (unsigned)e->n_task);
	sh->criu = (pid_t)e->criu;
	sh->criu_start = same_boot ? e->criu_start : NO_TIME;
}

static int is_sound(const Mfd__SourceEntry *e)
{
	return e->session_id.len == MFD_WIRE_SESSION_ID_LEN &&
	       e->secret.len == MFD_WIRE_SECRET_LEN && e->n_task <= MFD_SHARED_MAX_TASKS &&
	       (!e->freezer || strlen(e->freezer) < MFD_SHARED_FREEZER) &&
	       mfd_wire_name_ok(e->session, strlen(e->session)) && e->criu;
}

static int check_namespaces(const Mfd__SourceEntry *e, struct mfd_error *err)
{
	for (size_t i = 0; i < sizeof(namespaces) / sizeof(*namespaces); i++) {
		const char *name = namespaces[i].name;
		uint64_t inode =
			*(const uint64_t *)(const void *)((const char *)e + namespaces[i].inode);

		if (inode && inode != mfd_procfile_own_namespace(name))
			return mfd_error_set(err, -EXDEV,
					     "session '%s' was sent from another %s namespace, "
					     "%s:[%llu]: settle it there (nsenter -t PID -a, PID a "
					     "process in it)",
					     e->session, namespaces[i].what, name,
					     (unsigned long long)inode);
	}
	return 0;
}

/* Of the same boot it is the same host, whatever lies in this mount namespace's /etc. */
static int check_place(const Mfd__SourceEntry *e, int same_boot, struct mfd_error *err)
{
	char host[HOST] = "";

	gethostname(host, sizeof(host) - 1);
	if (strcmp(host, e->host) || (!same_boot && !mfd_life_is_machine(e->machine)))
		return mfd_error_set(err, -EXDEV,
				     "session '%s' was sent from host %s%s%s: settle it there",
				     e->session, e->host, e->machine ? ", machine-id " : "",
				     e->machine ? e->machine : "");
	return same_boot ? check_namespaces(e, err) : 0;
}

static int take(struct mfd_shared *sh, const Mfd__SourceEntry *e, struct mfd_options *o,
		struct mfd_error *err)
{
	char boot[MFD_LIFE_BOOT];
	int same_boot;

	mfd_assert(!sh->connected);
	mfd_assert(sh->kept == MFD_KEPT_NOTHING);
	if (!is_sound(e) || take_hold(&sh->hold, e))
		return mfd_error_set(err, -EBADMSG, MFD_SOURCE_FILE_NAME ": makes no sense");
	if (mfd_life_boot(boot))
		return mfd_error_set(err, -EIO, "the boot id of this host is not known");
	same_boot = !strcmp(boot, e->boot_id);
	if (check_place(e, same_boot, err))
		return err->code;
	/* An address with a number, as it was resolved: no other service is needed for it. */
	if (mfd_sock_parse(e->target, 0, &sh->target, err))
		return err->code;
	take_tasks(sh, e, same_boot);
	memcpy(sh->id, e->session_id.data, sizeof(sh->id));
	memcpy(sh->secret, e->secret.data, sizeof(sh->secret));
	strcpy(sh->session, e->session); /* the length has been checked */
	sh->settings = e->settings;
	if (e->freezer && same_boot)
		strcpy(sh->freezer, e->freezer);
	snprintf(sh->criu_run, sizeof(sh->criu_run), "%s", e->criu_run ? e->criu_run : "");
	sh->kept = (int)e->state;
	note_kept_hold(sh);
	sh->connected = 1;
	if (take_options(o, e->options, err))
		return err->code;
	atomic_store(&sh->max_bandwidth, e->max_bandwidth);
	return 0;
}

/*
 * It says which tasks are to be ended, and how to connect: no other user may have written it, nor
 * be able to put another one in its place before it is read.
 */
static int check_ours(struct mfd_error *err)
{
	int fd = mfd_ours_path(".", err);

	if (fd < 0)
		return fd;
	close(fd);
	fd = mfd_ours_file(AT_FDCWD, MFD_SOURCE_FILE_NAME, O_RDONLY, 0);
	if (fd == -ENOENT)
		return mfd_error_set(err, fd, "nothing is left to be settled in this folder");
	if (fd < 0)
		return mfd_error_sys(err, fd, MFD_SOURCE_FILE_NAME);
	close(fd);
	return 0;
}

int mfd_kept_again(struct mfd_shared *sh, struct mfd_options *o, struct mfd_error *err)
{
	Mfd__SourceEntry *e;
	const char *why = NULL;
	int ret = take_lock(err);

	mfd_assert(!sh->connected);
	mfd_assert(!sh->keeps);
	if (ret)
		return ret;
	ret = check_ours(err);
	if (ret)
		return ret;
	ret = mfd_source_file_load(AT_FDCWD, &e, &why);
	if (ret)
		return mfd_error_set(err, ret, "%s", why ? why : strerror(-ret));
	sh->keeps = 1;
	ret = take(sh, e, o, err);
	mfd_source_file_free(e);
	return ret;
}

/* ---- begin and end ---- */

/* Nothing else may know that its tasks are held or frozen, or that the target is owed a word. */
static int must_be_settled(const Mfd__SourceEntry *e)
{
	if (e->state == MFD__SOURCE_STATE__FREEZING) /* -errno: that cannot be seen from here */
		return e->freezer && mfd_freezer_is_frozen(e->freezer) != 0;
	return e->state != MFD__SOURCE_STATE__UNTOLD || (e->has_hold && e->hold);
}

/*
 * Tasks that an earlier sender has held in this folder must not be forgotten; what cannot be read
 * may speak of some.
 */
static int check_left(struct mfd_error *err)
{
	const char *why = NULL;
	Mfd__SourceEntry *e;
	int ret = mfd_source_file_load(AT_FDCWD, &e, &why);

	if (ret == -ENOENT)
		return 0;
	if (ret)
		return mfd_error_set(err, ret,
				     "what an earlier sender has left in this folder cannot be "
				     "read (%s): dump into another folder",
				     why ? why : strerror(-ret));
	if (must_be_settled(e))
		ret = mfd_error_set(
			err, -EBUSY,
			"session '%s' is in doubt, and its sender has left this folder: "
			"criu-multifd resolve --source settles it first",
			e->session);
	else
		mfd_log_warn("session '%s' of an earlier dump in this folder was never settled",
			     e->session);
	mfd_source_file_free(e);
	return ret;
}

int mfd_kept_begin(struct mfd_shared *sh, struct mfd_error *err)
{
	int ret = take_lock(err);

	mfd_assert(!sh->keeps);
	mfd_assert(sh->kept == MFD_KEPT_NOTHING);
	if (!ret)
		ret = check_left(err);
	if (ret)
		return ret;
	unlink(MFD_SOURCE_FILE_NAME);
	sh->keeps = 1;
	return 0;
}

void mfd_kept_end(struct mfd_shared *sh)
{
	if (sh->keeps && sh->kept == MFD_KEPT_NOTHING)
		unlink(MFD_SOURCE_FILE_LOCK);
}
