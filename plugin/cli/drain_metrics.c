// SPDX-License-Identifier: GPL-2.0-only
/*
 * Figures of a drain as OpenMetrics text.  All are gauges: then the text means the same to a reader
 * of OpenMetrics and to one of Prometheus' own format, as node_exporter has.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "drain.h"
#include "io.h"

#define NAME "criu_multifd_drain_"

static void head(FILE *f, const char *name, const char *unit, const char *help)
{
	fprintf(f, "# TYPE " NAME "%s gauge\n", name);
	if (unit)
		fprintf(f, "# UNIT " NAME "%s %s\n", name, unit);
	fprintf(f, "# HELP " NAME "%s %s\n", name, help);
}

static void label(FILE *f, const char *name, const char *value)
{
	fprintf(f, "%s=\"", name);
	for (; *value; value++)
		if (*value == '\n')
			fputs("\\n", f);
		else if (*value == '"' || *value == '\\')
			fprintf(f, "\\%c", *value);
		else
			fputc(*value, f);
	fputc('"', f);
}

static void one(FILE *f, const char *name, const char *key, const char *value, double v)
{
	fprintf(f, NAME "%s", name);
	if (key) {
		fputc('{', f);
		label(f, key, value);
		fputc('}', f);
	}
	fprintf(f, " %.15g\n", v);
}

static void states(const struct mfd_drain *d, FILE *f)
{
	head(f, "processes", NULL, "Process trees by where they stand.");
	for (enum mfd_drain_state s = 0; s < MFD_DRAIN_STATES; s++)
		one(f, "processes", "state", mfd_drain_states[s].id,
		    (double)mfd_drain_count(d, s, NULL));
	head(f, "memory_bytes", "bytes", "Memory of process trees by where they stand.");
	for (enum mfd_drain_state s = 0; s < MFD_DRAIN_STATES; s++) {
		uint64_t bytes = 0;

		mfd_drain_count(d, s, &bytes);
		one(f, "memory_bytes", "state", mfd_drain_states[s].id, (double)bytes);
	}
}

static void targets(const struct mfd_drain *d, FILE *f)
{
	head(f, "target_processes", NULL, "Process trees that have moved to a target.");
	for (unsigned i = 0; i < d->n_targets; i++)
		one(f, "target_processes", "target", d->targets[i].to, d->targets[i].moved);
	head(f, "target_memory_bytes", "bytes", "Memory that a target was given.");
	for (unsigned i = 0; i < d->n_targets; i++)
		one(f, "target_memory_bytes", "target", d->targets[i].to,
		    (double)d->targets[i].given);
}

static void moves(const struct mfd_drain *d, FILE *f)
{
	head(f, "pause_seconds", "seconds", "How long a process that has moved did not run.");
	for (size_t i = 0; i < d->n; i++)
		if (d->items[i].state == MFD_DRAIN_MOVED && d->items[i].pause_ms >= 0)
			one(f, "pause_seconds", "session", d->items[i].session,
			    d->items[i].pause_ms / 1000);
	head(f, "move_seconds", "seconds", "How long a move took.");
	for (size_t i = 0; i < d->n; i++)
		if (mfd_drain_is_there(d->items[i].state))
			one(f, "move_seconds", "session", d->items[i].session,
			    d->items[i].total_ms / 1000);
}

void mfd_drain_metrics_text(const struct mfd_drain *d, int over, FILE *f)
{
	states(d, f);
	targets(d, f);
	moves(d, f);
	head(f, "running", NULL, "1 while the drain runs.");
	one(f, "running", NULL, NULL, !over);
	head(f, "empty", NULL, "1 if the drain has ended and nothing is left on the host.");
	one(f, "empty", NULL, NULL, over && !mfd_drain_code(d));
	head(f, "begun_timestamp_seconds", "seconds", "When the drain began.");
	one(f, "begun_timestamp_seconds", NULL, NULL, (double)d->begun_us / 1e6);
	head(f, "written_timestamp_seconds", "seconds", "When this was written.");
	one(f, "written_timestamp_seconds", NULL, NULL, (double)time(NULL));
	fputs("# EOF\n", f);
}

int mfd_drain_metrics(const struct mfd_drain *d, int over, struct mfd_error *err)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = d->metrics ? open_memstream(&text, &len) : NULL;
	int ret;

	if (!d->metrics)
		return 0;
	if (!f)
		return mfd_error_sys(err, -ENOMEM, "--metrics");
	mfd_drain_metrics_text(d, over, f);
	ret = fclose(f) ? -ENOMEM : 0;
	ret = ret ? ret : mfd_io_replace_file(AT_FDCWD, d->metrics, text, len, 0644);
	free(text);
	return ret ? mfd_error_sys(err, ret, "--metrics %s", d->metrics) : 0;
}
