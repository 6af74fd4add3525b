// SPDX-License-Identifier: GPL-2.0-only
/* Descendants of a process. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "descendants.h"
#include "io.h"
#include "life.h"
#include "procfile.h"

struct all {
	struct mfd_descendant *v;
	size_t n, room;
};

static int add(struct all *a, pid_t pid)
{
	struct mfd_procfile_stat st;
	struct mfd_descendant *bigger;
	int ret = mfd_procfile_stat(pid, &st);

	if (ret) /* gone meanwhile, or nothing is known of it: then not of the others either */
		return ret == -ENOENT || ret == -ESRCH ? 0 : ret;
	if (a->n == a->room) {
		bigger = reallocarray(a->v, a->room + 256, sizeof(*bigger));
		if (!bigger)
			return -ENOMEM;
		a->v = bigger;
		a->room += 256;
	}
	a->v[a->n++] = (struct mfd_descendant){ .pid = pid, .ppid = st.ppid, .state = st.state };
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

int mfd_descendants_list(pid_t root, struct mfd_descendant **list, size_t *n)
{
	struct all a = { 0 };
	uint64_t since = 0;
	int ret;

	do {
		a.n = 0;
		ret = read_all(&a);
	} while (ret && mfd_life_look_again(ret, &since));

	if (ret) {
		free(a.v);
		return ret;
	}
	*n = sort_out(&a, root);
	for (size_t i = 0; i < *n; i++)
		a.v[i].inner = mfd_procfile_inner_pid(a.v[i].pid);
	*list = a.v;
	return 0;
}

/* Children first: root reaps them, and may be what keeps them together. */
int mfd_descendants_kill(pid_t root, unsigned timeout_ms)
{
	uint64_t end = mfd_io_now_ms() + timeout_ms;

	do {
		struct mfd_descendant *list = NULL;
		size_t n = 0, left = 0;

		if (mfd_descendants_list(root, &list, &n))
			continue;
		for (size_t i = 0; i < n; i++) {
			if (list[i].state == 'Z' || list[i].state == 'X')
				continue;
			left++;
			kill(list[i].pid, SIGKILL);
		}
		free(list);
		if (!left) {
			kill(root, SIGKILL);
			if (mfd_life(root, 0) == MFD_LIFE_OVER)
				return 0;
		}
		usleep(2000);
	} while (mfd_io_now_ms() < end);
	return -EBUSY;
}
