// SPDX-License-Identifier: GPL-2.0-only
/*
 * The supervisor: as small as can be, since what it guards against is a crash.  It holds the
 * listening socket, a second reference to every userfaultfd (when the last one closes the kernel
 * takes missing pages for zeros) and pidfds of the restored tasks; it starts the worker again when
 * that dies, and the new one takes the tasks over (takeover.h, pager_adopt.c).  Only where that is
 * impossible are they killed.
 *
 * SIGUSR2, or EXEC from the worker, upgrades the server in place: the worker is asked to end as for
 * a stop, and then this process goes on in the program that lies at its path now
 * (supervise_exec.c).  While restored tasks lack pages the worker is killed instead, which it is
 * made for: the first worker of the new program takes them over.
 *
 * The worker ends on its own: with exit code 0 or 1, which becomes ours.  Signals are for the
 * supervisor alone, so that a signal to the whole process group counts once; it passes them on
 * through an eventfd.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "guard.h"
#include "heir.h"
#include "holder.h"
#include "io.h"
#include "keeperproc.h"
#include "log.h"
#include "supervisor.h"
#include "uffd.h"

#define LOST "/" /* no session's name: of nobody any more, but must not be closed */

static void say_ready(struct supervisor *su)
{
	char line[128];
	int n = snprintf(line, sizeof(line), "listening on %s\n", su->address);

	if (su->said_ready++)
		return;
	if (write(STDERR_FILENO, line, (size_t)n) < 0)
		errno = 0;
	sd_notify(0, "READY=1");
}

static void close_hold(struct mfd_deposit *h)
{
	mfd_io_close(&h->uffd);
	mfd_io_close(&h->book);
	mfd_io_close(&h->pidfd);
	free(h);
}

/*
 * A restore's connection with something unread in it: userfaultfds.  Whether the restore has failed
 * is not known, so they stay where they are, for ever; a task of it that should run waits then
 * instead of reading zeros.
 */
static int must_stay(const struct mfd_deposit *h)
{
	int unread = 0;

	return !h->task && h->session[0] && !ioctl(h->uffd, FIONREAD, &unread) && unread > 0;
}

/* Where the next one is. */
static struct mfd_deposit **drop(struct supervisor *su, struct mfd_deposit **p)
{
	struct mfd_deposit *h = *p;

	if (must_stay(h)) {
		shutdown(h->uffd, SHUT_RDWR);
		strcpy(h->session, LOST);
		mfd_standby_add(&su->standby, h);
		return &h->next;
	}
	*p = h->next;
	mfd_standby_drop(&su->standby, h->id);
	close_hold(h);
	return p;
}

static void drop_holds(struct supervisor *su, const char *session)
{
	struct mfd_deposit **p = &su->held;

	while (*p)
		p = strcmp((*p)->session, session) ? &(*p)->next : drop(su, p);
}

/*
 * Of a session whose tasks have been killed: if somebody still lives there nobody could say who,
 * and it waits from now on.
 */
static void keep_lost(struct supervisor *su, const char *session)
{
	unsigned n = 0;

	for (struct mfd_deposit *h = su->held; h; h = h->next) {
		if (strcmp(h->session, session) || !h->task || mfd_uffd_ended(h->uffd))
			continue;
		strcpy(h->session, LOST);
		mfd_standby_add(&su->standby, h);
		n++;
	}
	if (n)
		mfd_log_error(
			"%s: %u tasks that lack pages could not be found to be killed; they wait for ever",
			session, n);
}

static void drop_ended(struct supervisor *su)
{
	struct mfd_deposit **p = &su->held;

	while (*p)
		p = !strcmp((*p)->session, LOST) && mfd_uffd_ended((*p)->uffd) ? drop(su, p) :
										 &(*p)->next;
}

/* The number that the present worker has it under. */
static int number_of(const struct supervisor *su, const struct mfd_deposit *h)
{
	return h->writer == su->worker ? h->number : h->uffd;
}

static struct mfd_deposit **find_number(struct supervisor *su, const char *session, int number)
{
	struct mfd_deposit **p;

	for (p = &su->held; *p; p = &(*p)->next)
		if ((!session || !strcmp((*p)->session, session)) && number_of(su, *p) == number)
			break;
	return p;
}

static int take_fd(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

/*
 * One that the heir of an earlier worker found has an owner now: it keeps the name that a message
 * somewhere may have for it.
 */
static struct mfd_deposit *make_hold(struct supervisor *su, const struct mfd_guard_msg *m, int *fd)
{
	struct mfd_deposit *h = m->kind == MFD_GUARD_DEPOSIT ? *find_number(su, "", m->number) :
							       NULL;

	if (h)
		return h;
	h = calloc(1, sizeof(*h));
	if (!h)
		return NULL;
	h->id = ++su->last_id;
	h->uffd = take_fd(fd);
	h->book = h->pidfd = -1;
	h->writer = su->worker;
	h->number = m->number;
	h->next = su->held;
	su->held = h;
	return h;
}

static int add_hold(struct supervisor *su, const struct mfd_guard_msg *m, int *fds, int nfds)
{
	int more = !!(m->flags & MFD_GUARD_BOOK) + !!(m->flags & MFD_GUARD_PIDFD), n = 1;
	struct mfd_deposit *h;

	if (nfds != 1 + more)
		return -EINVAL;
	h = make_hold(su, m, &fds[0]);
	if (!h)
		return -ENOMEM;
	h->task = m->task;
	if (m->flags & MFD_GUARD_BOOK)
		h->book = take_fd(&fds[n++]);
	if (m->flags & MFD_GUARD_PIDFD)
		h->pidfd = take_fd(&fds[n++]);
	h->forked = !!(m->flags & MFD_GUARD_FORKED);
	memcpy(h->session, m->session, sizeof(h->session));
	mfd_standby_add(&su->standby, h);
	return 0;
}

/* From the heir: most of them are held already. */
static int add_found(struct supervisor *su, const struct mfd_guard_msg *m, int *fds, int nfds)
{
	struct mfd_deposit *h;

	if (nfds != 1)
		return -EINVAL;
	if (*find_number(su, NULL, m->number))
		return 0;
	h = make_hold(su, m, &fds[0]);
	if (h)
		mfd_standby_add(&su->standby, h);
	return h ? 0 : -ENOMEM;
}

static int unhold(struct supervisor *su, const struct mfd_guard_msg *m)
{
	struct mfd_deposit **p = find_number(su, m->session, m->number);

	if (!*p)
		return -ENOENT;
	drop(su, p);
	return 0;
}

/* Tasks that will not die keep their userfaultfds: better a leak than pages of zeros. */
static int kill_session(struct supervisor *su, const char *session)
{
	int ret = mfd_unfinished_cut(&su->held, session);

	ret = mfd_holder_kill(su->held, session) ?: ret;
	mfd_unfinished_end(su->held, session);
	if (ret)
		return ret;
	drop_ended(su);
	keep_lost(su, session);
	drop_holds(su, session);
	return ret;
}

static void pass_on(struct supervisor *su)
{
	uint64_t one = 1;

	if (write(su->stop_fd, &one, sizeof(one)) < 0)
		mfd_log_error("eventfd: %s", strerror(errno));
}

/* Whatever can be seen to fail does so before anybody is asked to end. */
static int want_exec(struct supervisor *su)
{
	struct mfd_error err = { 0 };
	int ret = 0;

	if (su->exec_wanted)
		return -EALREADY;
	drop_ended(su);
	ret = mfd_supervise_exec_check(&err);
	if (ret) {
		mfd_log_error("the program is not replaced: %s", mfd_error_text(&err));
		return ret;
	}
	mfd_log_info("replacing the program");
	su->exec_wanted = 1;
	if (su->keeper > 0)
		kill(su->keeper, SIGUSR2);
	if (!su->held)
		pass_on(su);
	return 0;
}

static int act(struct supervisor *su, struct mfd_guard_msg *m, int *fds, int nfds)
{
	m->session[sizeof(m->session) - 1] = 0;
	switch (m->kind) {
	case MFD_GUARD_READY:
		su->early = 0;
		drop_holds(su, ""); /* the worker has looked at them */
		say_ready(su);
		return 0;
	case MFD_GUARD_DEPOSIT:
		return add_hold(su, m, fds, nfds);
	case MFD_GUARD_WITHDRAW:
		return unhold(su, m);
	case MFD_GUARD_FOUND:
		m->session[0] = 0;
		return add_found(su, m, fds, nfds);
	case MFD_GUARD_WITHDRAW_ALL:
		drop_holds(su, m->session);
		return 0;
	case MFD_GUARD_KILL:
		return kill_session(su, m->session);
	case MFD_GUARD_EXEC:
		return want_exec(su);
	default:
		return -EINVAL;
	}
}

/* One message; 0 when the worker's end is closed. */
static int serve_worker(struct supervisor *su)
{
	struct mfd_guard_msg m, ack = { .kind = MFD_GUARD_ACK };
	int fds[3] = { -1, -1, -1 }, nfds = 3, i;
	ssize_t n = mfd_io_recv_fds(su->link, &m, sizeof(m), fds, &nfds);

	if (n <= 0)
		return n == -EINTR || n == -EMSGSIZE;
	ack.code = n == sizeof(m) ? act(su, &m, fds, nfds) : -EINVAL;
	for (i = 0; i < 3; i++)
		mfd_io_close(&fds[i]);
	mfd_io_send_fds(su->link, &ack, sizeof(ack), NULL, 0);
	return 1;
}

/* In a child that has nothing to do with them. */
static void close_holds(struct supervisor *su)
{
	struct mfd_deposit *h;

	while ((h = su->held)) {
		su->held = h->next;
		close_hold(h);
	}
}

/* The worker's life, in the child. */
static int be_worker(struct supervisor *su, int link)
{
	struct mfd_supervise_birth b = { .listen_fd = su->sv->listen_fd,
					 .stop_fd = su->stop_fd,
					 .guard_fd = link,
					 .after = su->after,
					 .inherited = su->held };
	sigset_t none;
	int ret;

	/*
	 * Its end is noticed through the socket; signals of a terminal or a control group are the
	 * supervisor's business.
	 */
	signal(SIGTERM, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGUSR2, SIG_IGN);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	mfd_io_close(&su->signals);
	mfd_io_close(&su->link);
	mfd_io_close(&su->keeper_link);
	mfd_io_close(&su->standby.link);
	b.standby_fd = take_fd(&su->standby.orphans);
	ret = mfd_heir_start(link, b.standby_fd);
	if (ret)
		mfd_log_warn(
			"no heir (%s): should this worker die just when a restored task forks, the task is killed",
			strerror(-ret));
	return su->sv->work(su->sv->arg, &b);
}

static int restart_allowed(struct supervisor *su)
{
	uint64_t now = mfd_io_now_ms(), *oldest = &su->restarts[su->n_restarts++ % MAX_RESTARTS];
	int ok = !*oldest || now - *oldest > RESTART_WINDOW;

	*oldest = now;
	return ok;
}

/*
 * The keeper of descriptors (keeperproc.h) is a process of its own.  It notices our death by its
 * end of the link; when an earlier server has left one it ends at once, which is fine.
 */
static int start_keeper(struct supervisor *su)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return -errno;
	su->keeper = fork();
	if (!su->keeper) {
		int code;

		close(pair[0]);
		mfd_io_close(&su->signals);
		mfd_io_close(&su->sv->listen_fd);
		mfd_io_close(&su->stop_fd);
		mfd_io_close(&su->sv->lock_fd);
		mfd_io_close(&su->standby.link);
		mfd_io_close(&su->standby.orphans);
		close_holds(su);
		code = mfd_keeper_run(su->sv->dir, pair[1], su->sv->keep_ms);
		fflush(NULL);
		_exit(code);
	}
	close(pair[1]);
	su->keeper_link = pair[0];
	return su->keeper < 0 ? -errno : 0;
}

/*
 * It ends by itself only when an earlier server left one; otherwise what it held is lost, and later
 * sessions need another.
 */
static void keeper_died(struct supervisor *su, int status)
{
	mfd_io_close(&su->keeper_link);
	su->keeper = 0;
	if (!WIFSIGNALED(status))
		return;
	mfd_log_error("the keeper died of signal %d (%s); the descriptors it held are closed",
		      WTERMSIG(status), strsignal(WTERMSIG(status)));
	if (restart_allowed(su) && start_keeper(su))
		mfd_log_error("cannot start a keeper: %s", strerror(errno));
}

static void end_keeper(struct supervisor *su)
{
	int status;

	if (su->keeper <= 0)
		return;
	kill(su->keeper, SIGTERM);
	while (waitpid(su->keeper, &status, 0) < 0 && errno == EINTR)
		;
	mfd_io_close(&su->keeper_link);
}

/* Afterwards it holds what we hold. */
static void start_standby(struct supervisor *su)
{
	int ret = mfd_standby_start(&su->standby, su->sv->dirfd);

	if (ret)
		mfd_log_warn(
			"no standby (%s): should the whole server be killed, restored tasks that lack pages are lost",
			strerror(-ret));
	for (struct mfd_deposit *h = su->held; h && !ret; h = h->next)
		mfd_standby_add(&su->standby, h);
}

static void end_standby(struct supervisor *su)
{
	int tasks = 0;

	for (struct mfd_deposit *h = su->held; h; h = h->next)
		tasks += h->task != 0;
	if (tasks) /* that would not die: it holds on to them */
		mfd_io_close(&su->standby.link);
	mfd_standby_end(&su->standby);
}

/* An earlier server on this folder was killed, and restored tasks wait for their pages. */
static void inherit(struct supervisor *su)
{
	int conn = -1, n = mfd_standby_inherit(su->sv->dirfd, &su->held, &conn);

	for (struct mfd_deposit *h = su->held; n > 0 && h; h = h->next) {
		h->id = ++su->last_id;
		h->writer = h->writer == getpid() ? 0 : h->writer;
	}
	if (n > 0) {
		mfd_log_warn(
			"an earlier server was killed; its standby has handed over %d descriptors of restored tasks",
			n);
		su->after = MFD_TAKEOVER_SERVER;
	} else if (n < 0) {
		mfd_log_error("the standby of an earlier server cannot be asked: %s", strerror(-n));
	}
	start_standby(su);
	mfd_standby_relieve(&conn);
}

static int start_worker(struct supervisor *su)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return -errno;
	su->link = pair[0];
	su->worker = fork();
	if (!su->worker) {
		int code = be_worker(su, pair[1]);

		fflush(NULL);
		_exit(code);
	}
	close(pair[1]);
	return su->worker < 0 ? -errno : 0;
}

/* Nobody will serve the pages of these tasks any more. */
static void kill_held(struct supervisor *su)
{
	struct mfd_deposit *h = su->held;
	char session[256];

	while (h) {
		memcpy(session, h->session, sizeof(session));
		/* When it worked none of the session is left, so this ends. */
		if (strcmp(session, LOST) && !kill_session(su, session))
			h = su->held;
		else
			h = h->next;
	}
}

/*
 * What it handed over before it died, and what its heir did then.  The heir's end is that of the
 * link.
 */
static void drain(struct supervisor *su)
{
	struct pollfd p = { .fd = su->link, .events = POLLIN };

	while (su->link >= 0 && poll(&p, 1, DRAIN_MS) == 1 && serve_worker(su))
		;
	mfd_io_close(&su->link);
}

/*
 * Killed by a signal: another one follows, which takes over its tasks (takeover.h) unless that
 * itself seems to be what kills it.
 */
static int follow_worker(struct supervisor *su)
{
	if (su->early++ >= MAX_EARLY) {
		mfd_log_error(
			"workers die before they are ready; restored tasks are not taken over but killed");
		kill_held(su);
	}
	su->after = MFD_TAKEOVER_WORKER;
	return start_worker(su);
}

/* The worker is dead: -1 = a new one runs, else the exit code of the server. */
static int worker_died(struct supervisor *su, int status)
{
	int ret;

	drain(su);
	if (su->exec_wanted && WIFSIGNALED(status)) {
		su->after = MFD_TAKEOVER_WORKER;
		return 0;
	}
	if (WIFEXITED(status)) {
		kill_held(su);
		return WEXITSTATUS(status);
	}
	mfd_log_error("worker %d died of signal %d (%s)", su->worker, WTERMSIG(status),
		      strsignal(WTERMSIG(status)));
	if (!restart_allowed(su)) {
		mfd_log_error("the worker dies too often, giving up");
		kill_held(su);
		return 1;
	}
	ret = follow_worker(su);
	if (ret) {
		mfd_log_error("cannot start a worker: %s", strerror(-ret));
		kill_held(su);
	}
	return ret ? 1 : -1;
}

static int on_signal(struct supervisor *su)
{
	struct signalfd_siginfo si;
	int status;

	if (read(su->signals, &si, sizeof(si)) != sizeof(si))
		return -1;
	if (si.ssi_signo == SIGUSR2) {
		want_exec(su);
		return -1;
	}
	if (si.ssi_signo != SIGCHLD) {
		su->exec_wanted = 0;
		sd_notify(0, "STOPPING=1");
		pass_on(su);
		return -1;
	}
	if (su->keeper > 0 && waitpid(su->keeper, &status, WNOHANG) == su->keeper)
		keeper_died(su, status);
	if (su->standby.link >= 0 &&
	    waitpid(su->standby.pid, &status, WNOHANG) == su->standby.pid) {
		mfd_log_error("the standby died");
		mfd_io_close(&su->standby.link);
		start_standby(su);
	}
	/*
	 * Only our worker: --listen may have been started by something that left us other children.
	 */
	if (waitpid(su->worker, &status, WNOHANG) != su->worker)
		return -1;
	return worker_died(su, status);
}

/*
 * For a new program, while it serves tasks.  It may just be telling somebody that this is going to
 * happen.
 */
static void kill_worker(struct supervisor *su)
{
	usleep(LAST_WORDS_US);
	kill(su->worker, SIGKILL);
}

static int watch(struct supervisor *su)
{
	int code = -1;

	while (code < 0) {
		struct pollfd fds[] = {
			{ .fd = su->signals, .events = POLLIN },
			{ .fd = su->link, .events = POLLIN },
		};

		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			return 1;
		if (fds[1].revents && !serve_worker(su))
			mfd_io_close(&su->link);
		if (fds[0].revents)
			code = on_signal(su);
		if (su->exec_wanted && su->held && code < 0)
			kill_worker(su);
	}
	return code;
}

/*
 * The worker has ended; only returns when the new program could not be started, and then the old
 * one goes on.
 */
static int go_on(struct supervisor *su)
{
	int ret;

	su->exec_wanted = 0;
	mfd_standby_end(&su->standby); /* the new program starts its own */
	mfd_supervise_exec(su);
	start_standby(su);
	ret = start_worker(su);
	if (ret)
		mfd_log_error("cannot start a worker: %s", strerror(-ret));
	return ret ? 1 : -1;
}

int mfd_supervise_loop(struct supervisor *su)
{
	sigset_t set;
	int ret, code;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGUSR2);
	signal(SIGPIPE, SIG_IGN);
	sigprocmask(SIG_BLOCK, &set, NULL);
	su->signals = signalfd(-1, &set, SFD_CLOEXEC);
	su->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	ret = su->signals < 0 || su->stop_fd < 0 ? -errno : 0;
	if (!ret)
		inherit(su);
	if (!ret && !su->keeper)
		ret = start_keeper(su);
	ret = ret ? ret : start_worker(su);
	if (ret) {
		mfd_log_error("cannot start: %s", strerror(-ret));
		return 1;
	}
	do {
		code = watch(su);
		if (su->exec_wanted)
			code = go_on(su);
	} while (code < 0);
	end_keeper(su);
	end_standby(su);
	return code;
}

int mfd_supervise_run(struct mfd_supervise *sv, const char *address)
{
	struct supervisor su = { .sv = sv,
				 .address = address,
				 .link = -1,
				 .keeper_link = -1,
				 .standby = { .link = -1, .orphans = -1 } };

	return mfd_supervise_loop(&su);
}
