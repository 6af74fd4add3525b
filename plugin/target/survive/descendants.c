// SPDX-License-Identifier: GPL-2.0-only
/* Descendants of a process. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "descendants.h"
#include "io.h"

struct all {
	struct mfd_descendant *v;
	size_t n, room;
};

static int read_stat(struct mfd_descendant *d)
{
	char path[40], *text = NULL, *p;
	int ret;

	snprintf(path, sizeof(path), "/proc/%d/stat", d->pid);
	ret = mfd_io_read_file(AT_FDCWD, path, 4096, &text, NULL);
	if (ret)
		return ret;
	p = strrchr(text, ')'); /* the name before it may hold anything */
	ret = p && sscanf(p + 1, " %c %d", &d->state, &d->ppid) == 2 ? 0 : -EIO;
	free(text);
	return ret;
}

static int add(struct all *a, pid_t pid)
{
	struct mfd_descendant d = { .pid = pid }, *bigger;

	if (read_stat(&d))
		return 0;
	if (a->n == a->room) {
		bigger = reallocarray(a->v, a->room + 256, sizeof(*bigger));
		if (!bigger)
			return -ENOMEM;
		a->v = bigger;
		a->room += 256;
	}
	a->v[a->n++] = d;
	return 0;
}

static int read_all(struct all *a)
{
	DIR *d = opendir("/proc");
	struct dirent *e;
	int ret = d ? 0 : -errno;

	while (d && !ret && (e = readdir(d)))
		if (isdigit((unsigned char)e->d_name[0]))
			ret = add(a, (pid_t)strtol(e->d_name, NULL, 10));
	if (d)
		closedir(d);
	return ret;
}

static uint32_t read_inner(pid_t pid)
{
	char path[40], *text = NULL, *p, *end;
	uint32_t v = 0;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	if (mfd_io_read_file(AT_FDCWD, path, 1 << 16, &text, NULL))
		return 0;
	p = strstr(text, "\nNSpid:");
	end = p ? strchr(p + 1, '\n') : NULL;
	if (end) {
		*end = 0;
		p = strrchr(p, '\t');
		v = p ? (uint32_t)strtoul(p, NULL, 10) : 0;
	}
	free(text);
	return v;
}

/* The descendants move to the front of the list, generation by generation. */
static size_t sort_out(struct all *a, pid_t root)
{
	size_t found = 0, done = 0;
	pid_t parent = root;

	for (;;) {
		for (size_t i = found; i < a->n; i++) {
			struct mfd_descendant d = a->v[i];

			if (d.ppid != parent || d.pid == root)
				continue;
			a->v[i] = a->v[found];
			a->v[found++] = d;
		}
		if (done == found)
			return found;
		parent = a->v[done++].pid;
	}
}

int mfd_descent_list(pid_t root, struct mfd_descendant **list, size_t *n)
{
	struct all a = { 0 };
	int ret = read_all(&a);

	if (ret) {
		free(a.v);
		return ret;
	}
	*n = sort_out(&a, root);
	for (size_t i = 0; i < *n; i++)
		a.v[i].inner = read_inner(a.v[i].pid);
	*list = a.v;
	return 0;
}

static int is_alive(pid_t pid)
{
	struct mfd_descendant d = { .pid = pid };

	return !read_stat(&d) && d.state != 'Z' && d.state != 'X';
}

/* Children first: root reaps them, and may be what keeps them together. */
int mfd_descent_kill(pid_t root, unsigned timeout_ms)
{
	uint64_t end = mfd_io_now_ms() + timeout_ms;

	do {
		struct mfd_descendant *list = NULL;
		size_t n = 0, left = 0;

		if (mfd_descent_list(root, &list, &n))
			n = 0;
		for (size_t i = 0; i < n; i++) {
			if (list[i].state == 'Z' || list[i].state == 'X')
				continue;
			left++;
			kill(list[i].pid, SIGKILL);
		}
		free(list);
		if (!left) {
			kill(root, SIGKILL);
			if (!is_alive(root))
				return 0;
		}
		usleep(2000);
	} while (mfd_io_now_ms() < end);
	return -EBUSY;
}
