// SPDX-License-Identifier: GPL-2.0-only
/* criu-multifd abort: give a session up that is not complete yet. */
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "command.h"
#include "flags.h"
#include "request.h"
#include "text.h"

#define ANSWER_MS 30000 /* what was restored has to be killed before the server answers */

int mfd_abort_main(int argc, char **argv)
{
	const char *dir = MFD_DEFAULT_DIR;
	const struct mfd_flag flags[] = {
		{ .name = "dir",
		  .kind = MFD_FLAG_STRING,
		  .dest = &dir,
		  .arg = "DIR",
		  .help = "the server's folder (default " MFD_DEFAULT_DIR ")" },
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
	if (!*args.v[0] || strlen(args.v[0]) > NAME_MAX || *args.v[0] == '.' ||
	    strchr(args.v[0], '/'))
		return mfd_flags_misuse(&table, "'%s' is not the name of a session", args.v[0]);
	snprintf(request, sizeof(request), "abort %s", args.v[0]);
	if (!mfd_request_call(dir, request, ANSWER_MS, NULL, 0, &err))
		return MFD_EXIT_OK;
	fprintf(stderr, "session %s: %s\n", args.v[0], mfd_image_text_clean(err.text));
	return MFD_EXIT_FAILED;
}
