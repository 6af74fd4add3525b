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

#include "descendants.h"
#include "hostcriu.h"
#include "image.h"
#include "io.h"
#include "log.h"
#include "options_allowed.h"
#include "session.h"

#define WARDEN_MS 10000 /* to be there; it only has to make its namespaces */
#define KILL_MS	  10000
#define OWN_WORDS 18

/* ---- the command line ---- */

struct command {
	char folder[4096], pidfile[4200];
	char *option[MFD_POLICY_MAX]; /* with dashes; to be freed */
	size_t n_options;
	char **argv;
};

static void free_command(struct command *c)
{
	for (size_t i = 0; i < c->n_options; i++)
		free(c->option[i]);
	free(c->argv);
}

static int add_dashes(struct command *c, const struct mfd_session *s)
{
	for (size_t i = 0; i < s->n_restore_options && i < MFD_POLICY_MAX; i++) {
		if (asprintf(&c->option[i], "--%s", s->restore_options[i]) < 0)
			return -ENOMEM;
		c->n_options++;
	}
	return 0;
}

static int make_command(struct command *c, struct mfd_session *s)
{
	const struct mfd_server *sv = s->server;
	char self[40], *own[OWN_WORDS] = { "criu-multifd",
					   "restore",
					   "--from-server",
					   sv->host_pids ? "host" : "own",
					   (char *)(sv->netns ? sv->netns : "-"),
					   c->folder,
					   (char *)sv->criu,
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

	snprintf(self, sizeof(self), "/proc/self/fd/%d", s->dirfd);
	len = readlink(self, c->folder, sizeof(c->folder) - 1);
	if (len <= 0 || (size_t)len >= sizeof(c->folder) - 1)
		return -ENAMETOOLONG;
	c->folder[len] = 0;
	snprintf(c->pidfile, sizeof(c->pidfile), "%s/" MFD_RESTORE_PID, c->folder);
	unlink(c->pidfile);
	if (add_dashes(c, s))
		return -ENOMEM;
	c->argv = calloc(n + 2 + sv->n_restore_options + c->n_options + 1, sizeof(*c->argv));
	if (!c->argv)
		return -ENOMEM;
	memcpy(c->argv, own, sizeof(own));
	if (sv->plugins) {
		c->argv[n++] = "--libdir";
		c->argv[n++] = (char *)sv->plugins;
	}
	for (size_t i = 0; i < sv->n_restore_options; i++)
		c->argv[n++] = (char *)sv->restore_options[i];
	for (size_t i = 0; i < c->n_options; i++)
		c->argv[n++] = c->option[i];
	return 0;
}

/* ---- the process ---- */

/*
 * Twice, so that the warden is nobody's child here.  Between fork and exec only system calls: other
 * threads may hold any lock.
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
static int listen_to(int link, struct mfd_restorer_msg *m, int timeout_ms)
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

/* Waits for CRIU to end; a thread of the worker's pool with a reference to the session. */
static void watch(void *arg)
{
	struct mfd_session *s = arg;
	struct mfd_restore *r = &s->restore;
	struct mfd_restorer_msg m = { 0 };
	char text[480] = "the process that ran it is gone";
	int code = -ECHILD;

	if (listen_to(r->link, &m, -1)) {
		code = m.word == MFD_RESTORER_ENDED && WIFEXITED(m.value) && !WEXITSTATUS(m.value) ?
			       0 :
			       -EIO;
		if (m.word == MFD_RESTORER_FAILED)
			snprintf(text, sizeof(text), "%s", m.text);
		else if (code && mfd_hostcriu_complaint(s->dirfd, MFD_RESTORE_LOG,
							MFD_RESTORE_ERRORS, text, sizeof(text)))
			snprintf(text, sizeof(text), "it ended with status %#x and said nothing",
				 (unsigned)m.value);
	}
	pthread_mutex_lock(&s->lock);
	mfd_io_close(&r->link);
	r->code = code;
	snprintf(r->text, sizeof(r->text), "%s", text);
	r->busy = 0;
	r->done = 1;
	pthread_cond_broadcast(&s->cond);
	pthread_mutex_unlock(&s->lock);
	mfd_session_put(s);
}

static int take_warden(struct mfd_restore *r, char *text, size_t len)
{
	struct mfd_restorer_msg m = { 0 };

	if (!listen_to(r->link, &m, WARDEN_MS) || m.word != MFD_RESTORER_WARDEN || m.value <= 1) {
		snprintf(text, len, "%s",
			 m.word == MFD_RESTORER_FAILED ?
				 m.text :
				 "the process that shall run it did not start");
		return -ECHILD;
	}
	r->warden = m.value;
	r->warden_fd = pidfd_open(r->warden, 0);
	if (r->warden_fd >= 0)
		return 0;
	snprintf(text, len, "the process that shall run it has ended");
	return -ECHILD;
}

static int start(struct mfd_session *s, char **argv, char *text, size_t len)
{
	struct mfd_restore *r = &s->restore;
	int pair[2], ret;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return -errno;
	ret = spawn(argv, pair[1]);
	close(pair[1]);
	r->link = pair[0];
	ret = ret ? ret : take_warden(r, text, len);
	if (ret)
		mfd_io_close(&r->link);
	return ret;
}

int mfd_restorer_start(struct mfd_session *s, char *text, size_t len)
{
	struct mfd_restore *r = &s->restore;
	struct command c = { 0 };
	int ret;

	mfd_restorer_release(s);
	pthread_mutex_lock(&s->lock);
	*r = (struct mfd_restore){ .warden_fd = -1, .link = -1, .busy = 1 };
	pthread_mutex_unlock(&s->lock);
	snprintf(text, len, "no memory");
	ret = make_command(&c, s);
	ret = ret ? ret : start(s, c.argv, text, len);
	free_command(&c);
	if (!ret) {
		atomic_fetch_add(&s->refs, 1);
		ret = mfd_threads_start(&s->server->pool, watch, s);
		if (ret)
			mfd_session_put(s); /* never the last one */
	}
	if (ret) {
		mfd_restorer_kill(s);
		mfd_io_close(&r->link);
		pthread_mutex_lock(&s->lock);
		r->busy = 0;
		pthread_mutex_unlock(&s->lock);
	}
	return ret;
}

/* ---- what was restored ---- */

/* A warden that has ended has no descendants, and its pid may be another process. */
static int warden_lives(const struct mfd_restore *r)
{
	struct pollfd p = { .fd = r->warden_fd, .events = POLLIN };

	return r->warden > 0 && r->warden_fd >= 0 && !poll(&p, 1, 0);
}

static int is_alive(const struct mfd_descendant *d)
{
	return d->state != 'Z' && d->state != 'X';
}

int mfd_restorer_look_again(const struct mfd_session *s)
{
	struct mfd_descendant *list = NULL;
	size_t n = 0, alive = 0, stopped = 0;
	int ret = warden_lives(&s->restore) ? mfd_descent_list(s->restore.warden, &list, &n) :
					      -ESRCH;

	for (size_t i = 0; !ret && i < n; i++) {
		alive += (size_t)is_alive(&list[i]);
		stopped += list[i].state == 'T';
	}
	free(list);
	if (ret || alive < s->restore.n_alive)
		return ret ? ret : -ESRCH;
	/* It may have read zeros where a page had not come (pager_still.c). */
	return s->huge && stopped < s->restore.n_stopped ? -EBUSY : 0;
}

int mfd_restorer_note_tasks(struct mfd_session *s)
{
	struct mfd_restore *r = &s->restore;
	struct mfd_descendant *list = NULL;
	size_t n = 0;
	int ret;

	if (!warden_lives(r))
		return -ESRCH;
	ret = mfd_descent_list(r->warden, &list, &n);
	if (!ret && !(r->tasks = calloc(n + 1, sizeof(*r->tasks))))
		ret = -ENOMEM;
	for (size_t i = 0; !ret && i < n; i++) {
		if (!r->root)
			r->root = list[i].pid;
		r->n_alive += (size_t)is_alive(&list[i]);
		r->n_stopped += list[i].state == 'T';
		if (is_alive(&list[i]) && !mfd_image_was_stopped(s->dirfd, list[i].inner))
			r->tasks[r->n_tasks++] = list[i].pid;
	}
	free(list);
	return ret ? ret : n ? 0 : -ESRCH;
}

/*
 * "BOOT-ID 0 PID START-TIME": the last such line whose process still is the one that was meant; 0 =
 * none.
 */
static pid_t find_warden(int dirfd)
{
	char *text = NULL, *line, *save;
	pid_t found = 0;

	if (mfd_io_read_file(dirfd, MFD_SESSION_ATTACHED, 16 << 20, &text, NULL))
		return 0;
	for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		unsigned long long start;
		unsigned task;
		int pid;

		if (sscanf(line, "%*s %u %d %llu", &task, &pid, &start) == 3 && !task && pid > 1 &&
		    start && mfd_holder_start_time(pid) == start)
			found = pid;
	}
	free(text);
	return found;
}

int mfd_restorer_adopt(struct mfd_session *s)
{
	struct mfd_restore *r = &s->restore;

	r->warden = find_warden(s->dirfd);
	r->warden_fd = r->warden ? pidfd_open(r->warden, 0) : -1;
	return mfd_restorer_note_tasks(s);
}

/* Stopped, so that none of them can have ended or forked since they were noted. */
void mfd_restorer_continue(struct mfd_session *s)
{
	struct mfd_restore *r = &s->restore;

	for (size_t i = 0; i < r->n_tasks; i++)
		if (kill(r->tasks[i], SIGCONT))
			mfd_log_error("%s: process %d cannot be continued: %s", s->name,
				      r->tasks[i], strerror(errno));
	r->resumed = 1;
}

void mfd_restorer_kill(struct mfd_session *s)
{
	struct mfd_restore *r = &s->restore;

	if (warden_lives(r) && mfd_descent_kill(r->warden, KILL_MS))
		mfd_log_error("%s: what was restored does not die", s->name);
	mfd_restorer_release(s);
	r->root = 0;
	r->ok = 0;
}

void mfd_restorer_release(struct mfd_session *s)
{
	struct mfd_restore *r = &s->restore;

	mfd_io_close(&r->warden_fd);
	r->warden = 0;
	free(r->tasks);
	r->tasks = NULL;
	r->n_tasks = r->n_alive = r->n_stopped = 0;
}
