// SPDX-License-Identifier: GPL-2.0-only
/* Which descriptors the configuration claims: option cpr = auto | off | PATTERN[,PATTERN...]. */
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpr_describe.h"
#include "io.h"

/*
 * A pattern is compared literally first: names hold brackets ("anon_inode:[perf_event]"), which a
 * pattern takes for a set.
 */
static int matches(const char *pattern, const char *name)
{
	return !strcmp(pattern, name) || !fnmatch(pattern, name, 0);
}

int mfd_cpr_claims(const char *patterns, const char *name)
{
	char one[512];

	if (!patterns)
		return 1;
	if (!strcmp(patterns, "off"))
		return 0;
	while (*patterns) {
		int len = (int)strcspn(patterns, ",");

		snprintf(one, sizeof(one), "%.*s", len, patterns);
		if (matches(one, name))
			return 1;
		patterns += len + (patterns[len] == ',');
	}
	return 0;
}

int mfd_cpr_is_runtimes(int image_dir, const char *name)
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
