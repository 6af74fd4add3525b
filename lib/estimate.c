// SPDX-License-Identifier: GPL-2.0-only
/* Sizes of tasks from /proc. */
#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "estimate.h"
#include "io.h"
#include "procfile.h"
#include "walk.h"

static uint64_t bytes_of(const char *status, const char *key)
{
	uint64_t kib = 0;

	return mfd_procfile_first(status, key, 10, &kib) ? 0 : kib << 10;
}

uint64_t mfd_estimate_task(pid_t pid, uint64_t *shared)
{
	uint64_t sum;
	char *text;

	if (shared)
		*shared = 0;
	if (mfd_procfile_status(pid, &text))
		return 0;
	sum = bytes_of(text, "RssAnon") + bytes_of(text, "VmSwap") + bytes_of(text, "HugetlbPages");
	if (shared)
		*shared = bytes_of(text, "RssShmem");
	free(text);
	return sum;
}

uint64_t mfd_estimate_tree(pid_t root, uint64_t *shared)
{
	struct mfd_walk_pids tree = { 0 };
	uint64_t sum = 0, one;

	*shared = 0;
	if (root > 0)
		mfd_walk_tree(root, &tree);
	for (size_t i = 0; i < tree.n; i++) {
		sum += mfd_estimate_task(tree.v[i], &one);
		if (one > *shared)
			*shared = one;
	}
	free(tree.v);
	return sum + *shared;
}

pid_t mfd_estimate_root(pid_t criu)
{
	char path[40], *text, *word, *value;
	size_t len;
	long pid = 0;

	snprintf(path, sizeof(path), "/proc/%d/cmdline", criu);
	if (mfd_io_read_file(AT_FDCWD, path, 1 << 20, &text, &len))
		return 0;
	/* The later wins, as with CRIU. */
	for (word = text; word < text + len; word += strlen(word) + 1) {
		if (!strncmp(word, "--tree=", 7))
			value = word + 7;
		else if (!strcmp(word, "--tree") || !strcmp(word, "-t"))
			value = word + strlen(word) + 1;
		else if (!strncmp(word, "-t", 2))
			value = word + 2;
		else
			continue;
		if (value < text + len && isdigit((unsigned char)*value))
			pid = atol(value);
	}
	free(text);
	return pid > 0 && pid <= INT32_MAX ? (pid_t)pid : 0;
}
