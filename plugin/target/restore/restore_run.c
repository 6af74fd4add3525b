// SPDX-License-Identifier: GPL-2.0-only
/* Starting criu restore, seeing its end, and reaching what it has restored. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "assert.h"
#include "descendants.h"
#include "hostcriu.h"
#include "image.h"
#include "io.h"
#include "life.h"
#include "log.h"
#include "options_allowed.h"
#include "restore_run.h"
#include "restored_notes.h"

#define WARDEN_MS 10000 /* to be there; it only has to make its namespaces */
#define KILL_MS	  10000
#define OWN_WORDS 18

/* ---- the command line ---- */

struct command {
	char folder[4096], pidfile[4200];
	char *option[MFD_OPTIONS_ALLOWED_MAX]; /* with dashes; to be freed */
	size_t n_options;
	char **argv;
};

static void free_command(struct command *c)
{
	for (size_t i = 0; i < c->n_options; i++)
		free(c->option[i]);
	free(c->argv);
}

static int add_dashes(struct command *c, char *const *options, size_t n)
{
	for (size_t i = 0; i < n && i < MFD_OPTIONS_ALLOWED_MAX; i++) {
		if (asprintf(&c->option[i], "--%s", options[i]) < 0)
			return -ENOMEM;
		c->n_options++;
	}
	return 0;
}

static int make_command(struct command *c, const struct mfd_restore_host *host, int dirfd,
			char *const *options, size_t n_options)
{
	char self[40], *own[OWN_WORDS] = { "mfd-warden",
					   "restore",
					   "--from-server",
					   host->own_pids ? "own" : "host",
					   (char *)(host->netns ? host->netns : "-"),
					   c->folder,
					   (char *)host->criu,
					   "restore",
					   "--lazy-pages",
					   "--leave-stopped",
					   "--restore-detached",
					   "--images-dir",
					   c->folder,
					   "--log-file",
					   MFD_RESTORE_LOG,
					   "-v3",
					   "--pidfile",
					   c->pidfile };
	size_t n = OWN_WORDS;
	ssize_t len;

	snprintf(self, sizeof(self), "/proc/self/fd/%d", dirfd);
	len = readlink(self, c->folder, sizeof(c->folder) - 1);
	if (len <= 0 || (size_t)len >= sizeof(c->folder) - 1)
		return -ENAMETOOLONG;
	c->folder[len] = 0;
	snprintf(c->pidfile, sizeof(c->pidfile), "%s/" MFD_RESTORE_PID, c->folder);
	unlink(c->pidfile);
	if (add_dashes(c, options, n_options))
		return -ENOMEM;
	c->argv = calloc(n + 2 + host->n_options + c->n_options + 1, sizeof(*c->argv));
	if (!c->argv)
		return -ENOMEM;
	memcpy(c->argv, own, sizeof(own));
	if (host->plugins) {
		c->argv[n++] = "--libdir";
		c->argv[n++] = (char *)host->plugins;
	}
	for (size_t i = 0; i < host->n_options; i++)
		c->argv[n++] = (char *)host->options[i];
	for (size_t i = 0; i < c->n_options; i++)
		c->argv[n++] = c->option[i];
	return 0;
}

/* ---- the process ---- */

/*
 * Twice, so that the warden is no child of the worker.  Between fork and exec only system calls:
 * other threads may hold any lock.
 */
static int spawn(char **argv, int link)
{
	pid_t pid = fork();
	int status;

	if (pid < 0)
		return -errno;
	if (!pid) {
		if (fork())
			_exit(0);
		if (link == 3)
			fcntl(link, F_SETFD, 0);
		else
			dup2(link, 3);
		execv("/proc/self/exe", argv);
		_exit(127);
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return 0;
}

/* The next message: 1; 0: the other side is gone or the time is up. */
static int listen_to(int link, struct mfd_restore_news *m, int timeout_ms)
{
	struct pollfd p = { .fd = link, .events = POLLIN };
	ssize_t n;

	do {
		if (poll(&p, 1, timeout_ms) <= 0 && errno != EINTR)
			return 0;
		n = recv(link, m, sizeof(*m), MSG_DONTWAIT);
	} while (n < 0 && (errno == EINTR || errno == EAGAIN));
	m->text[sizeof(m->text) - 1] = 0;
	return n == (ssize_t)sizeof(*m);
}

struct watch {
	struct mfd_restore *r;
	int dirfd;
};

/* CRIU's end, as the warden tells it: 0, or -errno and a sentence. */
static int await_end(const struct watch *w, char *text, size_t len)
{
	struct mfd_restore_news m = { 0 };

	snprintf(text, len, "the process that ran it is gone");
	if (!listen_to(w->r->link, &m, -1))
		return -ECHILD;
	if (m.word == MFD_RESTORE_CRIU_ENDED && WIFEXITED(m.value) && !WEXITSTATUS(m.value))
		return 0;
	if (m.word == MFD_RESTORE_FAILED)
		snprintf(text, len, "%s", m.text);
	else if (mfd_hostcriu_complaint(w->dirfd, MFD_RESTORE_LOG, MFD_RESTORE_ERRORS, text, len))
		snprintf(text, len, "it ended with status %#x and said nothing", (unsigned)m.value);
	return -EIO;
}

/* A thread of its own. */
static void watch(void *arg)
{
	struct watch *w = arg;
	struct mfd_restore *r = w->r;
	struct mfd_restore_what what = r->what;
	char text[sizeof(r->text)];
	int code = await_end(w, text, sizeof(text));

	free(w);
	pthread_mutex_lock(what.lock);
	mfd_assert(r->link >= 0);
	mfd_assert(code <= 0);
	mfd_io_close(&r->link);
	r->code = code;
	snprintf(r->text, sizeof(r->text), "%s", text);
	mfd_restore_enter(r, MFD_RESTORE_ENDED);
	pthread_cond_broadcast(what.cond);
	pthread_mutex_unlock(what.lock);
	what.unref(what.arg);
}

/* Its reference is taken before it runs: it may have ended before this returns. */
static int start_watch(struct mfd_restore *r, int dirfd)
{
	struct watch *w = malloc(sizeof(*w));
	int ret;

	if (!w)
		return -ENOMEM;
	*w = (struct watch){ .r = r, .dirfd = dirfd };
	r->what.ref(r->what.arg);
	ret = mfd_threads_start(r->what.pool, watch, w);
	if (ret) {
		r->what.unref(r->what.arg);
		free(w);
	}
	return ret;
}

static int take_warden(struct mfd_restore *r, char *text, size_t len)
{
	struct mfd_restore_news m = { 0 };

	mfd_assert(!r->warden);
	mfd_assert(r->link >= 0);
	if (!listen_to(r->link, &m, WARDEN_MS) || m.word != MFD_RESTORE_WARDEN || m.value <= 1) {
		snprintf(text, len, "%s",
			 m.word == MFD_RESTORE_FAILED ?
				 m.text :
				 "the process that shall run it did not start");
		return -ECHILD;
	}
	if (m.text[0] == '-')
		mfd_log_warn(
			"%s: systemd gives no scope to what is restored (%s): it lives in the server's unit",
			r->what.name, m.text + 1);
	else if (m.text[0])
		mfd_log_info("%s: what is restored lives in %s", r->what.name, m.text);
	r->warden = m.value;
	r->warden_fd = pidfd_open(r->warden, 0);
	snprintf(text, len, "the process that shall run it has ended");
	return r->warden_fd < 0 ? -ECHILD : mfd_warden_link_set(&r->holds, r->warden_fd);
}

static int let_start(struct mfd_restore *r)
{
	const struct mfd_restore_news m = { .word = MFD_RESTORE_GO };

	mfd_assert(r->warden > 0 && r->warden_fd >= 0);
	return send(r->link, &m, sizeof(m), MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static int start(struct mfd_restore *r, char **argv, char *text, size_t len)
{
	int pair[2], ret;

	mfd_assert(!r->warden);
	mfd_assert(r->link < 0);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return -errno;
	ret = spawn(argv, pair[1]);
	close(pair[1]);
	r->link = pair[0];
	ret = ret ? ret : take_warden(r, text, len);
	ret = ret ? ret : let_start(r);
	if (ret)
		mfd_io_close(&r->link);
	return ret;
}

void mfd_restore_init(struct mfd_restore *r, const struct mfd_restore_what *what)
{
	*r = (struct mfd_restore){ .what = *what, .warden_fd = -1, .link = -1, .dirfd = -1 };
	mfd_warden_link_init(&r->holds);
}

int mfd_restore_start(struct mfd_restore *r, int dirfd, char *const *options, size_t n, char *text,
		      size_t len)
{
	struct command c = { 0 };
	int ret;

	mfd_assert(r->what.lock);
	mfd_assert(r->what.host);
	mfd_restore_enter_locked(r, MFD_RESTORE_AT_WORK);
	r->dirfd = dirfd;
	mfd_restore_hold_remove(&r->hold, dirfd);
	snprintf(text, len, "no memory");
	ret = make_command(&c, r->what.host, dirfd, options, n);
	ret = ret ? ret : start(r, c.argv, text, len);
	free_command(&c);
	ret = ret ? ret : start_watch(r, dirfd);
	if (ret) {
		mfd_restore_kill(r);
		mfd_io_close(&r->link);
		mfd_restore_enter_locked(r, MFD_RESTORE_NONE);
	}
	return ret;
}

/* ---- what was restored ---- */

/* A warden that has ended has no descendants, and its pid may be another process. */
int mfd_restore_warden_lives(const struct mfd_restore *r)
{
	struct pollfd p = { .fd = r->warden_fd, .events = POLLIN };

	return r->warden > 0 && r->warden_fd >= 0 && !poll(&p, 1, 0);
}

static int is_alive(const struct mfd_descendant *d)
{
	return d->state != 'Z' && d->state != 'X';
}

int mfd_restore_look_again(const struct mfd_restore *r)
{
	struct mfd_descendant *list = NULL;
	size_t n = 0, alive = 0;
	int ret = mfd_restore_warden_lives(r) ? mfd_descendants_list(r->warden, &list, &n) : -ESRCH;

	for (size_t i = 0; !ret && i < n; i++)
		alive += (size_t)is_alive(&list[i]);
	free(list);
	return ret ? ret : alive < r->n_alive ? -ESRCH : 0;
}

int mfd_restore_look_at_hold(struct mfd_restore *r)
{
	mfd_assert(r->hold.kind == MFD_RESTORE_HOLD_NONE || r->dirfd >= 0);
	mfd_assert(r->hold.kind == MFD_RESTORE_HOLD_NONE ||
		   mfd_restore_phase(r) == MFD_RESTORE_STOPPED);
	return mfd_restore_hold_look(&r->hold, r->dirfd);
}

int mfd_restore_result(struct mfd_restore *r, char *text, size_t len)
{
	int code;

	pthread_mutex_lock(r->what.lock);
	mfd_assert(mfd_restore_phase(r) == MFD_RESTORE_ENDED);
	mfd_assert(!r->tasks && !r->root);
	code = r->code;
	snprintf(text, len, "%s", r->text);
	pthread_mutex_unlock(r->what.lock);
	return code;
}

/* All of them, also those that were stopped when they were dumped. */
static int hold(struct mfd_restore *r, const struct mfd_descendant *list, size_t n)
{
	pid_t *pids = calloc(n + 1, sizeof(*pids));
	size_t m = 0;

	mfd_assert(r->dirfd >= 0);
	mfd_assert(r->hold.kind == MFD_RESTORE_HOLD_NONE);
	if (!pids)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		if (is_alive(&list[i]))
			pids[m++] = list[i].pid;
	mfd_restore_hold_take(&r->hold, r->dirfd, r->what.name, pids, m);
	free(pids);
	return 0;
}

static int find_tasks(struct mfd_restore *r, int dirfd)
{
	struct mfd_descendant *list = NULL;
	size_t n = 0;
	int ret;

	mfd_assert(!r->tasks && !r->n_tasks);
	r->dirfd = dirfd;
	if (!mfd_restore_warden_lives(r))
		return -ESRCH;
	ret = mfd_descendants_list(r->warden, &list, &n);
	if (!ret && !(r->tasks = calloc(n + 1, sizeof(*r->tasks))))
		ret = -ENOMEM;
	for (size_t i = 0; !ret && i < n; i++) {
		if (!r->root)
			r->root = list[i].pid;
		r->n_alive += (size_t)is_alive(&list[i]);
		if (is_alive(&list[i]) && !mfd_image_was_stopped(dirfd, list[i].inner))
			r->tasks[r->n_tasks++] = list[i].pid;
	}
	mfd_assert(r->n_tasks <= r->n_alive && r->n_alive <= n);
	if (!ret)
		ret = hold(r, list, n);
	free(list);
	return ret ? ret : n ? 0 : -ESRCH;
}

int mfd_restore_note_tasks(struct mfd_restore *r, int dirfd)
{
	int ret;

	mfd_assert(mfd_restore_phase(r) == MFD_RESTORE_ENDED);
	mfd_assert(!r->code);
	ret = find_tasks(r, dirfd);
	if (!ret)
		mfd_restore_enter_locked(r, MFD_RESTORE_STOPPED);
	return ret;
}

static void forget_tasks(struct mfd_restore *r)
{
	mfd_assert(r->tasks || !r->n_tasks);
	mfd_assert(r->n_tasks <= r->n_alive);
	mfd_restore_hold_forget(&r->hold);
	mfd_io_close(&r->warden_fd);
	r->warden = 0;
	free(r->tasks);
	r->tasks = NULL;
	r->n_tasks = r->n_alive = 0;
}

/* 0, also if it has ended; -errno: that cannot be told now. */
static int find_warden(struct mfd_restore *r, int dirfd)
{
	pid_t warden = mfd_notes_warden(dirfd);

	mfd_assert(r->warden_fd < 0);
	mfd_assert(!r->tasks && !r->n_tasks);
	if (warden <= 0)
		return warden;
	r->warden_fd = pidfd_open(warden, 0);
	if (r->warden_fd < 0)
		return errno == ESRCH ? 0 : -errno;
	r->warden = warden;
	return mfd_warden_link_set(&r->holds, r->warden_fd);
}

int mfd_restore_adopt(struct mfd_restore *r, int dirfd)
{
	int ret;

	mfd_assert(mfd_restore_phase(r) == MFD_RESTORE_NONE);
	mfd_assert(!r->warden && r->warden_fd < 0);
	ret = find_warden(r, dirfd);
	if (!ret)
		ret = find_tasks(r, dirfd);
	if (mfd_life_cannot_tell(ret)) { /* the next try finds them */
		forget_tasks(r);
		r->root = 0;
		return ret;
	}
	mfd_restore_enter_locked(r, MFD_RESTORE_STOPPED);
	return ret;
}

static void let_go(struct mfd_restore *r)
{
	int ret;

	mfd_assert(r->hold.kind <= MFD_RESTORE_HOLD_SIGNAL);
	mfd_assert(r->hold.kind == MFD_RESTORE_HOLD_NONE || r->dirfd >= 0);
	if (r->dirfd < 0)
		return;
	ret = mfd_restore_hold_release(&r->hold, r->dirfd);
	if (ret)
		mfd_log_error("%s: the tasks could not be taken out of their control group: %s",
			      r->what.name, strerror(-ret));
}

/* Stopped, so that none of them can have ended or forked since they were noted. */
void mfd_restore_continue(struct mfd_restore *r)
{
	mfd_assert(mfd_restore_phase(r) == MFD_RESTORE_STOPPED);
	mfd_assert(r->tasks || !r->n_tasks);
	let_go(r);
	for (size_t i = 0; i < r->n_tasks; i++)
		if (kill(r->tasks[i], SIGCONT))
			mfd_log_error("%s: process %d cannot be continued: %s", r->what.name,
				      r->tasks[i], strerror(errno));
	mfd_restore_enter_locked(r, MFD_RESTORE_CONTINUED);
}

/* The owner makes every step but the one to ENDED. */
static int is_owners(const struct mfd_restore *r)
{
	return mfd_restore_phase(r) > MFD_RESTORE_AT_WORK;
}

void mfd_restore_kill(struct mfd_restore *r)
{
	mfd_assert(!r->n_tasks || mfd_restore_has_tasks(r));
	mfd_assert(mfd_restore_phase(r) != MFD_RESTORE_RELEASED);
	if (mfd_restore_warden_lives(r) && mfd_descendants_kill(r->warden, KILL_MS))
		mfd_log_error("%s: what was restored does not die", r->what.name);
	if (r->dirfd >= 0)
		mfd_restore_hold_remove(&r->hold, r->dirfd);
	forget_tasks(r);
	r->root = 0;
	if (is_owners(r))
		mfd_restore_enter_locked(r, MFD_RESTORE_NONE);
}

void mfd_restore_release(struct mfd_restore *r)
{
	mfd_assert(r->what.lock);
	mfd_assert(!r->n_tasks || mfd_restore_has_tasks(r));
	forget_tasks(r);
	if (is_owners(r) && mfd_restore_phase(r) != MFD_RESTORE_RELEASED)
		mfd_restore_enter_locked(r, MFD_RESTORE_RELEASED);
}

void mfd_restore_free(struct mfd_restore *r)
{
	mfd_restore_release(r);
	mfd_warden_link_close(&r->holds);
}
