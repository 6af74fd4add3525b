// SPDX-License-Identifier: GPL-2.0-only
/*
 * criu-multifd wait: until a session is as far as asked.
 *
 * wait_for_it() reads session.img (and the tombstone, see session_file.h) each time one of them has
 * become another file, and asks that often at first and less often later.  It does not use inotify:
 * a process that did can end only after the kernel has waited for all readers of its marks
 * (fsnotify_destroy_group), and for these 12 to 30 ms the process to be restored would stand still.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "args.h"
#include "io.h"
#include "session_file.h"
#include "text.h"
#include "words.h"

#define NAP_MIN_US 1000ULL
#define NAP_MAX_US 100000ULL
/* a nap is this part of the time waited so far: 0.2 % */
#define NAP_OF_TOTAL 500
#define LOOK_US	     100000ULL /* read the files at least so often */
#define FOREVER	     UINT64_MAX

enum goal { GOAL_READY, GOAL_COMMITTED, GOAL_DONE };
static const char *const goals[] = { "ready", "committed", "done", NULL };

struct wait {
	const char *dir, *session;
	int goal; /* enum goal */
	int quiet;
	uint64_t timeout_ms;
	struct timespec started; /* CLOCK_REALTIME_COARSE: as file times, never ahead of them */
	struct mark {
		dev_t dev;
		ino_t ino;
		struct timespec changed;
	} marks[2]; /* session.img, the tombstones' folder, before the last look; zero: not there */
	int doubt_told;
	char last[512]; /* what the last look found, for the line at a timeout */
};

static void say(const struct wait *w, const char *what, const char *more)
{
	char text[1024];

	if (w->quiet)
		return;
	snprintf(text, sizeof(text), "session %s: %s%s%s", w->session, what, *more ? ": " : "",
		 more);
	fprintf(stderr, "%s\n", mfd_image_text_clean(text));
}

static int reached(const Mfd__SessionEntry *e, int goal)
{
	switch (e->state) {
	/* postcopy only: there a restore may begin before everything is here */
	case MFD__SESSION_STATE__RESTORABLE:
	case MFD__SESSION_STATE__RUNNING:
	case MFD__SESSION_STATE__READY:
	case MFD__SESSION_STATE__RESTORED:
		return goal == GOAL_READY;
	case MFD__SESSION_STATE__COMMITTED:
		return goal <= GOAL_COMMITTED;
	case MFD__SESSION_STATE__DONE:
		return 1;
	default:
		return 0;
	}
}

static int older(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec != b->tv_sec ? a->tv_sec < b->tv_sec : a->tv_nsec < b->tv_nsec;
}

/*
 * A tombstone that an earlier wait has reported, before this one began, is not about the session
 * that this one waits for.
 */
static int stale(const struct wait *w, const struct mfd_session_file *f)
{
	return f->ended && f->seen && older(&f->mtime, &w->started);
}

/* Another of that name has become done meanwhile: this wait may have been for it. */
static int is_done_since(const struct wait *w, const Mfd__SessionEntry *e)
{
	return e->state == MFD__SESSION_STATE__DONE &&
	       e->done_us / 1000000 >= (uint64_t)w->started.tv_sec;
}

/*
 * One of that name was aborted while this wait waited, and had nothing to displace the record of an
 * earlier one with, which is what is found.
 */
static int has_tried(const struct wait *w, const struct mfd_session_file *f)
{
	return f->later && !older(&f->later_mtime, &w->started) &&
	       !(f->entry && is_done_since(w, f->entry));
}

static void tell_doubt(struct wait *w, const Mfd__SessionEntry *e)
{
	if (e->in_doubt && !w->doubt_told)
		say(w, "in doubt, still waiting ('criu-multifd status' explains)",
		    e->error ? e->error : "");
	w->doubt_told = e->in_doubt;
}

/* The exit code, or -1 to wait on. */
static int judge(struct wait *w, int dirfd, const struct mfd_session_file *f)
{
	const Mfd__SessionEntry *e = f->entry;

	if (!e) {
		say(w, "unreadable", f->why);
		return MFD_EXIT_FAILED;
	}
	if (f->ended || e->state == MFD__SESSION_STATE__ABORTED) {
		say(w, "aborted", e->error ? e->error : "no reason given");
		if (f->ended)
			mfd_session_file_mark_seen(
				dirfd, w->session,
				/* fails in a read-only folder: reported again then */
				&f->mtime);
		return MFD_EXIT_FAILED;
	}
	if (reached(e, w->goal))
		return MFD_EXIT_OK;
	tell_doubt(w, e);
	snprintf(w->last, sizeof(w->last), "%s%s", mfd_words_state(e),
		 e->in_doubt ? ", in doubt" : "");
	return -1;
}

/* A session or folder that does not exist is no failure; a folder that cannot be read is. */
static int look(struct wait *w)
{
	struct mfd_session_file f;
	int dirfd = open(w->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int ret = dirfd < 0 ? -errno : mfd_session_file_find(dirfd, w->session, &f), result = -1;

	if (!ret) {
		if (has_tried(w, &f)) {
			say(w, "aborted", f.later);
			result = MFD_EXIT_FAILED;
		} else if (stale(w, &f)) {
			snprintf(w->last, sizeof(w->last), MFD_NO_SESSION, w->session, w->dir);
		} else {
			result = judge(w, dirfd, &f);
		}
		mfd_session_file_release(&f);
	} else if (ret == -ENOENT) {
		if (dirfd < 0)
			snprintf(w->last, sizeof(w->last), "%s does not exist", w->dir);
		else
			snprintf(w->last, sizeof(w->last), MFD_NO_SESSION, w->session, w->dir);
	} else {
		say(w, w->dir, strerror(-ret));
		result = MFD_EXIT_FAILED;
	}
	if (dirfd >= 0)
		close(dirfd);
	return result;
}

static struct mark mark_of(const struct wait *w, const char *a, const char *b)
{
	struct mark m = { 0 };
	char path[PATH_MAX];
	struct stat st;

	if (snprintf(path, sizeof(path), "%s/%s/%s", w->dir, a, b) < (int)sizeof(path) &&
	    !stat(path, &st))
		m = (struct mark){ .dev = st.st_dev, .ino = st.st_ino, .changed = st.st_ctim };
	return m;
}

static int same(const struct mark *a, const struct mark *b)
{
	return a->dev == b->dev && a->ino == b->ino && a->changed.tv_sec == b->changed.tv_sec &&
	       a->changed.tv_nsec == b->changed.tv_nsec;
}

/* session.img is always replaced as a whole; a new tombstone changes their folder. */
static int moved(struct wait *w)
{
	struct mark now[2] = { mark_of(w, w->session, MFD_SESSION_FILE_NAME),
			       mark_of(w, MFD_SESSION_FILE_ENDED, "") };
	int is = !same(&now[0], &w->marks[0]) || !same(&now[1], &w->marks[1]);

	memcpy(w->marks, now, sizeof(now));
	return is;
}

static uint64_t nap_length(uint64_t waited_us, uint64_t left_us)
{
	uint64_t nap = waited_us / NAP_OF_TOTAL;

	nap = nap < NAP_MIN_US ? NAP_MIN_US : nap > NAP_MAX_US ? NAP_MAX_US : nap;
	return nap < left_us ? nap : left_us;
}

static int wait_for_it(struct wait *w)
{
	uint64_t start = mfd_io_now_us(), waited = 0, looked = 0;
	uint64_t limit = w->timeout_ms >= FOREVER / 1000 ? FOREVER : w->timeout_ms * 1000;
	int result = -1;

	for (;;) {
		/* Inode numbers come back, and file times are coarse. */
		if (moved(w) || !looked || start + waited > looked + LOOK_US) {
			looked = mfd_io_now_us();
			result = look(w);
		}
		if (result >= 0)
			return result;
		waited = mfd_io_now_us() - start;
		if (waited >= limit) {
			say(w, "timeout", w->last);
			return MFD_EXIT_TIMEOUT;
		}
		usleep((useconds_t)nap_length(waited, limit - waited));
	}
}

int mfd_wait_main(int argc, char **argv)
{
	struct wait w = { .dir = MFD_DEFAULT_DIR, .goal = GOAL_READY, .timeout_ms = FOREVER };
	const struct mfd_flag flags[] = {
		{ .name = "dir",
		  .kind = MFD_FLAG_STRING,
		  .dest = &w.dir,
		  .arg = "DIR",
		  .help = "the server's folder (default " MFD_DEFAULT_DIR "); need not exist yet" },
		{ .name = "for",
		  .kind = MFD_FLAG_CHOICE,
		  .dest = &w.goal,
		  .arg = "ready|committed|done",
		  .choices = goals,
		  .help = "ready (default): everything has arrived; in postcopy mode: a restore may begin\n"
			  "committed: the source's tasks are dead, the restored ones may run\n"
			  "done: every page is installed in the restored tasks" },
		{ .name = "timeout",
		  .kind = MFD_FLAG_MS,
		  .dest = &w.timeout_ms,
		  .arg = "SECONDS",
		  .help = "give up after so long (default: never; 0: only look)" },
		{ .name = "quiet",
		  .kind = MFD_FLAG_BOOL,
		  .dest = &w.quiet,
		  .help = "the exit status says it all" },
		{ 0 },
	};
	const struct mfd_flags table = {
		.verb = "wait",
		.usage =
			"[--dir DIR] SESSION [--for ready|committed|done] [--timeout SECONDS] [--quiet]",
		.summary = "Waits until a session, which need not exist yet, is as far as asked.",
		.notes =
			"Before running 'criu restore' by hand wait for 'committed' in safe mode, the default:\n"
			"lazy-pages.socket is there only then. In postcopy mode 'ready' is enough.\n\n"
			"Exit status: 0 reached, 1 aborted or unreadable, 2 timeout;\n"
			"one line on standard error says more.\n"
			"An abort that happened before the wait began is reported if no other wait has reported it.",
		.flags = flags,
		.min_args = 1,
		.max_args = 1,
		.arg_names = "SESSION",
	};
	struct mfd_flags_args args;
	int ret = mfd_flags_begin(&table, argc, argv, &args);

	if (ret >= 0)
		return ret;
	w.session = args.v[0];
	ret = mfd_args_session(&table, w.session);
	if (ret >= 0)
		return ret;
	clock_gettime(CLOCK_REALTIME_COARSE, &w.started);
	return wait_for_it(&w);
}
