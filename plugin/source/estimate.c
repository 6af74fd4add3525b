// SPDX-License-Identifier: GPL-2.0-only
/* Sizes of tasks from /proc. */
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "estimate.h"
#include "io.h"
#include "procfile.h"
#include "shared.h"

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

struct tree {
	pid_t *pids; /* found, and not looked at from `done` on */
	size_t n, room, done;
};

static int add(struct tree *t, pid_t pid)
{
	if (t->n == MFD_SHARED_MAX_TASKS)
		return -1;
	if (t->n == t->room) {
		size_t room = t->room ? 2 * t->room : 64;
		pid_t *more = reallocarray(t->pids, room, sizeof(*more));

		if (!more)
			return -1;
		t->pids = more;
		t->room = room;
	}
	t->pids[t->n++] = pid;
	return 0;
}

static void add_children(struct tree *t, pid_t pid, const char *thread)
{
	char path[80], *text, *save, *word;

	snprintf(path, sizeof(path), "/proc/%d/task/%.20s/children", pid, thread);
	if (mfd_io_read_file(AT_FDCWD, path, 1 << 20, &text, NULL))
		return;
	for (word = strtok_r(text, " \n", &save); word && !add(t, atoi(word));
	     word = strtok_r(NULL, " \n", &save))
		;
	free(text);
}

/* Children belong to the thread that made them. */
static void look_at(struct tree *t, pid_t pid)
{
	char path[40];
	struct dirent *e;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	d = opendir(path);
	while (d && (e = readdir(d)))
		if (isdigit((unsigned char)e->d_name[0]))
			add_children(t, pid, e->d_name);
	if (d)
		closedir(d);
}

uint64_t mfd_estimate_tree(pid_t root, uint64_t *shared)
{
	struct tree t = { 0 };
	uint64_t sum = 0, one;

	*shared = 0;
	if (root > 0)
		add(&t, root);
	for (; t.done < t.n; t.done++) {
		sum += mfd_estimate_task(t.pids[t.done], &one);
		if (one > *shared)
			*shared = one;
		look_at(&t, t.pids[t.done]);
	}
	free(t.pids);
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
