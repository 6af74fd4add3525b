// SPDX-License-Identifier: GPL-2.0-only
/*
 * One move of a drain: a process `criu-multifd migrate` in a process group of its own, whose
 * standard output, events, and standard error, the log, are files in the session's folder.  A file
 * and not a pipe: migrate must not depend on this program.  Its TMPDIR is that folder, too, so that
 * what its sender leaves is found there.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "command.h"
#include "drain.h"
#include "io.h"
#include "life.h"
#include "ours.h"
#include "text.h"

#define WORDS	     32		/* of our own on migrate's command line */
#define LINE_MAX_LEN (4U << 20) /* an event; the summary with its rounds is the longest */

/* ---- start ---- */

struct words {
	char pid[16], begun[24], timeout[32], bandwidth[32];
	const char *v[WORDS + MFD_DRAIN_EXTRA];
	unsigned n;
};

static void add(struct words *w, const char *word)
{
	w->v[w->n++] = word;
}

static void add_timeout(const struct mfd_drain *d, struct words *w)
{
	uint64_t now = mfd_io_now_ms(), ms = d->m.timeout_ms;

	if (d->deadline_ms) {
		uint64_t left = d->deadline_ms > now ? d->deadline_ms - now : 1;

		ms = ms && ms < left ? ms : left;
	}
	if (!ms)
		return;
	snprintf(w->timeout, sizeof(w->timeout), "%llu.%03u", (unsigned long long)(ms / 1000),
		 (unsigned)(ms % 1000));
	add(w, "--timeout");
	add(w, w->timeout);
}

/* Of the limit for all each has a share, that of as many as may run at once. */
static void add_bandwidth(const struct mfd_drain *d, struct words *w)
{
	uint64_t share = d->bandwidth / d->parallel;

	if (!d->bandwidth)
		return;
	snprintf(w->bandwidth, sizeof(w->bandwidth), "%llu",
		 (unsigned long long)(share ? share : 1));
	add(w, "--max-bandwidth");
	add(w, w->bandwidth);
}

static const char **command(const struct mfd_drain *d, const struct mfd_drain_item *it,
			    struct words *w)
{
	const char **all;

	snprintf(w->pid, sizeof(w->pid), "%d", it->pid);
	add(w, "criu-multifd");
	add(w, "migrate");
	add(w, "-t");
	add(w, w->pid);
	snprintf(w->begun, sizeof(w->begun), "%llu", (unsigned long long)it->start);
	add(w, "--tree-start");
	add(w, w->begun);
	add(w, "--to");
	add(w, d->targets[it->target].to);
	add(w, "--session");
	add(w, it->session);
	add(w, "--json");
	if (!d->no_restore)
		add(w, "--restore");
	add_timeout(d, w);
	add_bandwidth(d, w);
	for (unsigned i = 0; i < d->n_extra; i++)
		add(w, d->extra[i]);
	if (d->m.n_criu_args)
		add(w, "--");
	all = calloc(w->n + (size_t)d->m.n_criu_args + 1, sizeof(*all));
	if (all)
		memcpy(all, w->v, w->n * sizeof(*all));
	for (int i = 0; all && i < d->m.n_criu_args; i++)
		all[w->n + (unsigned)i] = d->m.criu_args[i];
	return all;
}

static void exec_migrate(const char **argv, const char *tmpdir, int events, int log)
{
	int null = open("/dev/null", O_RDONLY);

	setpgid(0, 0); /* Ctrl-C is this program's affair */
	dup2(null, STDIN_FILENO);
	dup2(events, STDOUT_FILENO);
	dup2(log, STDERR_FILENO);
	if (setenv("TMPDIR", tmpdir, 1))
		_exit(MFD_EXIT_REFUSED);
	/* Signals stay blocked: migrate takes them when it is ready for them. */
	execv("/proc/self/exe", (char **)argv);
	dprintf(STDERR_FILENO, "criu-multifd: %s\n", strerror(errno));
	_exit(MFD_EXIT_REFUSED);
}

static void head(int log, const struct mfd_drain *d, const struct mfd_drain_item *it)
{
	time_t now = time(NULL);
	struct tm tm;
	char text[32];

	localtime_r(&now, &tm);
	strftime(text, sizeof(text), "%F %T", &tm);
	dprintf(log, "---- %s: process %d (%s) to %s, try %u\n", text, it->pid, it->name,
		d->targets[it->target].to, it->tries);
}

/* The session's folder, its log (which is added to) and its events (anew); 0 or -errno. */
static int open_files(const struct mfd_drain *d, const struct mfd_drain_item *it, int *log,
		      int *events)
{
	int dir = mfd_ours_make_dir(d->dirfd, it->session), ret = 0;

	if (dir < 0)
		return dir;
	unlinkat(dir, "events.json", 0);
	*log = mfd_ours_file(dir, "migrate.log", O_WRONLY | O_CREAT | O_APPEND, 0600);
	*events = mfd_ours_file(dir, "events.json", O_RDWR | O_CREAT | O_EXCL, 0600);
	if (*log < 0 || *events < 0)
		ret = *log < 0 ? *log : *events;
	close(dir);
	return ret;
}

static int start(struct mfd_drain *d, struct mfd_drain_item *it, struct mfd_error *err)
{
	struct words w = { .n = 0 };
	const char **argv = command(d, it, &w);
	int log = -1, events = -1, ret = argv ? open_files(d, it, &log, &events) : -ENOMEM;
	char path[4096], own[64];

	snprintf(path, sizeof(path), "%s/%s", d->dir, it->session);
	if (!ret) {
		head(log, d, it);
		/* Read through an open file of its own: migrate's has its position. */
		snprintf(own, sizeof(own), "/proc/self/fd/%d", events);
		it->events = open(own, O_RDONLY | O_CLOEXEC);
		ret = it->events < 0 ? -errno : 0;
	}
	if (!ret) {
		it->migrate = fork();
		if (!it->migrate)
			exec_migrate(argv, path, events, log);
		ret = it->migrate < 0 ? -errno : 0;
	}
	mfd_io_close(&log);
	mfd_io_close(&events);
	free(argv);
	return ret ? mfd_error_sys(err, ret, "cannot start migrate in %s", path) : 0;
}

int mfd_drain_move_start(struct mfd_drain *d, struct mfd_drain_item *it, int target,
			 struct mfd_error *err)
{
	mfd_drain_plan_begun(d, it, target);
	it->begun_ms = mfd_io_now_ms();
	it->percent = 0;
	it->rate = 0;
	it->why[0] = it->error[0] = it->phase[0] = 0;
	return start(d, it, err);
}

/* ---- events ---- */

static struct json_object *get(struct json_object *j, const char *key)
{
	struct json_object *v;

	return json_object_object_get_ex(j, key, &v) ? v : NULL;
}

static double number(struct json_object *j, const char *key)
{
	return json_object_get_double(get(j, key));
}

static void copy_text(char *to, size_t len, struct json_object *v)
{
	snprintf(to, len, "%s", v ? json_object_get_string(v) : "");
	mfd_image_text_clean(to);
}

static void take_progress(struct mfd_drain_item *it, struct json_object *j)
{
	copy_text(it->phase, sizeof(it->phase), get(j, "phase"));
	it->percent = number(j, "percent");
	it->rate = (uint64_t)number(j, "bytes_per_second");
}

/* The pause is the time in which no copy ran: known only when another runs. */
static void take_summary(struct mfd_drain_item *it, struct json_object *j)
{
	double down = number(j, "downtime_ms");

	it->total_ms = number(j, "total_ms");
	it->pause_ms = down > 0 ? down : -1;
	it->bytes_memory = (uint64_t)number(j, "bytes_memory");
	it->bytes_wire = (uint64_t)number(j, "bytes_wire");
	copy_text(it->error, sizeof(it->error), get(j, "error"));
}

void mfd_drain_move_event(struct mfd_drain_item *it, const char *line)
{
	struct json_object *j = json_tokener_parse(line);
	char event[24];

	if (j && json_object_is_type(j, json_type_object)) {
		copy_text(event, sizeof(event), get(j, "event"));
		if (!strcmp(event, "phase"))
			copy_text(it->phase, sizeof(it->phase), get(j, "phase"));
		if (!strcmp(event, "progress"))
			take_progress(it, j);
		if (!strcmp(event, "summary"))
			take_summary(it, j);
	}
	json_object_put(j);
}

/* Complete lines are taken, the rest waits for its end. */
static void take_text(struct mfd_drain_item *it, const char *text, size_t len)
{
	char *more = it->line_len + len < LINE_MAX_LEN ? realloc(it->line, it->line_len + len + 1) :
							 NULL;
	char *at, *end;

	if (!more)
		return;
	it->line = more;
	memcpy(more + it->line_len, text, len);
	it->line_len += len;
	more[it->line_len] = 0;
	for (at = more; (end = strchr(at, '\n')); at = end + 1) {
		*end = 0;
		mfd_drain_move_event(it, at);
	}
	it->line_len -= (size_t)(at - more);
	memmove(more, at, it->line_len + 1);
}

void mfd_drain_move_read(struct mfd_drain_item *it)
{
	char buf[8192];
	ssize_t n;

	while (it->events >= 0 && (n = read(it->events, buf, sizeof(buf))) > 0)
		take_text(it, buf, (size_t)n);
}

/* ---- the end ---- */

static void forget_files(struct mfd_drain_item *it)
{
	mfd_io_close(&it->events);
	free(it->line);
	it->line = NULL;
	it->line_len = 0;
	it->migrate = 0;
}

/* Nothing was begun with these: what does not live has ended by itself. */
static int is_untouched(int code)
{
	return code == MFD_EXIT_REFUSED || code == MFD_EXIT_TARGET;
}

static enum mfd_drain_state not_moved(const struct mfd_drain_item *it, int code)
{
	if (mfd_life(it->pid, it->start) != MFD_LIFE_OVER)
		return MFD_DRAIN_FAILED;
	return is_untouched(code) ? MFD_DRAIN_GONE : MFD_DRAIN_DIED;
}

static enum mfd_drain_state state_of(const struct mfd_drain *d, const struct mfd_drain_item *it,
				     int code)
{
	switch (code) {
	case MFD_EXIT_OK:
		return d->no_restore && it->pause_ms < 0 ? MFD_DRAIN_STORED : MFD_DRAIN_MOVED;
	case MFD_EXIT_DOUBT:
		return MFD_DRAIN_DOUBT;
	case MFD_EXIT_BOTH:
		return MFD_DRAIN_BOTH;
	default:
		return not_moved(it, code);
	}
}

void mfd_drain_move_end(struct mfd_drain *d, struct mfd_drain_item *it, int status)
{
	int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;

	mfd_drain_move_read(it);
	forget_files(it);
	it->target_failed = code == MFD_EXIT_TARGET;
	it->again = code == MFD_EXIT_TARGET || code == MFD_EXIT_FAILED;
	if (code < 0)
		mfd_drain_left_judge(d, it);
	else
		mfd_drain_set(it, state_of(d, it, code), "%s", it->error);
	/* A target that may hold the session is in the way of every other one. */
	if (code >= 0 && code != MFD_EXIT_BOTH)
		mfd_drain_left_look(d, it, 1);
	if (!mfd_drain_is_there(it->state) && !it->why[0])
		mfd_drain_set(it, it->state, "migrate ended with code %d and said nothing", code);
	mfd_drain_plan_ended(d, it);
}
