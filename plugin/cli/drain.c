// SPDX-License-Identifier: GPL-2.0-only
/* criu-multifd drain: a host is emptied. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "command.h"
#include "drain.h"
#include "io.h"
#include "text.h"

#define RESTART_US 1000000

/* What every move needs, before the first. */
static int prepare(struct mfd_drain *d, struct mfd_error *err)
{
	int ret = mfd_migrate_check_host(err);

	ret = ret ? ret : mfd_hostcriu_find(&d->m.criu, err);
	ret = ret ? ret : mfd_hostcriu_plugins(d->m.plugins, sizeof(d->m.plugins), err);
	ret = ret ? ret : mfd_drain_left_open(d, err);
	ret = ret ? ret : mfd_drain_pick(d, 0, err);
	ret = ret ? ret : mfd_drain_left(d, err);
	return ret;
}

static void look_at_all(struct mfd_drain *d)
{
	for (size_t i = 0; i < d->n; i++) {
		struct mfd_drain_item *it = &d->items[i];

		if (it->state != MFD_DRAIN_WAITING)
			continue;
		mfd_drain_look(d, it);
		if (it->state == MFD_DRAIN_CANNOT && d->m.no_check) {
			snprintf(it->note, sizeof(it->note), "%.390s", it->why);
			mfd_drain_set(it, MFD_DRAIN_WAITING, "%s", "");
		}
	}
	mfd_drain_plan_sort(d->items, d->n);
}

static void show_plan(struct mfd_drain *d)
{
	mfd_drain_plan_spread(d);
	if (d->m.json)
		mfd_drain_json_print(mfd_drain_json(d, "plan"));
	else
		mfd_drain_table_plan(d, stdout);
	for (size_t i = 0; i < d->n; i++)
		d->items[i].target = -1;
}

/* What began meanwhile, or was started again by what supervises it, is left here, too. */
static void look_again(struct mfd_drain *d)
{
	struct mfd_error err = { 0 };
	size_t before = d->n;

	/* systemd waits a tenth of a second before it starts again what has ended. */
	if (mfd_drain_count(d, MFD_DRAIN_MOVED, NULL) && !d->stop)
		usleep(RESTART_US);
	mfd_drain_pick(d, 1, &err);
	for (size_t i = before; i < d->n; i++)
		mfd_drain_set(
			&d->items[i], MFD_DRAIN_NEW,
			"it was not there before (is it started again by what supervises it?)");
}

static int end(struct mfd_drain *d)
{
	struct mfd_error err = { 0 };

	if (mfd_drain_metrics(d, 1, &err))
		mfd_drain_table_say(d, "%s", mfd_error_text(&err));
	if (d->m.json)
		mfd_drain_json_print(mfd_drain_json(d, "summary"));
	else
		mfd_drain_table_summary(d, stdout);
	return mfd_drain_code(d);
}

/* Of a dry run: what waits could move. */
static int dry_code(struct mfd_drain *d)
{
	for (size_t i = 0; i < d->n; i++)
		if (d->items[i].state == MFD_DRAIN_WAITING)
			d->items[i].state = MFD_DRAIN_MOVED;
	return mfd_drain_code(d);
}

static int refuse(const struct mfd_error *err)
{
	char text[1024];

	/* Names of control groups are in it. */
	snprintf(text, sizeof(text), "%s", mfd_error_text(err));
	fprintf(stderr, "criu-multifd drain: %s\n", mfd_image_text_clean(text));
	return MFD_EXIT_REFUSED;
}

static uint64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static int drain(struct mfd_drain *d)
{
	struct mfd_error err = { 0 };

	if (prepare(d, &err))
		return refuse(&err);
	d->begun_us = now_us();
	look_at_all(d);
	show_plan(d);
	if (d->dry_run)
		return dry_code(d);
	/* Before the first move: later it would be no reason to stop. */
	if (mfd_drain_metrics(d, 0, &err))
		return refuse(&err);
	if (mfd_drain_run_signals(d)) {
		mfd_error_sys(&err, -errno, "signalfd");
		return refuse(&err);
	}
	mfd_drain_run(d);
	look_again(d);
	return end(d);
}

static void forget(struct mfd_drain *d)
{
	for (unsigned i = 0; i < d->n_targets; i++)
		free(d->targets[i].to);
	free(d->items);
	mfd_io_close(&d->dirfd);
	mfd_io_close(&d->signals);
	mfd_migrate_args_free(&d->m);
}

int mfd_drain_main(int argc, char **argv)
{
	struct mfd_drain d = { .dirfd = -1, .signals = -1 };
	int ret = mfd_drain_args(&d, argc, argv);

	if (ret < 0)
		ret = drain(&d);
	forget(&d);
	return ret;
}
