// SPDX-License-Identifier: GPL-2.0-only
/* What status prints for a person: a table of sessions, then notes about some of them. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "status.h"
#include "text.h"
#include "words.h"

enum { SESSION, STATE, SOURCE, RECEIVED, INSTALLED, RATE, AGE, COLUMNS };
struct row {
	char cell[COLUMNS][96];
};

static const struct row title = { { "SESSION", "STATE", "SOURCE", "RECEIVED", "INSTALLED", "RATE",
				    "AGE" } };

static void pages_cell(char *cell, size_t len, const Mfd__SessionEntry *e, uint64_t pages)
{
	char bytes[32];

	mfd_words_bytes(pages * MFD_STATUS_PAGE, bytes, sizeof(bytes));
	if (e->has_lazy_pages && e->lazy_pages)
		snprintf(cell, len, "%s %.0f%%", bytes, mfd_status_percent(pages, e->lazy_pages));
	else
		snprintf(cell, len, "%s", pages ? bytes : "-");
}

static void text_cell(char *cell, size_t len, const char *text)
{
	snprintf(cell, len, "%s", text ? text : "-");
	mfd_image_text_clean(cell);
}

/* The name that it gives itself, and what it has proved, or where it came from. */
static void source_cell(char *cell, size_t len, const Mfd__SessionEntry *e)
{
	const char *proved = e->identity ? e->identity : e->address;

	snprintf(cell, len, "%s%s%.64s%s", e->source ? e->source : "-", proved ? " (" : "",
		 proved ? proved : "", proved ? ")" : "");
	mfd_image_text_clean(cell);
}

/* The limit matters while something is on its way. */
static void rate_cell(char *cell, size_t len, const Mfd__SessionEntry *e)
{
	char rate[32], max[32];

	mfd_words_rate(mfd_status_received(e) * MFD_STATUS_PAGE, mfd_status_transfer_us(e), rate,
		       sizeof(rate));
	if (e->max_bandwidth && e->state <= MFD__SESSION_STATE__RUNNING)
		snprintf(cell, len, "%s (max %s)", rate,
			 mfd_words_rate(e->max_bandwidth, 1000000, max, sizeof(max)));
	else
		snprintf(cell, len, "%s", rate);
}

static void fill_row(struct row *r, const struct mfd_status *s, const struct mfd_session_file *f)
{
	const size_t len = sizeof(r->cell[0]);
	const Mfd__SessionEntry *e = f->entry;

	for (int c = 0; c < COLUMNS; c++)
		strcpy(r->cell[c], "-");
	text_cell(r->cell[SESSION], len, f->name);
	strcpy(r->cell[STATE], "unreadable");
	if (!e)
		return;
	snprintf(r->cell[STATE], len, "%s%s",
		 e->both_run ? "BOTH RUN: " :
		 e->in_doubt ? "IN DOUBT: " :
			       "",
		 mfd_words_state(e));
	source_cell(r->cell[SOURCE], len, e);
	pages_cell(r->cell[RECEIVED], len, e, mfd_status_received(e));
	pages_cell(r->cell[INSTALLED], len, e, e->installed_pages);
	rate_cell(r->cell[RATE], len, e);
	if (e->has_started_us)
		mfd_words_age(mfd_status_span(e->started_us, s->now_us), r->cell[AGE], len);
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

static void print_notes(const struct mfd_status *s, const struct mfd_session_file *f)
{
	const Mfd__SessionEntry *e = f->entry;
	char buf[MFD_WORDS_ADVICE], name[NAME_MAX + 1];
	const char *advice = e ? mfd_words_advice(e, s->dir, buf, sizeof(buf)) : NULL;

	if (e && !e->error && !advice && !f->later && !mfd_status_orphaned(f))
		return;
	snprintf(name, sizeof(name), "%s", f->name);
	printf("\n%s:\n", mfd_image_text_clean(name));
	if (!e)
		print_foreign("", f->why);
	else if (e->error)
		print_foreign(e->state == MFD__SESSION_STATE__ABORTED ? "aborted: " : "", e->error);
	if (e && mfd_status_orphaned(f))
		printf("    The server (pid %u) does not run. Start it again: criu-multifd serve --dir %s\n",
		       e->server_pid, s->dir);
	if (advice)
		print_note(advice);
	if (f->later)
		print_foreign("a later session of this name was aborted before it had any images: ",
			      f->later);
}

static void print_figures(const struct mfd_session_file *f)
{
	char name[NAME_MAX + 1], scope[MFD_STATUS_SCOPE];

	if (!f->entry)
		return;
	snprintf(name, sizeof(name), "%s", f->name);
	printf("\n%s:\n", mfd_image_text_clean(name));
	if (mfd_status_scope(f->entry, scope))
		printf("    restored in %s\n", mfd_image_text_clean(scope));
	mfd_status_figures_print(f->entry);
}

void mfd_status_table_print(const struct mfd_status *s)
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
