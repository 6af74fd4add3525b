// SPDX-License-Identifier: GPL-2.0-only
/*
 * criu-multifd status: where sessions stand, as a table for people or as JSON. Reads session.img
 * files alone.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "command.h"
#include "flags.h"
#include "options.h"
#include "session_file.h"
#include "status.h"
#include "status_memory.h"
#include "text.h"
#include "words.h"

#define PAGE 4096ULL

struct status {
	const char *dir, *session; /* session NULL: all */
	const char *source;	   /* a sender's folder is meant, and nothing else */
	int json, watch, channels;
	uint64_t now_us; /* CLOCK_REALTIME of this look */
	struct mfd_session_file *list;
	size_t n;
};

/*
 * ---- figures
 * ------------------------------------------------------------------------------------------------------
 */

static uint64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return t.tv_sec * 1000000ULL + t.tv_nsec / 1000;
}

static uint64_t span(uint64_t from, uint64_t to)
{
	return from && to > from ? to - from : 0;
}

/* How long pages have been, or were, on their way. */
static uint64_t transfer_us(const Mfd__SessionEntry *e)
{
	int arriving =
		e->state <=
		MFD__SESSION_STATE__RUNNING; /* ready_us of a postcopy session comes before its pages */

	return span(e->started_us,
		    !arriving && e->has_ready_us && !e->postcopy ? e->ready_us : e->updated_us);
}

static uint64_t received(const Mfd__SessionEntry *e)
{
	return e->pages + e->zero_pages;
}

static double percent(uint64_t part, uint64_t whole)
{
	return part >= whole ? 100 : 100.0 * part / whole;
}

/* The server should be there and is not. */
static int orphaned(const struct mfd_session_file *f)
{
	return !f->ended && f->entry->has_server_pid && !mfd_words_final(f->entry) &&
	       !mfd_words_server_runs(f->entry);
}

/*
 * ---- JSON
 * ---------------------------------------------------------------------------------------------------------
 */

static void add(struct json_object *o, const char *key, struct json_object *value)
{
	json_object_object_add(o, key, value);
}

static void add_text(struct json_object *o, const char *key, const char *text)
{
	char *copy = text ? strdup(text) : NULL;

	add(o, key, copy ? json_object_new_string(mfd_image_text_clean(copy)) : NULL);
	free(copy);
}

static void add_number(struct json_object *o, const char *key, int known, uint64_t v)
{
	add(o, key, known ? json_object_new_uint64(v) : NULL);
}

static void add_percent(struct json_object *o, const char *key, const Mfd__SessionEntry *e,
			uint64_t part)
{
	char text[16]; /* one digit, or json-c prints seventeen */
	double v;

	if (!e->has_lazy_pages || !e->lazy_pages) {
		add(o, key, NULL);
		return;
	}
	v = percent(part, e->lazy_pages);
	snprintf(text, sizeof(text), "%.1f", v);
	add(o, key, json_object_new_double_s(v, text));
}

static void add_figures(struct json_object *o, const Mfd__SessionEntry *e)
{
	add_number(o, "channels", e->has_channels, e->channels);
	add_number(o, "packet_size", e->has_packet_size, e->packet_size);
	add_number(o, "pages", 1, e->pages);
	add_number(o, "zero_pages", 1, e->zero_pages);
	add_number(o, "lazy_pages", e->has_lazy_pages, e->lazy_pages);
	add_number(o, "installed_pages", 1, e->installed_pages);
	add_percent(o, "received_percent", e, received(e));
	add_percent(o, "installed_percent", e, e->installed_pages);
	add_number(o, "bytes_memory", 1, received(e) * PAGE);
	add_number(o, "bytes_wire", 1, e->wire_bytes);
	add_number(o, "bytes_per_second", transfer_us(e) > 0,
		   transfer_us(e) ? (double)received(e) * PAGE * 1e6 / transfer_us(e) : 0);
	add_number(o, "files", 1, e->files);
	add_number(o, "file_bytes", 1, e->file_bytes);
	add_number(o, "faults", 1, e->faults);
	add_number(o, "remote_faults", 1, e->remote_faults);
	add_number(o, "memory_used", e->has_memory_used, e->memory_used);
	add_number(o, "memory_promised", e->has_memory_promised, e->memory_promised);
	add_number(o, "memory_need", e->has_memory_need, e->memory_need);
	add_text(o, "held", e->held);
}

static void add_times(struct json_object *o, const struct status *s, const Mfd__SessionEntry *e)
{
	add_number(o, "started_us", e->has_started_us, e->started_us);
	add_number(o, "ready_us", e->has_ready_us, e->ready_us);
	add_number(o, "committed_us", e->has_committed_us, e->committed_us);
	add_number(o, "done_us", e->has_done_us, e->done_us);
	add_number(o, "updated_us", e->has_updated_us, e->updated_us);
	add_number(o, "age_ms", e->has_started_us, span(e->started_us, s->now_us) / 1000);
	add_number(o, "updated_ms_ago", e->has_updated_us, span(e->updated_us, s->now_us) / 1000);
}

static void lower(char *text)
{
	for (; *text; text++)
		if (*text >= 'A' && *text <= 'Z')
			*text += 'a' - 'A';
}

static struct json_object *session_json(const struct status *s, const struct mfd_session_file *f)
{
	struct json_object *o = json_object_new_object();
	const Mfd__SessionEntry *e = f->entry;
	char state[32], buf[MFD_WORDS_ADVICE];
	const char *advice;

	add_text(o, "session", f->name);
	snprintf(state, sizeof(state), "%s", e ? mfd_session_file_state(e->state) : "unreadable");
	lower(state);
	add_text(o, "state", state);
	add(o, "ended", json_object_new_boolean(f->ended));
	add_text(o, "error", e ? e->error : f->why);
	if (!e)
		return o;
	add(o, "in_doubt", json_object_new_boolean(e->in_doubt));
	advice = mfd_words_advice(e, s->dir, buf, sizeof(buf));
	for (char *p = buf; advice && (p = strchr(p, '\n'));)
		*p = ' ';
	add_text(o, "advice", advice);
	add_text(o, "source", e->source);
	add_text(o, "mode", e->postcopy ? "postcopy" : "safe");
	add_text(o, "confirm", e->confirm_restore ? "restore" : "ready");
	add_figures(o, e);
	mfd_status_figures_json(o, e);
	add_times(o, s, e);
	add_number(o, "restored_pid", e->has_restored_pid, e->restored_pid);
	add_number(o, "server_pid", e->has_server_pid, e->server_pid);
	add(o, "server_runs", json_object_new_boolean(mfd_words_server_runs(e)));
	return o;
}

/*
 * One session: its object. All: { "dir", "sessions" }. One line each when watching, so that it is a
 * stream of values.
 */
static void print_json(const struct status *s)
{
	const int how = JSON_C_TO_STRING_NOSLASHESCAPE |
			(s->watch ? JSON_C_TO_STRING_PLAIN : JSON_C_TO_STRING_PRETTY);
	struct json_object *o, *list = json_object_new_array();

	for (size_t i = 0; i < s->n; i++)
		json_object_array_add(list, session_json(s, &s->list[i]));
	if (s->session) {
		o = json_object_get(json_object_array_get_idx(list, 0));
		json_object_put(list);
	} else {
		o = json_object_new_object();
		add_text(o, "dir", s->dir);
		add(o, "memory", mfd_status_memory_json(s->dir));
		add(o, "sessions", list);
	}
	printf("%s\n", json_object_to_json_string_ext(o, how));
	json_object_put(o);
}

/*
 * ---- table
 * --------------------------------------------------------------------------------------------------------
 */

enum { SESSION, STATE, SOURCE, RECEIVED, INSTALLED, RATE, AGE, COLUMNS };
struct row {
	char cell[COLUMNS][96];
};

static const struct row title = { { "SESSION", "STATE", "SOURCE", "RECEIVED", "INSTALLED", "RATE",
				    "AGE" } };

static void pages_cell(char *cell, size_t len, const Mfd__SessionEntry *e, uint64_t pages)
{
	char bytes[32];

	mfd_words_bytes(pages * PAGE, bytes, sizeof(bytes));
	if (e->has_lazy_pages && e->lazy_pages)
		snprintf(cell, len, "%s %.0f%%", bytes, percent(pages, e->lazy_pages));
	else
		snprintf(cell, len, "%s", pages ? bytes : "-");
}

static void text_cell(char *cell, size_t len, const char *text)
{
	snprintf(cell, len, "%s", text ? text : "-");
	mfd_image_text_clean(cell);
}

/* The limit matters while something is on its way. */
static void rate_cell(char *cell, size_t len, const Mfd__SessionEntry *e)
{
	char rate[32], max[32];

	mfd_words_rate(received(e) * PAGE, transfer_us(e), rate, sizeof(rate));
	if (e->max_bandwidth && e->state <= MFD__SESSION_STATE__RUNNING)
		snprintf(cell, len, "%s (max %s)", rate,
			 mfd_words_rate(e->max_bandwidth, 1000000, max, sizeof(max)));
	else
		snprintf(cell, len, "%s", rate);
}

static void fill_row(struct row *r, const struct status *s, const struct mfd_session_file *f)
{
	const size_t len = sizeof(r->cell[0]);
	const Mfd__SessionEntry *e = f->entry;

	for (int c = 0; c < COLUMNS; c++)
		strcpy(r->cell[c], "-");
	text_cell(r->cell[SESSION], len, f->name);
	strcpy(r->cell[STATE], "unreadable");
	if (!e)
		return;
	snprintf(r->cell[STATE], len, "%s%s", e->in_doubt ? "IN DOUBT: " : "", mfd_words_state(e));
	text_cell(r->cell[SOURCE], len, e->source);
	pages_cell(r->cell[RECEIVED], len, e, received(e));
	pages_cell(r->cell[INSTALLED], len, e, e->installed_pages);
	rate_cell(r->cell[RATE], len, e);
	if (e->has_started_us)
		mfd_words_age(span(e->started_us, s->now_us), r->cell[AGE], len);
}

/* Columns a terminal shows: continuation bytes of UTF-8 take no room. */
static int width(const char *cell)
{
	int w = 0;

	for (; *cell; cell++)
		w += (*cell & 0xc0) != 0x80;
	return w;
}

static void print_row(const struct row *r, const int *widths)
{
	for (int c = 0; c < COLUMNS; c++)
		printf("%s%*s%s", r->cell[c], c + 1 < COLUMNS ? widths[c] - width(r->cell[c]) : 0,
		       "", c + 1 < COLUMNS ? "  " : "\n");
}

static void print_note(const char *text)
{
	const char *end;

	for (; *text; text = *end ? end + 1 : end) {
		end = strchrnul(text, '\n');
		printf("    %.*s\n", (int)(end - text), text);
	}
}

/* A sentence from the other host or a file. */
static void print_foreign(const char *what, const char *text)
{
	char buf[1024];

	snprintf(buf, sizeof(buf), "%s%s", what, text);
	print_note(mfd_image_text_clean(buf));
}

static void print_notes(const struct status *s, const struct mfd_session_file *f)
{
	const Mfd__SessionEntry *e = f->entry;
	char buf[MFD_WORDS_ADVICE], name[NAME_MAX + 1];
	const char *advice = e ? mfd_words_advice(e, s->dir, buf, sizeof(buf)) : NULL;

	if (e && !e->error && !advice && !orphaned(f))
		return;
	snprintf(name, sizeof(name), "%s", f->name);
	printf("\n%s:\n", mfd_image_text_clean(name));
	if (!e)
		print_foreign("", f->why);
	else if (e->error)
		print_foreign(e->state == MFD__SESSION_STATE__ABORTED ? "aborted: " : "", e->error);
	if (e && orphaned(f))
		printf("    The server (pid %u) does not run. Start it again: criu-multifd serve --dir %s\n",
		       e->server_pid, s->dir);
	if (advice)
		print_note(advice);
}

static void print_figures(const struct mfd_session_file *f)
{
	char name[NAME_MAX + 1];

	if (!f->entry)
		return;
	snprintf(name, sizeof(name), "%s", f->name);
	printf("\n%s:\n", mfd_image_text_clean(name));
	mfd_status_figures_print(f->entry);
}

static void print_table(const struct status *s)
{
	struct row *rows = calloc(s->n + 1, sizeof(*rows));
	int widths[COLUMNS] = { 0 };

	if (!rows)
		return;
	rows[0] = title;
	for (size_t i = 0; i < s->n; i++)
		fill_row(&rows[i + 1], s, &s->list[i]);
	for (size_t i = 0; i <= s->n; i++)
		for (int c = 0; c < COLUMNS; c++)
			if (width(rows[i].cell[c]) > widths[c])
				widths[c] = width(rows[i].cell[c]);
	for (size_t i = 0; i <= s->n; i++)
		print_row(&rows[i], widths);
	for (size_t i = 0; i < s->n; i++)
		print_notes(s, &s->list[i]);
	for (size_t i = 0; s->channels && i < s->n; i++)
		print_figures(&s->list[i]);
	free(rows);
}

/*
 * ---- verb
 * ---------------------------------------------------------------------------------------------------------
 */

static int look(struct status *s)
{
	int dirfd = open(s->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), ret;

	s->list = NULL;
	s->n = 0;
	s->now_us = now_us();
	if (dirfd < 0)
		return -errno;
	if (s->session) {
		s->list = calloc(1, sizeof(*s->list));
		ret = s->list ? mfd_session_file_find(dirfd, s->session, s->list) : -ENOMEM;
		s->n = !ret;
	} else {
		ret = mfd_session_file_list(dirfd, &s->list, &s->n);
	}
	close(dirfd);
	return ret;
}

static int complain(const struct status *s, int code)
{
	if (code == -ENOENT && s->session && !access(s->dir, F_OK))
		fprintf(stderr, "criu-multifd status: no session '%s' in %s\n", s->session, s->dir);
	else
		fprintf(stderr, "criu-multifd status: %s: %s\n", s->dir, strerror(-code));
	return MFD_EXIT_FAILED;
}

/* An in-place display on a terminal, otherwise one block after the other. */
static void print(const struct status *s)
{
	if (s->json) {
		print_json(s);
	} else {
		if (s->watch && isatty(STDOUT_FILENO))
			fputs("\033[H\033[2J", stdout);
		if (s->n || s->watch)
			print_table(s);
		else
			printf("No sessions in %s.\n", s->dir);
		if (!s->session)
			mfd_status_memory_print(s->dir);
	}
	fflush(stdout);
}

/* Watching one session ends with it; watching all ends with a signal or with the reader. */
static int over(const struct status *s)
{
	return ferror(stdout) || !s->watch ||
	       (s->session && s->n && (!s->list->entry || mfd_words_final(s->list->entry)));
}

int mfd_status_main(int argc, char **argv)
{
	struct status s = { .dir = MFD_DEFAULT_DIR };
	const struct mfd_flag flags[] = {
		{ .name = "dir",
		  .kind = MFD_FLAG_STRING,
		  .dest = &s.dir,
		  .arg = "DIR",
		  .help = "the server's folder (default " MFD_DEFAULT_DIR ")" },
		{ .name = "json",
		  .kind = MFD_FLAG_BOOL,
		  .dest = &s.json,
		  .help = "for programs; with --watch one line per look" },
		{ .name = "channels",
		  .letter = 'v',
		  .kind = MFD_FLAG_BOOL,
		  .dest = &s.channels,
		  .help = "also what each channel and each thread of the pager has done, and what happened when" },
		{ .name = "source",
		  .letter = 'D',
		  .kind = MFD_FLAG_STRING,
		  .dest = &s.source,
		  .arg = "DIR",
		  .help = "on the source: the sender of the criu dump that works, or worked, in this folder" },
		{ .name = "watch",
		  .kind = MFD_FLAG_BOOL,
		  .dest = &s.watch,
		  .help = "again every second; for one session until it is done or aborted" },
		{ 0 },
	};
	const struct mfd_flags table = {
		.verb = "status",
		.usage = "[--dir DIR] [SESSION] [--json] [--channels] [--watch]\n"
			 "       criu-multifd status --source DIR [--json] [--channels]",
		.summary =
			"Says where sessions stand, and what to do about those that are in doubt.",
		.notes = mfd_status_notes,
		.flags = flags,
		.min_args = 0,
		.max_args = 1,
	};
	struct mfd_flags_args args;
	int ret = mfd_flags_begin(&table, argc, argv, &args);

	if (ret >= 0)
		return ret;
	s.session = args.n ? args.v[0] : NULL;
	if (s.source && (s.session || s.watch))
		return mfd_flags_misuse(&table, "--source goes with no SESSION and no --watch");
	if (s.source)
		return mfd_status_source(s.source, s.json, s.channels);
	if (s.session && (!*s.session || *s.session == '.' || strchr(s.session, '/')))
		return mfd_flags_misuse(&table, "'%s' is not the name of a session", s.session);
	for (;;) {
		ret = look(&s);
		if (!ret)
			print(&s);
		ret = ret ? complain(&s, ret) : over(&s) ? MFD_EXIT_OK : -1;
		mfd_session_file_list_free(s.list, s.n);
		if (ret >= 0)
			return ret;
		nanosleep(&(struct timespec){ .tv_sec = 1 }, NULL);
	}
}
