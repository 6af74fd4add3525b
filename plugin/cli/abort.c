// SPDX-License-Identifier: GPL-2.0-only
/* criu-multifd abort: give a session up that is not complete yet. */
#include <limits.h>
#include <stdio.h>

#include "args.h"
#include "request.h"

#define ANSWER_MS 30000 /* the server kills restored tasks before it answers */

int mfd_abort_main(int argc, char **argv)
{
	const char *dir = MFD_DEFAULT_DIR;
	const struct mfd_flag flags[] = {
		MFD_ARGS_DIR(&dir),
		{ 0 },
	};
	const struct mfd_flags table = {
		.verb = "abort",
		.usage = "[--dir DIR] SESSION",
		.summary =
			"Gives a session up that is not complete yet, or removes one that has ended.",
		.notes =
			"The source is told, and its tasks run on. A session that is ready is the source's to decide;\n"
			"one that is in doubt is settled with 'criu-multifd resolve', and 'criu-multifd status' says how.\n"
			"What may be the only copy, because the server cannot load it, is left to 'resolve', too.\n"
			"Exit status: 0 aborted, 1 not (one line says why).",
		.flags = flags,
		.min_args = 1,
		.max_args = 1,
		.arg_names = "SESSION",
	};
	char request[NAME_MAX + sizeof("abort ")];
	struct mfd_flags_args args;
	struct mfd_error err = { 0 };
	int ret = mfd_flags_begin(&table, argc, argv, &args);

	if (ret >= 0)
		return ret;
	ret = mfd_args_session(&table, args.v[0]);
	if (ret >= 0)
		return ret;
	snprintf(request, sizeof(request), "abort %s", args.v[0]);
	ret = mfd_request_call(dir, request, ANSWER_MS, NULL, 0, &err);
	return ret ? mfd_request_failed(args.v[0], &err) : MFD_EXIT_OK;
}
