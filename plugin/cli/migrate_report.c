// SPDX-License-Identifier: GPL-2.0-only
/*
 * How far a migration is, and how it ended: on standard error a line that is redrawn (on a
 * terminal) or plain lines, and one sentence on standard output at the end; with --json one object
 * per line on standard output instead.
 */
#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "check_report.h"
#include "command.h"
#include "io.h"
#include "migrate.h"
#include "text.h"
#include "words.h"

#define REDRAW_US 100000
#define LINE_US	  5000000 /* plain lines about progress */
#define JSON_US	  500000
#define RATE_US	  250000

static const char *const phase_texts[] = {
	[MFD_PROGRESS_STARTING] = "starting criu",
	[MFD_PROGRESS_CONNECTING] = "connecting",
	[MFD_PROGRESS_QUEUED] = "waiting for memory on the target",
	[MFD_PROGRESS_PRECOPY] = "sending memory while it runs",
	[MFD_PROGRESS_FREEZING] = "freezing",
	[MFD_PROGRESS_STREAMING] = "streaming",
	[MFD_PROGRESS_VERIFYING] = "verifying",
	[MFD_PROGRESS_RESTORING] = "restoring on the target",
	[MFD_PROGRESS_RELEASING] = "releasing",
	[MFD_PROGRESS_RELEASED] = "released",
	[MFD_PROGRESS_ABORTED] = "aborted",
};

/* By enum mfd_progress_doubt. */
static const char *const doubt_texts[] = {
	[MFD_PROGRESS_LOST] = "IN DOUBT: runs on the target, which cannot be reached; trying",
	[MFD_PROGRESS_UNKNOWN] =
		"IN DOUBT: may run on the target, which does not say so; frozen here, asking",
	[MFD_PROGRESS_DAMAGED] = "IN DOUBT: may run on the target, and a task here has died: see "
				 "criu-multifd status --source",
	[MFD_PROGRESS_GIVEN_UP] =
		"IN DOUBT: may run on the target; connections break at once, given "
		"up: see criu-multifd status --source",
	[MFD_PROGRESS_DIED] = "IN DOUBT: has run on the target and died there; frozen here: see "
			      "criu-multifd status --source",
};

struct figures {
	uint64_t sent, total;
	double percent, ms;
	long left_s; /* -1 = not known */
};

static double elapsed_ms(const struct mfd_migrate *m)
{
	return (double)(mfd_io_now_us() - m->report.start_us) / 1000.0;
}

/* Smoothed over a few samples, so that the time left does not jump. */
static void update_rate(struct mfd_migrate_report *r, uint64_t sent, uint64_t now)
{
	uint64_t rate;

	if (!r->rate_us || sent < r->rate_bytes) {
		r->rate_us = now;
		r->rate_bytes = sent;
		return;
	}
	if (now - r->rate_us < RATE_US)
		return;
	rate = (uint64_t)((double)(sent - r->rate_bytes) * 1e6 / (double)(now - r->rate_us));
	r->rate = r->rate ? (r->rate * 2 + rate) / 3 : rate;
	r->rate_us = now;
	r->rate_bytes = sent;
}

static struct figures figures(struct mfd_migrate *m)
{
	struct figures f = { .sent = atomic_load(&m->progress->bytes_sent),
			     .total = atomic_load(&m->progress->bytes_total),
			     .ms = elapsed_ms(m),
			     .left_s = -1 };
	/* What had come before it was aborted. */
	unsigned phase = m->report.phase == MFD_PROGRESS_ABORTED ? m->progress->failed_in :
								   m->report.phase;
	int arrived = phase > MFD_PROGRESS_STREAMING && phase != MFD_PROGRESS_ABORTED;

	if (f.total < f.sent || arrived) /* before that bytes_total is an estimate */
		f.total = f.sent;
	f.percent = arrived ? 100 : f.total ? 100.0 * (double)f.sent / (double)f.total : 0;
	/* The total grows when it turns out that there is more; what was shown stays. */
	if (f.percent < m->report.percent)
		f.percent = m->report.percent;
	m->report.percent = f.percent;
	if (m->report.rate && !arrived)
		f.left_s = (long)((f.total - f.sent) / m->report.rate);
	return f;
}

static struct json_object *event(const struct mfd_migrate *m, const char *name)
{
	struct json_object *j = json_object_new_object();
	char text[32];

	json_object_object_add(j, "event", json_object_new_string(name));
	snprintf(text, sizeof(text), "%.1f", elapsed_ms(m));
	json_object_object_add(j, "ms", json_object_new_double_s(elapsed_ms(m), text));
	return j;
}

static void print_json(struct json_object *j)
{
	printf("%s\n", json_object_to_json_string_ext(j, JSON_C_TO_STRING_PLAIN |
								 JSON_C_TO_STRING_NOSLASHESCAPE));
	fflush(stdout);
	json_object_put(j);
}

void mfd_migrate_report_check(struct mfd_migrate *m, const struct mfd_check *c)
{
	struct json_object *j;

	if (!m->json)
		return;
	j = event(m, "check");
	mfd_check_json(j, c);
	print_json(j);
}

static void json_phase(struct mfd_migrate *m)
{
	struct json_object *j = event(m, "phase");

	json_object_object_add(j, "phase",
			       json_object_new_string(mfd_progress_word(m->report.phase)));
	json_object_object_add(j, "running_on_target",
			       json_object_new_boolean(atomic_load(&m->progress->running)));
	json_object_object_add(j, "images_dir", json_object_new_string(m->dir));
	print_json(j);
}

static void json_progress(struct mfd_migrate *m)
{
	struct json_object *j = event(m, "progress");
	struct figures f = figures(m);
	char text[16];

	snprintf(text, sizeof(text), "%.1f", f.percent);
	json_object_object_add(j, "phase",
			       json_object_new_string(mfd_progress_word(m->report.phase)));
	json_object_object_add(j, "bytes", json_object_new_uint64(f.sent));
	json_object_object_add(j, "bytes_total", json_object_new_uint64(f.total));
	json_object_object_add(j, "percent", json_object_new_double_s(f.percent, text));
	json_object_object_add(j, "bytes_per_second", json_object_new_uint64(m->report.rate));
	json_object_object_add(j, "held", json_object_new_boolean(atomic_load(&m->progress->held)));
	json_object_object_add(j, "seconds_left",
			       f.left_s >= 0 ? json_object_new_int64(f.left_s) : NULL);
	print_json(j);
}

static void json_round(struct mfd_migrate *m)
{
	struct json_object *j = event(m, "round");

	json_object_object_add(j, "round", json_object_new_int64(atomic_load(&m->progress->round)));
	json_object_object_add(j, "bytes_left",
			       json_object_new_uint64(atomic_load(&m->progress->left)));
	json_object_object_add(j, "bytes_per_second_written",
			       json_object_new_uint64(atomic_load(&m->progress->written)));
	json_object_object_add(j, "expected_downtime_ms",
			       json_object_new_int64(atomic_load(&m->progress->expected_ms)));
	print_json(j);
}

static int columns(void)
{
	struct winsize w;

	return !ioctl(STDERR_FILENO, TIOCGWINSZ, &w) && w.ws_col > 20 ? w.ws_col : 80;
}

static void bar(char *to, double percent)
{
	int full = (int)(percent / 5);

	for (int i = 0; i < 20; i++)
		to[i] = i < full ? '#' : '.';
	to[20] = 0;
}

/* The latest round of precopy. */
static void describe_round(const struct mfd_migrate *m, char *text, size_t len)
{
	char left[32], written[32];
	unsigned round = atomic_load(&m->progress->round);

	*text = 0;
	if (!round)
		return;
	mfd_words_bytes(atomic_load(&m->progress->left), left, sizeof(left));
	mfd_words_rate(atomic_load(&m->progress->written), 1000000, written, sizeof(written));
	snprintf(text, len, ", round %u: %s left, %s written, would stand still for %.1f s", round,
		 left, written, atomic_load(&m->progress->expected_ms) / 1000.0);
}

/* Describe the transfer in `text`; leave it empty before there is any. */
static void describe(struct mfd_migrate *m, char *text, size_t len)
{
	char sent[32], total[32], rate[32], left[48] = "", graph[24];
	struct figures f = figures(m);

	*text = 0;
	if (m->report.phase == MFD_PROGRESS_PRECOPY)
		describe_round(m, text, len);
	if (m->report.phase < MFD_PROGRESS_STREAMING || !f.total)
		return;
	bar(graph, f.percent);
	mfd_words_bytes(f.sent, sent, sizeof(sent));
	mfd_words_bytes(f.total, total, sizeof(total));
	mfd_words_rate(m->report.rate, 1000000, rate, sizeof(rate));
	if (f.left_s >= 0)
		snprintf(left, sizeof(left), "  %ld:%02ld left", f.left_s / 60, f.left_s % 60);
	if (m->report.terminal)
		snprintf(text, len, "  [%s] %3.0f%%  %s of %s  %s%s", graph, f.percent, sent, total,
			 rate, left);
	else
		snprintf(text, len, "  %.0f%%  %s of %s  %s%s", f.percent, sent, total, rate, left);
}

static const char *phase_text(const struct mfd_migrate *m)
{
	unsigned doubt = atomic_load(&m->progress->lost);

	if (doubt && doubt < sizeof(doubt_texts) / sizeof(*doubt_texts) && doubt_texts[doubt])
		return doubt_texts[doubt];
	if (atomic_load(&m->progress->held) && m->report.phase == MFD_PROGRESS_STREAMING)
		return "held: the target's memory limit";
	if (atomic_load(&m->progress->running) && m->report.phase == MFD_PROGRESS_STREAMING)
		return "runs on the target, pages follow";
	return phase_texts[m->report.phase];
}

static void draw(struct mfd_migrate *m)
{
	char text[300], line[400];
	int width = columns() - 1;

	describe(m, text, sizeof(text));
	snprintf(line, sizeof(line), "%s%s", phase_text(m), text);
	fprintf(stderr, "\r%.*s\033[K", width, line);
	m->report.drawn = 1;
}

static void line(struct mfd_migrate *m)
{
	char text[300];

	describe(m, text, sizeof(text));
	fprintf(stderr, "%8.1f ms  %s%s\n", elapsed_ms(m), phase_text(m), text);
}

#define SHOW_ROUND 2 /* as `changed`: no other phase, but another round in it */

static void show(struct mfd_migrate *m, int changed)
{
	if (m->report.json && changed == SHOW_ROUND)
		json_round(m);
	else if (m->report.json && changed)
		json_phase(m);
	if (m->report.json && m->report.phase == MFD_PROGRESS_STREAMING)
		json_progress(m);
	if (m->report.json)
		return;
	if (m->report.terminal)
		draw(m);
	else
		line(m);
}

void mfd_migrate_report_begin(struct mfd_migrate *m)
{
	m->report.start_us = mfd_io_now_us();
	m->report.json = m->json;
	m->report.terminal = !m->json && isatty(STDERR_FILENO);
}

void mfd_migrate_report_tick(struct mfd_migrate *m)
{
	struct mfd_migrate_report *r = &m->report;
	uint64_t now = mfd_io_now_us(), every = r->terminal ? REDRAW_US :
						r->json	    ? JSON_US :
							      LINE_US;
	unsigned phase = atomic_load(&m->progress->phase);
	int lost = (int)atomic_load(&m->progress->lost),
	    changed = phase != r->phase || lost != r->lost;

	if (phase > MFD_PROGRESS_ABORTED)
		return;
	if (!changed && phase == MFD_PROGRESS_PRECOPY &&
	    atomic_load(&m->progress->round) != r->round)
		changed = SHOW_ROUND;
	r->round = atomic_load(&m->progress->round);
	if (phase >= MFD_PROGRESS_STREAMING)
		update_rate(r, atomic_load(&m->progress->bytes_sent), now);
	if (!changed &&
	    (now - r->shown_us < every || (!r->terminal && phase != MFD_PROGRESS_STREAMING)))
		return;
	r->lost = lost;
	r->shown_us = now;
	/* Phases that were entered and left since the last tick; a terminal shows the last one. */
	while (++r->phase < phase)
		if (!r->terminal && atomic_load(&m->progress->passed) & 1U << r->phase)
			show(m, 1);
	r->phase = phase;
	show(m, changed);
}

static void clear(struct mfd_migrate *m)
{
	if (m->report.drawn)
		fprintf(stderr, "\r\033[K");
	m->report.drawn = 0;
}

void mfd_migrate_report_say(struct mfd_migrate *m, const char *fmt, ...)
{
	char text[700];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	clear(m);
	fprintf(stderr, "criu-multifd migrate: %s\n", mfd_image_text_clean(text));
}

/* ---- the end ---- */

/* The sender's own summary; an object without figures when it wrote none. */
static struct json_object *read_summary(const struct mfd_migrate *m)
{
	static const char *const counts[] = { "channels",      "pages",		 "zero_pages",
					      "bytes_memory",  "bytes_wire",	 "total_ms",
					      "frozen_ms",     "stream_ms",	 "gbit_per_s",
					      "zerocopy_sent", "zerocopy_copied" };
	char path[4200], *text = NULL;
	struct json_object *j = NULL;

	snprintf(path, sizeof(path), "%s/multifd-send.json", m->dir);
	if (m->dir[0] && !mfd_io_read_file(AT_FDCWD, path, 16 << 20, &text, NULL))
		j = json_tokener_parse(text);
	free(text);
	if (j && json_object_is_type(j, json_type_object))
		return j;
	json_object_put(j);
	j = json_object_new_object();
	json_object_object_add(j, "session",
			       m->o.session ? json_object_new_string(m->o.session) : NULL);
	json_object_object_add(j, "target",
			       m->o.target ? json_object_new_string(m->o.target) : NULL);
	for (size_t i = 0; i < sizeof(counts) / sizeof(*counts); i++)
		json_object_object_add(j, counts[i], json_object_new_int(0));
	json_object_object_add(j, "downtime_ms", NULL);
	return j;
}

static void print_summary(struct mfd_migrate *m, const char *result, int code, const char *error)
{
	struct json_object *j = read_summary(m);

	json_object_object_add(j, "event", json_object_new_string("summary"));
	json_object_object_add(j, "result", json_object_new_string(result));
	json_object_object_add(j, "pid", json_object_new_int64(m->pid));
	json_object_object_add(j, "exit_code", json_object_new_int(code));
	json_object_object_add(j, "error", error ? json_object_new_string(error) : NULL);
	print_json(j);
}

static double number(struct json_object *j, const char *key)
{
	struct json_object *v;

	return json_object_object_get_ex(j, key, &v) ? json_object_get_double(v) : 0;
}

static const char *word(struct json_object *j, const char *key)
{
	struct json_object *v;

	return json_object_object_get_ex(j, key, &v) && v ? json_object_get_string(v) : "?";
}

/* Slow lines, and moves of little memory, have less than a tenth of a Gbit/s. */
static const char *rate_text(double gbit, char *text, size_t len)
{
	snprintf(text, len, gbit < 1 ? "%.1f Mbit/s" : "%.1f Gbit/s",
		 gbit < 1 ? gbit * 1000 : gbit);
	return text;
}

#define IMAGES_MATTER (16U << 20) /* bytes: no tree has so many descriptions of itself */

/* Shared memory, and what else is no private memory, is in CRIU's images. */
static void moved_text(struct json_object *j, char *text, size_t len)
{
	double images = number(j, "bytes_images");
	char bytes[32], more[32];

	mfd_words_bytes((uint64_t)number(j, "bytes_memory"), bytes, sizeof(bytes));
	mfd_words_bytes((uint64_t)images, more, sizeof(more));
	snprintf(text, len, images < IMAGES_MATTER ? "%s" : "%s, and %s shared or in images,",
		 bytes, more);
}

/* Pages that the tasks have waited for on the target. */
static void waited_text(struct json_object *j, char *text, size_t len)
{
	struct json_object *l;

	*text = 0;
	if (!json_object_object_get_ex(j, "fault_latency", &l) || !l)
		return;
	snprintf(text, len, ", waited for %.0f pages there (half below %.2f ms, 99%% below %.2f)",
		 number(l, "count"), number(l, "p50_us") / 1000, number(l, "p99_us") / 1000);
}

static void print_sentence(const struct mfd_migrate *m)
{
	struct json_object *j = read_summary(m);
	char bytes[80], down[64] = "", rate[32], kept[48], waited[112] = "";
	double ms = number(j, "downtime_ms");
	/* In postcopy the source is released when it has run there, whichever restore that was. */
	int postcopy = !strcmp(word(j, "mode"), "postcopy"),
	    runs = postcopy || m->o.confirm == MFD_CONFIRM_RESTORE;

	moved_text(j, bytes, sizeof(bytes));
	if (ms > 0)
		snprintf(down, sizeof(down), ", it did not run for %.0f ms", ms);
	/* In postcopy it ran there long before the frozen tasks here could go. */
	if (postcopy) {
		snprintf(kept, sizeof(kept), "source kept for %.1f s",
			 number(j, "frozen_ms") / 1000);
		waited_text(j, waited, sizeof(waited));
	} else {
		snprintf(kept, sizeof(kept), "frozen %.0f ms", number(j, "frozen_ms"));
	}
	printf("process %u %s %s as session %s: %s in %.2f s (%s, %.0f channels), %s%s%s\n", m->pid,
	       runs ? "moved to" : "is complete on", word(j, "target"), word(j, "session"), bytes,
	       number(j, "total_ms") / 1000, rate_text(number(j, "gbit_per_s"), rate, sizeof(rate)),
	       number(j, "channels"), kept, down, waited);
	if (!runs)
		printf("it runs nowhere yet; to run it, there: criu-multifd restore --dir DIR %s "
		       "(DIR: the server's folder, " MFD_DEFAULT_DIR
		       " unless it was given another; "
		       "migrate --restore does that at once)\n",
		       word(j, "session"));
	json_object_put(j);
}

void mfd_migrate_report_end(struct mfd_migrate *m, const char *result, int code, const char *error)
{
	char text[600];

	clear(m);
	if (error) {
		snprintf(text, sizeof(text), "%s", error);
		mfd_image_text_clean(text);
		error = text;
		fprintf(stderr, "criu-multifd migrate: %s\n", error);
	}
	if (m->json)
		print_summary(m, result, code, error);
	else if (!strcmp(result, "released"))
		print_sentence(m);
}
