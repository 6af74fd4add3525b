// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which process lives in the memory that a userfaultfd serves, and how to be sure that it is gone.
 *
 * The kernel does not say whose memory a userfaultfd belongs to.  But CRIU's restored task hands it
 * over itself, so the message's credentials name the process, and a pidfd keeps it.  Where they do
 * not (a sender in a foreign pid namespace), kcmp() may find it, as long as its restorer has not
 * closed its own descriptor, which is a matter of milliseconds.  Children that the task forks later
 * have userfaultfds that only the pager has; they are found as descendants, and in the pid
 * namespaces of the tasks that are known.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "holder.h"
#include "log.h"
#include "procfile.h"

#define KILL_WAIT_MS 5000

/* Calls each(pid, arg) for every process until it returns nonzero, and returns that. */
static int each_process(int (*each)(int pid, void *arg), void *arg)
{
	DIR *d = opendir("/proc");
	struct dirent *e;
	int ret = 0;

	while (d && !ret && (e = readdir(d))) {
		if (isdigit((unsigned char)e->d_name[0]))
			ret = each(atoi(e->d_name), arg);
	}
	if (d)
		closedir(d);
	return ret;
}

/* Nonzero: in its own pid namespace this is process `task`. */
static int is_task(int pid, uint32_t task)
{
	return task && mfd_procfile_inner_pid(pid) == task;
}

struct wanted {
	uint32_t task;
	int uffd, pid;
	int sure; /* pid is the task */
};

static int same_file(int pid, int fd, int uffd)
{
	return !syscall(SYS_kcmp, getpid(), pid, KCMP_FILE, uffd, fd);
}

static int has_open(int pid, int uffd)
{
	char path[64], link[64];
	struct dirent *e;
	int yes = 0;
	ssize_t n;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	d = opendir(path);
	while (d && !yes && (e = readdir(d))) {
		n = readlinkat(dirfd(d), e->d_name, link, sizeof(link) - 1);
		if (n <= 0)
			continue;
		link[n] = 0;
		if (strstr(link, "[userfaultfd]"))
			yes = same_file(pid, atoi(e->d_name), uffd);
	}
	if (d)
		closedir(d);
	return yes;
}

/* A process of ours that has a copy, and no table in common with us. */
static int is_ours(int pid)
{
	static const char *const names[] = { "mfd-warden\n", "mfd-standby\n" };
	char path[64], name[24] = "";
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? 0 : read(fd, name, sizeof(name) - 1);
	if (fd >= 0)
		close(fd);
	return n > 0 && (!strcmp(name, names[0]) || !strcmp(name, names[1]));
}

static int is_wanted(int pid, void *arg)
{
	struct wanted *w = arg;

	/* Neither the supervisor nor the heir, which shares our table. */
	if (pid == getpid() || pid == getppid() ||
	    !syscall(SYS_kcmp, getpid(), pid, KCMP_FILES, 0, 0) || !has_open(pid, w->uffd) ||
	    is_ours(pid))
		return 0;
	w->pid = pid;
	w->sure = is_task(pid, w->task);
	return w->sure;
}

int mfd_holder_find(uint32_t task, int uffd, int sender, int *sure)
{
	struct wanted w = { .task = task, .uffd = uffd };

	*sure = sender > 0 && is_task(sender, task);
	if (*sure)
		return sender;
	each_process(is_wanted, &w);
	*sure = w.sure;
	return w.pid;
}

/* ---- killing ---- */

struct doomed {
	int *pids;
	int n, room;
	ino_t ns[64]; /* pid namespaces, other than ours, of tasks that are known */
	int n_ns;
	int grew;
};

static int is_doomed(const struct doomed *d, int pid)
{
	int i;

	for (i = 0; i < d->n; i++) {
		if (d->pids[i] == pid)
			return 1;
	}
	return 0;
}

static void doom(struct doomed *d, int pid)
{
	int *p;

	if (pid <= 1 || pid == getpid() || is_doomed(d, pid))
		return;
	if (d->n == d->room) {
		p = reallocarray(d->pids, (size_t)d->room + 64, sizeof(*p));
		if (!p)
			return;
		d->pids = p;
		d->room += 64;
	}
	d->pids[d->n++] = pid;
	d->grew = 1;
}

static void note_namespace(struct doomed *d, int pid)
{
	ino_t ns = mfd_procfile_namespace(pid, "pid");

	/*
	 * Restored with the tree only when its first process is one of the tasks; else others live
	 * there, too.
	 */
	if (ns && ns != mfd_procfile_namespace(getpid(), "pid") &&
	    mfd_procfile_inner_pid(pid) == 1 && d->n_ns < 64)
		d->ns[d->n_ns++] = ns;
}

static int add_relatives(int pid, void *arg)
{
	struct doomed *d = arg;
	ino_t ns;
	int i;

	if (is_doomed(d, mfd_procfile_parent(pid)))
		doom(d, pid);
	ns = d->n_ns ? mfd_procfile_namespace(pid, "pid") : 0;
	for (i = 0; ns && i < d->n_ns; i++) {
		if (d->ns[i] == ns)
			doom(d, pid);
	}
	return 0;
}

static int wait_gone(int pid, int pidfd)
{
	struct pollfd p = { .fd = pidfd, .events = POLLIN };

	if (pidfd_send_signal(pidfd, SIGKILL, NULL, 0) && errno == ESRCH)
		return 0;
	if (poll(&p, 1, KILL_WAIT_MS) == 1)
		return 0;
	mfd_log_error("process %d does not die", pid);
	return -EBUSY;
}

static int kill_one(int pid)
{
	int ret, fd = pidfd_open(pid, 0);

	if (fd < 0)
		return errno == ESRCH ? 0 : -errno;
	ret = wait_gone(pid, fd);
	close(fd);
	return ret;
}

/*
 * Kill every task of `session` in the list (the supervisor's: those that may lack pages), with all
 * descendants and everything else in the pid namespaces restored for it, and wait until they are
 * dead.  Nonzero: one may still live, so the userfaultfds must stay open.
 *
 * Not found: a task whose hand-over did not say which process it is; a child forked after the
 * restore whose restored parent is dead already, outside a pid namespace of its own.  Their
 * userfaultfds tell that a task still lives there (mfd_uffd_ended).
 */
int mfd_holder_kill(const struct mfd_deposit *list, const char *session)
{
	const struct mfd_deposit *h;
	struct doomed d = { 0 };
	int i, ret = 0;

	for (h = list; h; h = h->next) {
		int pid = mfd_deposit_is_of(h, session) && h->task ?
				  mfd_procfile_of_pidfd(h->pidfd) :
				  0;

		if (pid) {
			doom(&d, pid);
			note_namespace(&d, pid);
		}
	}
	do {
		d.grew = 0;
		each_process(add_relatives, &d);
	} while (d.grew);
	if (d.n)
		mfd_log_warn("%s: killing %d restored tasks", session, d.n);
	for (i = 0; i < d.n; i++)
		kill(d.pids[i], SIGKILL);
	for (i = 0; i < d.n; i++)
		ret = kill_one(d.pids[i]) ? -EBUSY : ret;
	free(d.pids);
	return ret;
}
