// SPDX-License-Identifier: GPL-2.0-only
/*
 * The end of a restore that is not finished, when no process brings its tasks their pages any more.
 *
 * To kill the tasks that are known is not enough.  CRIU's connection may hold userfaultfds that the
 * worker had not read when it died; their tasks wait for pages (they touch memory while they are
 * restored: rseq), and CRIU waits for them.  So these userfaultfds are read here, and name more
 * tasks to kill.  And CRIU itself does not notice everywhere that a task of its has died: once it
 * has been told to ignore its children (ignore_kids(), before the last stages) it waits for the
 * dead one's turn for ever.  It is given a moment to fail and clean up by itself, and is killed
 * then.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "descendants.h"
#include "holder.h"
#include "lazysock.h"
#include "log.h"
#include "procfile.h"
#include "unfinished.h"

#define GRACE_MS 2000
#define KILL_MS	 5000

static int is_connection(const struct mfd_deposit *h, const char *session)
{
	return !h->task && h->uffd >= 0 && mfd_deposit_is_of(h, session);
}

static struct mfd_deposit *new_deposit(const struct mfd_lazysock_msg *m, const char *session)
{
	struct mfd_deposit *h = calloc(1, sizeof(*h));
	int pid, sure;

	if (!h)
		return NULL;
	pid = mfd_holder_find(m->task, m->uffd, m->pid, &sure);
	h->task = m->task ? m->task : MFD_DEPOSIT_UNKNOWN;
	h->uffd = m->uffd;
	h->pidfd = pid > 0 ? pidfd_open(pid, 0) : -1;
	h->book = h->number = -1;
	mfd_deposit_give(h, session);
	return h;
}

static int read_rest(struct mfd_deposit **list, int conn, const char *session)
{
	struct mfd_lazysock_msg m;
	uint32_t task = 0;

	/*
	 * What it holds can still be read; what a task would send now fails, and so does its
	 * restore.
	 */
	shutdown(conn, SHUT_RDWR);
	while (mfd_lazysock_salvage(conn, &task, &m)) {
		struct mfd_deposit *h = new_deposit(&m, session);

		/*
		 * Closing it would be as good as filling in zeros; the task cannot run while its
		 * restore is not finished.
		 */
		if (!h) {
			close(m.uffd);
			return -ENOMEM;
		}
		h->next = *list;
		*list = h;
	}
	return 0;
}

int mfd_unfinished_cut(struct mfd_deposit **list, const char *session)
{
	struct mfd_deposit *h;
	int ret = 0;

	for (h = *list; h; h = h->next)
		if (is_connection(h, session))
			ret = read_rest(list, h->uffd, session) ?: ret;
	return ret;
}

/* In a process of its own that is not waited for: the supervisor has other things to do. */
static void see_off(int pidfd, int pid, const char *session)
{
	struct pollfd p = { .fd = 3, .events = POLLIN };

	prctl(PR_SET_NAME, "mfd-end");
	dup2(pidfd, p.fd);
	close_range(4, ~0U, 0);
	if (poll(&p, 1, GRACE_MS) || !mfd_procfile_of_pidfd(p.fd))
		return;
	mfd_log_warn("%s: killing process %d, which restores it and has not ended with the tasks",
		     session, pid);
	if (mfd_descendants_kill(pid, KILL_MS))
		mfd_log_error("%s: process %d does not die", session, pid);
}

/* An ancestor of ours does not restore, or knows better. */
static int is_ancestor(int pid)
{
	for (int p = getpid(); p > 1; p = mfd_procfile_parent(p))
		if (p == pid)
			return 1;
	return 0;
}

static void end(int pidfd, const char *session)
{
	int pid = mfd_procfile_of_pidfd(pidfd), child;

	if (!pid || is_ancestor(pid))
		return;
	child = fork();
	if (!child) {
		if (!fork())
			see_off(pidfd, pid, session);
		_exit(0);
	}
	if (child < 0)
		mfd_log_error("%s: whether process %d, which restores it, ends is not known: %s",
			      session, pid, strerror(errno));
	while (child > 0 && waitpid(child, NULL, 0) < 0 && errno == EINTR)
		;
}

void mfd_unfinished_end(const struct mfd_deposit *list, const char *session)
{
	for (const struct mfd_deposit *h = list; h; h = h->next)
		if (is_connection(h, session))
			end(h->pidfd, session);
}
