// SPDX-License-Identifier: GPL-2.0-only
/*
 * Stack pointers, from /proc/PID/task/TID/syscall: "running", or numbers of which the last but one
 * is the stack pointer (fs/proc/base.c, proc_pid_syscall).
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "grow.h"
#include "io.h"
#include "stackpages.h"

/* In a text like "0 0x3 0x7ffe 0x1 0 0 0 0x7ffeb1c8 0x7f31c0". */
static int parse(char *text, uint64_t *sp)
{
	char *last = strrchr(text, ' '), *before;

	if (!last)
		return -EAGAIN;
	*last = 0;
	before = strrchr(text, ' ');
	*sp = before ? strtoull(before, NULL, 16) : 0;
	return *sp ? 0 : -EAGAIN;
}

static int add(struct mfd_stackpages *s, pid_t pid, const char *thread)
{
	uint64_t sp;
	char path[64], *text;
	int ret;

	snprintf(path, sizeof(path), "/proc/%d/task/%.20s/syscall", pid, thread);
	if (mfd_io_read_file(AT_FDCWD, path, 4096, &text, NULL))
		return -EAGAIN;
	ret = parse(text, &sp);
	free(text);
	if (ret)
		return ret;
	if (mfd_grow(&s->sp, s->n, sizeof(*s->sp)))
		return -ENOMEM;
	s->sp[s->n++] = sp;
	return 0;
}

int mfd_stackpages_find(struct mfd_stackpages *s, pid_t pid)
{
	char path[40];
	struct dirent *e;
	int ret = 0;
	DIR *d;

	*s = (struct mfd_stackpages){ 0 };
	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	d = opendir(path);
	if (!d)
		return -errno;
	while (!ret && (e = readdir(d)))
		if (isdigit((unsigned char)e->d_name[0]))
			ret = add(s, pid, e->d_name);
	closedir(d);
	return ret;
}

void mfd_stackpages_free(struct mfd_stackpages *s)
{
	free(s->sp);
	*s = (struct mfd_stackpages){ 0 };
}

int mfd_stackpages_in(const struct mfd_stackpages *s, uint64_t start, uint64_t end)
{
	for (size_t i = 0; i < s->n; i++)
		if (s->sp[i] >= start && s->sp[i] < end)
			return 1;
	return 0;
}
