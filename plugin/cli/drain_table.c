// SPDX-License-Identifier: GPL-2.0-only
/*
 * What drain shows to people: on standard output the list before it begins and the summary with
 * each pause, on standard error what happens meanwhile, on a terminal as a table that is redrawn.
 */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "drain.h"
#include "io.h"
#include "size.h"
#include "text.h"

#define REDRAW_MS 200
#define WIDTH	  400 /* bytes of a line on a terminal */

static const char *target_of(const struct mfd_drain *d, const struct mfd_drain_item *it)
{
	return it->target >= 0 ? d->targets[it->target].to : "-";
}

static int target_width(const struct mfd_drain *d)
{
	int width = 6;

	for (unsigned i = 0; i < d->n_targets; i++)
		if ((int)strlen(d->targets[i].to) > width)
			width = (int)strlen(d->targets[i].to);
	return width < 40 ? width : 40;
}

static int name_width(const struct mfd_drain *d)
{
	int width = 4;

	for (size_t i = 0; i < d->n; i++)
		if ((int)strlen(d->items[i].name) > width)
			width = (int)strlen(d->items[i].name);
	return width;
}

/* ---- the list ---- */

static void plan_line(const struct mfd_drain *d, const struct mfd_drain_item *it, FILE *f)
{
	char memory[MFD_SIZE_TEXT];

	fprintf(f, "%7d  %-*s  %10s  ", it->pid, name_width(d), it->name,
		it->bytes ? mfd_size_text(it->bytes, memory) : "-");
	if (it->state == MFD_DRAIN_WAITING)
		fprintf(f, "%7.1f s  %-*s  %s%s%s\n", (double)it->still_ms / 1000, target_width(d),
			it->target >= 0 ? target_of(d, it) : "no target has room for it", it->group,
			*it->note ? "  note: " : "", it->note);
	else
		fprintf(f, "%9s  %s: %s\n", "-", mfd_drain_states[it->state].text, it->why);
}

void mfd_drain_table_plan(const struct mfd_drain *d, FILE *f)
{
	uint64_t bytes = 0;
	size_t n = mfd_drain_count(d, MFD_DRAIN_WAITING, &bytes);
	char text[MFD_SIZE_TEXT];

	if (d->n)
		fprintf(f, "%7s  %-*s  %10s  %9s  %-*s  %s\n", "PID", name_width(d), "NAME",
			"MEMORY", "STANDS", target_width(d), "TARGET", "GROUP");
	for (size_t i = 0; i < d->n; i++)
		plan_line(d, &d->items[i], f);
	fprintf(f, "%zu to move, %s, %u at once; %zu cannot move, %zu in doubt\n", n,
		mfd_size_text(bytes, text), d->parallel, mfd_drain_count(d, MFD_DRAIN_CANNOT, NULL),
		mfd_drain_count(d, MFD_DRAIN_DOUBT, NULL) +
			mfd_drain_count(d, MFD_DRAIN_BUSY, NULL));
	fflush(f);
}

/* ---- on the way ---- */

static void live_line(const struct mfd_drain *d, const struct mfd_drain_item *it, FILE *f,
		      uint64_t now)
{
	char memory[MFD_SIZE_TEXT];

	fprintf(f, "%7d  %-*s  %10s  %-*s  %6.1f s  %s", it->pid, name_width(d), it->name,
		mfd_size_text(it->bytes, memory), target_width(d), target_of(d, it),
		(double)(now - it->begun_ms) / 1000, *it->phase ? it->phase : "starting");
	if (it->rate)
		fprintf(f, " %.0f%% %.0f MB/s", it->percent, (double)it->rate / 1e6);
	fputc('\n', f);
}

unsigned mfd_drain_table_live(const struct mfd_drain *d, FILE *f, uint64_t now)
{
	uint64_t bytes = 0, done = 0;
	unsigned lines = 1;

	for (size_t i = 0; i < d->n; i++) {
		bytes += d->items[i].bytes;
		if (d->items[i].state != MFD_DRAIN_MOVING)
			continue;
		live_line(d, &d->items[i], f, now);
		lines++;
	}
	fprintf(f, "%zu moved, %zu on the way, %zu wait, %zu failed",
		mfd_drain_count(d, MFD_DRAIN_MOVED, &done),
		mfd_drain_count(d, MFD_DRAIN_MOVING, NULL),
		mfd_drain_count(d, MFD_DRAIN_WAITING, NULL),
		mfd_drain_count(d, MFD_DRAIN_FAILED, NULL));
	fprintf(f, "; %.0f%% of %.1f GiB%s\n", bytes ? 100.0 * (double)done / (double)bytes : 100.0,
		(double)bytes / (double)(1ULL << 30), d->stop ? "; stopping" : "");
	return lines;
}

static int columns(void)
{
	struct winsize w;

	return !ioctl(STDERR_FILENO, TIOCGWINSZ, &w) && w.ws_col > 20 ? w.ws_col : 80;
}

void mfd_drain_table_clear(struct mfd_drain *d)
{
	if (d->drawn)
		fprintf(stderr, "\033[%uA\033[J", d->drawn);
	d->drawn = 0;
}

void mfd_drain_table_draw(struct mfd_drain *d)
{
	uint64_t now = mfd_io_now_ms();
	int width = columns() - 1;
	char *text = NULL, *line, *save;
	size_t len;
	FILE *f;

	if (!d->terminal || (d->drawn && now - d->drawn_ms < REDRAW_MS))
		return;
	f = open_memstream(&text, &len);
	if (!f)
		return;
	mfd_drain_table_live(d, f, now);
	fclose(f);
	mfd_drain_table_clear(d);
	for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		fprintf(stderr, "%.*s\n", width < WIDTH ? width : WIDTH, line);
		d->drawn++;
	}
	free(text);
	d->drawn_ms = now;
}

void mfd_drain_table_say(struct mfd_drain *d, const char *fmt, ...)
{
	char text[2000];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	mfd_drain_table_clear(d);
	fprintf(stderr, "criu-multifd drain: %s\n", mfd_image_text_clean(text));
}

/* ---- the summary ---- */

static void moved_line(const struct mfd_drain *d, const struct mfd_drain_item *it, FILE *f)
{
	char memory[MFD_SIZE_TEXT], pause[32] = "not known";

	if (it->pause_ms >= 0)
		snprintf(pause, sizeof(pause), "%.0f ms", it->pause_ms);
	if (it->state == MFD_DRAIN_STORED)
		snprintf(pause, sizeof(pause), "goes on");
	fprintf(f, "%7d  %-*s  %10s  %-*s  %6.2f s  pause %-9s  %s\n", it->pid, name_width(d),
		it->name, mfd_size_text(it->bytes_memory, memory), target_width(d),
		target_of(d, it), it->total_ms / 1000, pause, it->session);
}

/* What is left here, and where its log is, if there is one. */
static void left_line(const struct mfd_drain *d, const struct mfd_drain_item *it, FILE *f)
{
	fprintf(f, "%7d  %-*s  %s%s%s", it->pid, name_width(d), it->name,
		mfd_drain_states[it->state].text, *it->why ? ": " : "", it->why);
	if (it->tries)
		fprintf(f, " (log: %s/%s/migrate.log)", d->dir, it->session);
	fputc('\n', f);
}

static int by_pause(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void pauses(const struct mfd_drain *d, FILE *f)
{
	double *v = calloc(d->n + 1, sizeof(*v));
	size_t n = 0;

	for (size_t i = 0; v && i < d->n; i++)
		if (d->items[i].state == MFD_DRAIN_MOVED && d->items[i].pause_ms >= 0)
			v[n++] = d->items[i].pause_ms;
	if (n) {
		qsort(v, n, sizeof(*v), by_pause);
		fprintf(f, "; pauses: median %.0f ms, longest %.0f ms", v[n / 2], v[n - 1]);
	}
	free(v);
}

void mfd_drain_table_summary(const struct mfd_drain *d, FILE *f)
{
	size_t left = 0;

	for (size_t i = 0; i < d->n; i++)
		if (mfd_drain_is_there(d->items[i].state))
			moved_line(d, &d->items[i], f);
	for (size_t i = 0; i < d->n; i++)
		if (!mfd_drain_is_there(d->items[i].state))
			left_line(d, &d->items[i], f);
	for (size_t i = 0; i < d->n; i++)
		left += mfd_drain_is_left(d->items[i].state);
	fprintf(f, "%zu moved, %zu left here", mfd_drain_count(d, MFD_DRAIN_MOVED, NULL), left);
	pauses(d, f);
	fputc('\n', f);
	if (mfd_drain_count(d, MFD_DRAIN_STORED, NULL))
		fprintf(f,
			"%zu more are complete on their target and run nowhere until they are "
			"restored there: criu-multifd restore SESSION\n",
			mfd_drain_count(d, MFD_DRAIN_STORED, NULL));
}
