// SPDX-License-Identifier: GPL-2.0-only
/* Descriptors that a container runtime gives to CRIU by itself. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpr_runtime.h"
#include "io.h"

int mfd_cpr_runtime_gives(int image_dir, const char *name)
{
	char *text, quoted[64];
	int found;

	snprintf(quoted, sizeof(quoted), "\"%s\"", name);
	if (mfd_io_read_file(image_dir, "descriptors.json", 1 << 16, &text, NULL))
		return 0;
	found = strstr(text, quoted) != NULL;
	free(text);
	return found;
}
