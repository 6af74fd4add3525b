// SPDX-License-Identifier: GPL-2.0-only
/* What CRIU has locked and cannot unlock any more; see unlock.h. */
#include <dirent.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "io.h"
#include "log.h"
#include "procfile.h"
#include "shared.h"
#include "unlock.h"
#include "unlock_rules.h"

#define CRIU_MS	    1000 /* a service of CRIU outlives its dump */
#define CONNECTIONS 4096 /* each is compared with all others */

/* 1 = it was in repair mode, and is not any more. */
static int leave_repair(int fd)
{
	int on = 0;
	socklen_t len = sizeof(on);

	if (getsockopt(fd, IPPROTO_TCP, TCP_REPAIR, &on, &len) || !on)
		return 0;
	on = 0;
	return !setsockopt(fd, IPPROTO_TCP, TCP_REPAIR, &on, sizeof(on));
}

struct found {
	unsigned repair; /* that many were in repair mode */
	struct mfd_unlock_connection *c;
	size_t n;
};

static void note(struct found *f, const struct mfd_unlock_connection *c)
{
	struct mfd_unlock_connection *more;

	for (size_t i = 0; i < f->n; i++)
		if (!memcmp(&f->c[i], c, sizeof(*c)))
			return;
	more = reallocarray(f->c, f->n + 1, sizeof(*c));
	if (!more)
		return;
	f->c = more;
	f->c[f->n++] = *c;
}

static void look_at(struct found *f, int fd)
{
	struct mfd_unlock_connection c;

	memset(&c, 0, sizeof(c)); /* it is compared as a whole */
	if (f->n < CONNECTIONS && !mfd_unlock_connection_of(fd, &c))
		note(f, &c);
	f->repair += (unsigned)leave_repair(fd);
}

static void look_at_task(struct found *f, const struct mfd_shared_task *t, int pidfd)
{
	struct dirent *e;
	char path[32];
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/fd", t->pid);
	d = opendir(path);
	while (d && (e = readdir(d))) {
		int fd = e->d_name[0] == '.' ? -1 :
					       (int)syscall(SYS_pidfd_getfd, pidfd,
							    (int)strtol(e->d_name, NULL, 10), 0);

		if (fd >= 0)
			look_at(f, fd);
		mfd_io_close(&fd);
	}
	if (d)
		closedir(d);
}

/* Of a task that is the same still; -1: it is not. */
static int open_task(const struct mfd_shared_task *t)
{
	int pidfd = (int)syscall(SYS_pidfd_open, t->pid, 0);

	if (pidfd >= 0 && mfd_shared_task_fate(t) == MFD_TASK_GONE)
		mfd_io_close(&pidfd);
	return pidfd;
}

static int is_criu_alive(const struct mfd_shared *sh)
{
	return mfd_procfile_start_time(sh->criu) == sh->criu_start;
}

void mfd_unlock_network(struct mfd_unlock *u, const struct mfd_shared *sh)
{
	unsigned n = atomic_load(&sh->ntasks);
	struct found f = { 0 };

	*u = (struct mfd_unlock){ .task = -1 };
	u->alive = n && is_criu_alive(sh);
	if (!n || u->alive)
		return;
	for (unsigned i = 0; i < n; i++) {
		int pidfd = open_task(&sh->task[i]);

		if (pidfd < 0)
			continue;
		look_at_task(&f, &sh->task[i], pidfd);
		if (u->task < 0) {
			u->task = pidfd;
			u->own_netns = mfd_procfile_namespace(sh->task[i].pid, "net") ==
				       mfd_procfile_own_namespace("net");
		} else {
			close(pidfd);
		}
	}
	u->repair = f.repair;
	u->c = f.c;
	u->n = f.n;
	if (f.repair)
		mfd_log_info("criu has ended and left %u sockets of the tasks in TCP_REPAIR: they "
			     "answer again",
			     f.repair);
}

/* It has said its last word, and undoes what it has locked now: it may be killed just then. */
static void await_criu(const struct mfd_shared *sh)
{
	uint64_t end = mfd_io_now_ms() + CRIU_MS;

	while (is_criu_alive(sh) && mfd_io_now_ms() < end)
		usleep(10000);
}

void mfd_unlock_end(struct mfd_unlock *u, const struct mfd_shared *sh)
{
	if (u->alive) {
		await_criu(sh);
		mfd_unlock_network(u, sh);
	}
	if (u->task >= 0)
		mfd_unlock_rules(u->task, sh->criu_run, sh->task[0].pid, u->own_netns, u->repair,
				 u->c, u->n);
	mfd_io_close(&u->task);
	free(u->c);
}
