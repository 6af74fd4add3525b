// SPDX-License-Identifier: GPL-2.0-only
/* criu-multifd status: the verb. It reads session.img files alone and needs no server. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "args.h"
#include "status.h"
#include "status_memory.h"
#include "words.h"

static uint64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return t.tv_sec * 1000000ULL + t.tv_nsec / 1000;
}

static int look(struct mfd_status *s)
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

static int complain(const struct mfd_status *s, int code)
{
	if (code == -ENOENT && s->session && !access(s->dir, F_OK))
		fprintf(stderr, "criu-multifd status: " MFD_NO_SESSION "\n", s->session, s->dir);
	else
		fprintf(stderr, "criu-multifd status: %s: %s\n", s->dir, strerror(-code));
	return MFD_EXIT_FAILED;
}

/* An in-place display on a terminal, otherwise one block after the other. */
static void print(const struct mfd_status *s)
{
	if (s->json) {
		mfd_status_json_print(s);
	} else {
		if (s->watch && isatty(STDOUT_FILENO))
			fputs("\033[H\033[2J", stdout);
		if (s->n || s->watch)
			mfd_status_table_print(s);
		else
			printf("No sessions in %s.\n", s->dir);
		if (!s->session)
			mfd_status_memory_print(s->dir);
	}
	fflush(stdout);
}

/* Watching one session ends with it; watching all ends with a signal or with the reader. */
static int over(const struct mfd_status *s)
{
	return ferror(stdout) || !s->watch ||
	       (s->session && s->n && (!s->list->entry || mfd_words_final(s->list->entry)));
}

int mfd_status_main(int argc, char **argv)
{
	struct mfd_status s = { .dir = MFD_DEFAULT_DIR };
	const struct mfd_flag flags[] = {
		MFD_ARGS_DIR(&s.dir),
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
	ret = s.session ? mfd_args_session(&table, s.session) : -1;
	if (ret >= 0)
		return ret;
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
