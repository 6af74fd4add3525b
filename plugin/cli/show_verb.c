// SPDX-License-Identifier: GPL-2.0-only
/* criu-multifd show: images as JSON. */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "command.h"
#include "flags.h"
#include "image.h"

int mfd_show_main(int argc, char **argv)
{
	const struct mfd_flag flags[] = { { 0 } };
	const struct mfd_flags table = {
		.verb = "show",
		.usage = "FILE.img...",
		.summary =
			"Prints images as JSON: entries of session, inventory, pstree, pagemap and mm images,\n"
			"kind and size of others.",
		.notes = "Exit status: 0, or 1 when a file could not be read to its end;\n"
			 "what stands before the damage is printed.",
		.flags = flags,
		.min_args = 1,
		.max_args = -1,
		.arg_names = "FILE",
	};
	struct mfd_flags_args args;
	const char *why = NULL;
	int ret = mfd_flags_begin(&table, argc, argv, &args), result = MFD_EXIT_OK;

	if (ret >= 0)
		return ret;
	for (int i = 0; i < args.n; i++) {
		ret = mfd_image_show(AT_FDCWD, args.v[i], STDOUT_FILENO, &why);
		if (ret) {
			fprintf(stderr, "criu-multifd show: %s\n", why);
			result = MFD_EXIT_FAILED;
		}
	}
	return result;
}
