// SPDX-License-Identifier: GPL-2.0-only
/* Which descriptors the configuration claims: option cpr = auto | off | PATTERN[,PATTERN...]. */
#include <fnmatch.h>
#include <stdio.h>
#include <string.h>

#include "cpr_describe.h"

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
